"""The microphone: PortAudio through sounddevice, imported late so that files work without it.

The callback copies, notes overflow, hands over and returns; it never blocks, prints or computes.
Everything else may block.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ser_stream.errors import DeviceError
from ser_stream.types import AudioBlock, Float32

# A block of audio; short enough for a meter at 10 updates a second, long enough to be cheap.
BLOCK_S = 0.032
# A sound server that sleeps takes up to two seconds until its first block.
FIRST_BLOCK_TIMEOUT_S = 6.0
BLOCK_TIMEOUT_S = 4.0
REOPEN_EVERY_S = 1.0


def portaudio() -> Any:
    """Import sounddevice.

    Raises:
        DeviceError: the PortAudio library is not installed.
    """
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise DeviceError(
            "PortAudio is missing, so there is no microphone (files work without it); "
            "on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice


@dataclass(frozen=True, slots=True)
class Device:
    """One input device.

    Attributes:
        index: PortAudio's index, valid until devices change.
        name: the driver's name.
        host_api: PortAudio's host API, e.g. "ALSA".
        channels: input channels.
        sample_rate_hz: default rate.
        is_default: what opens when no device is asked for.
    """

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate_hz: int
    is_default: bool


# PortAudio's list of devices is frozen when it starts; starting it again ends its streams.
_open_streams: set[int] = set()
_starting = threading.Lock()


def list_devices(fresh: bool = False) -> list[Device]:
    """List input devices.

    Args:
        fresh: look for devices that came and went; without effect while a microphone is open.

    Raises:
        DeviceError: PortAudio is missing or does not answer.
    """
    sd = portaudio()
    try:
        if fresh:
            with _starting:
                if not _open_streams:
                    _start_again(sd)
        apis = [api["name"] for api in sd.query_hostapis()]
        default = sd.default.device[0]
        if default < 0:
            default = next((a["default_input_device"] for a in sd.query_hostapis()), -1)
        return [
            Device(
                index=i,
                name=str(d["name"]),
                host_api=apis[d["hostapi"]],
                channels=int(d["max_input_channels"]),
                sample_rate_hz=round(d["default_samplerate"]),
                is_default=i == default,
            )
            for i, d in enumerate(sd.query_devices())
            if d["max_input_channels"] > 0
        ]
    except sd.PortAudioError as error:
        raise DeviceError(f"PortAudio does not answer: {error}") from error


def _start_again(sd: Any) -> None:
    sd._terminate()
    sd._initialize()


def find_device(wanted: str | int | Device | None) -> Device:
    """Find an input device by index, by name or part of a name, or the default one.

    One that was listed before is found by its name and host API, whatever its index is now.

    A name that fits exactly wins over names that contain it; of several that contain it the
    first wins.

    Raises:
        DeviceError: there is no input device, or none that fits.
    """
    devices = list_devices(fresh=isinstance(wanted, Device))
    if not devices:
        raise DeviceError("no input device; plug one in, or score files: ser-stream score PATH")
    if wanted is None:
        return next((d for d in devices if d.is_default), devices[0])
    if isinstance(wanted, Device):
        found = [d for d in devices if (d.name, d.host_api) == (wanted.name, wanted.host_api)]
        if not found:
            raise DeviceError(f"{wanted.name!r} ({wanted.host_api}) is not there any more")
        return found[0]
    text = str(wanted).strip()
    if text.lstrip("-").isdigit():
        found = [d for d in devices if d.index == int(text)]
    else:
        folded = text.casefold()
        found = [d for d in devices if d.name.casefold() == folded]
        found += [d for d in devices if folded in d.name.casefold()]
    if not found:
        raise DeviceError(f"no input device {text!r}; list them with: ser-stream devices")
    return found[0]


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
        # Whoever waits for a block waits in vain.
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def __iter__(self) -> Iterator[AudioBlock]:
        timeout = FIRST_BLOCK_TIMEOUT_S
        heard_s = time.monotonic()
        while True:
            try:
                block = self._queue.get(timeout=timeout)
            except queue.Empty:
                self._reopen(heard_s)
                timeout = FIRST_BLOCK_TIMEOUT_S
                continue
            if block is None or self._left.is_set():
                return
            timeout = BLOCK_TIMEOUT_S
            heard_s = time.monotonic()
            yield block

    def _open(self) -> None:
        with _starting:
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
            _open_streams.add(id(self))
        except (sd.PortAudioError, ValueError) as error:
            self._close()
            raise DeviceError(
                f"cannot open {self.device.name!r} at {rate} Hz: {_reason(error)}"
            ) from error

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)
        _open_streams.discard(id(self))

    def _callback(self, indata: Float32, frames: int, when: Any, status: Any) -> None:
        if status.input_overflow:
            self._overflows += 1
            self._gap = True
        # Some drivers do not tell when a sample was captured; then it was when it came.
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

    def _reopen(self, heard_s: float) -> None:
        began = time.monotonic()
        sd = portaudio()
        self._close()
        while not self._left.is_set():
            try:
                self.device = find_device(self.device)
                missed = round((time.monotonic() - heard_s) * self.sample_rate_hz)
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


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def level_dbfs(samples: Float32) -> float:
    """Root mean square level of samples (n,) in dB relative to full scale, at least -120."""
    if len(samples) == 0:
        return -120.0
    mean_square = float(np.dot(samples, samples)) / len(samples)
    return 10.0 * float(np.log10(max(mean_square, 1e-12)))
