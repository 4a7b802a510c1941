"""Recording a stream: begun and ended while it runs, without holding it up or ending it."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import soundfile

from ser_stream.audio.sound_writer import (
    SUFFIXES,
    FlacWriter,
    SoundWriter,
    WavWriter,
    to_int16,
    write_whole,
)
from ser_stream.errors import SerStreamError
from ser_stream.files import create_together, discard, os_reason
from ser_stream.scoring.formats import RowWriter, row_writer_of
from ser_stream.scoring.rows import live_row
from ser_stream.types import AudioBlock, Float32, Prediction, Snapshot

# Every so often the disk is made to have what was recorded. With FLAC's frame, half a second at
# 8 kHz, and the time that the disk takes, less than a second is missing after a power failure.
SYNC_S = 0.4
# Blocks and rows that wait for a disk that is slow: about twenty seconds of a microphone's.
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Recording:
    """What is written.

    Attributes:
        rows: a file of predictions, in a format that is written row by row; None for none.
        audio: a .wav or .flac file of the sound; None for no sound.
    """

    rows: Path | None = None
    audio: Path | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            row_writer_of(self.rows)  # refuses other names
        if self.audio is not None and self.audio.suffix.lower() not in SUFFIXES:
            raise SerStreamError(f"{self.audio}: name a .wav or a .flac file")

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(path for path in (self.rows, self.audio) if path is not None)


class Recorder:
    """A session's sink and tap that writes while it is asked to.

    Times count from the first block that is recorded, in both files. Samples that were lost become
    silence. Files grow on a thread of their own, so that a slow disk does not hold up the stream
    before `MOST_WAITING` blocks wait for it. What cannot be written ends the recording, not the
    stream: the files keep what they have, and the reason waits in `take_error`.

    Args:
        labels: the model's classes.
        rate_hz: the model's rate.
    """

    def __init__(self, labels: Sequence[str], rate_hz: int) -> None:
        self._labels = tuple(labels)
        self._rate_hz = rate_hz
        # Guards what follows; held for moments only.
        self._lock = threading.Lock()
        self._files: _Files | None = None
        self._source_rate_hz = 0
        self._origin: int | None = None
        self._next: int | None = None
        # All that were begun and may not have ended.
        self._begun: list[_Files] = []

    def begin(
        self, recording: Recording, source_rate_hz: int, overwrite: bool = False
    ) -> Recording:
        """Create the files; the next block is the first.

        Args:
            recording: what is wanted.
            source_rate_hz: of the blocks.
            overwrite: replace files that exist, instead of numbering the new ones.

        Returns:
            What is written; its files differ from those that are wanted by their number.

        Raises:
            SerStreamError: one of them cannot be written.
        """
        self.end()
        files = _Files(recording, source_rate_hz, overwrite)
        with self._lock:
            self._files, self._source_rate_hz = files, source_rate_hz
            self._origin = self._next = None
            self._begun.append(files)
        return files.recording

    def end(self) -> None:
        """Record nothing more; the files are finished soon."""
        with self._lock:
            files, self._files = self._files, None
        if files is not None:
            files.finish()

    def close(self) -> None:
        """Record nothing more, and wait until the files are finished."""
        self.end()
        with self._lock:
            begun = list(self._begun)
        for files in begun:
            files.ended.wait()

    @property
    def recording(self) -> Recording | None:
        """What is being written; None if nothing is."""
        files = self._files
        return None if files is None or files.ended.is_set() else files.recording

    @property
    def note(self) -> str | None:
        """What there is to know about the file of sound; None while there is nothing."""
        files = self._files
        return None if files is None or files.sound is None else files.sound.note

    def take_error(self) -> Exception | None:
        """Why a recording ended by itself, once."""
        with self._lock:
            for files in [files for files in self._begun if files.ended.is_set()]:
                self._begun.remove(files)
                if files.error is not None:
                    return files.error
        return None

    def hear(self, block: AudioBlock) -> None:
        with self._lock:
            files = self._files
            if files is None:
                return
            if self._origin is None:
                self._origin = round(block.start * self._rate_hz / self._source_rate_hz)
            missing = 0 if self._next is None else block.start - self._next
            self._next = block.end
        files.put_sound(block.samples, missing)

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        with self._lock:
            files, origin = self._files, self._origin
        if files is None or origin is None or prediction.start < origin:
            return
        own = replace(prediction, start=prediction.start - origin, end=prediction.end - origin)
        files.put_row(live_row(own, snapshot, self._labels, self._rate_hz))


class _RowFile:
    """Rows in a file, each written whole by one call of the system."""

    def __init__(self, file: io.FileIO, writer: Callable[[TextIO], RowWriter]) -> None:
        self._file = file
        # A pipe or a device, which may stand in the place of a file, is only written to.
        self._is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        self._text = io.StringIO()
        self._writer = writer(self._text)
        self._end = self._synced = 0

    def write(self, row: Mapping[str, Any]) -> None:
        self._writer.write(row)
        data = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        write_whole(self._file, data)
        self._end += len(data)

    def sync(self) -> None:
        if self._is_file and self._synced != self._end:
            os.fsync(self._file.fileno())
        self._synced = self._end

    def close(self) -> None:
        try:
            self.sync()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Drop the row of which only a part could be written."""
        try:
            if self._is_file:
                self._file.truncate(self._end)
        finally:
            self._file.close()


class _Files:
    """The files of one recording, and the thread that writes them.

    Raises:
        SerStreamError: one of them cannot be written.
    """

    def __init__(self, wanted: Recording, sample_rate_hz: int, overwrite: bool) -> None:
        self.recording, rows, self.sound = _create(wanted, sample_rate_hz, overwrite)
        self.rows = rows
        self.error: Exception | None = None
        # Set when nothing more is written. To wait for it cannot be cut short by a signal, unlike
        # joining the thread, which Python 3.11 and 3.12 then take for ended.
        self.ended = threading.Event()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Path | None, Callable[[], None]]] = deque()
        self._finishing = False
        threading.Thread(target=self._run, name="ser-stream recorder", daemon=True).start()

    def put_row(self, row: Mapping[str, Any]) -> None:
        """Write a row soon."""
        if self.rows is not None:
            self._put(self.recording.rows, partial(self.rows.write, row))

    def put_sound(self, samples: Float32, missing: int) -> None:
        """Write samples (n,) soon, after silence for those that are ``missing``."""
        if self.sound is not None:
            if missing > 0:
                self._put(self.recording.audio, partial(self.sound.silence, missing))
            self._put(self.recording.audio, partial(self.sound.write, to_int16(samples)))

    def finish(self) -> None:
        """Write what waits, and close the files."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def _put(self, path: Path | None, write: Callable[[], None]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MOST_WAITING or self._finishing)
            if not self._finishing:
                self._waiting.append((path, write))
                self._changed.notify_all()

    def _take(
        self, until_s: float
    ) -> tuple[Sequence[tuple[Path | None, Callable[[], None]]], bool]:
        """What waits, as soon as something does, and whether it is the last."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._finishing, max(0.0, until_s - time.monotonic())
            )
            items, self._waiting = self._waiting, deque()
            self._changed.notify_all()
            return items, self._finishing

    def _run(self) -> None:
        files = [
            (path, file)
            for path, file in ((self.recording.rows, self.rows), (self.recording.audio, self.sound))
            if file is not None
        ]
        try:
            due_s = time.monotonic() + SYNC_S
            last = False
            while not last:
                items, last = self._take(due_s)
                for path, write in items:
                    _attempt(path, write)
                if time.monotonic() >= due_s:
                    for path, file in files:
                        _attempt(path, file.sync)
                    due_s = time.monotonic() + SYNC_S
            while files:
                path, file = files.pop(0)
                _attempt(path, file.close)
        except Exception as error:  # kept for the thread that began the recording
            self.error = error
        finally:
            self.finish()
            for _, file in files:
                with contextlib.suppress(OSError, soundfile.LibsndfileError):
                    file.abandon()
            self.ended.set()


def _attempt(path: Path | None, write: Callable[[], None]) -> None:
    try:
        write()
    except (OSError, soundfile.LibsndfileError) as error:
        raise _cannot_write(path, error) from error


def _create(
    wanted: Recording, sample_rate_hz: int, overwrite: bool
) -> tuple[Recording, _RowFile | None, SoundWriter | None]:
    """Create the files of ``wanted``; those with one stem get one number."""
    groups = [wanted.paths]
    if len({path.with_suffix("") for path in wanted.paths}) > 1:
        groups = [(path,) for path in wanted.paths]
    files: dict[Path, io.FileIO] = {}
    path: Path | None = None
    try:
        for group in groups:
            path = group[0]
            files |= zip(group, create_together(group, overwrite=overwrite), strict=True)
        rows = sound = None
        if (path := wanted.rows) is not None:
            rows = _RowFile(files[path], row_writer_of(path))
        if (path := wanted.audio) is not None:
            kind = FlacWriter if path.suffix.lower() == ".flac" else WavWriter
            sound = kind(files[path], sample_rate_hz)
    except (OSError, SerStreamError) as error:
        for file in files.values():
            discard(file)
        if isinstance(error, SerStreamError):
            raise
        raise _cannot_write(path, error) from error
    made = [None if p is None else Path(files[p].name) for p in (wanted.rows, wanted.audio)]
    return Recording(*made), rows, sound


def _cannot_write(path: Path | None, error: Exception) -> SerStreamError:
    if isinstance(error, OSError):
        return SerStreamError(f"{error.filename or path}: cannot write ({os_reason(error)})")
    return SerStreamError(f"{path}: cannot write ({error})")
