"""Files that a person reads after a run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import SerStreamError
from ser_stream.files import cache_folder, replacing, write_text
from training.metrics import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ReportError(SerStreamError):
    """A result of an earlier run that cannot be read."""


def write_json(path: Path, values: Any) -> None:
    """Write ``values`` in one step; what is not a number becomes null."""
    write_text(path, json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: {error}") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches; matplotlib keeps its list of fonts among this project's caches."""
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder("matplotlib")))
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in one step, as what the suffix of ``path`` says."""
    with replacing(path) as part:
        figure.savefig(part)


def plot_confusion(
    path: Path, confusion: NDArray[np.int64], labels: tuple[str, ...], title: str
) -> None:
    """Draw counts (true, predicted), shaded by the share of the true class, as a PNG."""
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    n = len(labels)
    figure = new_figure(2.2 + 0.9 * n, 1.8 + 0.8 * n)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(n):
        for j in range(n):
            axes.text(
                j,
                i,
                f"{share[i, j]:.0%}\n{confusion[i, j]}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if share[i, j] > 0.5 else "black",
            )
    axes.set_xticks(range(n), labels)
    axes.set_yticks(range(n), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class")
    save_figure(figure, path)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(mean: float, half: float) -> str:
    """Mean and half interval of shares, in percent: "71.3 +- 2.4"."""
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" +- {100 * half:.1f}")


def write_report(
    folder: Path,
    title: str,
    protocol: str,
    labels: tuple[str, ...],
    summaries: Mapping[str, Summary],
    results: Sequence[Mapping[str, Any]],
) -> None:
    """Write report.md, report.json and a confusion matrix per corpus into a run's folder.

    Args:
        folder: of the run.
        title: what was run.
        protocol: in words.
        labels: of the classes.
        summaries: per corpus.
        results: of the finished folds.
    """
    text = [f"# {title}", "", f"Protocol: {protocol}.", ""]
    table: dict[str, Any] = {"title": title, "protocol": protocol, "corpora": {}}
    for corpus, s in summaries.items():
        n_seeds, n_folds = s.uar.shape
        wa, uar = s.interval(s.wa), s.interval(s.uar)
        figures = f"WA {percent(*wa)}, UAR {percent(*uar)}"
        if n_folds > 1:
            figures += " (mean over folds and half its 95 % interval)"
        if s.uar.size > 1:
            figures += (
                f"; standard deviation over folds and seeds: WA {100 * s.wa.std():.1f}, "
                f"UAR {100 * s.uar.std():.1f}"
            )
        text += [
            f"## {corpus}",
            "",
            f"Percent; {n_folds} folds x {n_seeds} seeds. {figures}.",
            "",
            markdown_table(
                ["recall", *labels], [["%", *(f"{100 * r:.1f}" for r in s.recall.tolist())]]
            ),
            "",
        ]
        table["corpora"][corpus] = {
            "wa": s.wa.tolist(),
            "uar": s.uar.tolist(),
            "wa_mean_and_half_interval": wa,
            "uar_mean_and_half_interval": uar,
            "wa_sd": s.wa.std(),
            "uar_sd": s.uar.std(),
            "recall": dict(zip(labels, s.recall.tolist(), strict=True)),
            "confusion": s.confusion.tolist(),
        }
        plot_confusion(
            folder / f"confusion-{corpus}.png",
            s.confusion,
            labels,
            f"{title} on {corpus}, UAR {s.uar.mean():.3f}",
        )
        text += [f"![confusion](confusion-{corpus}.png)", ""]
    rows = [
        [
            str(r["seed"]),
            str(r["fold"]),
            str(r["description"]),
            "/".join(map(str, r["utterances"])),
            f"{r['best_epoch']} of {r['epochs']}" if r["test"] else r["error"],
            ", ".join(
                f"{n} {100 * v['wa']:.1f}/{100 * v['uar']:.1f}" for n, v in r["test"].items()
            ),
        ]
        for r in results
    ]
    header = ["seed", "fold", "what", "train/validation/test", "epoch", "WA/UAR"]
    text += ["## Folds", "", markdown_table(header, rows), ""]
    write_text(folder / "report.md", "\n".join(text))
    table["folds"] = [dict(r) for r in results]
    write_json(folder / "report.json", table)
