"""Scoring recordings."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.batch import find_audio, score_file
from ser_stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock, Prediction, State

RATE_HZ = 16000


@pytest.fixture
def engine(bundle) -> Engine:
    return Engine(bundle)


def write(path: Path, samples: np.ndarray, rate: int = RATE_HZ) -> Path:
    soundfile.write(path, samples, rate)
    return path


def test_a_score_is_the_mean_posterior_of_the_windows_with_speech(bundle, demo_path, speech):
    engine = Engine(bundle)
    result = score_file(demo_path, engine)
    engine.reset()
    predictions = engine.feed(AudioBlock(speech, 0))
    spoken = [p.posterior for p in predictions if p.posterior is not None]
    assert len(spoken) < len(predictions)
    assert result.windows == len(spoken)
    np.testing.assert_allclose(result.posterior, np.mean(spoken, axis=0), atol=1e-5)
    assert result.duration_s == pytest.approx(len(speech) / RATE_HZ)
    step = {b.start - a.start for a, b in itertools.pairwise(predictions)}
    assert step == {bundle.meta.window_hop_frames * bundle.extractor.hop_length}


def test_rate_and_channels_do_not_matter_much(tmp_path, engine, speech):
    x = speech[RATE_HZ : 4 * RATE_HZ]
    want = score_file(write(tmp_path / "a.wav", x), engine)
    import soxr

    high = soxr.resample(x, RATE_HZ, 48000)
    stereo = np.stack([high, high], axis=1)
    got = score_file(write(tmp_path / "b.wav", stereo, 48000), engine)
    np.testing.assert_allclose(got.posterior, want.posterior, atol=0.03)
    assert got.windows == want.windows


def test_files_do_not_influence_each_other(tmp_path, engine, speech):
    a = write(tmp_path / "a.wav", speech[RATE_HZ : 4 * RATE_HZ])
    b = write(tmp_path / "b.wav", speech[6 * RATE_HZ : 9 * RATE_HZ])
    alone = score_file(b, engine)
    score_file(a, engine)
    np.testing.assert_array_equal(score_file(b, engine).posterior, alone.posterior)


def test_silence_has_no_emotion(tmp_path, engine):
    result = score_file(write(tmp_path / "quiet.wav", np.zeros(3 * RATE_HZ)), engine)
    assert (result.state, result.label, result.posterior) == (State.NO_SPEECH, None, None)
    assert result.windows == 0
    assert result.error is None


@pytest.mark.parametrize(("seconds", "error"), [(0.3, "too short: 0.30 s"), (1.0, None)])
def test_short_files(tmp_path, bundle, speech, seconds, error):
    x = speech[RATE_HZ : RATE_HZ + int(seconds * RATE_HZ)]
    result = score_file(write(tmp_path / "short.wav", x), Engine(bundle))
    if error is None:
        assert result.error is None
        assert result.windows == 1
    else:
        assert result.error is not None
        assert result.error.startswith(error)
        assert result.state is None


def test_a_score_below_the_threshold_has_no_label(bundle, demo_path):
    from dataclasses import replace

    smoothing = replace(bundle.meta.smoothing, enter=1.0)
    result = score_file(demo_path, Engine(bundle, EngineConfig(smoothing=smoothing)))
    assert (result.state, result.label) == (State.UNSURE, None)
    assert result.row(bundle.meta.labels)["confidence"] > 0.25


def test_windows_before_a_file_breaks_are_told(tmp_path, engine, speech):
    path = write(tmp_path / "a.flac", speech[: 20 * RATE_HZ])
    cut = tmp_path / "cut.flac"
    cut.write_bytes(path.read_bytes()[:200_000])
    told: list[Prediction] = []
    result = score_file(cut, engine, told.append)
    assert result.error is not None
    assert len(told) > 5


def test_memory_does_not_grow_with_the_file(tmp_path, bundle, speech):
    engine = Engine(bundle, EngineConfig(gate=False))

    def peak(minutes: int) -> int:
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", RATE_HZ, 1) as file:
            for _ in range(2 * minutes):
                file.write(speech[: 30 * RATE_HZ])
        tracemalloc.start()
        assert score_file(path, engine).error is None
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(20) < peak(2) + 200_000


def test_folders_are_searched_for_audio(tmp_path):
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for name in (
        "b.WAV", "a.flac", "sub/c.mp3", "sub/d.m4a", "notes.txt", "sub/._b.wav",
        "sub/.hidden/e.wav", "x.npy",
    ):  # fmt: skip
        (tmp_path / name).touch()
    odd = tmp_path / "notes.txt"
    found = list(find_audio([tmp_path, odd, tmp_path / "missing.wav"]))
    names = [str(p.relative_to(tmp_path)) for p in found]
    assert sorted(names[:4]) == ["a.flac", "b.WAV", "sub/c.mp3", "sub/d.m4a"]
    assert names[4:] == ["notes.txt", "missing.wav"]
