"""``ser-train run``: cross-validate a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.errors import ConfigError
from ser_stream.printable import echo
from training.cli.cross_validation import cross_validate, figures_of, plan_run, tell_failures
from training.cli.options import (
    CacheOption,
    CorpusOption,
    DeviceOption,
    EmbedderOption,
    EpochsOption,
    FoldOption,
    JobsOption,
    NoiseOption,
    OutputOption,
    PrecisionOption,
    VectorsOption,
)
from training.data.folds import FOLDS

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    pass


def run(
    recipe_name: Annotated[
        str, typer.Argument(metavar="RECIPE", help="RECIPE, RECIPE/VARIANT or a .toml file.")
    ] = "default",
    corpus: CorpusOption = [],  # noqa: B006 typer reads the default, nothing writes it
    protocol: Annotated[
        str, typer.Option("--protocol", help="strict, or paper: as published.")
    ] = "strict",
    part: Annotated[
        str | None, typer.Option("--part", help="IEMOCAP: improvised, scripted or full.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Classes instead of the recipe's, a,b,c.")
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option("--merge", help="excited=happy counts one as the other; none merges nothing."),
    ] = None,
    division: Annotated[
        str | None,
        typer.Option("--folds", help=f"Instead of the protocol's: {', '.join(FOLDS)}."),
    ] = None,
    noise: NoiseOption = None,
    vectors: VectorsOption = None,
    embedder: EmbedderOption = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(
            "--transcripts", help="A CSV (path, text) of words in place of the corpus's own."
        ),
    ] = None,
    output: OutputOption = Path("run"),
    cache: CacheOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    jobs: JobsOption = 1,
    epochs: EpochsOption = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Instead of the protocol's.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="This one seed alone.")] = None,
    fold: FoldOption = None,
    refit: Annotated[
        Path | None,
        typer.Option(
            "--refit",
            help="A finished fold: learn from its validation utterances too, for all epochs, and "
            "take its temperature scaling.",
        ),
    ] = None,
) -> None:
    """Cross-validate a recipe: a checkpoint per fold, report.md and report.json in the folder.

    The same command goes on with what an interrupted run left. With torchrun, each batch is shared
    by all of its processes.
    """
    from training.recipe.book import find_recipe
    from training.run import (
        jobs_of,
        read_utterances,
        told_by_embedder,
        with_transcripts,
        with_vectors,
    )

    book, variant = find_recipe(recipe_name)
    changes: dict[str, Any] = {}
    if epochs is not None:
        changes["train"] = {"epochs": epochs}
    if part is not None:
        changes["part"] = "" if part == "full" else part
    if labels is not None:
        changes["labels"] = [name.strip() for name in labels.split(",")]
    if merge is not None:
        changes["merge"] = _merge(merge, book.recipe(variant, protocol).merge)
    utterances = read_utterances(corpus)
    if transcripts is not None:
        utterances = with_transcripts(utterances, transcripts)
    planned = plan_run(
        book, variant, protocol, changes, utterances, noise, output, cache, device, precision
    )
    if planned.recipe.text.tokens:
        planned = replace(planned, transcripts=transcripts)
        if vectors is not None:
            planned = with_vectors(planned, vectors)
    elif transcripts is not None:
        raise ConfigError(f"{planned.recipe.name} reads no words; leave --transcripts out")
    if embedder is not None:
        planned = told_by_embedder(planned, embedder)
    if division is not None:
        folds = replace(planned.protocol.folds, kind=division)
        planned = replace(planned, protocol=replace(planned.protocol, folds=folds))
    if seed is not None and seeds is not None:
        raise ConfigError("--seed and --seeds: give one of the two")
    if refit is not None:
        chooses_none = replace(planned.protocol, choose_on="none")
        planned = replace(planned, protocol=chooses_none, refit=refit)
    chosen = [seed] if seed is not None else None if seeds is None else list(range(seeds))
    todo = jobs_of(planned, chosen, fold)
    if refit is not None and len(todo) != 1:
        raise ConfigError("--refit is for one fold: name it with --fold, and --seed")
    failed: list[str] = []
    summaries = cross_validate([planned], todo, jobs, failed)[planned.folder]
    for name, summary in summaries.items():
        echo(f"{planned.recipe.name} on {name}, {planned.terms}: " + figures_of(summary))
    tell_failures(failed, len(todo))


def _merge(told: list[str], before: dict[str, str]) -> dict[str, str]:
    # A label that counts as itself is not merged.
    merged = {name: name for name in before}
    for entry in told:
        name, equals, other = entry.partition("=")
        if equals:
            merged[name.strip()] = other.strip()
        elif entry != "none":
            raise ConfigError(f"--merge {entry}: want NAME=OTHER, or none")
    return merged
