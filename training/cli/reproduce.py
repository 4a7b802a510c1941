"""``ser-train reproduce``: every row of a paper's tables beside the published figures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.errors import ConfigError
from ser_stream.files import write_text
from training.cli.cross_validation import cross_validate, plan_run, tell_failures
from training.cli.options import (
    CacheOption,
    DeviceOption,
    EmbedderOption,
    EpochsOption,
    FoldOption,
    JobsOption,
    OutputOption,
    PrecisionOption,
    VectorsOption,
)
from training.cli.recipes import place_of

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from training.metrics import Summary
    from training.recipe.book import PaperRow
    from training.run import FoldJob, Run


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
    todo: list[FoldJob] = []
    chosen = None if seeds is None else list(range(seeds))
    for row in book.rows:
        key = _key(row)
        if key in {*runs, *not_run}:
            continue
        try:
            names = [row.variant or "main", row.part or "full", row.transcripts]
            planned = plan_run(
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
    summaries = cross_validate(list(runs.values()), todo, jobs, failed) if runs else {}
    lines = []
    left_out: dict[str, list[str]] = {}
    for row in book.rows:
        planned = runs.get(_key(row))
        summary = summaries[planned.folder].get("iemocap") if planned else None
        lines.append(_beside(row, summary, planned))
        if planned is None:
            left_out.setdefault(not_run[_key(row)], []).append(place_of(row))
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
    tell_failures(failed, 0)


def _key(row: PaperRow) -> tuple[str, str, str]:
    """Rows with the same key report the same run."""
    return row.variant, row.part, row.transcripts


def _beside(row: PaperRow, summary: Summary | None, run: Run | None) -> list[str]:
    from training.report import percent

    wa, ua = ("" if math.isnan(v) else f"{v:.2f}" for v in (row.wa, row.ua))
    wa_here, ua_here, behind = "--", "--", ""
    if summary is not None and run is not None:
        n_seeds, n_folds = summary.uar.shape
        behind = f"{n_folds} x {n_seeds} x {run.recipe.train.epochs}"
        wa_here = percent(*summary.interval(summary.wa))
        ua_here = percent(*summary.interval(summary.uar))
    return [row.table, row.row, row.part or "full", wa, wa_here, ua, ua_here, behind]
