"""What a live view remembers: the newest minutes of predictions, and the sound under them.

Both listen on the session's worker thread, where all computing belongs, and hand a view copies.
They outlive a stream: the next one, of another microphone perhaps, begins where a view says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_stream.audio.resample import StreamingResampler
from ser_stream.features.framing import FrameStream
from ser_stream.features.logmel import LogMelConfig, LogMelExtractor
from ser_stream.features.ring import RingBuffer
from ser_stream.labels import derived_affect
from ser_stream.types import AudioBlock, Float32, Float64, Prediction, Snapshot, State

STATES = tuple(State)
# Twenty columns a second are more than a screen can show of a minute.
COLUMN_S = 0.05
SPECTROGRAM = LogMelConfig(n_fft=1024, hop_length=800, n_mels=64, f_min_hz=50.0)


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
        told = (p.speech, affect.get("derived_valence"), affect.get("derived_arousal"))
        row[3:6] = [np.nan if value is None else value for value in told]
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


class Spectrogram:
    """A session's tap that keeps log-mel columns of the newest sound, `COLUMN_S` apart, in dB.

    Args:
        source_rate_hz: rate of the blocks.
        seconds: how much is kept.
    """

    def __init__(self, source_rate_hz: int, seconds: float = 60.0) -> None:
        self._frames = FrameStream(LogMelExtractor(SPECTROGRAM), 1, SPECTROGRAM.sample_rate_hz)
        self._lock = threading.Lock()
        self._columns = RingBuffer(round(seconds / COLUMN_S), SPECTROGRAM.n_mels)
        self.begin(source_rate_hz, 0.0)

    def begin(self, source_rate_hz: int, origin_s: float) -> None:
        """A stream of ``source_rate_hz`` begins at ``origin_s``, in whole columns."""
        self._resampler = StreamingResampler(source_rate_hz, SPECTROGRAM.sample_rate_hz)
        self._first_column = max(self._columns.end, round(origin_s / COLUMN_S))
        self._frames.restart()
        # First column since the start or the last gap, and how many samples after a gap still lie
        # before it.
        self._start_column = 0
        self._skip = 0

    def hear(self, block: AudioBlock) -> None:
        """Take the next block of the source; what was lost stays NaN."""
        hop = SPECTROGRAM.hop_length
        new = self._resampler.push(block)
        if new.gap:
            self._frames.restart()
            self._start_column = -(-new.start // hop)
            self._skip = self._start_column * hop - new.start
        samples = new.samples[self._skip :]
        self._skip -= len(new.samples) - len(samples)
        first = self._first_column + self._start_column + self._frames.frames_ready
        columns = self._frames.accept(samples).features
        with self._lock:
            self._pass_over(first - self._columns.end)
            self._columns.push(columns)

    def _pass_over(self, missing: int) -> None:
        if missing >= self._columns.capacity:
            self._columns.reset(self._columns.end + missing)
        elif missing > 0:
            self._columns.push(np.full((missing, SPECTROGRAM.n_mels), np.nan, dtype=np.float32))

    def close(self) -> None:
        return None

    def since(self, start_s: float) -> tuple[float, Float32]:
        """When the first column begins, s, and columns (n, bands) from ``start_s`` on, in dB."""
        with self._lock:
            first = min(max(int(start_s / COLUMN_S), self._columns.start), self._columns.end)
            columns = self._columns.window(first, self._columns.end - first).copy()
        return first * COLUMN_S, columns
