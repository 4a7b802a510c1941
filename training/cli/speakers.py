"""``ser-train speakers``: train a speaker embedder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser_stream.files import cache_folder
from ser_stream.printable import echo
from training.cli.options import (
    CacheOption,
    CorpusOption,
    DeviceOption,
    EpochsOption,
    NoiseOption,
    OutputOption,
)
from training.cli.progress import bars_on_stderr, teller

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from training.speakers.fit import SpeakerEpoch


def speakers_command(
    corpus: CorpusOption = [],  # noqa: B006 typer reads the default, nothing writes it
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="A .toml file; the shipped x-vector without.")
    ] = None,
    noise: NoiseOption = None,
    output: OutputOption = Path("speakers"),
    cache: CacheOption = None,
    device: DeviceOption = "auto",
    epochs: EpochsOption = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of 0.")] = None,
    final: Annotated[
        bool,
        typer.Option("--final", help="Learn from the validation speakers too; report on the test."),
    ] = False,
) -> None:
    """Train a speaker embedder, and report equal error rates on speakers outside the training."""
    from training.data.noises import split_noises
    from training.launch import launch
    from training.run import read_utterances
    from training.speakers.recipe import load_speaker_recipe
    from training.speakers.run import SpeakerRun, run_speakers

    recipe = load_speaker_recipe(recipe_file)
    changes = {name: v for name, v in (("epochs", epochs), ("seed", seed)) if v is not None}
    recipe = replace(recipe, train=replace(recipe.train, **changes))
    run = SpeakerRun(
        recipe,
        read_utterances(corpus),
        () if noise is None else split_noises(noise)[0],
        cache_folder("features") if cache is None else cache,
        output,
        final,
        launch(device, "fp32"),
    )
    with bars_on_stderr() as bars:
        features = bars.add_task("features", total=len(run.utterances))
        epochs_done = bars.add_task("epochs", total=recipe.train.epochs)

        def on_epoch(epoch: SpeakerEpoch, eer: float) -> None:
            told = f"loss {epoch.loss:.3f}" + ("" if math.isnan(eer) else f", EER {eer:.3f}")
            bars.update(epochs_done, completed=epoch.number, description=told)
            if not bars.console.is_terminal:
                echo(f"epoch {epoch.number} of {recipe.train.epochs}: {told}", err=True)

        try:
            checkpoint = run_speakers(run, teller(bars, features), on_epoch)
        except KeyboardInterrupt:
            bars.stop()
            typer.echo(
                f"interrupted: nothing is kept in {output}, finished features are in {run.cache}; "
                "the same command begins anew",
                err=True,
            )
            raise
    for name, result in checkpoint.metrics.items():
        eer = "too few recordings" if result["eer"] is None else f"EER {result['eer']:.3f}"
        echo(f"{recipe.name} on {name} ({len(result['speakers'])} speakers): {eer}")
