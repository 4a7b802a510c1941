"""``ser-train``: train a recipe, and measure bundles with the runtime."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_stream.bundle import ModelBundle
from ser_stream.entry import run_command
from ser_stream.errors import ConfigError
from ser_stream.normalizer import Normalizer
from training.checkpoint import CHECKPOINT, Checkpoint
from training.corpora import CREDITS, Utterance, audio_files, read_corpus
from training.dataset import FeatureStore, build_features
from training.evaluate import Hearing, evaluate
from training.fit import (
    Calibration,
    Epoch,
    evaluation_windows,
    fit,
    frames_per_s,
    mean_posterior,
    predict,
)
from training.folds import Split, split_by_speaker
from training.metrics import score
from training.recipe import Recipe, load_recipe
from training.report import plot_confusion, write_json

LAST = "last.pt"
N_EXAMPLES = 32

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

CorpusOption = Annotated[
    list[str],
    typer.Option("--corpus", help="NAME=FOLDER; names: crema-d, emodb, ravdess. Repeatable."),
]


@app.callback()
def _top() -> None:
    """Train models on open corpora and measure them."""


@app.command("list")
def list_recipes() -> None:
    """List the recipes that ship with the package."""
    for entry in sorted(resources.files("training.recipes").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            recipe = load_recipe(entry.name.removesuffix(".toml"))
            typer.echo(f"{recipe.name:<16} {recipe.model}, {', '.join(recipe.labels)}")


@app.command()
def run(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE")] = "default",
    corpus: CorpusOption = [],  # noqa: B006 typer reads the default, nothing writes it
    noise: Annotated[
        Path | None, typer.Option("--noise", help="Folder of background noise, e.g. ESC-10.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")] = Path("run"),
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of cached features.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's.")] = None,
    fold: Annotated[
        int, typer.Option("--fold", min=0, max=4, help="Which fifth of the speakers tests.")
    ] = 0,
    refit: Annotated[
        Path | None,
        typer.Option(
            "--refit",
            help="A finished run: learn from its validation speakers too, for all epochs, and take "
            "its calibration.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last epoch.")] = False,
) -> None:
    """Train a recipe: checkpoint, metrics.json and confusion-*.png in the run's folder.

    A fifth of the speakers tests and is never learnt from, 15 % choose the epoch.
    """
    recipe = load_recipe(recipe_name)
    changes = {k: v for k, v in (("epochs", epochs), ("seed", seed)) if v is not None}
    recipe = replace(recipe, train=replace(recipe.train, **changes))
    where = _device(device)
    utterances = _read(corpus, recipe.labels)
    split = split_by_speaker(utterances, fold)
    earlier = None if refit is None else Checkpoint.load(refit)
    if earlier is not None:
        split = Split([*split.train, *split.validation], [], split.test)
    if noise is not None and not noise.is_dir():
        raise ConfigError(f"--noise {noise}: no such folder")
    noises = audio_files(noise) if noise is not None else []
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: cannot write ({error.strerror})") from error
    cache = output / "cache" if cache is None else cache
    stores: dict[str, FeatureStore] = {}
    with _bars() as bars:
        for name, part, variants in (
            ("train", split.train, recipe.augment.variants),
            ("validation", split.validation, 0),
            ("test", split.test, 0),
        ):
            task = bars.add_task(f"features, {name}", total=len(part))
            stores[name] = build_features(
                part, recipe, noises, cache, variants, _teller(bars, task)
            )
            bars.update(task, completed=len(part), total=len(part))
        task = bars.add_task("training", total=recipe.train.epochs)

        def on_epoch(epoch: Epoch, state: Callable[[], dict[str, Any]]) -> None:
            torch.save(state(), output / LAST)
            bars.update(
                task,
                completed=epoch.number,
                description=f"training, loss {epoch.loss:.3f}, validation UAR {epoch.uar:.3f}",
            )
            if not bars.console.is_terminal:
                typer.echo(
                    f"epoch {epoch.number} of {recipe.train.epochs}: loss {epoch.loss:.3f}, "
                    f"validation UAR {epoch.uar:.3f}, {epoch.seconds:.1f} s",
                    err=True,
                )

        state = None
        if resume and (output / LAST).exists():
            state = torch.load(output / LAST, map_location=where, weights_only=True)
        trained = fit(
            recipe,
            split.train,
            stores["train"],
            split.validation,
            stores["validation"],
            where,
            on_epoch,
            state,
        )
    calibration = (
        trained.calibration
        if earlier is None
        else Calibration(earlier.temperature, earlier.logit_bias)
    )
    normalizer = Normalizer(trained.statistics, recipe.normalizer, frames_per_s(recipe))
    metrics: dict[str, Any] = {}
    examples = None
    for name, part in (("validation", split.validation), ("test", split.test)):
        for one in sorted({u.corpus for u in part}):
            result, windows, confusion = _measure(
                recipe, trained.net, normalizer, part, stores[name], one, calibration
            )
            metrics[f"{name} {one}"] = result
            if name == "test":
                plot_confusion(
                    output / f"confusion-{one}.png",
                    confusion,
                    recipe.labels,
                    f"{one}, unseen speakers, UAR {result['uar']:.3f}",
                )
            examples = (
                windows[:: max(1, len(windows) // N_EXAMPLES)] if examples is None else examples
            )
    if examples is None:
        raise ConfigError("nobody is left to test; give a corpus with more speakers")
    used = [*sorted({u.corpus for u in utterances}), *(["esc10"] if noises else [])]
    Checkpoint(
        recipe,
        trained.net,
        trained.statistics.mean,
        trained.statistics.std,
        calibration.temperature,
        calibration.bias,
        tuple(CREDITS[name] for name in used),
        metrics,
        np.ascontiguousarray(examples[:N_EXAMPLES]),
    ).save(output / CHECKPOINT)
    write_json(
        output / "metrics.json",
        {
            "recipe": recipe.as_dict(),
            "fold": fold,
            "best_epoch": trained.best.number,
            "temperature": calibration.temperature,
            "logit_bias": calibration.bias,
            "metrics": metrics,
            "speakers": _speakers(split),
            "history": [
                {"epoch": e.number, "loss": round(e.loss, 4)}
                | ({} if math.isnan(e.uar) else {"uar": round(e.uar, 4)})
                for e in trained.history
            ],
        },
    )
    for name, result in metrics.items():
        typer.echo(f"{name}: UAR {result['uar']:.3f}, WA {result['wa']:.3f}")


@app.command("evaluate")
def evaluate_command(
    model: Annotated[Path | None, typer.Argument(help="Bundle; the shipped one without.")] = None,
    corpus: CorpusOption = [],  # noqa: B006 typer reads the default, nothing writes it
    part: Annotated[
        str, typer.Option("--part", help="test, validation, train or all of the speakers.")
    ] = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file.")] = None,
) -> None:
    """Measure a bundle through the shipped runtime, cold, each clip alone, and running."""
    bundle = ModelBundle.load(model)
    results: dict[str, Any] = {}
    for entry in corpus:
        name, _, _ = entry.partition("=")
        utterances = _read([entry], bundle.meta.labels)
        chosen = utterances if part == "all" else getattr(split_by_speaker(utterances), part, None)
        if not chosen:
            raise ConfigError(f"--part {part}: want test, validation, train or all")
        for hearing in Hearing:
            with _bars() as bars:
                task = bars.add_task(f"{name}, {hearing}", total=len(chosen))
                result = evaluate(bundle, chosen, hearing, _teller(bars, task))
            speakers = len({u.speaker for u in chosen})
            results[f"{name} {part} {hearing}"] = result
            recall = ", ".join(f"{k} {v:.2f}" for k, v in result["recall"].items())
            typer.echo(
                f"{name} {part} ({len(chosen)} clips, {speakers} speakers) {hearing}: "
                f"UAR {result['uar']:.3f}, WA {result['wa']:.3f}, ECE {result['ece']:.3f}; {recall}"
            )
    if output is not None:
        write_json(output, results)


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {name}: want auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no GPU here")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _read(corpora: list[str], labels: tuple[str, ...]) -> list[Utterance]:
    utterances: list[Utterance] = []
    for entry in corpora:
        name, equals, folder = entry.partition("=")
        if not equals:
            raise ConfigError(f"--corpus {entry}: want NAME=FOLDER")
        utterances += [u for u in read_corpus(name, Path(folder)) if u.emotion in labels]
    if not utterances:
        raise ConfigError("nothing to work on; name a corpus: --corpus crema-d=FOLDER")
    return utterances


def _measure(
    recipe: Recipe,
    net: torch.nn.Module,
    normalizer: Normalizer,
    part: list[Utterance],
    store: FeatureStore,
    corpus: str,
    calibration: Calibration,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    keep = [i for i, u in enumerate(part) if u.corpus == corpus]
    utterances = [part[i] for i in keep]
    windows, index = evaluation_windows(
        utterances, FeatureStore([store.frames[i] for i in keep]), normalizer, recipe
    )
    logits = predict(net.cpu(), windows, torch.device("cpu"))
    posterior = mean_posterior(logits, index, len(utterances), calibration)
    truth = np.array([recipe.labels.index(u.emotion) for u in utterances])
    result = score(truth, posterior.argmax(axis=1), len(recipe.labels))
    described = result.as_dict(recipe.labels)
    described["protocol"] = (
        f"{corpus}, intended labels, {len({u.speaker for u in utterances})} speakers not trained "
        "on, running normaliser over a speaker's clips in random order"
    )
    return described, windows, result.confusion


def _speakers(split: Split) -> dict[str, list[str]]:
    return {
        name: sorted({u.speaker for u in getattr(split, name)})
        for name in ("train", "validation", "test")
    }


@contextmanager
def _bars() -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield bars


def _teller(bars: Progress, task: Any) -> Callable[[int, int], None]:
    return lambda done, total: bars.update(task, completed=done, total=total)


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
