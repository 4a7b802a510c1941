"""Sources that need no hardware: arrays, files, and either of them at the speed of real time."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import soundfile

from ser_stream.errors import AudioError
from ser_stream.types import AudioBlock, AudioSource, Float32


class _Context:
    """A context manager with nothing to enter or leave."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class ArraySource(_Context):
    """Blocks of an array in memory, mono float32 (n,)."""

    def __init__(self, samples: Float32, sample_rate_hz: int, block_s: float = 0.1) -> None:
        if samples.ndim != 1:
            raise AudioError(f"expected mono samples of shape (n,), got {samples.shape}")
        self.sample_rate_hz = sample_rate_hz
        self.name = "array"
        self._samples = samples
        self._block = max(1, round(block_s * sample_rate_hz))

    def __iter__(self) -> Iterator[AudioBlock]:
        for start in range(0, len(self._samples), self._block):
            yield AudioBlock(self._samples[start : start + self._block], start)


class FileSource(_Context):
    """Blocks of an audio file, channels averaged, read as they are asked for.

    Raises:
        AudioError: on creation for a file that is missing, empty, truncated or not audio; while
            iterating for one that breaks off, or holds NaN or infinite samples.
    """

    def __init__(self, path: str | Path, block_s: float = 0.5) -> None:
        self.path = Path(path)
        self.name = self.path.name
        if not self.path.is_file():
            raise AudioError(f"{path}: no such file")
        if self.path.stat().st_size == 0:
            raise AudioError(f"{path}: empty file")
        try:
            info = soundfile.info(str(self.path))
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(
                f"{path}: not audio that libsndfile reads ({_reason(error)})"
            ) from error
        self.sample_rate_hz: int = info.samplerate
        self._frames: int = info.frames
        if missing := _missing_wav_bytes(self.path):
            raise AudioError(f"{path}: truncated, {missing} bytes of audio are missing")
        if info.frames == 0:
            raise AudioError(f"{path}: holds no samples")
        self._block = max(1, round(block_s * info.samplerate))

    @property
    def duration_s(self) -> float:
        """Length that the file's header tells, seconds."""
        return self._frames / self.sample_rate_hz

    def __iter__(self) -> Iterator[AudioBlock]:
        position = 0
        try:
            with soundfile.SoundFile(str(self.path)) as file:
                while True:
                    data = file.read(self._block, dtype="float32", always_2d=True)
                    if len(data) == 0:
                        break
                    mono = data.mean(axis=1, dtype=np.float32)
                    if not np.isfinite(mono).all():
                        raise AudioError(
                            f"{self.path}: NaN or infinite samples at "
                            f"{position / self.sample_rate_hz:.2f} s"
                        )
                    yield AudioBlock(mono, position)
                    position += len(mono)
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(
                f"{self.path}: broken at {position / self.sample_rate_hz:.2f} s ({_reason(error)})"
            ) from error
        # Formats that do not know their length report a huge one; they are read to their end.
        if position < self._frames < 2**62:
            raise AudioError(
                f"{self.path}: truncated, {position / self.sample_rate_hz:.2f} of "
                f"{self.duration_s:.2f} s could be read"
            )


class PacedSource:
    """Another source at the speed of real time, as a microphone would deliver it."""

    def __init__(
        self,
        source: AudioSource,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._clock = clock
        self._sleep = sleep

    @property
    def sample_rate_hz(self) -> int:
        return self._source.sample_rate_hz

    @property
    def name(self) -> str:
        return self._source.name

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._source.__exit__(*exc)

    def __iter__(self) -> Iterator[AudioBlock]:
        began = self._clock()
        for block in self._source:
            due = began + block.end / self.sample_rate_hz
            if (wait := due - self._clock()) > 0:
                self._sleep(wait)
            yield AudioBlock(block.samples, block.start, block.gap, self._clock())


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    # soundfile's messages begin with "Error opening <path>: "; the path is told already.
    return text[0].rpartition(": ")[2].rstrip(".") if text else type(error).__name__


def _missing_wav_bytes(path: Path) -> int:
    """Count the bytes that a RIFF file's data chunk promises beyond the file's end.

    libsndfile reads such a file without a word. Writers that stream leave 0 or 2^32 - 1 as the
    length, which promises nothing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        at = 12
        while at + 8 <= size:
            file.seek(at)
            tag, length = struct.unpack("<4sI", file.read(8))
            if tag == b"data":
                promised = 0 if length >= 0xFFFFFF00 else length
                return max(0, at + 8 + promised - size)
            at += 8 + length + length % 2
    return 0
