"""The session: threads, health, and what happens when something goes wrong."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from ser_stream.audio.sources import AlwaysOpen, ArraySource
from ser_stream.errors import AudioError, DeviceError, SerStreamError
from ser_stream.scoring.sinks import Timeline
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock
from tests.helpers.fed_source import FedSource
from tests.helpers.sinks import Keep

RATE_HZ = 16000
OPEN = EngineConfig(hop_s=0.1, gate=False)


class Script(AlwaysOpen):
    """A source that yields given blocks, and then raises or ends."""

    def __init__(self, blocks: list[AudioBlock], rate: int, error: Exception | None = None) -> None:
        self.sample_rate_hz = rate
        self.name = "script"
        self._blocks = blocks
        self._error = error

    def __iter__(self) -> Iterator[AudioBlock]:
        yield from self._blocks
        if self._error is not None:
            raise self._error


class KeptBlocks:
    """A tap that keeps the blocks."""

    def __init__(self) -> None:
        self.blocks: list[AudioBlock] = []

    def hear(self, block: AudioBlock) -> None:
        self.blocks.append(block)

    def close(self) -> None:
        return None


def finish(session: Session) -> Session:
    session.start()
    assert session.wait(120)
    return session


def test_a_session_gives_the_engine_s_predictions_to_every_sink(bundle, speech):
    x = speech[: 6 * RATE_HZ]
    want = Engine(bundle, OPEN).feed(AudioBlock(x, 0))
    sinks = [Keep(), Keep()]
    session = finish(Session(ArraySource(x, RATE_HZ), Engine(bundle, OPEN), sinks))
    assert session.error is None
    assert session.snapshot.finished
    assert session.snapshot.position_s == pytest.approx(6.0)
    for sink in sinks:
        assert sink.closed
        assert [(p.start, p.end) for p, _ in sink.got] == [(p.start, p.end) for p in want]
        got = [p.posterior for p, _ in sink.got]
        np.testing.assert_allclose(got, [p.posterior for p in want], atol=1e-5)


def test_other_rates_are_resampled(bundle, speech):
    import soxr

    x = soxr.resample(speech[: 4 * RATE_HZ], RATE_HZ, 44100).astype(np.float32)
    sink = Keep()
    finish(Session(ArraySource(x, 44100, 0.032), Engine(bundle, OPEN), [sink]))
    want = Engine(bundle, OPEN).feed(AudioBlock(speech[: 4 * RATE_HZ], 0))
    assert [p.end for p, _ in sink.got] == [p.end for p in want]
    np.testing.assert_allclose(
        [p.posterior for p, _ in sink.got], [p.posterior for p in want], atol=0.05
    )


def test_duration_ends_a_session_at_the_sample(bundle, speech):
    sink = Keep()
    session = Session(ArraySource(speech, RATE_HZ), Engine(bundle, OPEN), [sink], duration_s=3.01)
    assert finish(session).snapshot.position_s == pytest.approx(3.01)
    assert sink.got[-1][0].end <= 3.01 * RATE_HZ


def test_lost_samples_are_a_gap_at_the_right_place(bundle, speech):
    a, b = speech[: 3 * RATE_HZ], speech[10 * RATE_HZ : 13 * RATE_HZ]
    blocks = [AudioBlock(a, 0), AudioBlock(b, 10 * RATE_HZ, gap=True)]
    sink = Keep()
    finish(Session(Script(blocks, RATE_HZ), Engine(bundle, OPEN), [sink]))
    spans = [(p.start, p.end) for p, _ in sink.got]
    assert spans
    assert not any(start < 3 * RATE_HZ < end for start, end in spans)
    assert any(start == 10 * RATE_HZ for start, _ in spans)


@pytest.mark.parametrize("value", [np.nan, 1e20])
def test_rubbish_from_a_driver_is_a_hole_and_not_the_end(bundle, speech, value):
    bad = np.full(1600, value, dtype=np.float32)
    blocks = [
        AudioBlock(speech[: 3 * RATE_HZ], 0),
        AudioBlock(bad, 3 * RATE_HZ),
        AudioBlock(speech[: 3 * RATE_HZ], 3 * RATE_HZ + 1600),
    ]
    sink = Keep()
    session = finish(Session(Script(blocks, RATE_HZ), Engine(bundle, OPEN), [sink]))
    assert session.error is None
    ends = [p.end for p, _ in sink.got]
    assert min(e for e in ends if e > 3 * RATE_HZ) == 3 * RATE_HZ + 1600 + bundle.window_samples
    assert all(np.isfinite(p.posterior).all() for p, _ in sink.got if p.posterior is not None)


def test_what_is_said_in_a_pause_is_a_gap(bundle, speech):
    class Paused(AlwaysOpen):
        sample_rate_hz = RATE_HZ
        name = "paused"

        def __iter__(self) -> Iterator[AudioBlock]:
            yield AudioBlock(speech[: 3 * RATE_HZ], 0)
            session.pause()
            assert session.paused
            yield AudioBlock(speech[3 * RATE_HZ : 5 * RATE_HZ], 3 * RATE_HZ)
            session.resume()
            yield AudioBlock(speech[5 * RATE_HZ : 8 * RATE_HZ], 5 * RATE_HZ)

    sink, tap = Keep(), KeptBlocks()
    session = Session(Paused(), Engine(bundle, OPEN), [sink], taps=[tap])
    finish(session)
    assert session.error is None
    assert [(b.start, b.gap) for b in tap.blocks] == [(0, False), (5 * RATE_HZ, True)]
    ends = np.array([p.end for p, _ in sink.got])
    # None in the pause, and then none until a whole window has come after it.
    assert ends[ends > 3 * RATE_HZ].min() == 5 * RATE_HZ + bundle.window_samples
    assert (ends <= 3 * RATE_HZ).sum() > 5


def test_an_error_of_the_source_ends_the_session_and_loses_nothing(bundle, speech):
    error = DeviceError("the microphone has gone")
    sink = Keep()
    source = Script([AudioBlock(speech[: 3 * RATE_HZ], 0)], RATE_HZ, error)
    session = finish(Session(source, Engine(bundle, OPEN), [sink]))
    assert session.error is error
    assert "gone" in session.snapshot.health.device
    assert len(sink.got) == 11
    assert sink.closed


def test_a_bug_in_the_worker_is_not_swallowed(bundle, speech):
    source = Script([AudioBlock(speech[:1600], 0)], RATE_HZ, ZeroDivisionError("a bug"))
    assert isinstance(finish(Session(source, Engine(bundle, OPEN))).error, ZeroDivisionError)


def test_after_a_gap_the_old_prediction_is_no_longer_shown(bundle, speech):
    blocks = [
        AudioBlock(speech[: 3 * RATE_HZ], 0),
        AudioBlock(speech[:RATE_HZ], 10 * RATE_HZ, gap=True),
    ]
    session = Session(Script(blocks, RATE_HZ, DeviceError("gone")), Engine(bundle, OPEN))
    assert finish(session).snapshot.prediction is None
    assert session.snapshot.warm_up_s == pytest.approx(bundle.window_samples / RATE_HZ - 1.0)


def test_a_full_disk_ends_the_session_with_a_message(bundle, speech):
    sinks = [Keep(), Keep(fail_at=3)]
    session = finish(Session(ArraySource(speech, RATE_HZ), Engine(bundle, OPEN), sinks))
    assert isinstance(session.error, SerStreamError)
    assert "No space left" in str(session.error)
    assert len(sinks[0].got) == 4
    assert all(s.closed for s in sinks)


def test_stop_ends_an_endless_source(bundle, speech):
    class Endless(AlwaysOpen):
        sample_rate_hz = RATE_HZ
        name = "endless"

        def __iter__(self) -> Iterator[AudioBlock]:
            position = 0
            while True:
                time.sleep(0.01)
                yield AudioBlock(speech[:160], position)
                position += 160

    session = Session(Endless(), Engine(bundle, OPEN))
    session.start()
    assert session.heard.wait(120)
    session.stop()
    assert session.snapshot.finished
    assert session.wait(0.0)


def test_an_interrupted_wait_does_not_end_a_session(bundle, speech):
    """On Python 3.11 and 3.12 a thread whose join was interrupted counts as ended."""
    source = FedSource()
    sink = Keep()
    session = Session(source, Engine(bundle, OPEN), [sink])
    session.start()
    source.feed(speech[: 3 * RATE_HZ])
    assert session.heard.wait(120)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            session.wait(120)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not session.wait(0.0)
    threading.Timer(0.2, source.end).start()
    session.stop(30)
    assert session.snapshot.finished
    assert sink.closed


def test_latency_counts_what_is_held_back(bundle, speech):
    now = [50.0]
    x = speech[: 3 * RATE_HZ]
    blocks = [
        AudioBlock(x[i : i + 1500], i, captured_s=50.0 - 0.02) for i in range(0, len(x), 1500)
    ]
    sink = Keep()
    session = Session(Script(blocks, RATE_HZ), Engine(bundle, OPEN), [sink], clock=lambda: now[0])
    finish(session)
    prediction, snapshot = sink.got[0]
    # The window's end was spoken this long before the block's end, which is 20 ms old.
    blocks_needed = -(-bundle.window_samples // 1500)
    held_back = (blocks_needed * 1500 - prediction.end) / RATE_HZ
    assert held_back > 0
    assert snapshot.health.latency_s == pytest.approx(0.02 + held_back)
    assert snapshot.health.real_time_factor == 0.0


def test_an_empty_source_says_nothing(bundle):
    session = finish(Session(Script([], RATE_HZ), Engine(bundle, OPEN)))
    assert session.snapshot.prediction is None
    assert session.error is None


def test_a_broken_file_ends_with_its_error(bundle):
    source = Script([], RATE_HZ, AudioError("x.wav: broken at 1.00 s"))
    assert "broken" in str(finish(Session(source, Engine(bundle, OPEN))).error)


def test_timeline_sums_up_all_time_that_was_judged(bundle, speech):
    timeline = Timeline(RATE_HZ)
    engine = Engine(bundle, EngineConfig(hop_s=0.1))
    session = finish(Session(ArraySource(speech, RATE_HZ), engine, [timeline]))
    totals = timeline.totals_s()
    assert sum(totals.values()) == pytest.approx(session.snapshot.prediction.end / RATE_HZ, abs=0.2)
    assert "no speech" in totals
    last = timeline.last(60, session.snapshot.position_s)
    assert len(last) == 60
    assert last[:20] == [None] * 20
    assert last[-1] is not None
