"""Sinks of sessions."""

from __future__ import annotations

from ser_stream.types import Prediction, Snapshot


class Keep:
    """A sink that keeps everything, and may fail."""

    def __init__(self, fail_at: int = -1) -> None:
        self.got: list[tuple[Prediction, Snapshot]] = []
        self.closed = False
        self._fail_at = fail_at

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        if len(self.got) == self._fail_at:
            raise OSError(28, "No space left on device")
        self.got.append((prediction, snapshot))

    def close(self) -> None:
        self.closed = True
