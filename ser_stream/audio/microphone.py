"""The microphone: blocks of an input device.

The callback copies, notes overflow, hands over and returns; it never blocks, prints or computes.
Everything else may block.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

from ser_stream.audio.devices import Device, find_device, open_streams, portaudio, start_lock
from ser_stream.errors import DeviceError, first_line
from ser_stream.types import AudioBlock, Float32

# A block of audio; short enough for a meter at 10 updates a second, long enough to be cheap.
BLOCK_S = 0.032
# A sound server that sleeps takes up to two seconds until its first block.
FIRST_BLOCK_TIMEOUT_S = 6.0
BLOCK_TIMEOUT_S = 4.0
REOPEN_EVERY_S = 1.0


class Microphone:
    """Blocks of the first channel of an input device, at the device's own rate.

    If the device stops delivering it is looked up again by name and reopened for ``reopen_s``
    seconds; the first block afterwards is a gap. Leaving it ends an iteration in another thread.

    Args:
        device: index, name or part of a name, or a listed device; None for the default input.
        sample_rate_hz: rate to ask for; None for the device's default.
        queue_s: audio that may wait before blocks are dropped (and counted).
        reopen_s: how long to try to get a lost device back; may be infinite.
    """

    def __init__(
        self,
        device: str | int | Device | None = None,
        sample_rate_hz: int | None = None,
        queue_s: float = 5.0,
        reopen_s: float = 10.0,
    ) -> None:
        self.device = find_device(device)
        self.sample_rate_hz = sample_rate_hz or self.device.sample_rate_hz
        self._queue: queue.Queue[AudioBlock | None] = queue.Queue(max(2, round(queue_s / BLOCK_S)))
        self._reopen_s = reopen_s
        self._left = threading.Event()
        self._stream: Any = None
        # Written by the callback alone.
        self._position = 0
        self._lost = 0
        self._overflows = 0
        self._gap = False

    @property
    def name(self) -> str:
        """The device's name."""
        return self.device.name

    @property
    def overflows(self) -> int:
        """Times the driver or the queue lost input."""
        return self._overflows

    @property
    def lost_samples(self) -> int:
        """Samples that are known to be lost."""
        return self._lost

    @property
    def queue_depth(self) -> int:
        """Blocks that wait."""
        return self._queue.qsize()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self._close()
        # Wakes a thread that waits for a block; None ends its iteration.
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def __iter__(self) -> Iterator[AudioBlock]:
        timeout = FIRST_BLOCK_TIMEOUT_S
        received_s = time.monotonic()
        while True:
            try:
                block = self._queue.get(timeout=timeout)
            except queue.Empty:
                self._reopen(received_s)
                timeout = FIRST_BLOCK_TIMEOUT_S
                continue
            if block is None or self._left.is_set():
                return
            timeout = BLOCK_TIMEOUT_S
            received_s = time.monotonic()
            yield block

    def _open(self) -> None:
        with start_lock:
            self._open_stream()

    def _open_stream(self) -> None:
        sd = portaudio()
        rate = self.sample_rate_hz
        channels = 1
        try:
            try:
                sd.check_input_settings(self.device.index, 1, "float32", None, rate)
            except sd.PortAudioError:
                # Some drivers give no fewer channels than the hardware has.
                channels = self.device.channels
            self._stream = sd.InputStream(
                samplerate=rate,
                blocksize=round(BLOCK_S * rate),
                device=self.device.index,
                channels=channels,
                dtype="float32",
                latency="low",
                callback=self._callback,
            )
            self._stream.start()
            open_streams.add(id(self))
        except (sd.PortAudioError, ValueError) as error:
            self._close()
            raise DeviceError(
                f"cannot open {self.device.name!r} at {rate} Hz: {first_line(error)}"
            ) from error

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)
        open_streams.discard(id(self))

    def _callback(self, indata: Float32, frames: int, when: Any, status: Any) -> None:
        if status.input_overflow:
            self._overflows += 1
            self._gap = True
        # Some drivers give no time of capture; then the time of delivery counts.
        age = when.currentTime - when.inputBufferAdcTime - frames / self.sample_rate_hz
        captured = time.monotonic() - (age if 0.0 < age < 1.0 else 0.0)
        block = AudioBlock(indata[:, 0].copy(), self._position, self._gap, captured)
        self._position += frames
        try:
            self._queue.put_nowait(block)
            self._gap = False
        except queue.Full:
            self._overflows += 1
            self._lost += frames
            self._gap = True

    def _reopen(self, received_s: float) -> None:
        began = time.monotonic()
        sd = portaudio()
        self._close()
        while not self._left.is_set():
            try:
                self.device = find_device(self.device)
                missed = round((time.monotonic() - received_s) * self.sample_rate_hz)
                self._lost += missed
                self._position += missed
                self._overflows += 1
                self._gap = True
                self._open()
                return
            except (DeviceError, sd.PortAudioError) as error:
                if time.monotonic() - began >= self._reopen_s:
                    raise DeviceError(
                        f"{self.device.name!r} stopped delivering audio and did not come back"
                    ) from error
                self._left.wait(REOPEN_EVERY_S)
