"""Streaming speech recognisers: from sound to words with times.

None of them comes with this project: `PocketsphinxAsr` and `SherpaAsr` load their package when they
are made. Everything runs on this machine.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ser_stream.errors import SerStreamError
from ser_stream.types import Float32, Word

RATE_HZ = 16000


class AsrError(SerStreamError):
    """A speech recogniser that cannot be loaded, or that failed."""


class Asr(Protocol):
    """Recognises the words of a stream at 16 kHz; used by one thread at a time."""

    @property
    def name(self) -> str:
        """The recogniser's name, for users."""
        ...

    @property
    def settled(self) -> int:
        """How many of the first `words` are final and do not change any more."""
        ...

    def accept(self, samples: Float32) -> None:
        """Take the next samples, float32 (n,) in [-1, 1], any number of them."""
        ...

    def words(self) -> list[Word]:
        """All words since the reset; times count from it. Those past `settled` may change."""
        ...

    def flush(self) -> None:
        """Settle all words, as the stream ends here; what comes next is a `reset`."""
        ...

    def reset(self) -> None:
        """Begin another stream; the next sample is at 0 s."""
        ...


class PocketsphinxAsr:
    """CMU Pocketsphinx with the US English model of its package: light, and often wrong.

    Its own detector of speech cuts the stream at pauses, and each stretch of speech is an
    utterance, which settles when the pause comes. An utterance that goes on is cut after
    ``longest_s``, so that memory stays bounded.

    Words come some 0.3 s after they were said, which is what the detector waits for. The package
    holds Python's interpreter lock while it computes. So sound goes in by 10 ms (20 ms of lock at
    most, on one core), and the passes that go over a whole utterance at its end are off. On clips
    of CREMA-D the second search took up to 1.4 s of lock and changed nothing; the best path took
    up to 0.5 s and made two to five words in a hundred better.

    A stream is normalised by the sound before (cepstral means); of a clip of two seconds that
    is little. Where words may come late, ``whole`` utterances are normalised by themselves and
    searched thoroughly: of 60 clips of CREMA-D, each by itself, 73 words in a hundred were wrong
    instead of 98, for three times the work. As one stream 77 of them were wrong.

    Args:
        longest_s: of an utterance.
        whole: take every utterance to its end before its words are searched, with all passes.

    Raises:
        AsrError: the package is missing or does not load.
    """

    name = "pocketsphinx"
    PIECE = 160
    FRAMES_PER_S = 100
    # Hidden Markov models per frame: half the time of the default 30000.
    MOST_MODELS = 3000

    def __init__(self, longest_s: float = 20.0, whole: bool = False) -> None:
        self._package = _load("pocketsphinx", "pocketsphinx")
        self._whole = whole
        quick = {"fwdflat": False, "bestpath": False, "maxhmmpf": self.MOST_MODELS}
        try:
            self._decoder = self._package.Decoder(loglevel="FATAL", **({} if whole else quick))
        except (RuntimeError, ValueError, OSError) as error:
            raise AsrError(f"pocketsphinx does not load: {error}") from error
        self._longest = round(longest_s * RATE_HZ)
        self._in_utterance = False
        self.reset()

    @property
    def settled(self) -> int:
        return len(self._settled)

    def accept(self, samples: Float32) -> None:
        """Take the next samples, float32 (n,)."""
        new = np.clip(samples * 32767.0, -32768.0, 32767.0).astype(np.int16)
        self._rest = np.concatenate([self._rest, new])
        full = len(self._rest) // self._frame * self._frame
        for i in range(0, full, self._frame):
            speech = self._endpointer.process(self._rest[i : i + self._frame].tobytes())
            if speech is not None:
                self._search(speech)
                if not self._endpointer.in_speech:
                    self._end()
        self._rest = self._rest[full:]

    def words(self) -> list[Word]:
        running = self._in_utterance and not self._whole
        return self._settled + (self._segments() if running else [])

    def flush(self) -> None:
        if self._endpointer.in_speech:
            # It takes no empty rest.
            speech = self._endpointer.end_stream(self._rest.tobytes() or bytes(2))
            if speech is not None:
                self._search(speech)
        self._end()

    def reset(self) -> None:
        self._end()
        # The decoder keeps its cepstral means for the next utterance.
        self._decoder.reinit_feat()
        self._endpointer = self._package.Endpointer(sample_rate=RATE_HZ)
        self._frame = self._endpointer.frame_bytes // 2
        self._rest = np.zeros(0, dtype=np.int16)
        self._settled: list[Word] = []

    def _search(self, speech: bytes) -> None:
        if not self._in_utterance:
            self._begin(round(self._endpointer.speech_start * RATE_HZ))
        self._length += len(speech) // 2
        if self._whole:
            self._utterance.append(speech)
        else:
            for i in range(0, len(speech), 2 * self.PIECE):
                self._decoder.process_raw(speech[i : i + 2 * self.PIECE])
        if self._length >= self._longest:
            end = self._start + self._length
            self._end()
            self._begin(end)

    def _begin(self, start: int) -> None:
        self._start, self._length = start, 0
        self._utterance: list[bytes] = []
        self._decoder.start_utt()
        self._in_utterance = True

    def _end(self) -> None:
        if self._in_utterance:
            if self._utterance:
                self._decoder.process_raw(b"".join(self._utterance), full_utt=True)
            self._decoder.end_utt()
            self._in_utterance = False
            self._settled += self._segments()

    def _segments(self) -> list[Word]:
        start_s = self._start / RATE_HZ
        return [
            Word(
                # The dictionary numbers the pronunciations of a word: white(2).
                re.sub(r"\(\d+\)$", "", segment.word),
                start_s + segment.start_frame / self.FRAMES_PER_S,
                start_s + (segment.end_frame + 1) / self.FRAMES_PER_S,
            )
            # There is none before the first word.
            for segment in self._decoder.seg() or ()
            # <sil>, [NOISE], ++BREATH++
            if segment.word[0] not in "<[+"
        ]


class SherpaAsr:
    """A streaming transducer, such as a zipformer, run by sherpa-onnx.

    A transducer gives the time at which a token is written, not how long it was spoken: a word
    begins with its first token and ends with the next word, at most `TOKEN_S` after its last token.
    Tokens come late by what the network looks ahead.

    Args:
        folder: with tokens.txt, encoder*.onnx, decoder*.onnx and joiner*.onnx; of several, one
            with int8 in its name is taken, which costs half the time.

    Raises:
        AsrError: a file or the package is missing, or the model does not load.
    """

    TOKEN_S = 0.2
    # Silence that the network needs after the last word before it writes it.
    TAIL_S = 0.6

    def __init__(self, folder: Path) -> None:
        files = {part: _part(folder, part) for part in ("encoder", "decoder", "joiner")}
        tokens = folder / "tokens.txt"
        if not tokens.is_file():
            raise AsrError(f"{folder}: no tokens.txt; a streaming transducer has one")
        package = _load("sherpa_onnx", "sherpa-onnx")
        try:
            self._recognizer = package.OnlineRecognizer.from_transducer(
                tokens=str(tokens),
                num_threads=1,
                enable_endpoint_detection=True,
                **{part: str(path) for part, path in files.items()},
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise AsrError(f"{folder}: sherpa-onnx cannot load the model: {error}") from error
        self.name = f"sherpa-onnx {folder.resolve().name}"
        self.reset()

    @property
    def settled(self) -> int:
        return len(self._settled)

    def accept(self, samples: Float32) -> None:
        """Take the next samples, float32 (n,)."""
        self._stream.accept_waveform(RATE_HZ, samples)
        self._decode()

    def words(self) -> list[Word]:
        return self._settled + self._segment()

    def flush(self) -> None:
        self._stream.accept_waveform(RATE_HZ, np.zeros(round(self.TAIL_S * RATE_HZ), np.float32))
        self._stream.input_finished()
        self._decode()
        self._settled += self._segment()
        self._flushed = True

    def reset(self) -> None:
        self._stream: Any = self._recognizer.create_stream()
        self._settled: list[Word] = []
        self._flushed = False

    def _decode(self) -> None:
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)
            if self._recognizer.is_endpoint(self._stream):
                self._settled += self._segment()
                self._recognizer.reset(self._stream)

    def _segment(self) -> list[Word]:
        """Words since the last endpoint; none after `flush`, which has settled them."""
        if self._flushed:
            return []
        result = self._recognizer.get_result_all(self._stream)
        times = [result.start_time + t for t in result.timestamps]
        return words_of_tokens(result.tokens, times, self.TOKEN_S)


def words_of_tokens(tokens: Sequence[str], times: Sequence[float], token_s: float) -> list[Word]:
    """Join a transducer's tokens, each written at a time, to words.

    A token that begins with a space, or with the sign for one that SentencePiece writes, begins a
    word. A word lasts until the next begins, at most ``token_s`` after its last token.
    """
    texts: list[str] = []
    spans: list[tuple[float, float]] = []
    for token, time_s in zip(tokens, times, strict=True):
        begins = token[:1] in (" ", "\u2581")
        piece = token.lstrip(" \u2581")
        if begins or not texts:
            texts.append(piece)
            spans.append((time_s, time_s))
        else:
            texts[-1] += piece
            spans[-1] = (spans[-1][0], time_s)
    nexts = [start for start, _ in spans[1:]] + [math.inf]
    return [
        Word(text.lower(), start, min(after, last + token_s))
        for text, (start, last), after in zip(texts, spans, nexts, strict=False)
        if text
    ]


def make_asr(name_or_folder: str, whole: bool = False) -> Asr:
    """The recogniser called "pocketsphinx", or the transducer in a folder.

    Args:
        name_or_folder: see above.
        whole: words may come late; take the time to get more of them right.

    Raises:
        AsrError: there is none of that name, or it does not load.
    """
    if name_or_folder == PocketsphinxAsr.name:
        return PocketsphinxAsr(whole=whole)
    folder = Path(name_or_folder)
    if folder.is_dir():
        return SherpaAsr(folder)
    raise AsrError(
        f"{name_or_folder}: no such recogniser; use {PocketsphinxAsr.name}, or the folder of a "
        "streaming transducer for sherpa-onnx"
    )


def _load(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AsrError(
            f"the package {package} is missing or does not load ({error}); pip install {package}"
        ) from error


def _part(folder: Path, part: str) -> Path:
    found = sorted(folder.glob(f"{part}*.onnx"), key=lambda p: ("int8" not in p.name, p.name))
    if not found:
        raise AsrError(f"{folder}: no {part}*.onnx; a streaming transducer has one")
    return found[0]
