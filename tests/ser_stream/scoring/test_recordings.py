"""Scoring recordings."""

from __future__ import annotations

import itertools
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.audio.sound_file import FileSource
from ser_stream.scoring.find import PassedOver, find_audio
from ser_stream.scoring.recordings import score_file
from ser_stream.stream.engine import Engine, EngineConfig
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


@pytest.mark.slow
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


@pytest.mark.parametrize("rate", [1, 500, 999, 768_001, 2**31 - 1])
def test_a_rate_that_cannot_be_resampled_is_the_files_own_error(tmp_path, engine, speech, rate):
    path = write(tmp_path / "a.wav", speech[: 3 * RATE_HZ])
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    result = score_file(path, engine)
    assert result.error == (
        f"a sampling rate of {rate} Hz cannot be resampled; 1000 to 768000 Hz can"
    )
    assert result.state is None


@pytest.mark.parametrize("rate", [1000, 768_000])
def test_the_least_and_the_greatest_rate_are_scored(tmp_path, engine, speech, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.resize(speech, 3 * rate), rate)
    assert score_file(path, engine).error is None


@pytest.mark.parametrize("value", [1e20, -1e30, np.nan])
def test_samples_that_are_not_usable_never_reach_a_row(tmp_path, engine, speech, value):
    x = speech[: 6 * RATE_HZ].copy()
    x[5 * RATE_HZ] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, x, RATE_HZ, subtype="FLOAT")
    told: list[Prediction] = []
    result = score_file(path, engine, told.append)
    assert result.error == "NaN, infinite or huge samples at 5.00 s"
    assert (result.state, result.label, result.posterior) == (None, None, None)
    assert told
    assert all(p.posterior is None or np.isfinite(p.posterior).all() for p in told)


@pytest.mark.parametrize(
    ("error", "row"),
    [
        (MemoryError(), "MemoryError"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("what a library did not expect"), "ValueError: what a library did not expect"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
)
@pytest.mark.parametrize("after", [0, 3])
def test_whatever_a_file_raises_is_its_own_error(
    tmp_path, engine, speech, monkeypatch, error, row, after
):
    path = write(tmp_path / "a.wav", speech[: 3 * RATE_HZ])
    blocks = FileSource.__iter__

    def broken(self: FileSource):
        yield from itertools.islice(blocks(self), after)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(FileSource, "__iter__", broken)
        result = score_file(path, engine)
    assert result.error == row
    assert result.state is None
    assert score_file(path, engine).error is None


def test_what_a_listener_raises_is_no_error_of_the_file(tmp_path, engine, speech):
    path = write(tmp_path / "a.wav", speech[: 3 * RATE_HZ])

    def full(prediction: Prediction) -> None:
        raise OSError(28, "No space left on device")

    def stopped(share: float) -> None:
        raise KeyError("stopped")

    with pytest.raises(OSError, match="No space left"):
        score_file(path, engine, full)
    with pytest.raises(KeyError):
        score_file(path, engine, on_progress=stopped)


def test_ctrl_c_is_no_error_of_the_file(tmp_path, engine, speech, monkeypatch):
    path = write(tmp_path / "a.wav", speech[: 3 * RATE_HZ])

    def interrupted(block: AudioBlock) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "feed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_file(path, engine)


def test_folders_are_searched_for_audio(tmp_path):
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    (tmp_path / "folder.wav").mkdir()
    for name in (
        "b.WAV", "a.flac", "sub/c.mp3", "sub/d.m4a", "notes.txt", "sub/._b.wav",
        "sub/.hidden/e.wav", "x.npy", "z.Wav", "folder.wav/in.ogg",
    ):  # fmt: skip
        (tmp_path / name).touch()
    odd = tmp_path / "notes.txt"
    passed_over = PassedOver()
    found = list(find_audio([tmp_path, odd, tmp_path / "missing.wav"], passed_over))
    names = [str(p.relative_to(tmp_path)) for p in found]
    assert names == ["a.flac", "b.WAV", "folder.wav/in.ogg", "sub/c.mp3", "sub/d.m4a", "z.Wav",
                     "notes.txt", "missing.wav"]  # fmt: skip
    assert str(passed_over) == "2 not audio, 2 hidden"


def test_nothing_is_sorted_or_left_out_of_what_was_named(tmp_path):
    for name in ("b.wav", "a.wav", ".c.wav"):
        (tmp_path / name).touch()
    named = [tmp_path / "b.wav", tmp_path / ".c.wav", tmp_path / "b.wav", tmp_path / "a.wav"]
    assert list(find_audio(named)) == named
    assert len(list(find_audio([tmp_path, tmp_path]))) == 4
    assert list(find_audio([])) == []


def test_links_are_no_loops(tmp_path, engine):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "sub" / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "sub" / "nowhere.wav").symlink_to("nothing.wav")
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").symlink_to("a.wav")
    passed_over = PassedOver()
    found = list(find_audio([tmp_path], passed_over))
    assert [p.name for p in found] == ["a.wav", "b.wav", "loop.wav", "nowhere.wav"]
    assert str(passed_over) == "1 link to a folder"
    assert [score_file(p, engine).error for p in found] == [
        "empty file", "empty file", "cannot be read (Too many levels of symbolic links)",
        "no such file, it is a link to nothing.wav",
    ]  # fmt: skip
    # One that is named is followed.
    assert next(find_audio([tmp_path / "sub" / "up"])).parts[-2:] == ("up", "a.wav")


def test_a_folder_that_may_not_be_listed_has_a_row(tmp_path, engine, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    listed = os.scandir

    def scandir(path: Path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    # As the superuser may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    found = list(find_audio([tmp_path]))
    assert [p.name for p in found] == ["a.wav", "closed"]
    assert score_file(found[1], engine).error == "a folder without permission to read it"
