"""Sources that need no hardware: arrays, raw samples, and any source at the speed of real time."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Self

import numpy as np

from ser_stream.errors import AudioError
from ser_stream.types import AudioBlock, AudioSource, Float32


class AlwaysOpen:
    """A context manager with nothing to enter or leave."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class ArraySource(AlwaysOpen):
    """Blocks of an array in memory, mono float32 (n,); without ``block_s`` one block is all."""

    def __init__(self, samples: Float32, sample_rate_hz: int, block_s: float | None = 0.1) -> None:
        if samples.ndim != 1:
            raise AudioError(f"expected mono samples of shape (n,), got {samples.shape}")
        self.sample_rate_hz = sample_rate_hz
        self.name = "array"
        self._samples = samples
        length = len(samples) if block_s is None else round(block_s * sample_rate_hz)
        self._block = max(1, length)

    def __iter__(self) -> Iterator[AudioBlock]:
        for start in range(0, len(self._samples), self._block):
            yield AudioBlock(self._samples[start : start + self._block], start)


class PcmSource(AlwaysOpen):
    """Blocks of raw sound as it comes: signed 16 bits, little-endian, one channel, no header.

    Leaving it ends an iteration in another thread.

    Attributes:
        is_pipe: the writer waits if the sound is not read; a file is all there already.

    Raises:
        AudioError: on creation for a terminal; while iterating if no sound comes, or a file with a
            header.
    """

    WAIT_S = 0.2
    HEADERS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"caff", b"ID3")

    def __init__(
        self,
        file: BinaryIO,
        sample_rate_hz: int,
        block_s: float = 0.032,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if file.isatty():
            raise AudioError("standard input is a terminal; pipe raw sound into it")
        self.sample_rate_hz = sample_rate_hz
        self.name = "standard input"
        self._file = file
        self._bytes = 2 * max(1, round(block_s * sample_rate_hz))
        self._clock = clock
        self._left = threading.Event()

    @property
    def is_pipe(self) -> bool:
        return not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    def __exit__(self, *exc: object) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[AudioBlock]:
        position, rest = 0, b""
        while self._readable():
            data = os.read(self._file.fileno(), self._bytes)
            if not data:
                break
            if position == 0 and (rest + data).startswith(self.HEADERS):
                raise AudioError(
                    "standard input is a sound file, not raw sound: ser-stream score - reads it"
                )
            data = rest + data
            whole = len(data) // 2 * 2
            samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(1 << 15)
            rest = data[whole:]
            yield AudioBlock(samples, position, captured_s=self._clock())
            position += len(samples)
        if position == 0 and not self._left.is_set():
            raise AudioError("no sound came on standard input")

    def _readable(self) -> bool:
        """Wait for data or the end; False if the source was left meanwhile."""
        while not self._left.is_set():
            # Windows cannot wait for a pipe.
            if os.name == "nt" or select.select([self._file], [], [], self.WAIT_S)[0]:
                return True
        return False


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
