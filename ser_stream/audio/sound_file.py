"""Sound files as sources."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from ser_stream.audio.sound_length import copy_with_length, cut_short, samples_of, unstated_mp3
from ser_stream.audio.sources import AlwaysOpen
from ser_stream.errors import AudioError, first_line
from ser_stream.files import os_reason
from ser_stream.types import AudioBlock

STANDARD_INPUT = Path("-")
# libsndfile's name for headerless data; such a file does not state its rate.
HEADERLESS = {"RAW"}
NO_AUDIO = "not audio that libsndfile reads"
# Formats without a length report a huge one; they are read to their end.
UNKNOWN_FRAMES = 2**62
# Of all channels in a block, so that memory does not grow with rate and channels.
MOST_VALUES = 1 << 22


class FileSource(AlwaysOpen):
    """Blocks of an audio file, channels averaged, read as they are asked for.

    The path ``-`` is standard input, which is kept in an unnamed temporary file meanwhile.

    >>> from ser_stream.audio.sound_file import FileSource, demo_path
    >>> source = FileSource(demo_path(), block_s=1.0)
    >>> source.sample_rate_hz, round(source.duration_s, 1)
    (16000, 33.2)
    >>> [(block.start, len(block.samples)) for block in source][:3]
    [(0, 16000), (16000, 16000), (32000, 16000)]

    Attributes:
        duration_s: length by the file's header, seconds; infinite where it states none.

    Raises:
        AudioError: on creation for a file that is missing, empty, truncated or not audio; while
            iterating for one that breaks off, or holds unusable samples (`AudioBlock.usable`).
    """

    def __init__(self, path: str | Path, block_s: float = 0.5) -> None:
        self.path = Path(path)
        self.name = self.path.name
        try:
            with _recording(self.path) as (file, opened):
                if reason := cut_short(file):
                    raise AudioError(f"{path}: {reason}")
                with _sound(opened) as sound:
                    self.sample_rate_hz: int = sound.samplerate
                    self._frames, channels, kind = sound.frames, sound.channels, sound.format
                # The number of frames of such an MP3 file is an estimate.
                self._unstated = unstated_mp3(file) if kind == "MP3" else None
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: {NO_AUDIO} ({_reason(error)})") from error
        except OSError as error:
            raise AudioError(f"{path}: cannot be read ({os_reason(error)})") from error
        if kind in HEADERLESS:
            # By the file's name alone: any data would be noise.
            raise AudioError(f"{path}: {NO_AUDIO} (Format not recognised)")
        if self._frames == 0:
            raise AudioError(f"{path}: holds no samples")
        known = self._frames < UNKNOWN_FRAMES
        self.duration_s = self._frames / self.sample_rate_hz if known else math.inf
        wanted = max(1, round(block_s * self.sample_rate_hz))
        self._block = min(wanted, MOST_VALUES // channels)

    def __iter__(self) -> Iterator[AudioBlock]:
        position = 0
        try:
            with contextlib.ExitStack() as stack:
                file, opened = stack.enter_context(_recording(self.path))
                if self._unstated is not None:
                    opened = stack.enter_context(_piped(file, self._unstated))
                sound = stack.enter_context(_sound(opened))
                while True:
                    data = sound.read(self._block, dtype="float32", always_2d=True)
                    if len(data) == 0:
                        break
                    with np.errstate(over="ignore", invalid="ignore"):
                        block = AudioBlock(data.mean(axis=1, dtype=np.float32), position)
                    if not block.usable:
                        raise AudioError(
                            f"{self.path}: NaN, infinite or huge samples at "
                            f"{(position + block.first_unusable) / self.sample_rate_hz:.2f} s"
                        )
                    yield block
                    position = block.end
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioError(
                f"{self.path}: broken at {position / self.sample_rate_hz:.2f} s ({_reason(error)})"
            ) from error
        if self._unstated is None and position < self._frames < UNKNOWN_FRAMES:
            raise AudioError(
                f"{self.path}: truncated, {position / self.sample_rate_hz:.2f} of "
                f"{self.duration_s:.2f} s could be read"
            )


def demo_path() -> Path:
    """The clip of synthesised speech that ships with the package."""
    return Path(str(resources.files("ser_stream") / "demo" / "demo.flac"))


@contextlib.contextmanager
def _recording(path: Path) -> Iterator[tuple[BinaryIO, Any]]:
    """Open a recording: the file, and what libsndfile is to open for it.

    Raises:
        AudioError: there is no such file, or it is none that could be read to an end.
        OSError: it cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        if path == STANDARD_INPUT:
            file = _standard_input()
            opened: Any = file.fileno()
        else:
            _check_regular(path)
            file = stack.enter_context(path.open("rb", buffering=0))
            opened = for_libsndfile(path)
            if path.suffix.upper().removeprefix(".") in HEADERLESS:
                # soundfile would not look into a file with this name.
                opened = file.fileno()
        if os.fstat(file.fileno()).st_size == 0:
            raise AudioError(f"{path}: empty file")
        found = samples_of(file)
        if found is not None and found.field is not None:
            copy = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            copy_with_length(file, found, copy)
            file, opened = copy, copy.fileno()
        yield file, opened


def for_libsndfile(path: Path) -> Any:
    """A path as soundfile takes it whatever bytes its name has, which its annotations leave out."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _check_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        link = f", it is a link to {path.readlink()}" if path.is_symlink() else ""
        raise AudioError(f"{path}: no such file{link}") from error
    if stat.S_ISDIR(mode):
        readable = os.access(path, os.R_OK | os.X_OK)
        reason = "a folder" if readable else "a folder without permission to read it"
        raise AudioError(f"{path}: {reason}")
    if not stat.S_ISREG(mode):
        # Opening a pipe would wait for its writer, and a device may never end.
        raise AudioError(f"{path}: a pipe or a device; pipe what it gives into: ser-stream score -")


@contextlib.contextmanager
def _sound(opened: Any) -> Iterator[soundfile.SoundFile]:
    if isinstance(opened, int) and stat.S_ISREG(os.fstat(opened).st_mode):
        os.lseek(opened, 0, os.SEEK_SET)
    with _Forwards(opened, closefd=False) as sound:
        yield sound


@contextlib.contextmanager
def _piped(file: BinaryIO, start: int) -> Iterator[int]:
    """Give ``file`` from ``start`` on through a pipe, whose reading end this is.

    From a pipe libsndfile reads an MP3 file to its end. From a file it stops at the length that it
    estimates where none is stated, which may be half of what is there.

    Raises:
        OSError: the file broke off.
    """
    reading, writing = os.pipe()
    broken: list[OSError] = []

    def feed() -> None:
        with open(writing, "wb", buffering=0) as out:
            try:
                file.seek(start)
                shutil.copyfileobj(file, out)
            except BrokenPipeError:  # the reader has ended
                return
            except OSError as error:
                broken.append(error)

    feeder = threading.Thread(target=feed, name="ser-stream mp3", daemon=True)
    feeder.start()
    try:
        yield reading
    finally:
        os.close(reading)
        feeder.join()
    if broken:
        raise broken[0]


class _Forwards(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    Otherwise soundfile seeks after every read, which fails in formats that cannot, and at the end
    of a FLAC file that states no length.
    """

    def seekable(self) -> bool:
        return False


@functools.cache
def _standard_input() -> BinaryIO:
    """All of standard input, in a temporary file without a name: headers are read more than once.

    Raises:
        AudioError: it is a terminal.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("-: standard input is a terminal; pipe a recording into it")
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 open as long as the process
    shutil.copyfileobj(sys.stdin.buffer, file)
    return file


def _reason(error: Exception) -> str:
    # soundfile's messages begin with "Error opening <path>: "; the message already has the path.
    return first_line(error).rpartition(": ")[2].rstrip(".")
