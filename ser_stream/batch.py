"""Score recordings: the same engine as the microphone's, file by file, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_stream.asr import Asr
from ser_stream.engine import MIN_FLUSH_S, Engine
from ser_stream.errors import AudioError, SerStreamError
from ser_stream.labels import derived_affect
from ser_stream.listener import WordTap
from ser_stream.resample import StreamingResampler
from ser_stream.sources import FileSource
from ser_stream.transcripts import Transcript, find_transcript
from ser_stream.types import Float64, Prediction, State

# Audio by its name, though libsndfile cannot read it: worth a row that says so.
UNREADABLE_SUFFIXES = {".m4a", ".mp4", ".aac", ".wma", ".webm"}
# libsndfile's name for headerless data; nothing in such a file tells its rate.
HEADERLESS = {"RAW"}


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


def find_audio(paths: Iterable[Path]) -> Iterator[Path]:
    """List the files among ``paths``, and below those that are folders the ones named as audio.

    Hidden files are left out. A path that does not exist is listed too: scoring it tells so.
    """
    formats = {name for name in soundfile.available_formats() if name not in HEADERLESS}
    suffixes = {f".{name.lower()}" for name in formats} | UNREADABLE_SUFFIXES
    suffixes |= {".aif", ".mp2", ".opus", ".oga"}
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.suffix.lower() in suffixes and not hidden and file.is_file():
                yield file


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
        The score; a file that breaks off, or whose transcript is broken, keeps its ``error`` and
        has no score.
    """
    engine.reset()
    engine.word_source = origin = None
    if transcripts is not None:
        try:
            engine.word_source, origin = transcripts.find(path)
        except SerStreamError as error:
            return FileScore(path, error=str(error).removeprefix(f"{path}: "))
    score = _score(path, engine, on_prediction, on_progress)
    return replace(score, transcript=origin)


def _score(
    path: Path,
    engine: Engine,
    on_prediction: Callable[[Prediction], None],
    on_progress: Callable[[float], None],
) -> FileScore:
    labels = engine.bundle.meta.labels
    total = np.zeros(len(labels))
    windows = seen = 0
    duration_s = 0.0
    try:
        source = FileSource(path)
        resampler = StreamingResampler(source.sample_rate_hz, engine.bundle.meta.sample_rate_hz)

        def predictions() -> Iterator[Prediction]:
            nonlocal duration_s
            for block in source:
                duration_s = block.end / source.sample_rate_hz
                yield from engine.feed(resampler.push(block))
                on_progress(min(1.0, duration_s / max(source.duration_s, 1e-9)))
            yield from engine.feed(resampler.flush())
            yield from engine.flush()

        for prediction in predictions():
            on_prediction(prediction)
            seen += 1
            if prediction.posterior is not None:
                total += prediction.posterior
                windows += 1
    except AudioError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return FileScore(path, duration_s or None, error=reason)
    if seen == 0:
        return FileScore(
            path,
            duration_s,
            error=f"too short: {duration_s:.2f} s, needs at least {MIN_FLUSH_S} s",
        )
    if windows == 0:
        return FileScore(path, duration_s, 0, State.NO_SPEECH)
    posterior = total / windows
    top = int(posterior.argmax())
    if posterior[top] < engine.bundle.meta.sure:
        return FileScore(path, duration_s, windows, State.UNSURE, None, posterior)
    return FileScore(path, duration_s, windows, State.EMOTION, labels[top], posterior)
