"""Predictions as rows: the same fields for live output, recordings and timelines of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ser_stream.labels import derived_affect
from ser_stream.scoring.wording import confidence
from ser_stream.types import Prediction, Snapshot


def prediction_row(prediction: Prediction, labels: Sequence[str], rate_hz: int) -> dict[str, Any]:
    """Flatten a prediction; one column per class holds its posterior, ``smoothed_`` the belief.

    Valence and arousal are derived from the belief.
    """
    row: dict[str, Any] = {
        "start_s": round(prediction.start / rate_hz, 4),
        "end_s": round(prediction.end / rate_hz, 4),
        "state": str(prediction.state),
        "label": prediction.label,
        "confidence": _rounded(confidence(prediction)),
        "speech": _rounded(prediction.speech),
    }
    for prefix, values in (("", prediction.posterior), ("smoothed_", prediction.smoothed)):
        for i, label in enumerate(labels):
            row[prefix + label] = None if values is None else _rounded(values[i])
    words = None if prediction.words is None else " ".join(prediction.words)
    return row | derived_affect(labels, prediction.smoothed) | {"words": words}


def live_row(
    prediction: Prediction, snapshot: Snapshot, labels: Sequence[str], rate_hz: int
) -> dict[str, Any]:
    """A prediction's row with the speaker's profile and the stream's level and health."""
    health = snapshot.health
    return prediction_row(prediction, labels, rate_hz) | {
        "profile": snapshot.profile,
        "level_dbfs": round(snapshot.level_dbfs, 1),
        "latency_ms": None if health.latency_s is None else round(1000 * health.latency_s, 1),
        "lost_samples": health.lost_samples,
    }


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)
