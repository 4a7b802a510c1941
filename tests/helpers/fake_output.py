"""An output for tests: a thread that takes blocks as fast as they come, as PortAudio would."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from gui.recordings.output import Callback
from ser_stream.errors import DeviceError


class FakeStream:
    """Calls back until it is stopped; ``heard`` holds what it was given."""

    def __init__(
        self, rate: int, block: int, callback: Callback, go: threading.Event, latency: float
    ) -> None:
        self.rate, self.block, self.latency = rate, block, latency
        self.heard: list[np.ndarray] = []
        self.ended = ""
        self.closed = False
        self._callback, self._go = callback, go
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.0005):
            if self._go.is_set():
                out = np.full((self.block, 1), 9.0, dtype=np.float32)
                self._callback(out, self.block, None, None)
                self.heard.append(out[:, 0])

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, dtype=np.float32)

    def stop(self) -> None:
        self.ended = "stop"

    def abort(self) -> None:
        self.ended = "abort"

    def close(self) -> None:
        self._end.set()
        self._thread.join(120.0)
        self.closed = True


class FakeOutput:
    """Opens `FakeStream`s of one latency at the rates it takes; all without."""

    def __init__(
        self, takes: Callable[[int], bool] = lambda rate: True, latency_s: float = 0.0
    ) -> None:
        self.default_rate_hz = 48000
        self.streams: list[FakeStream] = []
        self.go = threading.Event()
        self.go.set()
        self.takes, self.latency_s = takes, latency_s

    def open(self, sample_rate_hz: int, block: int, callback: Callback) -> FakeStream:
        if not self.takes(sample_rate_hz):
            raise DeviceError(f"cannot play at {sample_rate_hz} Hz: refused")
        self.streams.append(FakeStream(sample_rate_hz, block, callback, self.go, self.latency_s))
        return self.streams[-1]
