"""What views say of a prediction."""

from __future__ import annotations

from collections.abc import Sequence

from ser_stream.types import Float32, Float64, Prediction, Snapshot, State

# Words that are behind by this much are said to be late.
LATE_S = 2.0


def confidence(prediction: Prediction) -> float | None:
    """The largest belief, which is that in the label if there is one; None without a belief."""
    return None if prediction.smoothed is None else float(prediction.smoothed.max())


def perhaps(labels: Sequence[str], p: Float32 | Float64) -> str:
    """What is said beside "unsure": the most likely class of ``p`` (classes,), in percent."""
    top = int(p.argmax())
    return f"perhaps {labels[top]} {100 * float(p[top]):.0f} %"


def said(prediction: Prediction | None) -> str:
    """What a view shows for a prediction: its label, or its state."""
    if prediction is None:
        return str(State.WARMING_UP)
    return prediction.label or str(prediction.state)


def verdict(prediction: Prediction, labels: Sequence[str]) -> str:
    """`said` with the belief behind it: "happy 72 %", "unsure, perhaps happy 54 %"."""
    p = prediction.smoothed
    if prediction.label is not None and p is not None:
        return f"{prediction.label} {100 * float(p.max()):.0f} %"
    if prediction.state is State.UNSURE and p is not None:
        return f"{prediction.state}, {perhaps(labels, p)}"
    return said(prediction)


def word_trouble(snapshot: Snapshot) -> str | None:
    """Why no words come, or that they come late; None while all is well, or no recogniser runs."""
    health = snapshot.health
    if health.recognizer not in (None, "running"):
        return f"by sound alone: {health.recognizer}"
    if health.recognizer_lag_s >= LATE_S:
        return f"words come {health.recognizer_lag_s:.0f} s late"
    return None
