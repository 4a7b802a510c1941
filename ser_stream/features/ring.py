"""A ring buffer whose every window is one contiguous, read-only view."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class RingBuffer:
    """Keep the newest ``capacity`` rows, addressed by absolute index.

    Every row is written twice, ``capacity`` apart, so that any window that is still held is
    contiguous in memory and can be viewed without a copy.

    >>> import numpy as np
    >>> from ser_stream.features.ring import RingBuffer
    >>> ring = RingBuffer(4)
    >>> for i in range(6):
    ...     ring.push(np.array([10 * i]))
    >>> ring.start, ring.end
    (2, 6)
    >>> ring.window(3, 2)
    array([30., 40.], dtype=float32)

    Args:
        capacity: rows that are held.
        width: columns of a row; 0 makes the ring one-dimensional.
        dtype: element type.
    """

    def __init__(self, capacity: int, width: int = 0, dtype: DTypeLike = np.float32) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        shape = (2 * capacity, width) if width else (2 * capacity,)
        self._data: NDArray[Any] = np.zeros(shape, dtype=dtype)
        self._capacity = capacity
        self._origin = 0
        self._end = 0

    @property
    def capacity(self) -> int:
        """Rows that are held at most."""
        return self._capacity

    @property
    def start(self) -> int:
        """Absolute index of the oldest row still held."""
        return max(self._origin, self._end - self._capacity)

    @property
    def end(self) -> int:
        """Absolute index one past the newest row."""
        return self._end

    def push(self, items: NDArray[Any]) -> None:
        """Append rows (n, width); of more than ``capacity`` the newest ``capacity`` are kept."""
        n = len(items)
        if n > self._capacity:
            self._end += n - self._capacity
            items = items[n - self._capacity :]
            n = self._capacity
        at = self._end % self._capacity
        first = min(n, self._capacity - at)
        for offset in (0, self._capacity):
            self._data[offset + at : offset + at + first] = items[:first]
            self._data[offset : offset + n - first] = items[first:]
        self._end += n

    def window(self, start: int, length: int) -> NDArray[Any]:
        """View rows [start, start + length), valid until the next push.

        Raises:
            IndexError: part of the span is not held (any more, or yet).
        """
        if length < 0 or start < self.start or start + length > self._end:
            raise IndexError(
                f"[{start}, {start + length}) is not inside the held [{self.start}, {self._end})"
            )
        at = start % self._capacity
        view = self._data[at : at + length]
        view.flags.writeable = False
        return view

    def reset(self, position: int = 0) -> None:
        """Drop everything; the next row pushed has absolute index ``position``."""
        self._origin = self._end = position
