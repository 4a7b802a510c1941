"""Playing sound: blocks from a thread of its own to PortAudio, whose callback only copies."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from gui.jobs import Job, JobControl
from gui.recordings.output import Output, OutputStream, PortAudioOutput
from gui.recordings.sound import Sound, at_rate, block_length, pieces
from ser_stream.errors import DeviceError
from ser_stream.types import Float32

# Blocks that wait for the device: half a second, more than a busy machine keeps a thread waiting.
AHEAD = 25
# An output that takes nothing for this long is gone.
STILL_S = 3.0


class Playback:
    """One stretch of a sound through an output, from `run` on; the position may be polled.

    Args:
        output: where it comes out.
        start_s: where the stretch begins in the sound.
    """

    def __init__(self, output: Output, start_s: float) -> None:
        self._output = output
        self._start_s = start_s
        self._rate_hz = 0
        self._latency_s = 0.0
        self._queue: queue.Queue[Float32] = queue.Queue(AHEAD)
        self._fed = False
        self._over = threading.Event()
        # Written by the callback alone.
        self._played = 0

    @property
    def position_s(self) -> float:
        """What sounds now, s from the sound's beginning."""
        if not self._rate_hz:
            return self._start_s
        return self._start_s + max(0.0, self._played / self._rate_hz - self._latency_s)

    def run(self, sound: Sound, end_s: float | None, cancelled: Callable[[], bool]) -> None:
        """Play to ``end_s`` or the sound's end; return when it is over or ``cancelled``.

        Raises:
            AudioError: the sound cannot be read on.
            DeviceError: the output cannot be opened, or takes nothing any more.
        """
        stream, rate = self._open(sound.sample_rate_hz)
        try:
            self._latency_s, self._rate_hz = float(stream.latency), rate
            blocks = at_rate(sound.blocks(self._start_s, end_s), sound.sample_rate_hz, rate)
            for piece in pieces(blocks, block_length(rate)):
                if not self._wait(lambda p=piece: self._put(p), cancelled):
                    break
            self._fed = True
            if self._wait(lambda: self._over.wait(0.02), cancelled):
                stream.stop()
            else:
                stream.abort()
        finally:
            stream.close()

    def _open(self, rate: int) -> tuple[OutputStream, int]:
        try:
            return self._output.open(rate, block_length(rate), self._callback), rate
        except DeviceError:
            # Some drivers take the hardware's own rate alone.
            other = self._output.default_rate_hz
            if other == rate:
                raise
            return self._output.open(other, block_length(other), self._callback), other

    def _put(self, piece: Float32) -> bool:
        try:
            self._queue.put(piece, timeout=0.02)
        except queue.Full:
            return False
        return True

    def _wait(self, happens: Callable[[], bool], cancelled: Callable[[], bool]) -> bool:
        """Wait until it ``happens``; False where it was cancelled before."""
        played, since = self._played, time.monotonic()
        while not cancelled():
            if happens():
                return True
            if self._played != played:
                played, since = self._played, time.monotonic()
            elif time.monotonic() - since > STILL_S:
                raise DeviceError("the output device stopped taking audio")
        return False

    def _callback(self, outdata: Float32, frames: int, when: Any, status: Any) -> None:
        # Read first: what was put before it is in the queue.
        fed = self._fed
        try:
            piece = self._queue.get_nowait()
        except queue.Empty:
            outdata.fill(0.0)
            if fed:
                self._over.set()
            return
        outdata[:, 0] = piece
        self._played += frames


class Player:
    """Plays one sound at a time, on a thread of its own; errors are polled.

    Args:
        output: where it comes out; the system's default output without.
    """

    def __init__(self, output: Output | None = None) -> None:
        self._output = PortAudioOutput() if output is None else output
        self._job: Job[None] | None = None
        self._playback: Playback | None = None

    @property
    def playing(self) -> bool:
        """Whether something plays, or is about to."""
        return self._job is not None and not self._job.done and not self._job.cancelled

    @property
    def position_s(self) -> float | None:
        """What sounds now, s from the sound's beginning; None before the first `play`."""
        return None if self._playback is None else self._playback.position_s

    def play(
        self, open_sound: Callable[[], Sound], start_s: float = 0.0, end_s: float | None = None
    ) -> None:
        """Play from ``start_s`` to ``end_s`` or the end, in place of what plays.

        Args:
            open_sound: makes the sound, on the player's thread; it may raise.
            start_s: s from the sound's beginning.
            end_s: likewise.
        """
        before = self._job
        if before is not None:
            before.cancel()
        playback = Playback(self._output, start_s)

        def work(control: JobControl) -> None:
            # A device may refuse to be opened twice.
            if before is not None:
                before.wait(STILL_S)
            if not control.cancelled:
                playback.run(open_sound(), end_s, lambda: control.cancelled)

        self._playback = playback
        self._job = Job(work, "player")

    def stop(self) -> None:
        """Stop playing."""
        if self._job is not None:
            self._job.cancel()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the device is closed; whether it is."""
        return self._job is None or self._job.wait(timeout_s)

    def take_error(self) -> Exception | None:
        """What went wrong, once."""
        if self._job is None or not self._job.done:
            return None
        error, self._job = self._job.error, None
        return error
