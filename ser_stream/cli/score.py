"""Folders of recordings: scores and transcripts as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.cli.assembly import (
    listening_of,
    open_bundle,
    open_profile,
    recorder_of,
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
from ser_stream.cli.table import batch_of
from ser_stream.errors import ConfigError
from ser_stream.scoring.formats import FORMATS

if TYPE_CHECKING:
    from ser_stream.scoring.words import Transcripts

# Speech that --neutral needs at least.
NEUTRAL_S = 1.0

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Files and folders; - is a recording on stdin."),
]


def score(
    paths: PathsArgument,
    windows: Annotated[
        bool, typer.Option("--windows", help="One row per window instead of one per file.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"A {' or '.join(FORMATS)} file, not stdout."),
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
    speaker: Annotated[
        str | None,
        typer.Option(
            "--speaker",
            help="Recordings of one voice are scored by all of them: file (each by itself), "
            "folder, all, or a CSV with path and speaker (talks.csv, talks.csv:COLUMN).",
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
    from ser_stream.models.profile import check_profiles
    from ser_stream.profiles import today
    from ser_stream.scoring.recordings import score_file
    from ser_stream.scoring.rows import prediction_row
    from ser_stream.scoring.speakers import Speakers, speaker_of
    from ser_stream.types import Prediction, State

    if profile is not None and neutral:
        raise ConfigError("--profile and --neutral: give one of the two")
    if speaker is not None and (profile is not None or neutral):
        raise ConfigError("--speaker goes by the recordings: give no --profile or --neutral")
    whose = None if speaker is None else speaker_of(speaker)
    if vectors is None and (transcripts is not None or asr is not None):
        raise ConfigError("--transcripts and --asr are for models that read words: name --vectors")
    with batch_of("scored", paths, output, jsonl) as batch:
        bundle = open_bundle(model)
        if neutral:
            check_profiles(bundle)
            known, voice = recorder_of(bundle, neutral).finish("neutral", today(), NEUTRAL_S), None
        else:
            known, voice = open_profile(bundle, profile)
        listening = listening_of(
            bundle,
            known,
            voice,
            hop_s=hop,
            smoothing_s=smoothing,
            gate=gate,
            vectors=vectors,
            embedder=embedder,
        )
        words = None if listening.reader is None else _transcripts(transcripts, asr)
        engine = listening.engine()
        meta = bundle.meta
        speakers = None if whose is None else Speakers(bundle, whose)
        if speakers is not None:
            speakers.hear(batch.first_pass())
        no_window = dict.fromkeys(
            prediction_row(Prediction(0, 0, State.WARMING_UP), meta.labels, meta.sample_rate_hz)
        )

        for path in batch:
            whom = None if speakers is None else speakers.of(path)
            known_by = {"speaker": whom, "profile": engine.profile_name}

            def write_window(
                prediction: Prediction, path: Path = path, known_by: dict[str, Any] = known_by
            ) -> None:
                row = prediction_row(prediction, meta.labels, meta.sample_rate_hz)
                batch.write({"path": str(path), **row, **known_by, "error": None})

            result = score_file(
                path,
                engine,
                write_window if windows else lambda prediction: None,
                batch.progress,
                words,
                speakers,
            )
            if result.error is not None:
                batch.fail(path, result.error)
            if not windows:
                batch.write(result.row(meta.labels))
            elif result.error is not None:
                batch.write({"path": str(path), **no_window, **known_by, "error": result.error})


def transcribe(
    paths: PathsArgument,
    asr: Annotated[str, ASR_OPTION] = "pocketsphinx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv file, not stdout.")
    ] = None,
) -> None:
    """Write down what recordings say, as score --transcripts and ser-train read it."""
    from ser_stream.audio.sound_file import STANDARD_INPUT
    from ser_stream.scoring.recordings import reason_of
    from ser_stream.scoring.words import recognize
    from ser_stream.words.recognizers import make_asr

    if output is not None and output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: name a .csv file")
    with batch_of("transcribed", paths, output) as batch:
        recognizer = make_asr(asr, whole=True)
        for path in batch:
            try:
                found = recognize(path, recognizer).words
            except Exception as error:  # see `reason_of`
                batch.fail(path, reason_of(path, error))
                continue
            where = {"path": str(path if path == STANDARD_INPUT else path.resolve())}
            for word in found:
                start_s, end_s = round(word.start_s, 3), round(word.end_s, 3)
                batch.write({**where, "text": word.text, "start_s": start_s, "end_s": end_s})
            if not found:
                # Nothing was understood, which is not the same as never having listened.
                batch.write({**where, "text": "", "start_s": None, "end_s": None})


def _transcripts(table: Path | None, asr: str | None) -> Transcripts:
    from ser_stream.scoring.words import Transcripts
    from ser_stream.words.recognizers import make_asr
    from ser_stream.words.transcripts import read_transcripts_csv

    return Transcripts(
        None if table is None else read_transcripts_csv(table),
        None if asr is None else make_asr(asr, whole=True),
    )
