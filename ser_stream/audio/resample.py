"""Streaming resampling with absolute sample positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from ser_stream.errors import ConfigError
from ser_stream.types import AudioBlock, AudioSource, Float32

# Sampling rates of sound; a damaged header may state any other.
LEAST_HZ = 1000
MOST_HZ = 768000


def resampled(source: AudioSource, rate_hz: int) -> Iterator[AudioBlock]:
    """Blocks of a whole source at another rate, what the resampler held back at its end too.

    Raises:
        AudioError: the source cannot be read.
    """
    resampler = StreamingResampler(source.sample_rate_hz, rate_hz)
    for block in source:
        yield resampler.push(block)
    yield resampler.flush()


class StreamingResampler:
    """Bring blocks of one rate to another; libsoxr does the work, this keeps the positions.

    libsoxr holds back some 10 to 120 ms, depending on the rates, so an output block may be empty or
    end before its input does. Cutting the input differently does not change the output.

    >>> import numpy as np
    >>> from ser_stream.audio.resample import StreamingResampler
    >>> from ser_stream.types import AudioBlock
    >>> resampler = StreamingResampler(48000, 16000)
    >>> first = resampler.push(AudioBlock(np.zeros(48000, np.float32), start=0))
    >>> rest = resampler.flush()
    >>> first.end == rest.start, rest.end
    (True, 16000)
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        if not LEAST_HZ <= rate_in_hz <= MOST_HZ:
            raise ConfigError(
                f"a sampling rate of {rate_in_hz} Hz cannot be resampled; "
                f"{LEAST_HZ} to {MOST_HZ} Hz can"
            )
        self.rate_in_hz = rate_in_hz
        self.rate_out_hz = rate_out_hz
        self._soxr = (
            None
            if rate_in_hz == rate_out_hz
            else soxr.ResampleStream(rate_in_hz, rate_out_hz, 1, dtype="float32")
        )
        self._position = 0
        self._gap = False

    def push(self, block: AudioBlock) -> AudioBlock:
        """Resample the next block; a gap drops what libsoxr held back and is passed on."""
        if block.gap:
            self.reset(block.start)
            self._gap = True
        if self._soxr is None:
            return self._stamp(block.samples, block.captured_s)
        return self._stamp(self._soxr.resample_chunk(block.samples), block.captured_s)

    def flush(self) -> AudioBlock:
        """Return what is still held back; the next block starts anew."""
        if self._soxr is None:
            return self._stamp(np.zeros(0, dtype=np.float32), None)
        tail = self._soxr.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        self._soxr.clear()
        return self._stamp(tail, None)

    def reset(self, start: int = 0) -> None:
        """Start anew at input position ``start``."""
        if self._soxr is not None:
            self._soxr.clear()
        self._position = round(start * self.rate_out_hz / self.rate_in_hz)

    def _stamp(self, samples: Float32, captured_s: float | None) -> AudioBlock:
        # A gap is passed on with the first samples that follow it.
        gap = self._gap and len(samples) > 0
        block = AudioBlock(samples, self._position, gap, captured_s)
        self._position += len(samples)
        self._gap = self._gap and not gap
        return block
