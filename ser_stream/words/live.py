"""Words of a live stream, recognised beside it without holding it up."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import replace

import numpy as np

from ser_stream.audio.resample import StreamingResampler
from ser_stream.types import AudioBlock, Float32, Word
from ser_stream.words.recognizers import RATE_HZ, Asr, AsrError, make_asr
from ser_stream.words.tokens import words_between

# Overloads that follow each other within this long belong together.
OVERLOAD_SPAN_S = 60.0
# No word lasts longer.
LONGEST_WORD_S = 5.0


class WordTap:
    """A session's tap that recognises words on a thread of its own.

    It never holds the session up and never ends it. A recogniser that falls behind by ``max_lag_s``
    loses the sound that waits, which is a gap for it; after the third loss within a minute each it
    is given up. One that raises is given up at once. Either leaves `error`, and the words so far.

    Times of words are times of the source's stream, in seconds; no word spans a gap.

    Args:
        asr: reset at the start and after every gap; belongs to the tap until it is closed.
        sample_rate_hz: of the blocks.
        max_lag_s: sound that may wait.
        patient: wait for the recogniser instead of losing sound, for files that are read faster
            than they play; `hear` then returns once the block is recognised.
    """

    MOST_OVERLOADS = 3

    def __init__(
        self, asr: Asr, sample_rate_hz: int, max_lag_s: float = 5.0, patient: bool = False
    ) -> None:
        self.name = asr.name
        self.error: AsrError | None = None
        self._asr = asr
        self._rate_hz = sample_rate_hz
        self._resampler = StreamingResampler(sample_rate_hz, RATE_HZ)
        self._max_lag = round(max_lag_s * sample_rate_hz)
        self._patient = patient
        # Guards everything below; held for moments only.
        self._changed = threading.Condition()
        self._waiting: deque[AudioBlock] = deque()
        self._behind = 0
        self._lost = 0
        self._overloads: list[int] = []
        self._closing = self._over = False
        self._settled: list[Word] = []
        self._open: list[Word] = []
        # The worker's own.
        self._next: int | None = None
        self._origin_s: float | None = None
        self._taken = 0
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="ser-stream words", daemon=True).start()

    def hear(self, block: AudioBlock) -> None:
        """Hand the next block over; nothing after the recogniser was given up."""
        with self._changed:
            if self._closing or self._over:
                return
            # A single block may be longer than the limit; that is no sign of slowness.
            behind = self._behind and self._behind + len(block.samples) > self._max_lag
            if behind and not self._patient:
                self._overload(block.start)
                if self._over:
                    return
            self._waiting.append(block)
            self._behind += len(block.samples)
            self._changed.notify_all()
            while self._patient and self._behind and not self._over:
                self._changed.wait()

    def close(self, timeout_s: float | None = 2.0) -> None:
        """Recognise what still waits, for ``timeout_s`` at most; None waits for all of it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._ended.wait(timeout_s)
        with self._changed:
            self._over = True

    @property
    def running(self) -> bool:
        """Whether words still come."""
        return not self._over

    @property
    def lag_s(self) -> float:
        """Sound that came in and is not yet recognised, in seconds."""
        return self._behind / self._rate_hz

    @property
    def lost_s(self) -> float:
        """Sound that was never recognised because the recogniser was too slow, in seconds."""
        return self._lost / self._rate_hz

    def words(self) -> list[Word]:
        """All words so far; the last ones may still change."""
        with self._changed:
            return self._settled + self._open

    def words_between(self, start_s: float, end_s: float) -> list[Word]:
        """Words whose middle lies in [start_s, end_s) of the stream."""
        with self._changed:
            first = bisect_left(self._settled, start_s - LONGEST_WORD_S, key=lambda w: w.start_s)
            recent = self._settled[first:] + self._open
        return words_between(recent, start_s, end_s)

    def _overload(self, position: int) -> None:
        """Drop the sound that waits; give up when that repeats."""
        lost = sum(len(block.samples) for block in self._waiting)
        self._waiting.clear()
        self._behind -= lost
        self._lost += lost
        span = round(OVERLOAD_SPAN_S * self._rate_hz)
        if self._overloads and position - self._overloads[-1] > span:
            self._overloads.clear()
        self._overloads.append(position)
        if len(self._overloads) >= self.MOST_OVERLOADS:
            self._give_up(
                AsrError(
                    f"{self.name} is too slow for this computer: it fell behind by "
                    f"{self._max_lag / self._rate_hz:.3g} s again and again"
                )
            )

    def _give_up(self, error: AsrError) -> None:
        self.error = self.error or error
        self._over = True
        self._waiting.clear()
        self._behind = 0
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._asr.reset()
            while (block := self._take()) is not None:
                self._recognise(block)
                with self._changed:
                    # The queue is empty where the recogniser was given up meanwhile.
                    self._behind = max(0, self._behind - len(block.samples))
                    self._changed.notify_all()
            if not self._over:
                self._finish()
        except Exception as error:  # a package may raise anything; the stream continues
            reason = AsrError(f"{self.name} failed: {error}")
            reason.__cause__ = error
            with self._changed:
                self._give_up(reason)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._ended.set()

    def _take(self) -> AudioBlock | None:
        """Wait for the next block; None at the end."""
        with self._changed:
            while not self._waiting and not self._closing and not self._over:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting and not self._over else None

    def _recognise(self, block: AudioBlock) -> None:
        if block.gap or block.start != self._next:
            if self._next is not None:
                self._finish()
                self._asr.reset()
            self._origin_s, self._taken = None, 0
            block = replace(block, gap=True)
        self._next = block.end
        resampled = self._resampler.push(block)
        self._accept(resampled.start, resampled.samples)

    def _finish(self) -> None:
        """Recognise what the resampler holds back and settle all words."""
        rest = self._resampler.flush()
        self._accept(rest.start, rest.samples)
        self._asr.flush()
        self._publish()

    def _accept(self, start: int, samples: Float32) -> None:
        if not len(samples):
            return
        if self._origin_s is None:
            self._origin_s = start / RATE_HZ
        self._asr.accept(np.ascontiguousarray(samples, dtype=np.float32))
        self._publish()

    def _publish(self) -> None:
        """Show the recogniser's words at their times in the stream."""
        words, settled = self._asr.words(), self._asr.settled
        shift_s = self._origin_s or 0.0
        new = [Word(w.text, w.start_s + shift_s, w.end_s + shift_s) for w in words[self._taken :]]
        more = settled - self._taken
        with self._changed:
            self._settled += new[:more]
            self._open = new[more:]
        self._taken = settled


def open_listener(asr: str, sample_rate_hz: int, patient: bool = False) -> WordTap:
    """A tap that recognises a session's words, see `ser_stream.words.recognizers.make_asr`.

    Args:
        asr: "pocketsphinx", or the folder of a streaming transducer.
        sample_rate_hz: of the session's source.
        patient: see `WordTap`.

    Raises:
        AsrError: it does not load.
    """
    return WordTap(make_asr(asr), sample_rate_hz, patient=patient)
