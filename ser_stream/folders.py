"""Where this project keeps what it can make again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Folder of the caches called ``name``: below $SER_STREAM_CACHE, or the user's caches."""
    if told := os.environ.get("SER_STREAM_CACHE"):
        return Path(told) / name
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        told = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
        base = Path(told) if told else Path.home() / ".cache"
    return base / "ser-stream" / name
