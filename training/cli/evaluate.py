"""``ser-train evaluate``: measure a bundle through the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.errors import ConfigError
from ser_stream.printable import echo
from training.cli.options import CorpusOption
from training.cli.progress import bars_on_stderr, teller

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from ser_stream.models.bundle import ModelBundle
    from training.data.corpora import Utterance


def evaluate_command(
    model: Annotated[Path | None, typer.Argument(help="Bundle; the shipped one without.")] = None,
    corpus: CorpusOption = [],  # noqa: B006 typer reads the default, nothing writes it
    part: Annotated[
        str, typer.Option("--part", help="test, validation, train or all of the speakers.")
    ] = "test",
    fold: Annotated[
        int, typer.Option("--fold", min=0, max=4, help="The fold that the model was trained on.")
    ] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file.")] = None,
) -> None:
    """Measure a bundle through the shipped runtime in each state that it can be in."""
    from ser_stream.models.bundle import ModelBundle
    from training.data.hearing import why_not
    from training.evaluate import as_trained, evaluate, hearings
    from training.report import write_json
    from training.run import read_utterances

    bundle = ModelBundle.load(model)
    results: dict[str, Any] = {}
    for entry in corpus:
        name, _, _ = entry.partition("=")
        chosen = _part(as_trained(read_utterances([entry]), bundle), part, fold, bundle)
        for hearing in hearings(bundle):
            if (reason := why_not(chosen, hearing)) is not None:
                echo(f"{name} {part} {hearing}: left out, {reason}")
                continue
            with bars_on_stderr() as bars:
                task = bars.add_task(f"{name}, {hearing}", total=len(chosen))
                result = evaluate(bundle, chosen, hearing, teller(bars, task))
            speakers = len({u.speaker for u in chosen})
            results[f"{name} {part} {hearing}"] = result
            # A class of the model that the corpus does not have has no recall.
            recall = ", ".join(
                f"{k} -" if v is None else f"{k} {v:.2f}" for k, v in result["recall"].items()
            )
            shown = "".join(
                f", {word} {result[word]:.2f}" for word in ("right", "drift") if word in result
            )
            echo(
                f"{name} {part} ({len(chosen)} clips, {speakers} speakers) {hearing}: "
                f"UAR {result['uar']:.3f}, WA {result['wa']:.3f}, ECE {result['ece']:.3f}{shown}; "
                f"{recall}"
            )
    if output is not None:
        write_json(output, results)


def _part(
    utterances: list[Utterance], part: str, fold: int, bundle: ModelBundle
) -> list[Utterance]:
    from training.data.folds import split_by_speaker

    if part == "all":
        return utterances
    split = split_by_speaker(utterances, fold)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    if part not in parts:
        raise ConfigError(f"--part {part}: want test, validation, train or all")
    chosen = parts[part]
    # A model that names its test speakers may have been trained on another fold.
    told = {s for m in bundle.meta.metrics.values() for s in m.get("speakers", ())}
    here = {u.speaker for u in chosen} & {u.speaker for u in utterances}
    corpora = {s.partition("/")[0] for s in told}
    mine = {s for s in here if s.partition("/")[0] in corpora}
    if part == "test" and mine - told:
        raise ConfigError(
            f"{bundle.meta.name} was not tested on {', '.join(sorted(mine - told))}, so it may "
            f"have learnt from them; it was on {', '.join(sorted(told))}: see --fold"
        )
    return chosen
