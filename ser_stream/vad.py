"""The speech gate: which windows hold enough speech to have an emotion at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.onnx_session import ModelFile, Network, models_folder, named
from ser_stream.ring import RingBuffer
from ser_stream.types import Float32


class SpeechDetector(Protocol):
    """Stateful speech probability of consecutive chunks at 16 kHz."""

    @property
    def chunk_length(self) -> int:
        """Samples per chunk."""
        ...

    def __call__(self, chunks: Float32) -> Float32:
        """Probability of speech in each of the next chunks, float32 (n, chunk_length) -> (n,)."""
        ...

    def reset(self) -> None: ...


class LevelControl:
    """Bring quiet sound to the level that a detector was trained at, chunk by chunk.

    The loudest chunk of the last seconds is amplified to `TARGET_DBFS`, by `MOST_DB` at most; what
    is louder stays as it is. Causal, and the same however the stream is cut.
    """

    TARGET_DBFS = -30.0
    MOST_DB = 40.0
    RELEASE_DB_PER_S = 3.0

    def __init__(self, chunk_s: float) -> None:
        self._release_db = self.RELEASE_DB_PER_S * chunk_s
        self.reset()

    def __call__(self, chunks: Float32) -> Float32:
        """Amplify the next chunks, float32 (n, chunk_length)."""
        power = np.square(chunks, dtype=np.float64).mean(axis=1)
        gains = np.empty(len(chunks))
        for i, level_db in enumerate((10.0 * np.log10(np.maximum(power, 1e-12))).tolist()):
            self._loudest_db = max(self._loudest_db - self._release_db, level_db)
            gains[i] = min(max(self.TARGET_DBFS - self._loudest_db, 0.0), self.MOST_DB)
        return chunks * (10.0 ** (gains / 20.0)).astype(np.float32)[:, None]

    def reset(self) -> None:
        """Forget how loud it was."""
        self._loudest_db = -math.inf


class SileroDetector:
    """Silero VAD 6 (MIT) behind a level control: 32 ms chunks at 16 kHz, 0.1 ms each on one core.

    The network is Silero's for 8 kHz, which hears speech through telephones too; the rate is
    halved inside the graph (``scripts/make_vad.py``). It hears each chunk with the last 8 ms of
    the one before.
    """

    FILE = "silero_vad.onnx"
    chunk_length = 512
    CONTEXT = 128

    def __init__(self) -> None:
        path = models_folder() / self.FILE
        with named(path):
            self._network = Network.open(ModelFile.read(path))
        self._level = LevelControl(self.chunk_length / 16000)
        self.reset()

    def __call__(self, chunks: Float32) -> Float32:
        heard = np.concatenate([self._context, self._level(chunks).ravel()])
        self._context = heard[-self.CONTEXT :]
        overlapping = sliding_window_view(heard, self.CONTEXT + self.chunk_length)
        probabilities, self._h, self._c = self._network(
            np.ascontiguousarray(overlapping[:: self.chunk_length]), self._h, self._c
        )
        return np.asarray(probabilities, dtype=np.float32).reshape(-1)

    def reset(self) -> None:
        """Forget the stream."""
        self._level.reset()
        self._context = np.zeros(self.CONTEXT, dtype=np.float32)
        self._h = self._c = np.zeros((1, 1, 128), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a window counts as speech.

    Attributes:
        threshold: speech probability at which a chunk counts.
        min_share: share of a window's chunks that have to count.
    """

    threshold: float = 0.1
    min_share: float = 0.2

    def __post_init__(self) -> None:
        if not (0.0 < self.threshold < 1.0 and 0.0 < self.min_share <= 1.0):
            raise ConfigError(
                f"need 0 < threshold < 1 and 0 < min_share <= 1, got {self.threshold}, "
                f"{self.min_share}"
            )


class SpeechGate:
    """Run a detector over the stream and tell the share of speech in any recent span.

    A recurrent detector that starts from nothing misses faint beginnings, and the first window is
    judged only when it is full. So the opening is heard twice: when it is over, the detector hears
    it again, with what it has become accustomed to, and the second answer counts.

    Args:
        detector: hears the stream; not shared.
        config: when a window counts as speech.
        capacity: samples that a span may reach back.
        opening: samples at the start of the stream that are heard twice; 0 for none.
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

        They are those of the first hearing.
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
        """Hear the opening again now, as the stream ends; nothing once it is over."""
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
        """Which samples of the full chunks before ``end`` are speech, from ``start`` on."""
        first, last = start // self._chunk, end // self._chunk
        probabilities = self._probabilities.window(first, last - first)
        speech = np.repeat(probabilities >= self.config.threshold, self._chunk)
        return speech[start - first * self._chunk :]

    def reset(self) -> None:
        """Forget everything; the next sample has index 0."""
        self._detector.reset()
        self._probabilities.reset()
        self._start()

    def _start(self) -> None:
        self._tail = np.zeros(0, dtype=np.float32)
        self._opening: list[Float32] | None = [] if self._opening_chunks else None
