"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_stream.scoring.formats import by_row

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
    typer.Option(
        "--device",
        "-d",
        help="Index or part of a name; default input without; - is raw sound on stdin, s16le mono.",
    ),
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
    Path | None,
    typer.Option("--record", help=f"Write every update to a {' or '.join(by_row())} file."),
]
RecordAudioOption = Annotated[
    Path | None,
    typer.Option("--record-audio", help="Write what is heard to a .wav or .flac file."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of --record... instead of numbering.")
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
    str | None, typer.Option("--profile", help="Your voice's profile; see calibrate and --learn.")
]
LearnOption = Annotated[
    bool,
    typer.Option(
        "--learn",
        help="Keep what is heard of the voice of --profile, as statistics, for later.",
    ),
]
