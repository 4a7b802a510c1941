"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.data.corpora import CORPORA

CorpusOption = Annotated[
    list[str],
    typer.Option(
        "--corpus",
        help=f"NAME=FOLDER; names: {', '.join(CORPORA)} (manifest=FILE.csv). Repeatable.",
    ),
]
EmbedderOption = Annotated[
    Path | None,
    typer.Option("--embedder", help="A speaker embedder, in place of the speaker's statistics."),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")]
VectorsOption = Annotated[
    Path | None, typer.Option("--vectors", help="A GloVe text file, for recipes with words.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of cached features, not the user's own."),
]
NoiseOption = Annotated[
    Path | None, typer.Option("--noise", help="Folder of background noise, e.g. ESC-10.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="auto (bf16 on a GPU that has it), fp32 or bf16.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="Folds trained at the same time, on the CPU.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Instead of the recipe's.")]
FoldOption = Annotated[
    list[int] | None,
    typer.Option("--fold", min=0, help="Only this fold, counted from 0; repeatable."),
]
