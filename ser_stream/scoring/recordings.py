"""Score recordings: the same engine as the microphone's, file by file, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser_stream.audio.sound_file import FileSource
from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason
from ser_stream.labels import derived_affect
from ser_stream.scoring.speakers import Speakers
from ser_stream.scoring.words import Transcripts
from ser_stream.stream.engine import MIN_FLUSH_S, Engine
from ser_stream.stream.listening import feed_source
from ser_stream.types import Float64, Prediction, State


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
        speaker: whose recording it is, where those of one speaker were heard before it was scored.
        profile: the speaker's profile that was gone by.
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
    speaker: str | None = None
    profile: str | None = None

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
            "speaker": self.speaker,
            "profile": self.profile,
            "error": self.error,
        }


def score_file(
    path: Path,
    engine: Engine,
    on_prediction: Callable[[Prediction], None] = lambda prediction: None,
    on_progress: Callable[[float], None] = lambda share: None,
    transcripts: Transcripts | None = None,
    speakers: Speakers | None = None,
) -> FileScore:
    """Score one file from its beginning, without evidence from other files.

    Args:
        path: any file that libsndfile reads, any rate, channels averaged.
        engine: reset first.
        on_prediction: called with every window, in order.
        on_progress: called with the share that is done, 0 to 1.
        transcripts: where its words are; a file without any is scored by its sound alone.
        speakers: what is known of who speaks; without it that is nothing, or the engine's profile.

    Returns:
        The score; a file of which anything fails keeps its ``error`` and has no score. What
        ``on_prediction`` and ``on_progress`` raise is passed on.
    """
    speaker = None if speakers is None else speakers.of(path)
    unscored = FileScore(path, speaker=speaker, profile=engine.profile_name)
    origin = None
    try:
        engine.know(None if speakers is None else speakers.known(speaker))
        engine.reset()
        engine.word_source = None
        if transcripts is not None:
            engine.word_source, origin = transcripts.find(path)
        source = FileSource(path)
    except Exception as error:  # see `reason_of`
        return replace(unscored, error=reason_of(path, error), transcript=origin)
    unscored = replace(unscored, transcript=origin)
    labels = engine.bundle.meta.labels
    total = np.zeros(len(labels))
    windows = seen = 0
    duration_s = 0.0
    steps = feed_source(engine, source)
    while True:
        # Only the file's own errors end up in its row, not those of the callbacks.
        try:
            step = next(steps, None)
        except Exception as error:  # see `reason_of`
            return replace(unscored, duration_s=duration_s or None, error=reason_of(path, error))
        if step is None:
            break
        predictions, duration_s = step
        for prediction in predictions:
            on_prediction(prediction)
            seen += 1
            if prediction.posterior is not None:
                total += prediction.posterior
                windows += 1
        on_progress(min(1.0, duration_s / source.duration_s))
    score = replace(unscored, duration_s=duration_s, windows=windows)
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
