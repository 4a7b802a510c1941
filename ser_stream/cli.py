"""``ser-stream``: the meter in a terminal, folders of recordings, and what a bug report needs.

Data goes to stdout, everything else to stderr. Exit codes: 0 all is well, 1 an error that ends the
command, 2 wrong usage, 3 some of the files could not be scored.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream import __version__
from ser_stream.entry import EXIT_ERROR, run_command
from ser_stream.errors import AudioError, ConfigError, DeviceError

if TYPE_CHECKING:
    from rich.console import Console

    from ser_stream.batch import Transcripts
    from ser_stream.bundle import ModelBundle
    from ser_stream.engine import Engine
    from ser_stream.profile import Profile, ProfileRecorder
    from ser_stream.reading import WordReader
    from ser_stream.records import Timeline
    from ser_stream.session import Session, Sink
    from ser_stream.tui import MeterView
    from ser_stream.types import AudioSource

# The matrices of a frame are small: threads would spin for nothing. Read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

EXIT_SOME_FAILED = 3
LIVE_HOP_S = 0.1
REFRESH_S = 0.1
PLAIN_EVERY_S = 1.0
STILL_S = 1.5
# Speech that --neutral needs at least.
NEUTRAL_S = 1.0
# Said where a model that reads words has none.
SOUND_ALONE = "going by the sound alone"
# Calibration gives up after this many times the speech that it wants.
PATIENCE = 4.0

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    help="What a voice sounds like while it speaks: a live meter for the microphone and a scorer "
    "for recordings. Nothing leaves the machine, and nothing is recorded unless asked for.",
)

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Model file; the shipped one without.")
]
HopOption = Annotated[
    float, typer.Option("--hop", help="Seconds between updates, rounded to whole frames.")
]
SmoothingOption = Annotated[
    float | None,
    typer.Option("--smoothing", help="Seconds that count as one observation; more is calmer."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", "-d", help="Index or part of a name; default input without."),
]
RateOption = Annotated[
    int | None, typer.Option("--rate", min=1000, help="Ask the device for this rate, Hz.")
]
DurationOption = Annotated[
    float | None, typer.Option("--duration", help="Stop after this much audio, seconds.")
]
GateOption = Annotated[
    bool, typer.Option("--gate/--no-gate", help="Hold back windows without speech.")
]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="One JSON object per update on stdout.")]
RecordOption = Annotated[
    Path | None, typer.Option("--record", help="Write every update to a .jsonl or .csv file.")
]
RecordAudioOption = Annotated[
    Path | None,
    typer.Option("--record-audio", help="Write what is heard to a .wav or .flac file."),
]
ASR_OPTION = typer.Option(
    "--asr",
    help="Recognise words: pocketsphinx, or the folder of a streaming model for sherpa-onnx.",
)
AsrOption = Annotated[str | None, ASR_OPTION]
VectorsOption = Annotated[
    Path | None,
    typer.Option("--vectors", help="Word vectors, for models that read words; see info."),
]
EmbedderOption = Annotated[
    Path | None,
    typer.Option("--embedder", help="Speaker embedder, for models that are told who speaks."),
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Your voice's profile; see calibrate.")
]


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


@app.callback(invoke_without_command=True)
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


@app.command()
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


@app.command()
def score(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    windows: Annotated[
        bool, typer.Option("--windows", help="One row per window instead of one per file.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv or .jsonl file, not stdout.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="JSON lines on stdout, not CSV.")] = False,
    model: ModelOption = None,
    hop: Annotated[
        float | None,
        typer.Option("--hop", help="Seconds between windows; the model's default without."),
    ] = None,
    smoothing: SmoothingOption = None,
    gate: GateOption = True,
    profile: ProfileOption = None,
    neutral: Annotated[
        list[Path] | None,
        typer.Option(
            "--neutral", help="Neutral speech of the same speaker, in place of a profile."
        ),
    ] = None,
    vectors: VectorsOption = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(
            "--transcripts",
            help="A CSV with path and text; else .vtt, .srt or .txt files beside the recordings.",
        ),
    ] = None,
    asr: AsrOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Score recordings: any rate, any channels, anything that libsndfile reads."""
    from ser_stream.batch import score_file
    from ser_stream.profile import check_profiles
    from ser_stream.records import RowWriter, prediction_row
    from ser_stream.types import Prediction, State

    if profile is not None and neutral:
        raise ConfigError("--profile and --neutral: give one of the two")
    bundle = _bundle(model)
    if neutral:
        check_profiles(bundle)
        known = _heard(bundle, neutral).finish("neutral", _today(), NEUTRAL_S)
    else:
        known = _profile(bundle, profile)
    if vectors is None and (transcripts is not None or asr is not None):
        raise ConfigError("--transcripts and --asr are for models that read words: name --vectors")
    reader = _reader(bundle, vectors, listens=True)
    words = None if reader is None else _transcripts(transcripts, asr)
    engine = _engine(bundle, hop, smoothing, gate, known, reader, embedder)
    meta = engine.bundle.meta
    # An earlier table is only overwritten once there is something to write.
    files = _audio_files(paths)
    writer = RowWriter.open(output) if output else RowWriter(sys.stdout, jsonl)
    no_window = dict.fromkeys(
        prediction_row(Prediction(0, 0, State.WARMING_UP), meta.labels, meta.sample_rate_hz)
    )
    failed = 0
    try:
        with _progress(len(files)) as advance:
            for done, path in enumerate(files):

                def write_window(prediction: Any, path: Path = path) -> None:
                    row = prediction_row(prediction, meta.labels, meta.sample_rate_hz)
                    writer.write({"path": str(path), **row, "error": None})

                result = score_file(
                    path,
                    engine,
                    write_window if windows else lambda prediction: None,
                    lambda share, done=done: advance(done + share),
                    words,
                )
                if result.error is not None:
                    failed += 1
                    typer.echo(f"error: {path}: {result.error}", err=True)
                if not windows:
                    writer.write(result.row(meta.labels))
                elif result.error is not None:
                    writer.write({"path": str(path), **no_window, "error": result.error})
                advance(done + 1)
    finally:
        writer.close()
    _tell_failed(failed, len(files))


@app.command()
def transcribe(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    asr: Annotated[str, ASR_OPTION] = "pocketsphinx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv file, not stdout.")
    ] = None,
) -> None:
    """Write down what recordings say, as score --transcripts and ser-train read it."""
    from ser_stream.asr import AsrError, make_asr
    from ser_stream.batch import recognize
    from ser_stream.records import RowWriter

    if output is not None and output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: name a .csv file")
    recognizer = make_asr(asr, whole=True)
    files = _audio_files(paths)
    writer = RowWriter.open(output) if output else RowWriter(sys.stdout, False)
    failed = 0
    try:
        with _progress(len(files)) as advance:
            for done, path in enumerate(files, 1):
                try:
                    found = recognize(path, recognizer).words
                except (AudioError, AsrError) as error:
                    failed += 1
                    typer.echo(f"error: {error}", err=True)
                    continue
                finally:
                    advance(done)
                where = {"path": str(path.resolve())}
                for word in found:
                    start_s, end_s = round(word.start_s, 3), round(word.end_s, 3)
                    writer.write({**where, "text": word.text, "start_s": start_s, "end_s": end_s})
                if not found:
                    # Nothing was understood, which is not the same as never having listened.
                    writer.write({**where, "text": "", "start_s": None, "end_s": None})
    finally:
        writer.close()
    _tell_failed(failed, len(files))


@app.command()
def calibrate(
    profile: Annotated[str, typer.Option("--profile", help="Name of the profile to make.")],
    device: DeviceOption = None,
    rate: RateOption = None,
    model: ModelOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=5.0, help="Speech to listen to.")
    ] = 15.0,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Recordings of neutral speech instead of a microphone."),
    ] = None,
) -> None:
    """Learn what your neutral voice sounds like: read a text aloud in your everyday voice.

    Only statistics are kept, no audio.
    """
    from ser_stream.profile import check_profiles, profile_path

    path = profile_path(profile)
    bundle = _bundle(model)
    check_profiles(bundle)
    if file:
        recorder = _heard(bundle, file)
    else:
        from ser_stream.microphone import Microphone

        with Microphone(device, rate) as microphone:
            recorder = _guided(microphone, bundle, seconds)
    recorder.finish(profile, _today()).save(path)
    typer.echo(f"profile {profile!r}: {recorder.speech_s:.1f} s of speech, {path}")


def _guided(source: AudioSource, bundle: ModelBundle, wanted_s: float) -> ProfileRecorder:
    """Show a text to read, and listen until there is enough of it."""
    from rich.console import Console
    from rich.live import Live

    from ser_stream.profile import ProfileRecorder
    from ser_stream.resample import StreamingResampler
    from ser_stream.tui import CalibrationView

    console = Console(stderr=True)
    recorder = ProfileRecorder(bundle)
    resampler = StreamingResampler(source.sample_rate_hz, bundle.meta.sample_rate_hz)
    told_s = 0.0
    with Live(console=console, auto_refresh=False) as screen:
        for block in source:
            recorder.feed(resampler.push(block).samples)
            if console.is_terminal:
                view = CalibrationView(
                    recorder.speech_s, wanted_s, recorder.level_dbfs, recorder.advice()
                )
                screen.update(view, refresh=True)
            elif recorder.heard_s - told_s >= 1.0:
                told_s = recorder.heard_s
                line = (
                    f"{recorder.speech_s:.1f} of {wanted_s:g} s of speech, "
                    f"{recorder.level_dbfs:.0f} dBFS"
                )
                advice = recorder.advice()
                console.print(f"{line}; {advice}" if advice else line, highlight=False)
            if recorder.speech_s >= wanted_s or recorder.heard_s >= PATIENCE * wanted_s:
                break
    return recorder


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def gui(context: typer.Context) -> None:
    """Open the window; its options are those of ser-gui."""
    from importlib.metadata import entry_points

    # The window stands on this package, not the other way round: it is found by its name.
    for entry in entry_points(group="console_scripts", name="ser-gui"):
        sys.argv = ["ser-gui", *context.args]
        entry.load()()
        return
    raise ConfigError("ser-gui is not installed")


@app.command()
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """List input devices; the default one is marked."""
    from ser_stream.microphone import list_devices

    found = list_devices()
    if as_json:
        typer.echo(json.dumps([asdict(d) for d in found]))
        return
    if not found:
        raise DeviceError("no input device")
    for d in found:
        mark = "*" if d.is_default else " "
        typer.echo(
            f"{mark} {d.index:3d}  {d.name}  ({d.host_api}, {d.channels} channels, "
            f"{d.sample_rate_hz} Hz)"
        )


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Argument(help="Model file; the shipped one without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All metadata as JSON.")] = False,
) -> None:
    """Show what a model file says about itself."""
    bundle = _bundle(model)
    if as_json:
        typer.echo(json.dumps(bundle.describe(), indent=2, default=str))
        return
    m = bundle.meta
    typer.echo(f"{m.name}  ({bundle.path}, {bundle.path.stat().st_size / 1e6:.2f} MB)")
    typer.echo(f"classes      {', '.join(m.labels)}")
    params = ", ".join(
        f"{k}={v if isinstance(v, str) else format(v, 'g')}" for k, v in m.frontend_params.items()
    )
    ahead_ms = 1000 * bundle.look_ahead_samples / m.sample_rate_hz
    typer.echo(f"front end    {m.frontend} ({params}); look-ahead {ahead_ms:.0f} ms")
    typer.echo(
        f"window       {m.window_frames} frames, {bundle.window_s:.2f} s; "
        f"hop {m.window_hop_frames} frames, {m.window_hop_frames * bundle.hop_s:.3f} s"
    )
    running = f", prior {m.normalizer.prior_s:g} s, memory {m.normalizer.memory_s:g} s"
    typer.echo(
        f"normaliser   {m.normalizer_state}"
        + (running if m.normalizer_state == "running" else "")
        + (", level taken out" if m.normalizer.level else "")
        + (f"; embedding {m.embedding}" if m.embedding else "")
    )
    if m.speaker is not None:
        typer.echo(
            f"speaker      {m.speaker.dimension} values of the embedder {m.speaker.embedder} "
            f"(SHA-256 {m.speaker.digest[:12]}...)"
        )
    if m.words is not None:
        typer.echo(
            f"words        {m.words.tokens} tokens a window, vectors {m.words.vectors} "
            f"({m.words.width} values, SHA-256 {m.words.digest[:12]}...)"
        )
    typer.echo(f"profiles     {'yes, see calibrate' if m.profiles else 'not trained for them'}")
    s = m.smoothing
    typer.echo(
        f"smoothing    evidence {s.evidence_s:g} s, stay {s.stay_s:g} s, "
        f"enter {s.enter:g}, leave {s.leave:g}, forget after {s.forget_s:g} s; "
        f"a recording is sure from {m.sure:g} on"
    )
    bias = ", ".join(f"{b:+.2f}" for b in m.logit_bias) or "none"
    typer.echo(f"calibration  temperature {m.temperature:.3f}, logit bias {bias}")
    for data in m.training_data:
        typer.echo(f"trained on   {data.corpus} ({data.licence}): {data.credit}")
    typer.echo(f"licence      {m.licence}")
    for name, value in m.metrics.items():
        typer.echo(f"measured     {name}: UAR {value['uar']:.3f}; {value['protocol']}")


@app.command()
def doctor() -> None:
    """Print what belongs into a bug report: versions, devices, providers, and a test run."""
    import platform
    from importlib import metadata

    import numpy as np

    def show(name: str, value: object) -> None:
        typer.echo(f"{name:<14} {value}")

    show("ser-stream", __version__)
    show("python", f"{platform.python_version()} on {platform.platform()}")
    for package in (
        "numpy", "soxr", "soundfile", "sounddevice", "rich", "typer",
        "onnxruntime", "onnxruntime-gpu", "pocketsphinx", "sherpa-onnx",
    ):  # fmt: skip
        with contextlib.suppress(metadata.PackageNotFoundError):
            show(package, metadata.version(package))
    import soundfile

    show("libsndfile", soundfile.__libsndfile_version__)
    import onnxruntime

    show("providers", ", ".join(onnxruntime.get_available_providers()))
    from ser_stream.microphone import list_devices, portaudio

    try:
        show("portaudio", portaudio().get_portaudio_version()[1])
        found = list_devices()
        for d in found:
            mark = " (default)" if d.is_default else ""
            show("input", f"{d.index} {d.name}, {d.host_api}, {d.sample_rate_hz} Hz{mark}")
        if not found:
            show("input", "none")
    except DeviceError as error:
        show("portaudio", error)
    from ser_stream.types import AudioBlock

    bundle = _bundle(None)
    show("model", f"{bundle.meta.name}, {bundle.path}")
    engine = _engine(bundle, LIVE_HOP_S, None, True)
    rate = bundle.meta.sample_rate_hz
    noise = np.random.default_rng(0).normal(0, 0.01, 5 * rate).astype(np.float32)
    began = time.perf_counter()
    answers = engine.feed(AudioBlock(noise, 0))
    load = (time.perf_counter() - began) / 5
    show("test run", f"{len(answers)} updates over 5 s of noise, {load:.1%} of real time")


def _bundle(path: Path | None) -> ModelBundle:
    from ser_stream.bundle import ModelBundle

    return ModelBundle.load(path)


def _profile(bundle: ModelBundle, name: str | None) -> Profile | None:
    from ser_stream.profile import load_profile

    return None if name is None else load_profile(name, bundle)


def _audio_files(paths: list[Path]) -> list[Path]:
    from ser_stream.batch import find_audio

    files = list(find_audio(paths))
    if not files:
        raise AudioError(f"no audio below {', '.join(str(p) for p in paths)}")
    return files


def _tell_failed(failed: int, total: int) -> None:
    """End the command with its code where files failed."""
    if failed:
        raise typer.Exit(EXIT_ERROR if failed == total else EXIT_SOME_FAILED)


def _transcripts(table: Path | None, asr: str | None) -> Transcripts:
    from ser_stream.asr import make_asr
    from ser_stream.batch import Transcripts
    from ser_stream.transcripts import read_transcripts_csv

    return Transcripts(
        None if table is None else read_transcripts_csv(table),
        None if asr is None else make_asr(asr, whole=True),
    )


def _heard(bundle: ModelBundle, paths: list[Path]) -> ProfileRecorder:
    """Listen to recordings."""
    from ser_stream.batch import find_audio
    from ser_stream.profile import ProfileRecorder
    from ser_stream.resample import StreamingResampler
    from ser_stream.sources import FileSource

    recorder = ProfileRecorder(bundle)
    for path in find_audio(paths):
        source = FileSource(path)
        resampler = StreamingResampler(source.sample_rate_hz, bundle.meta.sample_rate_hz)
        for block in source:
            recorder.feed(resampler.push(block).samples)
        recorder.feed(resampler.flush().samples)
    return recorder


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _engine(
    bundle: ModelBundle,
    hop_s: float | None,
    smoothing_s: float | None,
    gate: bool,
    profile: Profile | None = None,
    reader: WordReader | None = None,
    embedder: Path | None = None,
) -> Engine:
    from ser_stream.engine import Engine, EngineConfig
    from ser_stream.speaker import SpeakerEmbedder
    from ser_stream.vad import GateConfig

    speaker = bundle.meta.speaker
    if speaker is not None and embedder is None:
        told = f"{bundle.meta.name} is told who speaks by --embedder {speaker.embedder}"
        typer.echo(f"note: {told}; hearing nobody in particular", err=True)
    smoothing = bundle.meta.smoothing
    if smoothing_s is not None:
        smoothing = smoothing.with_evidence(smoothing_s)
    return Engine(
        bundle,
        EngineConfig(
            hop_s=hop_s,
            smoothing=smoothing,
            gate=GateConfig() if gate else None,
            profile=profile,
        ),
        reader=reader,
        embedder=None if embedder is None else SpeakerEmbedder.load(embedder),
    )


def _reader(bundle: ModelBundle, vectors: Path | None, listens: bool) -> WordReader | None:
    """Vectors for a model that reads words; a note where it has to do without."""
    from ser_stream.reading import open_reader

    reads = bundle.meta.words
    if reads is not None and vectors is None:
        missing = f"--vectors {reads.vectors}" if listens else "--asr and --vectors"
        typer.echo(
            f"note: {bundle.meta.name} reads words too, see {missing}; {SOUND_ALONE}", err=True
        )
    return open_reader(bundle, vectors)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("scoring", total=total)
        yield lambda done: bar.update(task, completed=done)


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

    bundle = _bundle(options.model)
    known = _profile(bundle, options.profile)
    reader = _reader(bundle, options.vectors, options.asr is not None)
    engine = _engine(
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


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
