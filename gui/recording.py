"""Recording a live stream: begun and ended while it runs, without holding it up or ending it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ser_stream.errors import SerStreamError
from ser_stream.recorder import AudioRecorder
from ser_stream.records import RowWriter, live_row
from ser_stream.types import AudioBlock, Prediction, Snapshot


@dataclass(frozen=True, slots=True)
class Recording:
    """What is written.

    Attributes:
        rows: a .csv or .jsonl file of predictions.
        audio: a .wav or .flac file; None for no sound.
    """

    rows: Path
    audio: Path | None = None


class LiveRecorder:
    """A session's sink and tap that writes while it is asked to.

    Times count from the first block that is recorded, in both files. What cannot be written ends
    the recording, not the stream; the reason waits in `take_error`.

    Args:
        labels: the model's classes.
        rate_hz: the model's rate.
    """

    def __init__(self, labels: Sequence[str], rate_hz: int) -> None:
        self._labels = tuple(labels)
        self._rate_hz = rate_hz
        self._lock = threading.Lock()
        self._wanted: Recording | None = None
        self._rows: RowWriter | None = None
        self._audio: AudioRecorder | None = None
        self._origin: int | None = None
        self._error: Exception | None = None

    def begin(self, recording: Recording, source_rate_hz: int) -> None:
        """Open the files; the next block is the first.

        Raises:
            SerStreamError: one of them cannot be written.
        """
        self.end()
        rows = RowWriter.open(recording.rows)
        audio = None
        try:
            if recording.audio is not None:
                audio = AudioRecorder(recording.audio, source_rate_hz)
        except SerStreamError:
            rows.close()
            raise
        with self._lock:
            self._wanted, self._rows, self._audio = recording, rows, audio
            self._origin = None

    def end(self) -> None:
        """Finish the files, if any."""
        with self._lock:
            self._close()

    @property
    def recording(self) -> Recording | None:
        """What is being written; None if nothing is."""
        return self._wanted

    def take_error(self) -> Exception | None:
        """Why the recording ended by itself, once."""
        error, self._error = self._error, None
        return error

    def hear(self, block: AudioBlock, source_rate_hz: int) -> None:
        """Take the next block of the source."""
        with self._lock:
            if self._wanted is None:
                return
            if self._origin is None:
                self._origin = round(block.start * self._rate_hz / source_rate_hz)
            if self._audio is not None:
                try:
                    self._audio.hear(block)
                except SerStreamError as error:
                    self._fail(error)

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        with self._lock:
            if self._wanted is None or self._rows is None or self._origin is None:
                return
            start, end = prediction.start - self._origin, prediction.end - self._origin
            if start < 0:
                return
            own = replace(prediction, start=start, end=end)
            try:
                self._rows.write(live_row(own, snapshot, self._labels, self._rate_hz))
            except OSError as error:
                self._fail(SerStreamError(f"{self._wanted.rows}: cannot write ({error.strerror})"))

    def close(self) -> None:
        self.end()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._close()

    def _close(self) -> None:
        rows, audio = self._rows, self._audio
        self._wanted = self._rows = self._audio = None
        for file in (rows, audio):
            if file is not None:
                try:
                    file.close()
                except OSError as error:
                    self._error = self._error or error
