"""What the window shows of a recording: envelope, beliefs, where speech is, and the whole's score.

All of it is computed in jobs, never on the window's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gui.history import History, Stretch
from gui.jobs import JobControl
from ser_stream.audio.sound_file import FileSource
from ser_stream.errors import AudioError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import Profile
from ser_stream.scoring.find import find_audio
from ser_stream.scoring.recordings import FileScore, score_file
from ser_stream.scoring.words import Transcripts
from ser_stream.stream.detector import SileroDetector, SpeechDetector
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import Float32, Float64, Prediction, Snapshot
from ser_stream.words.reader import WordReader
from ser_stream.words.recognizers import make_asr

# Finer than a screen shows of the least stretch that a view zooms to.
BIN_S = 0.002
LEVEL_STEP = 4
# Shorter pauses are no pauses: people breathe and hold plosives.
PAUSE_S = 0.3
# Reading the file is this share of the work; the rest is scoring.
READING = 0.1


class Envelope:
    """Least and greatest sample per stretch of time, at several resolutions.

    Args:
        low: least sample per bin, float32 (n,).
        high: greatest sample per bin, float32 (n,).
        bin_s: length of a bin, s.
        duration_s: length of the sound, s.
    """

    def __init__(self, low: Float32, high: Float32, bin_s: float, duration_s: float) -> None:
        self.duration_s = duration_s
        self.bin_s = bin_s
        self.peak = float(max(-low.min(), high.max())) if len(low) else 0.0
        self._levels = [(low, high)]
        while len(low) > LEVEL_STEP:
            low, high = _coarser(low, high, LEVEL_STEP)
            self._levels.append((low, high))

    def view(self, start_s: float, end_s: float, columns: int) -> tuple[Float64, Float32, Float32]:
        """Times in s, least and greatest samples between two times, in about ``columns`` bins."""
        n = len(self._levels[0][0])
        first = int(np.clip(start_s / self.bin_s - 1, 0, n))
        last = int(np.clip(np.ceil(end_s / self.bin_s) + 1, first, n))
        # Whole multiples of the coarse bin, so that panning does not make the picture flicker.
        step = max(1, (last - first) // max(1, columns))
        level = 0
        while level + 1 < len(self._levels) and LEVEL_STEP ** (level + 1) <= step:
            level += 1
        fine = LEVEL_STEP**level
        group = max(1, step // fine)
        low, high = self._levels[level]
        begin = max(0, first // fine // group * group - group)
        stop = min(len(low), -(-last // fine // group) * group + group)
        low, high = _coarser(low[begin:stop], high[begin:stop], group)
        bin_s = self.bin_s * fine * group
        times = begin * fine * self.bin_s + bin_s * (np.arange(len(low)) + 0.5)
        return np.minimum(times, self.duration_s), low, high


def _coarser(low: Float32, high: Float32, group: int) -> tuple[Float32, Float32]:
    if group == 1 or len(low) == 0:
        return low, high
    starts = np.arange(0, len(low), group)
    return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)


def read_envelope(
    path: Path, on_progress: Callable[[float], None] = lambda share: None
) -> Envelope:
    """Read a file's envelope, in memory that grows by 4 kB per second; as far as it can be read.

    Raises:
        AudioError: nothing of it can be read.
    """
    source = FileSource(path)
    rate = source.sample_rate_hz
    size = max(1, round(BIN_S * rate))
    lows: list[Float32] = []
    highs: list[Float32] = []
    rest = np.zeros(0, dtype=np.float32)
    end = 0
    try:
        for block in source:
            joined = np.concatenate([rest, block.samples])
            full = len(joined) // size * size
            bins = joined[:full].reshape(-1, size)
            lows.append(bins.min(axis=1))
            highs.append(bins.max(axis=1))
            rest, end = joined[full:], block.end
            on_progress(min(1.0, end / rate / max(source.duration_s, 1e-9)))
    except AudioError:
        if end == 0:
            raise
    if len(rest):
        lows.append(rest.min(keepdims=True))
        highs.append(rest.max(keepdims=True))
    return Envelope(np.concatenate(lows), np.concatenate(highs), size / rate, end / rate)


class _ListeningDetector:
    """Another detector whose answers are kept."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._heard: list[Float32] = []

    @property
    def chunk_length(self) -> int:
        return self._detector.chunk_length

    def __call__(self, chunks: Float32) -> Float32:
        answer = self._detector(chunks)
        self._heard.append(answer)
        return answer

    def reset(self) -> None:
        self._detector.reset()
        self._heard = []

    def probabilities(self, chunks: int) -> Float32:
        """Of the stream's ``chunks`` chunks; of the opening, which is heard twice, the second."""
        heard = np.concatenate(self._heard) if self._heard else np.zeros(0, dtype=np.float32)
        return heard[max(0, len(heard) - chunks) :]


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
class Heard:
    """What the model heard in a recording.

    Attributes:
        score: of the whole.
        stretch: every window's belief.
        speech: begin and end of speech in s, float64 (n, 2).
    """

    score: FileScore
    stretch: Stretch
    speech: Float64


@dataclass(frozen=True, slots=True)
class Words:
    """Where the words of recordings are from.

    Attributes:
        reader: their vectors; None for models that read none.
        recognizer: writes down what has no transcript beside it, see
            `ser_stream.words.recognizers.make_asr`; empty for nobody.
    """

    reader: WordReader | None = None
    recognizer: str = ""

    def transcripts(self) -> Transcripts | None:
        """What finds them; None where nobody reads them.

        Raises:
            AsrError: the recogniser does not load.
        """
        if self.reader is None:
            return None
        return Transcripts(asr=make_asr(self.recognizer, whole=True) if self.recognizer else None)


class Analysis:
    """The work on one recording: its envelope first, then what the model hears in it.

    Args:
        path: the recording.
        bundle: the model.
        profile: the speaker's neutral voice, if it is known.
        words: where its words are from, for models that read them.
    """

    def __init__(
        self,
        path: Path,
        bundle: ModelBundle,
        profile: Profile | None = None,
        words: Words | None = None,
    ) -> None:
        self.path = path
        self.bundle = bundle
        # Swapped in one assignment, for a view to draw while the model still listens.
        self.envelope: Envelope | None = None
        self._profile = profile
        self._words = words or Words()

    def run(self, control: JobControl) -> Heard:
        """Do the work.

        Raises:
            SerStreamError: the profile does not fit the model, or the recogniser does not load; a
                file that cannot be scored is told by the score's ``error``.
        """
        meta = self.bundle.meta
        try:
            self.envelope = read_envelope(
                self.path, lambda share: control.progress(READING * share)
            )
        except AudioError:
            # Scoring finds the same, and says so.
            self.envelope = None
        detector = _ListeningDetector(SileroDetector())
        engine = Engine(
            self.bundle, EngineConfig(profile=self._profile), detector, self._words.reader
        )
        predictions: list[Prediction] = []
        score = score_file(
            self.path,
            engine,
            predictions.append,
            lambda share: control.progress(READING + (1.0 - READING) * share),
            self._words.transcripts(),
        )
        history = History(meta.labels, meta.sample_rate_hz, max(1, len(predictions)))
        for prediction in predictions:
            history.write(prediction, Snapshot())
        chunk_s = detector.chunk_length / meta.sample_rate_hz
        chunks = detector.probabilities(int((score.duration_s or 0.0) / chunk_s))
        return Heard(
            score,
            history.since(-1.0),
            speech_spans(chunks >= meta.gate.threshold, chunk_s),
        )


class Batch:
    """The work on many recordings; rows come as they are scored.

    Args:
        paths: files, and folders to look through.
        bundle: the model.
        profile: the speaker's neutral voice, if it is known.
        words: where their words are from, for models that read them.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        bundle: ModelBundle,
        profile: Profile | None = None,
        words: Words | None = None,
    ) -> None:
        self.labels = bundle.meta.labels
        self._paths = tuple(paths)
        self._bundle = bundle
        self._profile = profile
        self._words = words or Words()
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
        config = EngineConfig(profile=self._profile)
        engine = Engine(self._bundle, config, reader=self._words.reader)
        transcripts = self._words.transcripts()
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
