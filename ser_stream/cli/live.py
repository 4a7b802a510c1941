"""The meter in a terminal: a microphone, or the clip that ships with the package."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser_stream import __version__
from ser_stream.cli.assembly import (
    SOUND_ALONE,
    make_engine,
    make_reader,
    open_bundle,
    open_profile,
)
from ser_stream.cli.options import (
    LIVE_HOP_S,
    AsrOption,
    DeviceOption,
    DurationOption,
    EmbedderOption,
    GateOption,
    HopOption,
    JsonlOption,
    ModelOption,
    ProfileOption,
    RateOption,
    RecordAudioOption,
    RecordOption,
    SmoothingOption,
    VectorsOption,
)
from ser_stream.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from ser_stream.records import Timeline
    from ser_stream.session import Session, Sink
    from ser_stream.tui import MeterView
    from ser_stream.types import AudioSource

REFRESH_S = 0.1
PLAIN_EVERY_S = 1.0
STILL_S = 1.5


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the live commands share."""

    model: Path | None
    hop_s: float
    smoothing_s: float | None
    duration_s: float | None
    gate: bool
    jsonl: bool
    record: Path | None
    record_audio: Path | None
    profile: str | None
    asr: str | None
    vectors: Path | None
    embedder: Path | None

    def __post_init__(self) -> None:
        if self.vectors is not None and self.asr is None:
            raise ConfigError("--vectors: name who recognises words with --asr")
        if self.duration_s is not None and not self.duration_s > 0:
            raise ConfigError(f"--duration must be positive, got {self.duration_s}")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"ser-stream {__version__}")
        raise typer.Exit


def live(
    context: typer.Context,
    device: DeviceOption = None,
    rate: RateOption = None,
    model: ModelOption = None,
    hop: HopOption = LIVE_HOP_S,
    smoothing: SmoothingOption = None,
    duration: DurationOption = None,
    gate: GateOption = True,
    jsonl: JsonlOption = False,
    record: RecordOption = None,
    record_audio: RecordAudioOption = None,
    profile: ProfileOption = None,
    asr: AsrOption = None,
    vectors: VectorsOption = None,
    embedder: EmbedderOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    """Listen to a microphone and show what the voice sounds like; q or Ctrl-C ends it."""
    if context.invoked_subcommand is not None:
        return
    options = LiveOptions(
        model,
        hop,
        smoothing,
        duration,
        gate,
        jsonl,
        record,
        record_audio,
        profile,
        asr,
        vectors,
        embedder,
    )
    from ser_stream.microphone import Microphone

    # The device is opened before the model is read: its first block takes longest to come.
    with Microphone(device, rate) as microphone:
        _run(microphone, options)


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Do not wait for real time.")] = False,
    model: ModelOption = None,
    hop: HopOption = LIVE_HOP_S,
    smoothing: SmoothingOption = None,
    duration: DurationOption = None,
    gate: GateOption = True,
    jsonl: JsonlOption = False,
    record: RecordOption = None,
    record_audio: RecordAudioOption = None,
    profile: ProfileOption = None,
    asr: AsrOption = None,
    vectors: VectorsOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Run the meter over a clip of synthesised speech that ships with the package."""
    options = LiveOptions(
        model,
        hop,
        smoothing,
        duration,
        gate,
        jsonl,
        record,
        record_audio,
        profile,
        asr,
        vectors,
        embedder,
    )
    from importlib import resources

    from ser_stream.sources import FileSource, PacedSource

    path = Path(str(resources.files("ser_stream") / "demo" / "demo.flac"))
    source: AudioSource = FileSource(path, block_s=0.032)
    _run(source if fast else PacedSource(source), options, patient=fast)


class _View(StrEnum):
    METER = "meter"
    PLAIN = "plain"
    JSONL = "jsonl"


def _run(source: AudioSource, options: LiveOptions, patient: bool = False) -> None:
    """Run the meter; a ``patient`` recogniser is waited for."""
    from rich.console import Console

    from ser_stream.recorder import AudioRecorder
    from ser_stream.records import RowSink, RowWriter, Timeline
    from ser_stream.session import Session

    bundle = open_bundle(options.model)
    known = open_profile(bundle, options.profile)
    reader = make_reader(bundle, options.vectors, options.asr is not None)
    engine = make_engine(
        bundle, options.hop_s, options.smoothing_s, options.gate, known, reader, options.embedder
    )
    meta = engine.bundle.meta
    timeline = Timeline(meta.sample_rate_hz)
    sinks: list[Sink] = [timeline]
    if options.record is not None:
        writer = RowWriter.open(options.record)
        sinks.append(RowSink(writer, meta.labels, meta.sample_rate_hz))
    if options.jsonl:
        sinks.append(RowSink(RowWriter(sys.stdout, True), meta.labels, meta.sample_rate_hz))
    console = Console(stderr=options.jsonl)
    if options.jsonl:
        view = _View.JSONL
    elif console.is_terminal and not console.is_dumb_terminal and not os.environ.get("NO_COLOR"):
        view = _View.METER
    else:
        view = _View.PLAIN
    path = options.record_audio
    taps = [] if path is None else [AudioRecorder(path, source.sample_rate_hz)]
    words = None
    if options.asr is not None:
        from ser_stream.listener import open_listener

        words = open_listener(options.asr, source.sample_rate_hz, patient)
    session = Session(source, engine, sinks, options.duration_s, taps=taps, words=words)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    session.start()
    try:
        _watch(session, timeline, view, console)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)
        session.stop()
    from ser_stream.tui import summary_lines

    for line in summary_lines(timeline, session.snapshot.position_s):
        typer.echo(line, err=options.jsonl)
    if words is not None and words.error is not None:
        typer.echo(f"{words.error}; {SOUND_ALONE}", err=True)
    if session.error is not None:
        raise session.error


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _watch(session: Session, timeline: Timeline, view: _View, console: Console) -> None:
    from ser_stream.tui import STRIP_S, Keys, Meter, MeterView, plain_line

    engine, source = session.engine, session.source
    title = f"ser-stream  {source.name}  {source.sample_rate_hz / 1000:g} kHz"
    if engine.profile is not None:
        title += f"  profile {engine.profile.name}"

    position_s, moved_s = 0.0, time.monotonic()

    def current() -> MeterView:
        nonlocal position_s, moved_s
        snapshot = session.snapshot
        if snapshot.position_s != position_s:
            position_s, moved_s = snapshot.position_s, time.monotonic()
        still_s = time.monotonic() - moved_s
        hint = "q quits" if still_s < STILL_S else f"no audio for {still_s:.0f} s, q quits"
        strip = timeline.last(STRIP_S, snapshot.position_s)
        return MeterView(title, engine.bundle.meta.labels, snapshot, strip, hint)

    with Keys() as keys:
        if view is _View.METER:
            from rich.live import Live

            with Live(Meter(current()), console=console, auto_refresh=False) as screen:
                size = console.size
                while not (session.snapshot.finished or keys.quit.is_set()):
                    time.sleep(REFRESH_S)
                    if console.size != size:
                        # Lines that the terminal has wrapped cannot be drawn over.
                        size = console.size
                        console.clear()
                    screen.update(Meter(current()), refresh=True)
            return
        session.heard.wait()
        if session.error is None:
            console.print(f"listening: {title}", highlight=False)
        shown_s = 0.0
        while not (session.wait(REFRESH_S) or keys.quit.is_set()):
            snapshot = session.snapshot
            if view is _View.PLAIN and snapshot.position_s - shown_s >= PLAIN_EVERY_S:
                shown_s = snapshot.position_s
                console.print(plain_line(current()), highlight=False, soft_wrap=True)
