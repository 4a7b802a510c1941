"""Measures over a fixed list of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Score:
    """Result on one set of utterances.

    Attributes:
        wa: weighted accuracy, the share of utterances that are right.
        uar: unweighted average recall, the mean of the per-class recalls.
        recall: per class, in the order of the labels; nan for a class that does not occur.
        confusion: counts (true class, predicted class).
    """

    wa: float
    uar: float
    recall: NDArray[np.float64]
    confusion: NDArray[np.int64]

    def as_dict(self, labels: tuple[str, ...]) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "utterances": int(self.confusion.sum()),
            "wa": round(self.wa, 4),
            "uar": round(self.uar, 4),
            "recall": {
                name: None if np.isnan(r) else round(float(r), 4)
                for name, r in zip(labels, self.recall, strict=True)
            },
            "confusion": self.confusion.tolist(),
        }


def score(truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> Score:
    """Compare class indices (n,) with class indices (n,).

    Raises:
        ValueError: nothing to score, or the lengths differ.
    """
    if len(truth) == 0 or len(truth) != len(predicted):
        raise ValueError(f"cannot score {len(predicted)} predictions of {len(truth)} utterances")
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    count = confusion.sum(axis=1)
    recall = np.where(count > 0, np.diag(confusion) / np.maximum(count, 1), np.nan)
    return Score(
        wa=float(np.mean(truth == predicted)),
        uar=float(np.nanmean(recall)),
        recall=recall,
        confusion=confusion,
    )


def expected_calibration_error(
    posterior: NDArray[np.float64], truth: NDArray[np.int64], bins: int = 10
) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins.

    Source: Guo et al., "On TemperatureScaling of Modern Neural Networks", ICML 2017, equation (3).
    """
    confidence = posterior.max(axis=1)
    right = posterior.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the finished folds of a run come to, on one corpus.

    Attributes:
        wa: accuracy of each fold and seed, as [seed][fold]; likewise ``uar``.
        uar: see ``wa``.
        recall: per class, over all utterances that tested; nan for a class that has none.
        confusion: counts (true, predicted), summed over folds and seeds.
    """

    wa: NDArray[np.float64]
    uar: NDArray[np.float64]
    recall: NDArray[np.float64]
    confusion: NDArray[np.int64]

    def interval(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """Mean of ``values`` (seeds, folds) and half its 95 % interval over the folds."""
        return t_interval(values.mean(axis=0))


def t_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of ``values`` (n,) and half the width of Student's 95 % interval; nan for one value.

    Folds share training data, so the interval is a little too narrow (Bengio & Grandvalet, JMLR 5,
    2004); no unbiased one exists.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return float(values.mean()), float("nan")
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean()), float(half)


def summarize(results: Sequence[Mapping[str, Any]], corpus: str) -> Summary:
    """Sum up the folds that every seed has.

    Raises:
        ValueError: there are none.
    """
    rows = [r for r in results if corpus in r["test"]]
    seeds = sorted({r["seed"] for r in rows})
    table = {(r["seed"], r["fold"]): r["test"][corpus] for r in rows}
    folds = sorted(f for f in {r["fold"] for r in rows} if all((s, f) in table for s in seeds))
    if not folds:
        raise ValueError(f"no fold of {corpus} is finished for all of {len(seeds)} seeds")
    table = {(s, f): table[s, f] for s in seeds for f in folds}
    confusion = np.sum([one["confusion"] for one in table.values()], axis=0)
    count = confusion.sum(axis=1)
    grid = [[table[s, f] for f in folds] for s in seeds]
    return Summary(
        np.array([[one["wa"] for one in row] for row in grid]),
        np.array([[one["uar"] for one in row] for row in grid]),
        np.where(count > 0, np.diag(confusion) / np.maximum(count, 1), np.nan),
        confusion,
    )
