"""What ``run`` and ``reproduce`` share: runs, their folds, their reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ser_stream.entry import EXIT_ERROR
from ser_stream.errors import ConfigError
from ser_stream.files import cache_folder
from ser_stream.printable import echo
from training.cli.progress import bars_on_stderr, teller

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from training.data.corpora import Utterance
    from training.fit import Epoch
    from training.metrics import Summary
    from training.recipe.book import RecipeBook
    from training.run import FoldJob, Run

# Exit code when some rows of a table could not be run.
PARTIAL = 3


def plan_run(
    book: RecipeBook,
    variant: str,
    protocol: str,
    changes: dict[str, Any],
    utterances: list[Utterance],
    noise: Path | None,
    output: Path,
    cache: Path | None,
    device: str,
    precision: str,
) -> Run:
    """Put together the run of a recipe's variant under a protocol.

    Raises:
        ConfigError: the recipe with ``changes`` is not valid, or is not about these utterances.
    """
    from training.data.noises import split_noises
    from training.run import Run, select

    recipe = book.recipe(variant, protocol, changes)
    noises = [] if noise is None else split_noises(noise)[0]
    return Run(
        recipe,
        book.protocol(protocol),
        protocol,
        select(utterances, recipe),
        tuple(noises),
        cache_folder("features") if cache is None else cache,
        output,
        device,
        precision,
    )


def cross_validate(
    runs: list[Run], jobs: list[FoldJob], workers: int, failed: list[str]
) -> dict[Path, dict[str, Summary]]:
    """Run what is not finished, write each run's report, and return its sums per corpus.

    The reasons of folds that cannot be trained are appended to ``failed``.
    """
    from training.launch import launch
    from training.run import claimed

    here = launch(runs[0].device, runs[0].precision)
    if here.world_size > 1 and workers > 1:
        raise ConfigError("--jobs is for one process; torchrun has its own")
    with ExitStack() as held:
        # Of torchrun's processes the first holds the folders for all.
        if here.rank == 0:
            for one in runs:
                held.enter_context(claimed(one))
            held.enter_context(_telling_what_is_kept(runs, jobs))
        return _train_and_report(runs, jobs, workers, failed, follower=here.rank > 0)


@contextmanager
def _telling_what_is_kept(runs: list[Run], jobs: list[FoldJob]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        finished = sum(job.result is not None for job in jobs)
        folder = os.path.commonpath([one.folder for one in runs])
        typer.echo(
            f"interrupted: {finished} of {len(jobs)} folds are finished, the others keep their "
            f"last whole epoch, all in {folder}; the same command goes on",
            err=True,
        )
        raise


def _train_and_report(
    runs: list[Run], jobs: list[FoldJob], workers: int, failed: list[str], follower: bool
) -> dict[Path, dict[str, Summary]]:
    from training.crossval import run_jobs
    from training.fold import load_features
    from training.launch import finish, wait_for_all
    from training.metrics import summarize
    from training.report import write_report
    from training.run import results_of

    if not follower:
        for line in dict.fromkeys(filter(None, map(_without_words, runs))):
            echo(line, err=True)
    with bars_on_stderr(hidden=follower) as bars:
        if not follower:
            for one in runs:
                task = bars.add_task(f"features for {one.recipe.name}", total=len(one.utterances))
                load_features(one, teller(bars, task))
                bars.remove_task(task)
        wait_for_all()
        folds = bars.add_task("folds", total=len(jobs))
        current = bars.add_task("epochs", total=None, visible=workers == 1)

        def on_epoch(job: FoldJob, epoch: Epoch) -> None:
            what = f"{job.run.recipe.name} {job.folder.name}"
            told = f"loss {epoch.loss:.3f}, UAR {epoch.uar:.3f}"
            total = job.run.recipe.train.epochs
            bars.update(current, total=total, completed=epoch.number, description=f"{what}: {told}")
            if not bars.console.is_terminal:
                echo(
                    f"{what}: epoch {epoch.number} of {total}: {told}, {epoch.seconds:.1f} s",
                    err=True,
                )

        for job, result in run_jobs(jobs, workers, on_epoch, keep_going=True):
            if "test" in result:
                bars.console.print(_one_line(result), markup=False, highlight=False)
            if "error" in result:
                failed.append(f"{job.run.recipe.name} {job.folder.name}: {result['error']}")
            bars.advance(folds)
    finish()
    if follower:
        raise typer.Exit
    summaries = {}
    for one in runs:
        # Folds that earlier commands finished belong to the run as well.
        done = results_of(one)
        sums = {}
        for name in sorted({name for r in done for name in r["test"]}):
            try:
                sums[name] = summarize(done, name)
            except ValueError as error:
                failed.append(str(error))
        summaries[one.folder] = sums
        write_report(
            one.folder,
            f"{one.recipe.name}, protocol {one.protocol_name}",
            one.terms,
            one.recipe.labels,
            summaries[one.folder],
            done,
        )
    return summaries


def _without_words(run: Run) -> str:
    """How many utterances a table of transcripts has no words for; "" if none."""
    n = sum(not u.text for u in run.utterances)
    if run.transcripts is None or not n:
        return ""
    return f"{run.transcripts}: no words for {n} of {len(run.utterances)} utterances"


def _one_line(result: dict[str, Any]) -> str:
    figures = ", ".join(
        f"{n} WA {v['wa']:.3f} UAR {v['uar']:.3f}" for n, v in result["test"].items()
    )
    what = f"{result['recipe']} seed {result['seed']} fold {result['fold']}"
    return f"{what}: {figures or result['error']}"


def figures_of(summary: Summary) -> str:
    """Accuracies with half their intervals, in words."""
    from training.report import percent

    n_seeds, n_folds = summary.uar.shape
    return (
        f"WA {percent(*summary.interval(summary.wa))} %, "
        f"UAR {percent(*summary.interval(summary.uar))} % ({n_folds} folds x {n_seeds} seeds)"
    )


def tell_failures(failed: list[str], n_jobs: int) -> None:
    """Print why folds could not be trained, each reason once, and exit if there are any.

    Args:
        failed: the reasons.
        n_jobs: with as many failures as this nothing is finished.
    """
    for reason in dict.fromkeys(failed):
        echo(f"error: {reason}", err=True)
    if failed:
        raise typer.Exit(EXIT_ERROR if len(failed) == n_jobs else PARTIAL)
