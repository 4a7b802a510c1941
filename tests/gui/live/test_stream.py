"""The live stream behind the window, without a window."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from gui.live.history import STATES
from gui.live.spectrogram import COLUMN_S
from gui.live.stream import STILL_S, LiveStream, StreamState
from ser_stream.errors import DeviceError
from ser_stream.scoring.recorder import Recording
from ser_stream.stream.listening import Listening
from ser_stream.types import State
from tests.helpers.fed_source import FedSource

RATE_HZ = 16000


def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


@pytest.fixture
def source():
    return FedSource()


def heard(stream: LiveStream, seconds: float) -> bool:
    return stream.status.snapshot.position_s >= seconds - 1e-6


def test_a_stream_listens_until_it_is_stopped(bundle, speech, source):
    stream = LiveStream(lambda: source, Listening(bundle))
    assert stream.source_name == ""
    stream.start()
    until(lambda: source.entered)
    assert stream.status.state is StreamState.STARTING
    source.feed(speech[: 4 * RATE_HZ])
    until(lambda: heard(stream, 4.0))
    assert stream.status.state is StreamState.LISTENING
    assert stream.source_name == "test input"
    assert len(stream.history.since(0.0)) > 15
    assert stream.stop()
    assert source.left
    assert stream.status.state is StreamState.STOPPED


def test_a_pause_is_a_gap_in_time_and_nothing_is_kept_of_it(bundle, speech, source):
    stream = LiveStream(lambda: source, Listening(bundle))
    stream.start()
    source.feed(speech[: 4 * RATE_HZ])
    until(lambda: heard(stream, 4.0))
    before = len(stream.history.since(0.0))
    stream.pause()
    assert stream.status.state is StreamState.PAUSED
    source.feed(speech[: 4 * RATE_HZ])
    until(lambda: source.empty)
    stream.resume()
    source.feed(speech[4 * RATE_HZ : 8 * RATE_HZ])
    until(lambda: heard(stream, 12.0))
    ends = stream.history.since(0.0).end_s
    # Windows begin anew after the pause: none holds what was said before or in it.
    assert (np.diff(ends) > 5.0).sum() == 1
    assert ends[before] >= 10.0
    _, columns = stream.spectrogram.since(4.5)
    empty = np.isnan(columns[:, 0])
    assert empty[: round(3.4 / COLUMN_S)].all()
    assert not empty[round(3.6 / COLUMN_S) :].any()
    stream.stop()


def test_a_device_that_falls_silent_is_told_and_goes_on(bundle, speech, source):
    now = [100.0]
    stream = LiveStream(lambda: source, Listening(bundle), clock=lambda: now[0])
    stream.start()
    source.feed(speech[: 3 * RATE_HZ])
    until(lambda: heard(stream, 3.0))
    assert stream.status.state is StreamState.LISTENING
    now[0] += STILL_S + 1.0
    status = stream.status
    assert status.state is StreamState.STILL
    assert status.still_s == pytest.approx(STILL_S + 1.0)
    source.lose(5 * RATE_HZ)
    source.feed(speech[: 3 * RATE_HZ], gap=True)
    until(lambda: heard(stream, 11.0))
    assert stream.status.state is StreamState.LISTENING
    ends = stream.history.since(0.0).end_s
    assert ends[0] < 3.1
    assert ends[-1] > 10.0
    stream.stop()


def test_what_cannot_be_opened_or_breaks_is_kept_as_the_error(bundle, speech, source):
    def broken():
        raise DeviceError("no such thing")

    stream = LiveStream(broken, Listening(bundle))
    stream.start()
    until(lambda: stream.status.state is StreamState.FAILED)
    assert str(stream.status.error) == "no such thing"

    stream = LiveStream(lambda: source, Listening(bundle))
    stream.start()
    source.feed(speech[: 3 * RATE_HZ])
    source.fail(DeviceError("it went away"))
    until(lambda: stream.status.state is StreamState.FAILED)
    assert str(stream.status.error) == "it went away"
    assert len(stream.history.since(0.0)) > 5
    assert source.left


def test_the_next_stream_goes_on_in_the_same_history(bundle, speech, source):
    first = LiveStream(lambda: source, Listening(bundle))
    first.start()
    source.feed(speech[: 4 * RATE_HZ])
    until(lambda: heard(first, 4.0))
    first.stop()
    other = FedSource(48000, "another")
    second = LiveStream(
        lambda: other, Listening(bundle), first.history, first.spectrogram, origin_s=10.0
    )
    second.start()
    other.feed(np.repeat(speech[: 4 * RATE_HZ], 3), block=1536)
    until(lambda: heard(second, 4.0))
    ends = second.history.since(0.0).end_s
    assert (np.diff(ends) > 0).all()
    assert ends[-1] == pytest.approx(14.0, abs=0.2)
    assert second.now_s == pytest.approx(14.0)
    begin, columns = second.spectrogram.since(0.0)
    assert begin == 0.0
    assert begin + len(columns) * COLUMN_S == pytest.approx(14.0, abs=0.2)
    empty = np.isnan(columns[:, 0])
    assert empty[round(4.1 / COLUMN_S) : round(9.9 / COLUMN_S)].all()
    assert not empty[round(10.1 / COLUMN_S) :].any()
    assert State.EMOTION in {STATES[i] for i in second.history.since(0.0).state}
    second.stop()


def test_recording_needs_sound(bundle, source, tmp_path):
    stream = LiveStream(lambda: source, Listening(bundle))
    with pytest.raises(DeviceError, match="nothing to record yet"):
        stream.record(Recording(tmp_path / "a.csv"))


@pytest.mark.parametrize("how", ["stopped", "failed"])
def test_a_recording_is_complete_however_the_stream_ends(bundle, speech, source, tmp_path, how):
    stream = LiveStream(lambda: source, Listening(bundle))
    stream.start()
    source.feed(speech[:RATE_HZ])
    until(lambda: heard(stream, 1.0))
    stream.record(Recording(tmp_path / "a.jsonl", tmp_path / "a.wav"))
    source.feed(speech[RATE_HZ : 5 * RATE_HZ])
    until(lambda: heard(stream, 5.0))
    if how == "failed":
        source.fail(DeviceError("it was unplugged"))
        until(lambda: stream.status.state is StreamState.FAILED)
    else:
        assert stream.stop()
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(samples, speech[RATE_HZ : 5 * RATE_HZ])
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows[-1]["end_s"] == pytest.approx(4.0, abs=0.1)
