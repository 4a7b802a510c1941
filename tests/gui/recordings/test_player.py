"""Playing, without a device."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import soundfile

from gui.recordings import player as player_module
from gui.recordings.output import PortAudioOutput
from gui.recordings.player import Playback, Player
from gui.recordings.sound import BLOCK_S, ArraySound, FileSound
from ser_stream.errors import AudioError, DeviceError
from tests.helpers.fake_output import FakeOutput
from tests.helpers.portaudio import PortAudioError

RATE_HZ = 16000
SOON_S = 20.0


def never() -> bool:
    return False


@pytest.fixture
def ramp() -> np.ndarray:
    return np.linspace(0.1, 1.0, RATE_HZ, dtype=np.float32)


def heard(output: FakeOutput) -> np.ndarray:
    """What came out, without the silence around it."""
    samples = output.streams[-1].samples
    (loud,) = np.nonzero(samples)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def test_a_stretch_is_played_whole_and_once(ramp):
    output = FakeOutput()
    playback = Playback(output, 0.25)
    playback.run(ArraySound(ramp, RATE_HZ), 0.755, never)
    np.testing.assert_array_equal(heard(output), ramp[4000:12080])
    (stream,) = output.streams
    assert (stream.rate, stream.block) == (RATE_HZ, round(BLOCK_S * RATE_HZ))
    assert (stream.ended, stream.closed) == ("stop", True)
    assert playback.position_s == pytest.approx(0.755, abs=BLOCK_S)


def test_the_end_is_the_sounds_where_none_is_told(ramp):
    output = FakeOutput()
    Playback(output, 0.9).run(ArraySound(ramp, RATE_HZ), None, never)
    np.testing.assert_array_equal(heard(output), ramp[14400:])


def test_the_position_is_what_is_heard_not_what_was_handed_over(ramp):
    for latency_s, position_s in ((0.15, 0.55), (9.0, 0.5)):
        playback = Playback(FakeOutput(latency_s=latency_s), 0.5)
        assert playback.position_s == 0.5
        playback.run(ArraySound(ramp, RATE_HZ), 0.7, never)
        assert playback.position_s == pytest.approx(position_s)


def test_a_file_sounds_like_its_samples(tmp_path, ramp):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.column_stack([ramp, -0.5 * ramp]), RATE_HZ, subtype="FLOAT")
    sound = FileSound(path)
    assert sound.sample_rate_hz == RATE_HZ
    got = np.concatenate(list(sound.blocks(0.1, 0.8)))
    np.testing.assert_allclose(got, 0.25 * ramp[1600:12800], atol=1e-6)
    assert sum(map(len, sound.blocks(0.5, None))) == 8000
    assert list(sound.blocks(7.0, 9.0)) == []


def test_a_file_that_is_no_audio_is_told(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"nothing")
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read"):
        FileSound(path)


def test_a_device_that_refuses_the_rate_gets_its_own(ramp):
    output = FakeOutput(lambda rate: rate == 48000)
    Playback(output, 0.0).run(ArraySound(ramp, RATE_HZ), None, never)
    assert output.streams[0].rate == 48000
    middle = output.streams[0].samples
    assert np.count_nonzero(middle) == pytest.approx(3 * RATE_HZ, rel=0.02)


def test_a_device_that_cannot_be_opened_is_an_error(ramp):
    with pytest.raises(DeviceError, match="refused"):
        Playback(FakeOutput(never_takes), 0.0).run(ArraySound(ramp, RATE_HZ), None, never)


def never_takes(rate: int) -> bool:
    return False


def test_a_device_that_takes_nothing_is_an_error(ramp, monkeypatch):
    monkeypatch.setattr(player_module, "STILL_S", 0.1)
    output = FakeOutput()
    output.go.clear()
    with pytest.raises(DeviceError, match="stopped taking"):
        Playback(output, 0.0).run(ArraySound(ramp, RATE_HZ), None, never)
    assert output.streams[0].closed


def test_what_is_no_number_is_not_sent_to_a_device(ramp):
    output = FakeOutput()
    ramp[100] = np.nan
    Playback(output, 0.0).run(ArraySound(ramp, RATE_HZ), None, never)
    assert np.isfinite(output.streams[0].samples).all()


def test_a_player_stops_at_once(ramp):
    output = FakeOutput()
    output.go.clear()
    player = Player(output)
    assert (player.playing, player.position_s) == (False, None)
    player.play(lambda: ArraySound(ramp, RATE_HZ), 0.3)
    assert player.playing
    player.stop()
    assert not player.playing
    assert player.wait(SOON_S)
    assert player.position_s == 0.3
    assert all(s.ended == "abort" and s.closed for s in output.streams)
    assert player.take_error() is None


def test_another_sound_waits_until_the_device_is_free(ramp):
    output = FakeOutput()
    output.go.clear()
    player = Player(output)
    player.play(lambda: ArraySound(ramp, RATE_HZ), 0.0)
    player.play(lambda: ArraySound(ramp, RATE_HZ), 0.5, 0.75)
    output.go.set()
    assert player.wait(SOON_S)
    np.testing.assert_array_equal(heard(output), ramp[8000:12000])
    assert all(s.closed for s in output.streams)


def test_what_goes_wrong_is_told_once(tmp_path):
    player = Player(FakeOutput())
    player.play(lambda: FileSound(tmp_path / "missing.wav"))
    assert player.wait(SOON_S)
    assert isinstance(player.take_error(), AudioError)
    assert player.take_error() is None
    assert not player.playing


def fake_sounddevice(monkeypatch, **made) -> None:
    module = types.ModuleType("sounddevice")
    for name, value in {"PortAudioError": PortAudioError, **made}.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_portaudio_is_asked_for_one_channel_and_refusals_are_device_errors(monkeypatch):
    asked, closed = {}, []

    class Stream:
        def __init__(self, **settings) -> None:
            asked.update(settings)

        def start(self) -> None:
            raise PortAudioError("Device unavailable\nmore")

        def close(self, ignore_errors: bool) -> None:
            closed.append(ignore_errors)

    def query_devices(kind: str) -> dict[str, float]:
        raise PortAudioError("no default output")

    fake_sounddevice(monkeypatch, OutputStream=Stream, query_devices=query_devices)
    output = PortAudioOutput()
    with pytest.raises(DeviceError, match=r"^cannot play at 16000 Hz: Device unavailable$"):
        output.open(RATE_HZ, 320, lambda *arguments: None)
    assert (asked["channels"], asked["blocksize"], asked["dtype"]) == (1, 320, "float32")
    assert closed == [True]
    with pytest.raises(DeviceError, match="no output device"):
        _ = output.default_rate_hz


def test_without_portaudio_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DeviceError, match="nothing can be played"):
        PortAudioOutput().open(RATE_HZ, 320, lambda *arguments: None)
