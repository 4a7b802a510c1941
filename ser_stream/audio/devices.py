"""Input devices: PortAudio through sounddevice, imported late so that files work without it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from ser_stream.errors import DeviceError


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
open_streams: set[int] = set()
"""Whose streams are open, by `id`: while there are any, PortAudio is not started again."""
start_lock = threading.Lock()
"""Held while a stream is opened, and while PortAudio is started again."""


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
            with start_lock:
                if not open_streams:
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
