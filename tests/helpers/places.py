"""Where the checkout is, and what lies beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("SER_STREAM_SHARED", ROOT.parent / "shared"))
