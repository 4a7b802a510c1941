"""A recogniser without a model."""

from __future__ import annotations

import numpy as np

from ser_stream.types import Float32, Word

RATE_HZ = 16000


class FakeAsr:
    """Knows how much it has heard, and fails when it is told to; who derives from it says words."""

    name = "fake"

    def __init__(self, fails_at_s: float = np.inf) -> None:
        self._fails_at_s = fails_at_s
        self.reset()

    def accept(self, samples: Float32) -> None:
        self.heard += len(samples)
        if self.heard / RATE_HZ >= self._fails_at_s:
            raise ValueError("the model file is gone")

    def words(self) -> list[Word]:
        raise NotImplementedError

    @property
    def settled(self) -> int:
        return len(self.words())

    def flush(self) -> None:
        return None

    def reset(self) -> None:
        self.heard = 0
