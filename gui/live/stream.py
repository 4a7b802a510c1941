"""The live stream behind the window: opening, listening, pausing, and errors.

Whatever may block (opening a device, ending a stream) happens on threads of its own; the window
polls `LiveStream.status` and draws.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gui.live.history import History
from gui.live.spectrogram import Spectrogram
from ser_stream.errors import DeviceError, SerStreamError
from ser_stream.profiles import learn, today
from ser_stream.scoring.recorder import Recorder, Recording
from ser_stream.stream.engine import Engine
from ser_stream.stream.listening import Listening
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, AudioSource, Snapshot

# Audio comes every 32 ms; a device that gives none for this long has a problem.
STILL_S = 1.5


class StreamState(StrEnum):
    """What a stream is doing."""

    STARTING = "starting"
    LISTENING = "listening"
    PAUSED = "paused"
    STILL = "no audio"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """What a view shows of a stream.

    Attributes:
        state: what it is doing.
        snapshot: the session's newest.
        error: why it failed.
        still_s: how long no audio has come.
    """

    state: StreamState
    snapshot: Snapshot
    error: Exception | None = None
    still_s: float = 0.0

    @property
    def running(self) -> bool:
        """Whether a source is open or about to be."""
        return self.state not in (StreamState.STOPPED, StreamState.FAILED)


class _Tap:
    """Hands the source's blocks to the spectrogram and to the recorder."""

    def __init__(self, spectrogram: Spectrogram, recorder: Recorder) -> None:
        self._spectrogram, self._recorder = spectrogram, recorder

    def hear(self, block: AudioBlock) -> None:
        self._spectrogram.hear(block)
        self._recorder.hear(block)

    def close(self) -> None:
        return None


class LiveStream:
    """One source through one engine, from `start` to `stop`.

    Args:
        open_source: makes the source, on the stream's own thread; it may raise.
        listening: the model and what was chosen beside it; what it opens for words raises nothing.
        history: what was said before; made anew without.
        spectrogram: the sound of earlier streams; likewise.
        origin_s: where in these two the stream begins.
        clock: monotonic seconds.

    Attributes:
        learns: name of the voice that is learnt when the stream ends; None for nobody's.
        learnt: name and seconds of the voice that was learnt; None before.
    """

    def __init__(
        self,
        open_source: Callable[[], AudioSource],
        listening: Listening,
        history: History | None = None,
        spectrogram: Spectrogram | None = None,
        origin_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        meta = listening.bundle.meta
        self.listening = listening
        self.history = history or History(meta.labels, meta.sample_rate_hz)
        self.spectrogram = spectrogram or Spectrogram(meta.sample_rate_hz)
        self.origin_s = origin_s
        self.learns: str | None = None
        self.learnt: tuple[str, float] | None = None
        self.recorder = Recorder(meta.labels, meta.sample_rate_hz)
        self._open_source = open_source
        self._clock = clock
        self._error: Exception | None = None
        self._source: AudioSource | None = None
        self._session: Session | None = None
        self._stop = threading.Event()
        # Not set from `start` to the end of the thread.
        self._ended = threading.Event()
        self._ended.set()
        self._thread = threading.Thread(target=self._run, name="live-stream", daemon=True)
        self._position_s, self._moved_s = -1.0, clock()

    def start(self) -> None:
        """Open the source and listen; a stream starts once."""
        self._moved_s = self._clock()
        self._ended.clear()
        self._thread.start()

    def ask_to_stop(self) -> None:
        """End the stream soon; `status` shows when it has."""
        self._stop.set()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the stream and wait for it; return whether it has ended."""
        self.ask_to_stop()
        ended = self._ended.wait(timeout_s)
        # Also where a device that does not answer holds the stream up.
        self.recorder.close()
        return ended

    def pause(self) -> None:
        """Drop all sound until `resume`; the source stays open."""
        if self._session is not None:
            self._session.pause()

    def resume(self) -> None:
        """Listen again."""
        if self._session is not None:
            self._moved_s = self._clock()
            self._session.resume()

    def record(self, recording: Recording) -> None:
        """Write from now on, to new files; `Recorder.recording` names them.

        Raises:
            SerStreamError: no source is open yet, or a file cannot be written.
        """
        if self._source is None:
            raise DeviceError("nothing to record yet")
        self.recorder.begin(recording, self._source.sample_rate_hz)

    @property
    def listens_for_words(self) -> bool:
        """Whether a recogniser was asked for, also if it failed."""
        return self.listening.open_words is not None

    @property
    def source_name(self) -> str:
        """What the source calls itself; empty before it is open."""
        return "" if self._source is None else self._source.name

    @property
    def now_s(self) -> float:
        """Where the stream is, in the time of its history."""
        session = self._session
        return self.origin_s + (0.0 if session is None else session.snapshot.position_s)

    @property
    def status(self) -> Status:
        """What the stream is doing now."""
        session = self._session
        snapshot = Snapshot() if session is None else session.snapshot
        now = self._clock()
        if snapshot.position_s != self._position_s:
            self._position_s, self._moved_s = snapshot.position_s, now
        still_s = now - self._moved_s
        if self._error is not None:
            return Status(StreamState.FAILED, snapshot, self._error)
        if self._ended.is_set():
            return Status(StreamState.STOPPED, snapshot)
        if session is None or not session.heard.is_set():
            return Status(StreamState.STARTING, snapshot, still_s=still_s)
        if session.paused:
            return Status(StreamState.PAUSED, snapshot)
        state = StreamState.STILL if still_s > STILL_S else StreamState.LISTENING
        return Status(state, snapshot, still_s=still_s)

    def _run(self) -> None:
        try:
            source = self._open_source()
            if self._stop.is_set():
                return
            with source:
                session = self._listen(source)
            # Leaving the source ends the iteration of the session's thread.
            session.wait(8.0)
            self._error = session.error
            self._learn(session.engine)
        except (SerStreamError, OSError) as error:
            self._error = error
        finally:
            self._ended.set()

    def _learn(self, engine: Engine) -> None:
        name = self.learns
        if name is not None and learn(name, engine, today()) is not None:
            self.learnt = (name, engine.voiced_s)

    def _listen(self, source: AudioSource) -> Session:
        self.history.begin(self.origin_s)
        self.spectrogram.begin(source.sample_rate_hz, self.origin_s)
        session = self.listening.session(
            source,
            [self.history, self.recorder],
            taps=[_Tap(self.spectrogram, self.recorder)],
        )
        self._source, self._session = source, session
        session.start()
        while not session.wait(0.1):
            if self._stop.is_set():
                session.stop(timeout_s=0.5)
                break
        return session
