"""Measures over a fixed list of labels."""

from __future__ import annotations

from dataclasses import dataclass

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

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation (3).
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
