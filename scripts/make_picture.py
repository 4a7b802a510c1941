#!/usr/bin/env python3
"""Draw docs/meter.svg: the terminal meter some seconds into the demo clip, as it stands there.

python scripts/make_picture.py [SECONDS]
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from ser_stream.audio.sound_file import FileSource, demo_path
from ser_stream.audio.sources import PacedSource
from ser_stream.cli.terminal import STRIP_S, Meter, MeterView
from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.sinks import Timeline
from ser_stream.stream.listening import Listening

TARGET = Path(__file__).parents[1] / "docs" / "meter.svg"


def main() -> None:
    """Stream the clip up to a moment and save what the meter shows then."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 26.0
    bundle = ModelBundle.load()
    timeline = Timeline(bundle.meta.sample_rate_hz)
    source = PacedSource(FileSource(demo_path(), block_s=0.032))
    session = Listening(bundle).session(source, [timeline], seconds)
    session.start()
    session.wait()
    view = MeterView(
        f"ser-stream  {source.name}  {source.sample_rate_hz / 1000:g} kHz",
        bundle.meta.labels,
        session.snapshot,
        timeline.last(STRIP_S, session.snapshot.position_s),
    )
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Meter(view))
    svg = console.export_svg(title="ser-stream demo", unique_id="meter")
    # A picture must not fetch fonts from anywhere.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(svg, encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
