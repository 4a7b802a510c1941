"""The meter in a terminal: a microphone, or the clip that ships with the package."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.cli.assembly import SOUND_ALONE, listening_of, open_bundle, open_profile
from ser_stream.cli.options import (
    AsrOption,
    DeviceOption,
    DurationOption,
    EmbedderOption,
    GateOption,
    HopOption,
    JsonlOption,
    LearnOption,
    ModelOption,
    OverwriteOption,
    ProfileOption,
    RateOption,
    RecordAudioOption,
    RecordOption,
    SmoothingOption,
    VectorsOption,
)
from ser_stream.entry import EXIT_ERROR, drop_output, end_by_signals, on_end_signals, version_option
from ser_stream.errors import CommandLineError, ConfigError
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.printable import echo, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ser_stream.cli.terminal import MeterView
    from ser_stream.scoring.recorder import Recorder, Recording
    from ser_stream.scoring.sinks import Timeline
    from ser_stream.stream.engine import Engine
    from ser_stream.stream.session import Session, Sink
    from ser_stream.types import AudioSource

# In the place of a device's name.
STANDARD_INPUT = "-"
REFRESH_S = 0.1
PLAIN_EVERY_S = 1.0
STILL_S = 1.5
# What a person may mean: 30 years of audio, and a minute that counts as one observation.
MOST_DURATION_S, MOST_SMOOTHING_S = 1e9, 60.0
# A worker that waits for a device that does not answer ends when the source is left.
STOP_S, LEFT_S = 0.5, 10.0


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
    overwrite: bool
    profile: str | None
    learn: bool
    asr: str | None
    vectors: Path | None
    embedder: Path | None

    def __post_init__(self) -> None:
        if self.learn and self.profile is None:
            raise ConfigError("--learn: name the voice with --profile")
        if self.vectors is not None and self.asr is None:
            raise ConfigError("--vectors: name who recognises words with --asr")
        if self.duration_s is not None and not 0.0 < self.duration_s <= MOST_DURATION_S:
            raise ConfigError(
                f"--duration must be above 0 and at most {MOST_DURATION_S:g}, got {self.duration_s}"
            )
        if self.smoothing_s is not None and not 0.0 <= self.smoothing_s <= MOST_SMOOTHING_S:
            raise ConfigError(
                f"--smoothing must be from 0 to {MOST_SMOOTHING_S:g}, got {self.smoothing_s}"
            )


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
    overwrite: OverwriteOption = False,
    profile: ProfileOption = None,
    learn: LearnOption = False,
    asr: AsrOption = None,
    vectors: VectorsOption = None,
    embedder: EmbedderOption = None,
    version: Annotated[bool, version_option("ser-stream")] = False,
) -> None:
    """Listen to a microphone and show what the voice sounds like; q or Ctrl-C ends it."""
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
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
        overwrite,
        profile,
        learn,
        asr,
        vectors,
        embedder,
    )
    if device != STANDARD_INPUT:
        from ser_stream.audio.microphone import Microphone

        _run(Microphone(device, rate), options)
        return
    if rate is None:
        raise CommandLineError("--device - takes raw samples: give their rate with --rate")
    from ser_stream.audio.sources import PcmSource

    source = PcmSource(sys.stdin.buffer, rate)
    _run(source, options, patient=not source.is_pipe)


def _refuse_options(context: typer.Context, name: str) -> None:
    """Refuse the meter's own options before another command, which would not get them."""
    command: Any = context.command
    other = command.commands[name]
    # Options of another program are not known here.
    takes_all = other.context_settings.get("ignore_unknown_options", False)
    taken = {option for p in other.params for option in (*p.opts, *p.secondary_opts)}
    for parameter in command.params:
        source = context.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE":
            continue
        is_off = context.params.get(parameter.name) is False
        option = (parameter.secondary_opts if is_off else parameter.opts)[0]
        if takes_all or option in taken:
            raise CommandLineError(
                f"{option} before {name} is not for {name}: write ser-stream {name} {option} ..."
            )
        raise CommandLineError(f"{option} is the live meter's: {name} has no such option")


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
    overwrite: OverwriteOption = False,
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
        overwrite,
        profile,
        False,
        asr,
        vectors,
        embedder,
    )
    from ser_stream.audio.sound_file import FileSource, demo_path
    from ser_stream.audio.sources import PacedSource

    source: AudioSource = FileSource(demo_path(), block_s=0.032)
    _run(source if fast else PacedSource(source), options, patient=fast)


class _View(StrEnum):
    METER = "meter"
    PLAIN = "plain"
    JSONL = "jsonl"


def _run(source: AudioSource, options: LiveOptions, patient: bool = False) -> None:
    """Run the meter; a ``patient`` recogniser is waited for."""
    from rich.console import Console

    from ser_stream.cli.terminal import summary_lines
    from ser_stream.scoring.formats import JsonLines
    from ser_stream.scoring.recorder import Recorder, Recording
    from ser_stream.scoring.sinks import RowSink, Timeline
    from ser_stream.words.live import open_listener

    wanted = Recording(options.record, options.record_audio)
    console = Console(stderr=options.jsonl)
    if options.jsonl:
        view = _View.JSONL
    elif console.is_terminal and not console.is_dumb_terminal and not os.environ.get("NO_COLOR"):
        view = _View.METER
    else:
        view = _View.PLAIN
    learnt = True
    asked: list[int] = []
    with contextlib.ExitStack() as after, source:
        # The device is open before the model is read: its first block takes longest to come.
        bundle = open_bundle(options.model)
        asr = options.asr
        listening = listening_of(
            bundle,
            *open_profile(bundle, options.profile, options.learn),
            hop_s=options.hop_s,
            smoothing_s=options.smoothing_s,
            gate=options.gate,
            vectors=options.vectors,
            embedder=options.embedder,
            open_words=None if asr is None else lambda rate: open_listener(asr, rate, patient),
            hears_words=asr is not None,
        )
        meta = bundle.meta
        timeline = Timeline(meta.sample_rate_hz)
        recorder = Recorder(meta.labels, meta.sample_rate_hz)
        sinks: list[Sink] = [timeline, recorder]
        if options.jsonl:
            sinks.append(RowSink(JsonLines(sys.stdout), meta.labels, meta.sample_rate_hz))
        session = listening.session(source, sinks, options.duration_s, taps=[recorder])
        notices = _RecordingNotices(recorder)
        # Nothing may cut short what ends the files, a second signal neither.
        on_end_signals(asked.append)
        try:
            notices.begin(wanted, source.sample_rate_hz, options.overwrite)
            after.callback(session.wait, LEFT_S)
            session.start()
            try:
                _watch(session, timeline, view, console, asked, notices)
            finally:
                session.stop(STOP_S)
                recorder.close()
                notices.tell()
            learnt = _learn(options.profile if options.learn else None, session.engine)
            for line in summary_lines(timeline, session.snapshot.position_s):
                echo(line, err=options.jsonl)
        except OSError:
            # A terminal that was closed takes no more text.
            if signal.SIGHUP not in asked:
                raise
            drop_output()
        finally:
            # What is left is to close the device, which may take forever.
            end_by_signals()
    if session.words is not None and session.words.error is not None:
        echo(f"{session.words.error}; {SOUND_ALONE}", err=True)
    if session.error is not None:
        raise session.error
    if notices.failed or not learnt:
        raise typer.Exit(EXIT_ERROR)


def _learn(name: str | None, engine: Engine) -> bool:
    """Keep what was heard of the voice ``name``, if any, and report it; False if that failed."""
    from ser_stream.models.profile import ProfileError
    from ser_stream.profiles import MIN_SPEECH_S, learn, today

    if name is None:
        return True
    try:
        voice = learn(name, engine, today())
    except ProfileError as error:
        echo(f"error: {error}", err=True)
        return False
    if voice is None:
        told = f"{engine.voiced_s:.0f} s of speech, {MIN_SPEECH_S:g} s are needed"
        echo(f"note: nothing was learnt of the voice {name!r}: {told}", err=True)
    else:
        undo = f"ser-stream profiles --unlearn {name}"
        echo(f"note: learnt from {engine.voiced_s:.0f} s of the voice {name!r}; {undo}", err=True)
    return True


class _RecordingNotices:
    """Reports the state of a recording on stderr."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._noted: str | None = None
        self.failed = False

    def begin(self, wanted: Recording, sample_rate_hz: int, overwrite: bool) -> None:
        """Begin it, and report files that got another name."""
        if not wanted.paths:
            return
        got = self._recorder.begin(wanted, sample_rate_hz, overwrite)
        for path, own in zip(wanted.paths, got.paths, strict=True):
            if not overwrite and own != path:
                echo(f"note: {path} exists, recording to {own}; see --overwrite", err=True)

    def tell(self) -> None:
        """Report what is new."""
        note, recording = self._recorder.note, self._recorder.recording
        if note != self._noted and recording is not None:
            self._noted = note
            echo(f"note: {recording.audio} is {note}", err=True)
        error = self._recorder.take_error()
        if error is not None:
            self.failed = True
            echo(f"error: {error}; nothing more is recorded", err=True)


def _watch(
    session: Session,
    timeline: Timeline,
    view: _View,
    console: Console,
    asked: Sequence[int],
    notices: _RecordingNotices,
) -> None:
    """Show the session until it ends, a key or a signal asks for the end."""
    from ser_stream.cli.keys import Keys
    from ser_stream.cli.terminal import STRIP_S, Meter, MeterView, plain_line

    engine, source = session.engine, session.source
    title = f"ser-stream  {source.name}  {source.sample_rate_hz / 1000:g} kHz"
    if engine.profile_name is not None:
        title += f"  profile {engine.profile_name}"
    title = printable(title)

    position_s, moved_s = 0.0, time.monotonic()

    def current() -> MeterView:
        nonlocal position_s, moved_s
        snapshot = session.snapshot
        if snapshot.position_s != position_s:
            position_s, moved_s = snapshot.position_s, time.monotonic()
        still_s = time.monotonic() - moved_s
        hint = "q quits" if keys.watching else "Ctrl-C quits"
        if still_s >= STILL_S:
            hint = f"no audio for {still_s:.0f} s, {hint}"
        strip = timeline.last(STRIP_S, snapshot.position_s)
        return MeterView(title, engine.bundle.meta.labels, snapshot, strip, hint)

    def ends(timeout_s: float) -> bool:
        over = session.wait(timeout_s) or keys.quit.is_set() or bool(asked)
        notices.tell()
        return over

    # JSON lines are for programs: a terminal, if there is one, belongs to something else.
    with Keys(sys.stdin if view is not _View.JSONL else None) as keys:
        if view is _View.METER:
            from rich.live import Live

            with Live(
                Meter(current()),
                console=console,
                auto_refresh=False,
                redirect_stderr=sys.stderr.isatty(),
            ) as screen:
                size = console.size
                while not ends(REFRESH_S):
                    if console.size != size:
                        # Lines that the terminal has wrapped cannot be drawn over.
                        size = console.size
                        console.clear()
                    screen.update(Meter(current()), refresh=True)
            return
        while not (session.heard.wait(REFRESH_S) or asked):
            pass
        if session.error is None:
            console.print(f"listening: {title}", markup=False, highlight=False)
        shown_s = 0.0
        while not ends(REFRESH_S):
            snapshot = session.snapshot
            if view is _View.PLAIN and snapshot.position_s - shown_s >= PLAIN_EVERY_S:
                shown_s = snapshot.position_s
                console.print(plain_line(current()), markup=False, highlight=False, soft_wrap=True)
