"""Sound to be played, from an array or a file, at any rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from ser_stream.audio.resample import StreamingResampler
from ser_stream.audio.sound_file import for_libsndfile
from ser_stream.errors import AudioError, ConfigError, DeviceError
from ser_stream.types import AudioBlock, Float32

BLOCK_S = 0.02
READ_S = 0.5


class Sound(Protocol):
    """What can be played, mono float32."""

    @property
    def sample_rate_hz(self) -> int: ...

    def blocks(self, start_s: float, end_s: float | None) -> Iterator[Float32]:
        """Samples from ``start_s`` to ``end_s`` or the end, in blocks (n,) of any length."""
        ...


class ArraySound:
    """Samples in memory, float32 (n,)."""

    def __init__(self, samples: Float32, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._samples = samples

    def blocks(self, start_s: float, end_s: float | None) -> Iterator[Float32]:
        """Samples from ``start_s`` to ``end_s`` or the end, in blocks (n,) of half a second."""
        rate, step = self.sample_rate_hz, max(1, round(READ_S * self.sample_rate_hz))
        end = len(self._samples) if end_s is None else round(end_s * rate)
        span = self._samples[max(0, round(start_s * rate)) : end]
        for i in range(0, len(span), step):
            yield span[i : i + step]


class FileSound:
    """A file, channels averaged, read while it plays.

    Raises:
        AudioError: on creation or while reading: not audio that libsndfile reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.sample_rate_hz: int = soundfile.info(for_libsndfile(path)).samplerate
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(f"{path}: cannot be read ({error})") from error

    def blocks(self, start_s: float, end_s: float | None) -> Iterator[Float32]:
        """Samples from ``start_s`` to ``end_s`` or the end, in blocks (n,) of half a second."""
        rate, step = self.sample_rate_hz, max(1, round(READ_S * self.sample_rate_hz))
        start = max(0, round(start_s * rate))
        left = None if end_s is None else max(0, round(end_s * rate) - start)
        try:
            with soundfile.SoundFile(for_libsndfile(self._path)) as file:
                file.seek(min(start, file.frames))
                while left is None or left > 0:
                    n = step if left is None else min(step, left)
                    data = file.read(n, dtype="float32", always_2d=True)
                    if len(data) == 0:
                        break
                    left = None if left is None else left - len(data)
                    yield data.mean(axis=1, dtype=np.float32)
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(f"{self._path}: cannot be read ({error})") from error


def block_length(rate_hz: int) -> int:
    """Samples of a block at ``rate_hz``."""
    return max(1, round(BLOCK_S * rate_hz))


def at_rate(blocks: Iterator[Float32], rate_in_hz: int, rate_out_hz: int) -> Iterator[Float32]:
    """Bring ``blocks`` (n,) to another rate.

    Raises:
        DeviceError: of a rate that cannot be resampled.
    """
    try:
        resampler = StreamingResampler(rate_in_hz, rate_out_hz)
    except ConfigError as error:
        raise DeviceError(f"cannot play: {error}") from error
    position = 0
    for block in blocks:
        # A device must not be given what is no number.
        yield resampler.push(AudioBlock(np.nan_to_num(block), position)).samples
        position += len(block)
    yield resampler.flush().samples


def pieces(blocks: Iterator[Float32], length: int) -> Iterator[Float32]:
    """Cut ``blocks`` (n,) into pieces (length,); the last one is filled with silence."""
    rest = np.zeros(0, dtype=np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        full = len(rest) // length * length
        yield from rest[:full].reshape(-1, length)
        rest = rest[full:]
    if len(rest):
        yield np.pad(rest, (0, length - len(rest)))
