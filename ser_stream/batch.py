"""Score recordings: the same engine as the microphone's, file by file, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_stream.asr import Asr
from ser_stream.engine import MIN_FLUSH_S, Engine
from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason
from ser_stream.labels import derived_affect
from ser_stream.listener import WordTap
from ser_stream.resample import StreamingResampler
from ser_stream.sources import HEADERLESS, FileSource
from ser_stream.transcripts import Transcript, find_transcript
from ser_stream.types import Float64, Prediction, State

# Audio by its name, though libsndfile cannot read it: worth a row that says so.
UNREADABLE_SUFFIXES = {".m4a", ".mp4", ".aac", ".wma", ".webm"}


@dataclass(frozen=True, slots=True)
class FileScore:
    """What one recording sounds like as a whole.

    Attributes:
        path: the file.
        duration_s: length of what was read.
        windows: windows with speech (all windows without a gate).
        state: of the whole file; None with ``error``.
        label: class of the largest mean posterior; None unless ``state`` is EMOTION.
        posterior: mean posterior over those windows, float64 (classes,); None without any.
        transcript: where its words are from: "table", "file" beside it, "recognised", or "missing";
            None where none were looked for.
        error: why the file could not be scored; None if it was.
    """

    path: Path
    duration_s: float | None = None
    windows: int = 0
    state: State | None = None
    label: str | None = None
    posterior: Float64 | None = None
    error: str | None = None
    transcript: str | None = None

    def row(self, labels: Sequence[str]) -> dict[str, Any]:
        """Plain values, one column per class."""
        p = self.posterior
        return {
            "path": str(self.path),
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            "windows": self.windows,
            "state": None if self.state is None else str(self.state),
            "label": self.label,
            "confidence": None if p is None else round(float(p.max()), 4),
            **{
                label: None if p is None else round(float(p[i]), 4)
                for i, label in enumerate(labels)
            },
            **derived_affect(labels, p),
            "transcript": self.transcript,
            "error": self.error,
        }


@dataclass(slots=True)
class PassedOver:
    """How much of folders was not listed as audio."""

    not_audio: int = 0
    hidden: int = 0
    links: int = 0

    def __str__(self) -> str:
        """As "3 not audio, 1 link to a folder"; empty if nothing was passed over."""
        links = "link to a folder" if self.links == 1 else "links to folders"
        counts = ((self.not_audio, "not audio"), (self.hidden, "hidden"), (self.links, links))
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def find_audio(paths: Iterable[Path], passed_over: PassedOver | None = None) -> Iterator[Path]:
    """List the files among ``paths``, and below those that are folders the ones named as audio.

    In the order of ``paths``, each folder's in the order of their names; what is named twice is
    listed twice. Of a folder, hidden files and folders and links to folders are passed over, so no
    loop of links is walked. A path that does not exist or is no file, and a folder that cannot be
    listed, come too: scoring them tells why not.

    Args:
        paths: files and folders.
        passed_over: counts what is left out.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    formats = {name for name in soundfile.available_formats() if name not in HEADERLESS}
    suffixes = {f".{name.lower()}" for name in formats} | UNREADABLE_SUFFIXES
    suffixes |= {".aif", ".mp2", ".opus", ".oga"}
    for path in paths:
        if os.path.isdir(path):  # which does not raise where a folder above may not be entered
            yield from _below(path, suffixes, passed_over)
        else:
            yield path


def _below(top: Path, suffixes: Set[str], passed_over: PassedOver) -> Iterator[Path]:
    # What is still to be looked at, the next one last, and whether it is a folder.
    todo = [(top, True)]
    while todo:
        path, is_folder = todo.pop()
        if not is_folder:
            yield path
            continue
        try:
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name, reverse=True)
        except OSError:
            yield path
            continue
        for entry in entries:
            if entry.name.startswith("."):
                passed_over.hidden += 1
            elif entry.is_dir(follow_symlinks=False):
                todo.append((path / entry.name, True))
            elif os.path.isdir(entry):
                passed_over.links += 1
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                todo.append((path / entry.name, False))
            else:
                passed_over.not_audio += 1


class Transcripts:
    """Find the words of a recording: in a table, in a file beside it, or with a recogniser.

    Args:
        table: by `Path.resolve`, see `ser_stream.transcripts.read_transcripts_csv`.
        asr: writes down what neither has.
    """

    def __init__(
        self, table: Mapping[Path, Transcript] | None = None, asr: Asr | None = None
    ) -> None:
        self._table = table or {}
        self._asr = asr

    def find(self, path: Path) -> tuple[Transcript | None, str]:
        """The words and where they are from, see `FileScore`.

        Raises:
            TranscriptError: the file beside it cannot be read.
            AsrError: the recogniser failed.
            AudioError: there was nothing to recognise words in.
        """
        if (found := self._table.get(path.resolve())) is not None:
            return found, "table"
        if (found := find_transcript(path)) is not None:
            return found, "file"
        if self._asr is not None:
            return recognize(path, self._asr), "recognised"
        return None, "missing"


def recognize(path: Path, asr: Asr) -> Transcript:
    """Words of a whole recording with their times.

    Raises:
        AsrError: the recogniser failed.
        AudioError: the recording cannot be read.
    """
    source = FileSource(path)
    tap = WordTap(asr, source.sample_rate_hz, patient=True)
    try:
        for block in source:
            tap.hear(block)
    finally:
        tap.close(timeout_s=None)
    if tap.error is not None:
        raise tap.error
    return Transcript(tuple(tap.words()), timed=True)


def score_file(
    path: Path,
    engine: Engine,
    on_prediction: Callable[[Prediction], None] = lambda prediction: None,
    on_progress: Callable[[float], None] = lambda share: None,
    transcripts: Transcripts | None = None,
) -> FileScore:
    """Score one file from its beginning, as if nothing had been heard before.

    Args:
        path: any file that libsndfile reads, any rate, channels averaged.
        engine: reset first.
        on_prediction: told of every window, in order.
        on_progress: told of the share that is done, 0 to 1.
        transcripts: where its words are; a file without any is scored by its sound alone.

    Returns:
        The score; a file of which anything fails keeps its ``error`` and has no score. What
        ``on_prediction`` and ``on_progress`` raise is passed on.
    """
    try:
        engine.reset()
        engine.word_source = origin = None
        if transcripts is not None:
            engine.word_source, origin = transcripts.find(path)
    except Exception as error:  # see `reason_of`
        return FileScore(path, error=reason_of(path, error))
    labels = engine.bundle.meta.labels
    total = np.zeros(len(labels))
    windows = seen = 0
    duration_s = 0.0
    steps = _steps(path, engine)
    while True:
        # Only the file's own errors end up in its row, not those of whoever is told.
        try:
            step = next(steps, None)
        except Exception as error:  # see `reason_of`
            return FileScore(
                path, duration_s or None, error=reason_of(path, error), transcript=origin
            )
        if step is None:
            break
        predictions, duration_s, whole_s = step
        for prediction in predictions:
            on_prediction(prediction)
            seen += 1
            if prediction.posterior is not None:
                total += prediction.posterior
                windows += 1
        on_progress(min(1.0, duration_s / whole_s))
    score = FileScore(path, duration_s, windows, transcript=origin)
    if seen == 0:
        least = f"needs at least {MIN_FLUSH_S} s"
        return replace(score, error=f"too short: {duration_s:.2f} s, {least}")
    if windows == 0:
        return replace(score, state=State.NO_SPEECH)
    posterior = total / windows
    top = int(posterior.argmax())
    if posterior[top] < engine.bundle.meta.sure:
        return replace(score, state=State.UNSURE, posterior=posterior)
    return replace(score, state=State.EMOTION, label=labels[top], posterior=posterior)


def _steps(path: Path, engine: Engine) -> Iterator[tuple[list[Prediction], float, float]]:
    """Predictions of every block, the seconds read so far, and those that the header states."""
    source = FileSource(path)
    resampler = StreamingResampler(source.sample_rate_hz, engine.bundle.meta.sample_rate_hz)
    read_s = 0.0
    for block in source:
        read_s = block.end / source.sample_rate_hz
        yield engine.feed(resampler.push(block)), read_s, source.duration_s
    rest = engine.feed(resampler.flush()) + engine.flush()
    yield rest, read_s, source.duration_s


def reason_of(path: Path, error: Exception) -> str:
    """Why a file could not be scored.

    Any error is that file's own: a damaged file may raise what nobody expects in a library, and
    the others are to be scored all the same.
    """
    if isinstance(error, SerStreamError):
        return str(error).removeprefix(f"{path}: ")
    if isinstance(error, OSError):
        return os_reason(error)
    return f"{type(error).__name__}: {error}".removesuffix(": ")
