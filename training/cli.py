"""``ser-train``: train recipes, reproduce the papers, and measure bundles with the runtime."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.entry import EXIT_ERROR, run_command, version_option
from ser_stream.errors import ConfigError
from ser_stream.files import cache_folder, write_text
from ser_stream.printable import echo
from training.data.corpora import CORPORA, card_corpora
from training.data.folds import FOLDS
from training.data.noises import NOISE_FOLDER

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from rich.progress import Progress

    from ser_stream.models.bundle import ModelBundle
    from training.data.corpora import Utterance
    from training.fit import Epoch
    from training.metrics import Summary
    from training.recipe.book import RecipeBook, Row
    from training.run import Job, Run
    from training.speakers.fit import SpeakerEpoch

# Exit code when some rows of a table could not be run.
PARTIAL = 3

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)

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


@app.callback()
def _top(
    version: Annotated[bool, version_option("ser-train")] = False,
) -> None:
    """Train models on open corpora and measure them."""


@app.command("list")
def list_recipes(
    rows: Annotated[
        bool, typer.Option("--rows", help="The tables of the papers, with published figures.")
    ] = False,
) -> None:
    """List the recipes that ship with the package, with their variants and protocols."""
    from training.recipe.book import load_book, shipped_recipes

    for name in shipped_recipes():
        book = load_book(name)
        recipe = book.recipe(protocol=next(iter(book.protocols)))
        protocols = ", ".join(book.protocols)
        echo(f"{name}: {recipe.model} on {recipe.frontend}; protocols {protocols}")
        if recipe.source:
            echo(f"    {recipe.source}")
        if rows:
            for row in book.rows:
                figures = "" if math.isnan(row.wa) else f"WA {row.wa}, UA {row.ua}: "
                echo(f"    {_place(row)}: {figures}{_full_name(book, row.variant)}")
        else:
            for variant in book.variants:
                echo(f"    {_full_name(book, variant)}")


@app.command()
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
            "take its calibration.",
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
    planned = _plan(
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
    summaries = _cross_validate([planned], todo, jobs, failed)[planned.folder]
    for name, summary in summaries.items():
        echo(f"{planned.recipe.name} on {name}, {planned.terms}: " + _figures(summary))
    _tell_failures(failed, len(todo))


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="A recipe with the tables of a paper; see list.")],
    iemocap: Annotated[Path, typer.Option("--iemocap", help="A copy of IEMOCAP.")],
    vectors: VectorsOption = None,
    embedder: EmbedderOption = None,
    asr_transcripts: Annotated[
        Path | None,
        typer.Option(
            "--asr-transcripts", help="A CSV (path, text) of a recogniser's words, for ASR rows."
        ),
    ] = None,
    output: OutputOption = Path("reproduction"),
    cache: CacheOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    jobs: JobsOption = 1,
    epochs: EpochsOption = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Instead of the paper's.")
    ] = None,
    fold: FoldOption = None,
) -> None:
    """Run every row of a paper's tables as published, and print it beside the published figures.

    Rows that need an option which is not given are left out, and named below the table.
    """
    from training.recipe.book import load_book
    from training.report import markdown_table
    from training.run import (
        jobs_of,
        read_utterances,
        told_by_embedder,
        with_transcripts,
        with_vectors,
    )

    book = load_book(paper)
    if not book.rows:
        raise ConfigError(f"recipe {paper} reproduces no paper")
    spoken = {"": read_utterances([f"iemocap={iemocap}"])}
    if asr_transcripts is not None:
        spoken["asr"] = with_transcripts(spoken[""], asr_transcripts)
    changes: dict[str, Any] = {} if epochs is None else {"train": {"epochs": epochs}}
    runs: dict[tuple[str, str, str], Run] = {}
    not_run: dict[tuple[str, str, str], str] = {}
    failed: list[str] = []
    todo: list[Job] = []
    chosen = None if seeds is None else list(range(seeds))
    for row in book.rows:
        key = _key(row)
        if key in {*runs, *not_run}:
            continue
        try:
            names = [row.variant or "main", row.part or "full", row.transcripts]
            planned = _plan(
                book, row.variant, "paper", {**changes, "part": row.part},
                spoken.get(row.transcripts, spoken[""]), None,
                output / "-".join(filter(None, names)), cache, device, precision,
            )  # fmt: skip
            if embedder is not None and planned.recipe.embedding:
                planned = told_by_embedder(planned, embedder)
            needs = []
            if planned.recipe.text.tokens:
                if vectors is None:
                    needs = ["--vectors"]
                else:
                    planned = with_vectors(planned, vectors)
            if row.transcripts:
                needs += ["--asr-transcripts"] if asr_transcripts is None else []
                planned = replace(planned, transcripts=asr_transcripts)
            if needs:
                not_run[key] = f"needs {' and '.join(needs)}"
                continue
            todo += jobs_of(planned, chosen, fold)
            runs[key] = planned
        except ConfigError as error:
            not_run[key] = str(error)
            failed.append(str(error))
    summaries = _cross_validate(list(runs.values()), todo, jobs, failed) if runs else {}
    lines = []
    left_out: dict[str, list[str]] = {}
    for row in book.rows:
        planned = runs.get(_key(row))
        summary = summaries[planned.folder].get("iemocap") if planned else None
        lines.append(_beside(row, summary, planned))
        if planned is None:
            left_out.setdefault(not_run[_key(row)], []).append(_place(row))
    notes = [f"\n`--` {reason}: {'; '.join(rows)}.\n" for reason, rows in left_out.items()]
    header = [
        "table", "row", "part", "WA published", "WA here", "UA published", "UA here",
        "folds x seeds x epochs",
    ]  # fmt: skip
    text = (
        f"# {paper} on IEMOCAP\n\n{book.protocol('paper').describe()}. Percent; mean over folds "
        f"and half its 95 % interval.\n\n{markdown_table(header, lines)}\n{''.join(notes)}"
    )
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "reproduction.md", text)
    typer.echo(text)
    _tell_failures(failed, 0)


def _key(row: Row) -> tuple[str, str, str]:
    """Rows with the same key report the same run."""
    return row.variant, row.part, row.transcripts


def _place(row: Row) -> str:
    return f"{row.table}, {row.row}" + (f" ({row.part})" if row.part else "")


def _tell_failures(failed: list[str], n_jobs: int) -> None:
    for reason in dict.fromkeys(failed):
        echo(f"error: {reason}", err=True)
    if failed:
        raise typer.Exit(EXIT_ERROR if len(failed) == n_jobs else PARTIAL)


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


def _beside(row: Row, summary: Summary | None, run: Run | None) -> list[str]:
    from training.report import percent

    wa, ua = ("" if math.isnan(v) else f"{v:.2f}" for v in (row.wa, row.ua))
    wa_here, ua_here, behind = "--", "--", ""
    if summary is not None and run is not None:
        n_seeds, n_folds = summary.uar.shape
        behind = f"{n_folds} x {n_seeds} x {run.recipe.train.epochs}"
        wa_here = percent(*summary.interval(summary.wa))
        ua_here = percent(*summary.interval(summary.uar))
    return [row.table, row.row, row.part or "full", wa, wa_here, ua, ua_here, behind]


def _plan(
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


def _cross_validate(
    runs: list[Run], jobs: list[Job], workers: int, failed: list[str]
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
def _telling_what_is_kept(runs: list[Run], jobs: list[Job]) -> Iterator[None]:
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
    runs: list[Run], jobs: list[Job], workers: int, failed: list[str], follower: bool
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
    with _bars(hidden=follower) as bars:
        if not follower:
            for one in runs:
                task = bars.add_task(f"features for {one.recipe.name}", total=len(one.utterances))
                load_features(one, _teller(bars, task))
                bars.remove_task(task)
        wait_for_all()
        folds = bars.add_task("folds", total=len(jobs))
        current = bars.add_task("epochs", total=None, visible=workers == 1)

        def on_epoch(job: Job, epoch: Epoch) -> None:
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


def _figures(summary: Summary) -> str:
    from training.report import percent

    n_seeds, n_folds = summary.uar.shape
    return (
        f"WA {percent(*summary.interval(summary.wa))} %, "
        f"UAR {percent(*summary.interval(summary.uar))} % ({n_folds} folds x {n_seeds} seeds)"
    )


def _full_name(book: RecipeBook, variant: str) -> str:
    return f"{book.name}/{variant}" if variant else book.name


@app.command("evaluate")
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
            with _bars() as bars:
                task = bars.add_task(f"{name}, {hearing}", total=len(chosen))
                result = evaluate(bundle, chosen, hearing, _teller(bars, task))
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


@app.command("card")
def card_command(
    models: Annotated[
        list[Path] | None, typer.Argument(help="Bundles; the shipped one without.")
    ] = None,
    data: Annotated[
        Path,
        typer.Option("--data", help=f"Folder with {', '.join((*card_corpora(), NOISE_FOLDER))}."),
    ] = Path("data"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("card"),
    robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Measure bad channels too.")
    ] = True,
) -> None:
    """Write a report card: accuracy, calibration, robustness, silence, responsiveness.

    Several models get a folder each, named after the file, and a table side by side; a card of the
    very same file and speech gate that lies there already is kept.
    """
    from rich.console import Console

    from ser_stream.models.bundle import ModelBundle
    from training.card.card import make_card, measured
    from training.card.report import write_card, write_comparison
    from training.occupancy import occupied

    names = [path.stem for path in models or ()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two models are called {', '.join(twice)}: copy one to another name")
    cards = {}
    with occupied(output):
        for path in models or [None]:
            bundle = ModelBundle.load(path)
            several = models is not None and len(models) > 1
            name = bundle.path.stem if several else bundle.meta.name
            folder = output / name if several else output
            card = _kept_card(folder / "card.json") if several else {}
            if card.get("measured") == measured(bundle) and bool(card["robustness"]) >= robustness:
                echo(f"{name}: {folder / 'README.md'} is of this file already")
            else:
                with Console(stderr=True).status("") as status:
                    card = make_card(
                        bundle, data, lambda step, s=status: s.update(step), robustness=robustness
                    )
                write_card(folder, card)
                echo(f"{name}: {folder / 'README.md'}")
            cards[name] = card
        if len(cards) > 1:
            write_comparison(output / "README.md", cards)


@app.command("speakers")
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
    """Train a speaker embedder, and report equal error rates on speakers it never heard."""
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
    with _bars() as bars:
        features = bars.add_task("features", total=len(run.utterances))
        epochs_done = bars.add_task("epochs", total=recipe.train.epochs)

        def on_epoch(epoch: SpeakerEpoch, eer: float) -> None:
            told = f"loss {epoch.loss:.3f}" + ("" if math.isnan(eer) else f", EER {eer:.3f}")
            bars.update(epochs_done, completed=epoch.number, description=told)
            if not bars.console.is_terminal:
                echo(f"epoch {epoch.number} of {recipe.train.epochs}: {told}", err=True)

        try:
            checkpoint = run_speakers(run, _teller(bars, features), on_epoch)
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


def _kept_card(path: Path) -> dict[str, Any]:
    """A card that lies there from before; empty without one that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _part(
    utterances: list[Utterance], part: str, fold: int, bundle: ModelBundle
) -> list[Utterance]:
    from training.data.folds import split_by_speaker

    if part == "all":
        return utterances
    if part not in ("train", "validation", "test"):
        raise ConfigError(f"--part {part}: want test, validation, train or all")
    chosen: list[Utterance] = getattr(split_by_speaker(utterances, fold), part)
    # A model that tells whom it was tested on may have been trained on another fold.
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


@contextmanager
def _bars(hidden: bool = False) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bars:
        yield bars


def _teller(bars: Progress, task: Any) -> Callable[[int, int], None]:
    return lambda done, total: bars.update(task, completed=done, total=total)


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
