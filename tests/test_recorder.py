"""Recording what a stream heard."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from ser_stream.engine import Engine, EngineConfig
from ser_stream.errors import SerStreamError
from ser_stream.recorder import AudioRecorder
from ser_stream.session import Session
from ser_stream.sources import ArraySource
from ser_stream.types import AudioBlock

RATE_HZ = 22050
# A step of 16 bits; libsndfile may round down.
STEP = 2.0**-15


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_a_session_writes_what_it_hears_at_the_sources_rate(bundle, tmp_path, suffix):
    x = np.random.default_rng(0).uniform(-0.9, 0.9, 3 * RATE_HZ).astype(np.float32)
    path = tmp_path / f"heard{suffix}"
    tap = AudioRecorder(path, RATE_HZ)
    engine = Engine(bundle, EngineConfig(gate=False))
    session = Session(ArraySource(x, RATE_HZ, 0.05), engine, duration_s=2.5, taps=[tap])
    session.start()
    assert session.wait(30)
    assert session.error is None
    y, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE_HZ
    assert len(y) == round(2.5 * RATE_HZ)
    np.testing.assert_allclose(y, x[: len(y)], atol=STEP * 1.01)


def test_what_was_lost_is_silence_and_what_is_too_loud_is_clipped(tmp_path):
    tap = AudioRecorder(tmp_path / "gap.wav", RATE_HZ)
    loud = np.full(100, 1.5, dtype=np.float32)
    lost = 200_000
    # A stream's first block need not begin at 0.
    tap.hear(AudioBlock(loud, 5000))
    tap.hear(AudioBlock(-loud, 5100 + lost, gap=True))
    tap.close()
    y, _ = soundfile.read(tmp_path / "gap.wav", dtype="float32")
    assert len(y) == 200 + lost
    np.testing.assert_allclose(y[:100], 1.0, atol=1e-4)
    assert not y[100:-100].any()
    np.testing.assert_allclose(y[-100:], -1.0, atol=1e-4)


def test_files_that_cannot_be_written_are_told(tmp_path):
    with pytest.raises(SerStreamError, match=r"name a \.wav or a \.flac file"):
        AudioRecorder(tmp_path / "heard.mp3", RATE_HZ)
    with pytest.raises(SerStreamError, match=r"nowhere.*cannot write"):
        AudioRecorder(tmp_path / "nowhere" / "heard.wav", RATE_HZ)


def test_a_full_disk_ends_the_session_with_an_error(bundle, tmp_path, monkeypatch):
    tap = AudioRecorder(tmp_path / "heard.wav", RATE_HZ)

    def full(samples: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tap._file, "write", full)
    engine = Engine(bundle, EngineConfig(gate=False))
    session = Session(ArraySource(np.zeros(RATE_HZ, np.float32), RATE_HZ), engine, taps=[tap])
    session.start()
    assert session.wait(30)
    assert isinstance(session.error, SerStreamError)
    assert "cannot write" in str(session.error)
    assert tap._file.closed
