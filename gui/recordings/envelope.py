"""The envelope of a recording at any zoom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ser_stream.audio.sound_file import FileSource
from ser_stream.errors import AudioError
from ser_stream.types import Float32, Float64

# Finer than a screen shows of the least stretch that a view zooms to.
BIN_S = 0.002
LEVEL_STEP = 4


class Envelope:
    """Least and greatest sample per stretch of time, at several resolutions.

    Args:
        low: least sample per bin, float32 (n,).
        high: greatest sample per bin, float32 (n,).
        bin_s: length of a bin, s.
        duration_s: length of the sound, s.
    """

    def __init__(self, low: Float32, high: Float32, bin_s: float, duration_s: float) -> None:
        self.duration_s = duration_s
        self.bin_s = bin_s
        self.peak = float(max(-low.min(), high.max())) if len(low) else 0.0
        self._levels = [(low, high)]
        while len(low) > LEVEL_STEP:
            low, high = _coarser(low, high, LEVEL_STEP)
            self._levels.append((low, high))

    def view(self, start_s: float, end_s: float, columns: int) -> tuple[Float64, Float32, Float32]:
        """Times in s, least and greatest samples between two times, each (n,).

        n is about ``columns``.
        """
        n = len(self._levels[0][0])
        first = int(np.clip(start_s / self.bin_s - 1, 0, n))
        last = int(np.clip(np.ceil(end_s / self.bin_s) + 1, first, n))
        # Whole multiples of the coarse bin, so that panning does not make the picture flicker.
        step = max(1, (last - first) // max(1, columns))
        level = 0
        while level + 1 < len(self._levels) and LEVEL_STEP ** (level + 1) <= step:
            level += 1
        fine = LEVEL_STEP**level
        group = max(1, step // fine)
        low, high = self._levels[level]
        begin = max(0, first // fine // group * group - group)
        stop = min(len(low), -(-last // fine // group) * group + group)
        low, high = _coarser(low[begin:stop], high[begin:stop], group)
        bin_s = self.bin_s * fine * group
        times = begin * fine * self.bin_s + bin_s * (np.arange(len(low)) + 0.5)
        return np.minimum(times, self.duration_s), low, high


def _coarser(low: Float32, high: Float32, group: int) -> tuple[Float32, Float32]:
    if group == 1 or len(low) == 0:
        return low, high
    starts = np.arange(0, len(low), group)
    return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)


def read_envelope(
    path: Path, on_progress: Callable[[float], None] = lambda share: None
) -> Envelope:
    """Read a file's envelope, in memory that grows by 4 kB per second; as far as it can be read.

    Raises:
        AudioError: nothing of it can be read.
    """
    source = FileSource(path)
    rate = source.sample_rate_hz
    size = max(1, round(BIN_S * rate))
    lows: list[Float32] = []
    highs: list[Float32] = []
    rest = np.zeros(0, dtype=np.float32)
    end = 0
    try:
        for block in source:
            joined = np.concatenate([rest, block.samples])
            full = len(joined) // size * size
            bins = joined[:full].reshape(-1, size)
            lows.append(bins.min(axis=1))
            highs.append(bins.max(axis=1))
            rest, end = joined[full:], block.end
            on_progress(min(1.0, end / rate / max(source.duration_s, 1e-9)))
    except AudioError:
        if end == 0:
            raise
    if len(rest):
        lows.append(rest.min(keepdims=True))
        highs.append(rest.max(keepdims=True))
    return Envelope(np.concatenate(lows), np.concatenate(highs), size / rate, end / rate)
