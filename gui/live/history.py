"""What a live view keeps: the newest minutes of predictions.

A history is written on the session's worker thread, where all computing belongs, and hands a view
copies. It outlives a stream: the next one, of another microphone perhaps, begins where a view says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_stream.features.ring import RingBuffer
from ser_stream.labels import derived_affect
from ser_stream.types import Float32, Float64, Prediction, Snapshot, State

STATES = tuple(State)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive predictions, the oldest first.

    Attributes:
        end_s: where each window ends, float64 (n,).
        belief: smoothed posteriors, float32 (n, classes); NaN where there is none.
        speech: share of the window that is speech, float32 (n,); NaN without a gate.
        state: index into `STATES`, int (n,).
        label: index of the class that holds, int (n,); -1 for none.
        valence: derived from the belief, float32 (n,); NaN where there is none...
        arousal: ...likewise.
    """

    end_s: Float64
    belief: Float32
    speech: Float32
    state: np.ndarray
    label: np.ndarray
    valence: Float32
    arousal: Float32

    def __len__(self) -> int:
        return len(self.end_s)


class History:
    """A session's sink that keeps the newest predictions.

    Args:
        labels: the model's classes.
        rate_hz: the model's rate.
        capacity: predictions that are kept; ten minutes at ten a second without.
    """

    def __init__(self, labels: Sequence[str], rate_hz: int, capacity: int = 6000) -> None:
        self.labels = tuple(labels)
        self._rate_hz = rate_hz
        self._lock = threading.Lock()
        self._rows = RingBuffer(capacity, 6 + len(labels), dtype=np.float64)
        self._origin_s = 0.0

    def begin(self, origin_s: float) -> None:
        """A stream begins at ``origin_s``, not before what is here."""
        self._origin_s = origin_s

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        p = prediction
        affect = derived_affect(self.labels, p.smoothed)
        row = np.full(6 + len(self.labels), np.nan)
        row[0] = self._origin_s + p.end / self._rate_hz
        row[1] = STATES.index(p.state)
        row[2] = -1 if p.label is None else self.labels.index(p.label)
        values = (p.speech, affect.get("derived_valence"), affect.get("derived_arousal"))
        row[3:6] = [np.nan if value is None else value for value in values]
        if p.smoothed is not None:
            row[6:] = p.smoothed
        with self._lock:
            self._rows.push(row[None])

    def close(self) -> None:
        return None

    def since(self, start_s: float) -> Stretch:
        """The predictions whose windows end after ``start_s``, as far as they are kept."""
        with self._lock:
            rows = self._rows.window(self._rows.start, self._rows.end - self._rows.start).copy()
        rows = rows[np.searchsorted(rows[:, 0], start_s, side="right") :]
        single = rows.astype(np.float32)
        return Stretch(
            end_s=rows[:, 0],
            belief=single[:, 6:],
            speech=single[:, 3],
            state=rows[:, 1].astype(int),
            label=rows[:, 2].astype(int),
            valence=single[:, 4],
            arousal=single[:, 5],
        )
