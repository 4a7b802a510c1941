"""One table of every model: trained by a plan, measured, and read against the papers' claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.typed import FieldError, sized, typed, within
from training.data.corpora import Utterance
from training.metrics import Summary, summarize, t_interval
from training.recipe.book import find_recipe
from training.recipe.parse import read_recipe_file
from training.report import markdown_table, percent
from training.run import FoldJob, Run, claimed, jobs_of, select


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One row of the table.

    Attributes:
        recipe: "recipe" or "recipe/variant".
        protocol: of the recipe.
        folds: how many of the protocol's folds; 0 is all.
        seeds: repetitions of each.
        changes: to the recipe, for want of time or because the corpus asks for it.
        note: what a reader must know.
    """

    recipe: Annotated[str, sized(1, 1000)]
    protocol: str = "strict"
    folds: Annotated[int, within(0, 1000)] = 0
    seeds: Annotated[int, within(1, 1000)] = 1
    changes: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def key(self) -> str:
        """Name of the row, unique in a plan."""
        return self.recipe if self.protocol == "strict" else f"{self.recipe} ({self.protocol})"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper says about two of its rows.

    Attributes:
        paper: number and section.
        text: the claim.
        better: key of the row that the paper finds better.
        worse: key of the other one.
        paired: both rows test the same speakers in the same folds.
    """

    paper: str
    text: str
    better: str
    worse: str
    paired: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows in the order in which they are trained, and the claims that they can test."""

    rows: Annotated[tuple[PlanRow, ...], sized(1, 1000)]
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise FieldError(f"rows[{i}]", f"{key} comes twice")
        for i, claim in enumerate(self.claims):
            for side, key in (("better", claim.better), ("worse", claim.worse)):
                if key not in keys:
                    raise FieldError(f"claims[{i}].{side}", f"there is no row {key!r}")


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: it cannot be read or makes no sense.
    """
    try:
        return typed(read_recipe_file(path), Plan)
    except ConfigError as error:
        raise ConfigError(f"plan {path}: {error}") from error


def plan_jobs(
    plan: Plan,
    utterances: Sequence[Utterance],
    output: Path,
    cache: Path,
    precision: str,
    held: ExitStack | None,
) -> dict[str, tuple[PlanRow, Run, list[FoldJob]]]:
    """Runs and folds of every row, by key; their folders are claimed until ``held`` is closed."""
    planned = {}
    for row in plan.rows:
        book, variant = find_recipe(row.recipe)
        recipe = book.recipe(variant, row.protocol, row.changes)
        run = Run(
            recipe,
            book.protocol(row.protocol),
            row.protocol,
            select(utterances, recipe),
            (),
            cache,
            output / f"{row.recipe.replace('/', '-')}-{row.protocol}",
            "auto",
            precision,
        )
        if held is not None:
            held.enter_context(claimed(run))
        folds = list(range(row.folds)) if row.folds else None
        planned[row.key] = (row, run, jobs_of(run, range(row.seeds), folds))
    return planned


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: trained values.
        multiply_adds: per window.
        onnx_ms: median time of one window in ONNX Runtime, one thread, as the engine runs it.
        eager_ms: likewise in PyTorch, the network as trained.
    """

    parameters: int
    multiply_adds: int
    onnx_ms: float
    eager_ms: float


@dataclass(frozen=True, slots=True)
class Line:
    """A finished row."""

    row: PlanRow
    summary: Summary
    epochs: int
    seconds: float
    cost: Cost | None


def finished(
    planned: dict[str, tuple[PlanRow, Run, list[FoldJob]]], corpus: str
) -> dict[str, tuple[Summary, list[dict[str, Any]]]]:
    """Sums of the rows of which every seed has the same finished folds."""
    done = {}
    for key, (_, _, jobs) in planned.items():
        results = [r for job in jobs if (r := job.result) is not None and r["test"]]
        seeds = {r["seed"] for r in results}
        found = {(r["seed"], r["fold"]) for r in results}
        # A seed that is not through would compare unlike folds.
        whole = [r for r in results if all((s, r["fold"]) in found for s in seeds)]
        if whole:
            done[key] = (summarize(whole, corpus), whole)
    return done


def table_of(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    header = [
        "recipe", "WA %", "UAR %", "folds x seeds x epochs", "parameters", "multiply-adds",
        "ms ONNX", "ms PyTorch",
    ]  # fmt: skip
    rows = []
    for line in lines:
        n_seeds, n_folds = line.summary.uar.shape
        cost = ["", "", "", ""]
        if line.cost is not None:
            c = line.cost
            cost = [
                _count(c.parameters),
                _count(c.multiply_adds),
                f"{c.onnx_ms:.2f}",
                f"{c.eager_ms:.2f}",
            ]
        rows.append(
            [
                f"`{line.row.recipe}`" + ("" if line.row.protocol == "strict" else " paper"),
                percent(*line.summary.interval(line.summary.wa)),
                percent(*line.summary.interval(line.summary.uar)),
                f"{n_folds} x {n_seeds} x {line.epochs}",
                *cost,
            ]
        )
    return markdown_table(header, rows)


def _count(n: int) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            return f"{n / limit:.2f} {unit}"
    return str(n)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim held against paired folds.

    Attributes:
        claim: see `Claim`.
        difference: mean UAR better - worse; of the folds that both have, if they are paired.
        half: half the width of its 95 % interval.
        folds: how many.
    """

    claim: Claim
    difference: float
    half: float
    folds: int

    @property
    def word(self) -> str:
        """What the interval says."""
        if np.isnan(self.half) or abs(self.difference) <= self.half:
            return "cannot be decided"
        return "holds" if self.difference > 0 else "does not hold: the opposite"


def judge(plan: Plan, done: dict[str, tuple[Summary, list[dict[str, Any]]]]) -> list[Verdict]:
    """Compare the rows of each claim, seeds averaged: fold by fold where folds are the same."""
    verdicts = []
    for one in plan.claims:
        if one.better not in done or one.worse not in done:
            continue
        a, b = (_by_fold(done[key][1]) for key in (one.better, one.worse))
        folds = sorted(set(a) & set(b))
        if not one.paired:
            values = (np.array(list(a.values())), np.array(list(b.values())))
            verdicts.append(Verdict(one, *welch_interval(*values), min(len(a), len(b))))
        elif folds:
            differences = np.array([a[f] - b[f] for f in folds])
            verdicts.append(Verdict(one, *t_interval(differences), len(folds)))
    return verdicts


def welch_interval(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Difference of the means of two samples and half its 95 % interval (Welch); nan for one."""
    from scipy.stats import t

    difference = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return difference, float("nan")
    parts = [x.var(ddof=1) / len(x) for x in (a, b)]
    error = sum(parts)
    if error == 0.0:
        return difference, 0.0
    freedom = error**2 / sum(p**2 / (len(x) - 1) for p, x in zip(parts, (a, b), strict=True))
    return difference, float(t.ppf(0.975, freedom) * np.sqrt(error))


def notes_of(lines: Sequence[Line]) -> str:
    """What differs from the recipes, row by row, in Markdown; rows that share it together."""
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line.row.changes or line.row.note:
            told = [line.row.note, ", ".join(_flat(line.row.changes))]
            rows.setdefault("; ".join(t for t in told if t), []).append(f"`{line.row.key}`")
    return "\n".join(f"- {', '.join(keys)}: {text}" for text, keys in rows.items())


def _flat(changes: Mapping[str, Any], prefix: str = "") -> list[str]:
    told = []
    for key, value in changes.items():
        if isinstance(value, Mapping):
            told += _flat(value, f"{prefix}{key}.")
        else:
            told.append(f"{prefix}{key} = {value!r}")
    return told


def _by_fold(results: list[dict[str, Any]]) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for r in results:
        (one,) = r["test"].values()
        values.setdefault(r["fold"], []).append(one["uar"])
    return {fold: float(np.mean(v)) for fold, v in values.items()}


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    return markdown_table(
        ["paper", "claim", "UAR difference, points", "folds", "on this corpus"],
        [
            [
                v.claim.paper,
                v.claim.text,
                f"{100 * v.difference:+.1f} +- {100 * v.half:.1f}",
                str(v.folds),
                v.word,
            ]
            for v in verdicts
        ],
    )


def median_ms(call: Callable[[], Any], budget_s: float = 1.0) -> float:
    """Median time of ``call`` in ms, over as many calls as fit the budget, five at least."""
    import time

    call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - began < budget_s and len(times) < 300):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))
