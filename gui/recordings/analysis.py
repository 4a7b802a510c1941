"""What the window shows of a recording: envelope, beliefs, where speech is, and the whole's score.

All of it is computed in jobs, never on the window's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gui.jobs import JobControl
from gui.live.history import History, Stretch
from gui.recordings.envelope import Envelope, read_envelope
from ser_stream.errors import AudioError
from ser_stream.scoring.find import find_audio
from ser_stream.scoring.recordings import FileScore, score_file
from ser_stream.scoring.words import Transcripts
from ser_stream.stream.detector import SileroDetector, SpeechDetector
from ser_stream.stream.listening import Listening
from ser_stream.types import Float32, Float64, Prediction, Snapshot
from ser_stream.words.recognizers import make_asr

# Breaths and the closures of plosives are shorter than this and no pauses.
PAUSE_S = 0.3
# Computing the envelope is this share of the work; the rest is scoring.
ENVELOPE_SHARE = 0.1


class _StoringDetector:
    """Another detector whose probabilities are kept."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._answers: list[Float32] = []

    @property
    def chunk_length(self) -> int:
        return self._detector.chunk_length

    def __call__(self, chunks: Float32) -> Float32:
        answer = self._detector(chunks)
        self._answers.append(answer)
        return answer

    def reset(self) -> None:
        self._detector.reset()
        self._answers = []

    def probabilities(self, chunks: int) -> Float32:
        """Of the stream's ``chunks`` chunks, float32 (chunks,).

        The engine gives the opening to the detector twice; the second answers count.
        """
        empty = np.zeros(0, dtype=np.float32)
        answers = np.concatenate(self._answers) if self._answers else empty
        return answers[max(0, len(answers) - chunks) :]


def speech_spans(speech: np.ndarray, chunk_s: float, pause_s: float = PAUSE_S) -> Float64:
    """Begin and end in s of stretches of speech, float64 (n, 2).

    Args:
        speech: whether each chunk is speech, bool (n,).
        chunk_s: length of a chunk, s.
        pause_s: pauses shorter than this are left out.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(int), [0]])))
    spans = edges.reshape(-1, 2).astype(np.float64) * chunk_s
    return merged(spans, pause_s)


def merged(spans: Float64, gap_s: float) -> Float64:
    """Spans (n, 2) in order, those less than ``gap_s`` apart as one."""
    if len(spans) == 0:
        return np.zeros((0, 2))
    parts = spans[1:, 0] - spans[:-1, 1] >= gap_s
    return np.column_stack([spans[np.append(True, parts), 0], spans[np.append(parts, True), 1]])


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """What the model made of a recording.

    Attributes:
        score: of the whole.
        stretch: every window's belief.
        speech: begin and end of speech in s, float64 (n, 2).
    """

    score: FileScore
    stretch: Stretch
    speech: Float64


def _transcripts(listening: Listening, recognizer: str) -> Transcripts | None:
    """What finds the words of recordings; None for models that read none.

    Raises:
        AsrError: the recogniser does not load.
    """
    if listening.reader is None:
        return None
    return Transcripts(asr=make_asr(recognizer, whole=True) if recognizer else None)


class Analysis:
    """The work on one recording: its envelope first, then the model's scores.

    Args:
        path: the recording.
        listening: the model and what was chosen beside it.
        recognizer: writes down what has no transcript beside it, if the model reads words, see
            `ser_stream.words.recognizers.make_asr`; empty for none.
    """

    def __init__(self, path: Path, listening: Listening, recognizer: str = "") -> None:
        self.path = path
        self.listening = listening
        # Swapped in one assignment, for a view to draw while the model still scores.
        self.envelope: Envelope | None = None
        self._recognizer = recognizer

    def run(self, control: JobControl) -> AnalysisResult:
        """Do the work.

        Raises:
            SerStreamError: the profile does not fit the model, or the recogniser does not load; a
                file that cannot be scored has the reason in the score's ``error``.
        """
        meta = self.listening.bundle.meta
        try:
            self.envelope = read_envelope(
                self.path, lambda share: control.progress(ENVELOPE_SHARE * share)
            )
        except AudioError:
            # Scoring fails for the same reason, and reports it.
            self.envelope = None
        detector = _StoringDetector(SileroDetector())
        engine = self.listening.engine(detector)
        predictions: list[Prediction] = []
        score = score_file(
            self.path,
            engine,
            predictions.append,
            lambda share: control.progress(ENVELOPE_SHARE + (1.0 - ENVELOPE_SHARE) * share),
            _transcripts(self.listening, self._recognizer),
        )
        history = History(meta.labels, meta.sample_rate_hz, max(1, len(predictions)))
        for prediction in predictions:
            history.write(prediction, Snapshot())
        chunk_s = detector.chunk_length / meta.sample_rate_hz
        chunks = detector.probabilities(int((score.duration_s or 0.0) / chunk_s))
        return AnalysisResult(
            score,
            history.since(-1.0),
            speech_spans(chunks >= meta.gate.threshold, chunk_s),
        )


class BatchScoring:
    """The work on many recordings; rows come as they are scored.

    Args:
        paths: files, and folders to look through.
        listening: the model and what was chosen beside it.
        recognizer: writes down what has no transcript beside it, if the model reads words, see
            `ser_stream.words.recognizers.make_asr`; empty for none.
    """

    def __init__(self, paths: Sequence[Path], listening: Listening, recognizer: str = "") -> None:
        self.labels = listening.bundle.meta.labels
        self._paths = tuple(paths)
        self._listening = listening
        self._recognizer = recognizer
        self._lock = threading.Lock()
        self._new: list[FileScore] = []

    def take(self) -> list[FileScore]:
        """The scores since the last call, in the order of the files."""
        with self._lock:
            new, self._new = self._new, []
        return new

    def run(self, control: JobControl) -> int:
        """Do the work; return the number of files.

        Raises:
            AudioError: no file is named as audio.
            SerStreamError: the profile does not fit the model, or the recogniser does not load.
        """
        engine = self._listening.engine()
        transcripts = _transcripts(self._listening, self._recognizer)
        files = list(_until(find_audio(self._paths), control))
        if not files:
            raise AudioError(f"{', '.join(map(str, self._paths))}: no audio files there")
        for i, path in enumerate(files):

            def on_progress(share: float, i: int = i) -> None:
                control.progress((i + share) / len(files))

            on_progress(0.0)
            score = score_file(path, engine, on_progress=on_progress, transcripts=transcripts)
            with self._lock:
                self._new.append(score)
        control.progress(1.0)
        return len(files)


def _until(paths: Iterable[Path], control: JobControl) -> Iterable[Path]:
    for path in paths:
        control.progress(0.0)
        yield path
