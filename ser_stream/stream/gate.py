"""The speech gate: which windows hold enough speech to have an emotion at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ser_stream.features.ring import RingBuffer
from ser_stream.models.settings import GateConfig
from ser_stream.stream.detector import SpeechDetector
from ser_stream.types import Float32


class SpeechGate:
    """Run a detector over the stream and compute the share of speech in any recent span.

    A recurrent detector that starts from nothing misses faint beginnings, and the first window is
    judged only when it is full. So the opening is heard twice: when it is over, the detector hears
    it again, with what it has become accustomed to, and the second answer counts.

    Args:
        detector: gets the stream; not shared.
        config: when a window counts as speech.
        capacity: samples that a span may reach back.
        opening: samples at the start of the stream that the detector gets twice; 0 for none.
    """

    def __init__(
        self, detector: SpeechDetector, config: GateConfig, capacity: int, opening: int = 0
    ) -> None:
        self.config = config
        self._detector = detector
        self._chunk = detector.chunk_length
        self._probabilities = RingBuffer(-(-max(capacity, opening) // self._chunk) + 1)
        self._opening_chunks = opening // self._chunk
        self._start()

    @property
    def probability(self) -> float:
        """Speech probability of the newest full chunk; 0 before there is one."""
        end = self._probabilities.end
        return float(self._probabilities.window(end - 1, 1)[0]) if end else 0.0

    def accept(self, samples: Float32) -> Float32:
        """Take the next samples (n,); return the probabilities of the chunks that they complete.

        They are those of the first pass.
        """
        joined = np.concatenate([self._tail, samples])
        full = len(joined) // self._chunk
        self._tail = joined[full * self._chunk :]
        chunks = joined[: full * self._chunk].reshape(full, self._chunk)
        if self._opening is None:
            return self._hear(chunks)
        missing = self._opening_chunks - self._probabilities.end
        self._opening.append(chunks[:missing])
        new = self._hear(chunks[:missing])
        if full < missing:
            return new
        self.end_opening()
        return np.concatenate([new, self._hear(chunks[missing:])])

    def end_opening(self) -> None:
        """Pass the opening again now, as the stream ends; nothing once it is over."""
        if self._opening is None:
            return
        chunks = np.concatenate(self._opening) if self._opening else None
        self._opening = None
        if chunks is not None:
            self._probabilities.reset()
            self._hear(chunks)

    def _hear(self, chunks: Float32) -> Float32:
        if not len(chunks):
            return np.zeros(0, dtype=np.float32)
        new = self._detector(chunks)
        self._probabilities.push(new)
        return new

    def share(self, start: int, end: int) -> float:
        """Share of the full chunks inside samples [start, end) since the reset that are speech."""
        first = -(-start // self._chunk)
        last = min(end // self._chunk, self._probabilities.end)
        if last <= first:
            return 0.0
        probabilities = self._probabilities.window(first, last - first)
        return float(np.mean(probabilities >= self.config.threshold))

    def flags(self, start: int, end: int) -> NDArray[np.bool_]:
        """Whether samples [start, n) are speech, bool (n - start,), n the last full chunk's end."""
        first, last = start // self._chunk, end // self._chunk
        probabilities = self._probabilities.window(first, last - first)
        speech = np.repeat(probabilities >= self.config.threshold, self._chunk)
        return speech[start - first * self._chunk :]

    def reset(self) -> None:
        """Drop everything; the next sample has index 0."""
        self._detector.reset()
        self._probabilities.reset()
        self._start()

    def _start(self) -> None:
        self._tail = np.zeros(0, dtype=np.float32)
        self._opening: list[Float32] | None = [] if self._opening_chunks else None
