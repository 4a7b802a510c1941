"""A running stream: one worker thread from a source through the engine to the sinks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ser_stream.audio.level import level_dbfs
from ser_stream.audio.resample import StreamingResampler
from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason
from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock, AudioSource, Health, Prediction, Snapshot, Word
from ser_stream.words.live import WordTap

# Words that a snapshot holds: those of the longest timeline that a view shows.
WORDS_S = 60.0


class Sink(Protocol):
    """Takes every prediction, on the session's worker thread."""

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None: ...

    def close(self) -> None: ...


class Tap(Protocol):
    """Gets every block that the source delivers, on the session's worker thread."""

    def hear(self, block: AudioBlock) -> None: ...

    def close(self) -> None: ...


class Session:
    """Run ``engine`` over ``source`` in the background; views poll `snapshot`.

    The source must have been entered; leaving it stays with the caller. An error ends the session:
    it is kept in `error`, and everything that the sinks got before it stays. `heard` is set once
    the first block was taken.

    >>> import numpy as np
    >>> from ser_stream.audio.sources import ArraySource
    >>> from ser_stream.models.bundle import ModelBundle
    >>> from ser_stream.stream.engine import Engine
    >>> from ser_stream.stream.session import Session
    >>> source = ArraySource(np.zeros(3 * 16000, np.float32), 16000)
    >>> session = Session(source, Engine(ModelBundle.load()))
    >>> session.start()
    >>> session.wait()
    True
    >>> session.snapshot.position_s, str(session.snapshot.prediction.state)
    (3.0, 'no speech')

    Args:
        source: where blocks come from.
        engine: reset when the session starts.
        sinks: get every prediction, closed at the end.
        duration_s: stop after this much audio; None runs until the source ends.
        clock: monotonic seconds, the clock of ``AudioBlock.captured_s``.
        taps: get the blocks at the source's own rate before the engine does, closed at the end.
        words: a tap that also recognises words; the engine and the snapshots have them from it.
    """

    def __init__(
        self,
        source: AudioSource,
        engine: Engine,
        sinks: Sequence[Sink] = (),
        duration_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        taps: Sequence[Tap] = (),
        words: WordTap | None = None,
    ) -> None:
        self.source = source
        self.engine = engine
        self.engine.word_source = words
        self.snapshot = Snapshot()
        self.error: Exception | None = None
        self._sinks = sinks
        self.words = words
        self._taps = taps if words is None else (*taps, words)
        self._duration_s = duration_s
        self._clock = clock
        self.heard = threading.Event()
        self._stop = threading.Event()
        self._pause = threading.Event()
        # Waited for in place of the thread: a signal that cuts `Thread.join` short makes Python
        # 3.11 and 3.12 take a running thread for ended.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ser-stream", daemon=True)
        self._busy_s = 0.0
        self._device = "running"

    def start(self) -> None:
        """Start the worker; a session starts once."""
        self.engine.reset()
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the worker to end after the current block and wait for it."""
        self._stop.set()
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._ended.wait(timeout_s)

    def pause(self) -> None:
        """Let the source run on unheard; what it says until `resume` is lost."""
        self._pause.set()

    def resume(self) -> None:
        """Listen again; the first block is a gap."""
        self._pause.clear()

    @property
    def paused(self) -> bool:
        """Whether the source runs on unheard."""
        return self._pause.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return whether it came."""
        return self._ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            self._stream()
            self._device = "stopped"
        except Exception as error:  # kept for the thread that started the session
            self._fail(error)
        finally:
            try:
                self._close()
            finally:
                self._ended.set()

    def _close(self) -> None:
        """Close the sinks and taps, and show that nothing more will come."""
        self.heard.set()
        for listener in (*self._sinks, *self._taps):
            try:
                listener.close()
            except OSError as error:
                self._fail(error)
        old = self.snapshot
        health = self._health(old.position_s, old.health.latency_s)
        words = self._recent_words(old.position_s)
        self.snapshot = replace(old, words=words, health=health, finished=True)

    def _fail(self, error: Exception) -> None:
        self._device = str(error)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            reason = SerStreamError(f"cannot write: {os_reason(error)}")
            reason.__cause__ = error
            error = reason
        self.error = self.error or error

    def _stream(self) -> None:
        rate_in = self.source.sample_rate_hz
        resampler = StreamingResampler(rate_in, self.engine.bundle.meta.sample_rate_hz)
        end = 0
        hole = False
        for delivered in self.source:
            if self._stop.is_set():
                return
            if self.paused or not delivered.usable:
                # A driver's rubbish is a hole in the stream, not a reason to end it.
                hole = True
                continue
            samples = delivered.samples
            if self._duration_s is not None:
                left = round(self._duration_s * rate_in) - delivered.start
                if left <= 0:
                    break
                samples = samples[:left]
            gap, hole = delivered.gap or hole, False
            block = AudioBlock(samples, delivered.start, gap, delivered.captured_s)
            end = block.end
            for tap in self._taps:
                tap.hear(block)
            self._process(block, resampler.push(block))
        if end:
            rest = AudioBlock(np.zeros(0, dtype=np.float32), end)
            self._process(rest, resampler.flush(), ends=True)

    def _process(self, block: AudioBlock, resampled: AudioBlock, ends: bool = False) -> None:
        began = self._clock()
        predictions = self.engine.feed(resampled) if len(resampled.samples) else []
        if ends:
            predictions += self.engine.flush()
        now = self._clock()
        self._busy_s += now - began
        old = self.snapshot
        position_s = block.end / self.source.sample_rate_hz
        latency_s = old.health.latency_s
        rate = self.engine.bundle.meta.sample_rate_hz
        if predictions and block.captured_s is not None:
            # The window's last sample is older than the newest captured one by what the resampler
            # holds back and by what has not filled a frame yet.
            behind_s = position_s - predictions[-1].end / rate
            latency_s = now - block.captured_s + max(0.0, behind_s)
        newest = predictions[-1] if predictions else old.prediction
        warm_up_s = self.engine.warm_up_samples / rate
        snapshot = Snapshot(
            # After a gap what was said before it is no longer true.
            prediction=newest if warm_up_s == 0.0 else None,
            level_dbfs=level_dbfs(block.samples) if len(block.samples) else old.level_dbfs,
            position_s=position_s,
            warm_up_s=warm_up_s,
            speech_now=self.engine.speech_now,
            words=self._recent_words(position_s),
            health=self._health(position_s, latency_s),
            profile=self.engine.profile_name,
        )
        for prediction in predictions:
            for sink in self._sinks:
                sink.write(prediction, snapshot)
        self.snapshot = snapshot
        self.heard.set()

    def _health(self, position_s: float, latency_s: float | None) -> Health:
        source = self.source
        return Health(
            overflows=getattr(source, "overflows", 0),
            lost_samples=getattr(source, "lost_samples", 0),
            queue_depth=getattr(source, "queue_depth", 0),
            real_time_factor=self._busy_s / position_s if position_s > 0 else 0.0,
            latency_s=latency_s,
            device=self._device,
            recognizer=self._recognizer(),
            recognizer_lag_s=0.0 if self.words is None else self.words.lag_s,
        )

    def _recognizer(self) -> str | None:
        if self.words is None:
            return None
        return "running" if self.words.error is None else str(self.words.error)

    def _recent_words(self, position_s: float) -> tuple[Word, ...]:
        if self.words is None:
            return ()
        # A word that is about to end may last beyond the newest sample.
        return tuple(self.words.words_between(position_s - WORDS_S, math.inf))
