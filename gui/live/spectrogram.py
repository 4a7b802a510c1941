"""The sound under a live view: log-mel columns of the newest minute.

A spectrogram is fed on the session's worker thread, and hands a view copies. It outlives a stream,
as a history does.
"""

from __future__ import annotations

import threading

import numpy as np

from ser_stream.audio.resample import StreamingResampler
from ser_stream.features.framing import FrameStream
from ser_stream.features.logmel import LogMelConfig, LogMelExtractor
from ser_stream.features.ring import RingBuffer
from ser_stream.types import AudioBlock, Float32

# Twenty columns a second are more than a screen can show of a minute.
COLUMN_S = 0.05
SPECTROGRAM = LogMelConfig(n_fft=1024, hop_length=800, n_mels=64, f_min_hz=50.0)


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
