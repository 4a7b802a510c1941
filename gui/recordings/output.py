"""The loudspeaker: PortAudio, whose callback only copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ser_stream.audio.devices import portaudio
from ser_stream.errors import DeviceError, first_line
from ser_stream.types import Float32

# What PortAudio calls: output (frames, 1), frames, times, status.
Callback = Callable[[Float32, int, Any, Any], None]


class OutputStream(Protocol):
    """A stream of PortAudio's that has been started."""

    @property
    def latency(self) -> float:
        """From the callback to the ear, s."""
        ...

    def stop(self) -> None:
        """Play what was taken, then end."""
        ...

    def abort(self) -> None:
        """End now."""
        ...

    def close(self) -> None: ...


class Output(Protocol):
    """Where sound comes out."""

    @property
    def default_rate_hz(self) -> int:
        """The rate that the device takes for certain."""
        ...

    def open(self, sample_rate_hz: int, block: int, callback: Callback) -> OutputStream:
        """Open and start, one channel, ``block`` frames at a time.

        Raises:
            DeviceError: it cannot be opened at this rate.
        """
        ...


class PortAudioOutput:
    """The system's default output.

    Raises:
        DeviceError: from its methods: PortAudio is missing, there is no output, or it refuses.
    """

    @property
    def default_rate_hz(self) -> int:
        sd = _portaudio()
        try:
            return round(sd.query_devices(kind="output")["default_samplerate"])
        except (sd.PortAudioError, ValueError) as error:
            raise DeviceError(f"cannot play: no output device ({first_line(error)})") from error

    def open(self, sample_rate_hz: int, block: int, callback: Callback) -> OutputStream:
        sd = _portaudio()
        stream: Any = None
        try:
            stream = sd.OutputStream(
                samplerate=sample_rate_hz,
                blocksize=block,
                channels=1,
                dtype="float32",
                callback=callback,
            )
            stream.start()
        except (sd.PortAudioError, ValueError) as error:
            if stream is not None:
                stream.close(ignore_errors=True)
            raise DeviceError(f"cannot play at {sample_rate_hz} Hz: {first_line(error)}") from error
        return stream


def _portaudio() -> Any:
    try:
        return portaudio()
    except DeviceError as error:
        raise DeviceError(
            "PortAudio is missing, so nothing can be played; on Debian and Ubuntu: "
            "apt install libportaudio2"
        ) from error
