#!/usr/bin/env python
"""Write the table of digests of the shipped model files, which the runtime checks them by.

    python scripts/write_digests.py

To be run whenever one of them was made anew.
"""

from __future__ import annotations

from ser_stream.files import write_text
from ser_stream.models.network import DIGESTS, digest_of, models_folder


def write_digests() -> None:
    """Write the table, sorted by name, as ``sha256sum`` writes it."""
    folder = models_folder()
    lines = [f"{digest_of(p.read_bytes())}  {p.name}\n" for p in sorted(folder.glob("*.onnx"))]
    write_text(folder / DIGESTS, "".join(lines))


if __name__ == "__main__":
    write_digests()
