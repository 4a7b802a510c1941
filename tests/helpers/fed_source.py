"""A source whose blocks a test delivers by hand, and which it can break."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Self

import numpy as np

from ser_stream.types import AudioBlock


class FedSource:
    """Blocks come when `feed` is called; leaving the source ends the iteration."""

    def __init__(self, sample_rate_hz: int = 16000, name: str = "test input") -> None:
        self.sample_rate_hz, self.name = sample_rate_hz, name
        self.entered = self.left = False
        self._queue: queue.Queue[AudioBlock | Exception | None] = queue.Queue()
        self._position = 0

    def feed(self, samples: np.ndarray, gap: bool = False, block: int = 512) -> None:
        for i in range(0, len(samples), block):
            part = samples[i : i + block].astype(np.float32)
            self._queue.put(AudioBlock(part, self._position, gap and i == 0, None))
            self._position += len(part)

    @property
    def empty(self) -> bool:
        """Whether all that was fed has been taken."""
        return self._queue.empty()

    def lose(self, n: int) -> None:
        """As if ``n`` samples had been missed."""
        self._position += n

    def fail(self, error: Exception) -> None:
        self._queue.put(error)

    def end(self) -> None:
        self._queue.put(None)

    def __enter__(self) -> Self:
        self.entered = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.left = True
        self.end()

    def __iter__(self) -> Iterator[AudioBlock]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
