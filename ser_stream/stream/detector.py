"""Speech detectors: the probability of speech, chunk by chunk."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ser_stream.models.network import ModelFile, Network, models_folder, named
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
        """Drop the level so far."""
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
        """Probability of speech in chunks (n, chunk_length), float32 (n,)."""
        samples = np.concatenate([self._context, self._level(chunks).ravel()])
        self._context = samples[-self.CONTEXT :]
        overlapping = sliding_window_view(samples, self.CONTEXT + self.chunk_length)
        chunks = np.ascontiguousarray(overlapping[:: self.chunk_length])
        inputs = dict(zip(self._network.inputs, (chunks, self._h, self._c), strict=True))
        probabilities, self._h, self._c = self._network(inputs)
        return np.asarray(probabilities, dtype=np.float32).reshape(-1)

    def reset(self) -> None:
        """Begin another stream."""
        self._level.reset()
        self._context = np.zeros(self.CONTEXT, dtype=np.float32)
        self._h = self._c = np.zeros((1, 1, 128), dtype=np.float32)
