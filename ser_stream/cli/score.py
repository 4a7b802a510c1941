"""Folders of recordings: scores and transcripts as tables."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.cli.assembly import (
    make_engine,
    make_reader,
    open_bundle,
    open_profile,
    recorder_of,
    today,
)
from ser_stream.cli.options import (
    ASR_OPTION,
    AsrOption,
    EmbedderOption,
    GateOption,
    ModelOption,
    ProfileOption,
    SmoothingOption,
    VectorsOption,
)
from ser_stream.entry import EXIT_ERROR
from ser_stream.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from ser_stream.batch import Transcripts

EXIT_SOME_FAILED = 3
# Speech that --neutral needs at least.
NEUTRAL_S = 1.0


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
    bundle = open_bundle(model)
    if neutral:
        check_profiles(bundle)
        known = recorder_of(bundle, neutral).finish("neutral", today(), NEUTRAL_S)
    else:
        known = open_profile(bundle, profile)
    if vectors is None and (transcripts is not None or asr is not None):
        raise ConfigError("--transcripts and --asr are for models that read words: name --vectors")
    reader = make_reader(bundle, vectors, listens=True)
    words = None if reader is None else _transcripts(transcripts, asr)
    engine = make_engine(bundle, hop, smoothing, gate, known, reader, embedder)
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
