"""Files, good and bad; pacing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.audio.sound_file import FileSource
from ser_stream.audio.sources import ArraySource, PacedSource
from ser_stream.errors import AudioError

RATE_HZ = 16000


def read(source: FileSource | ArraySource) -> np.ndarray:
    blocks = list(source)
    position = 0
    for block in blocks:
        assert block.start == position
        assert not block.gap
        position = block.end
    return np.concatenate([b.samples for b in blocks])


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 0.0),
        ("a.flac", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.05),
        ("a.aiff", "PCM_16", 1e-4),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_what_libsndfile_reads_comes_back_mono(tmp_path, name, subtype, tolerance, channels):
    t = np.arange(22050)[:, None] / 22050
    x = (0.4 * np.sin(2 * np.pi * t * 100 * (1 + np.arange(channels)))).astype(np.float32)
    path = tmp_path / name
    soundfile.write(path, x, 22050, subtype=subtype)
    source = FileSource(path, block_s=0.1)
    assert source.sample_rate_hz == 22050
    assert source.duration_s == pytest.approx(1.0)
    np.testing.assert_allclose(read(source), x.mean(axis=1), atol=tolerance + 1e-6)


def wav(path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype=subtype)
    return path


def test_bad_files_say_what_is_wrong(tmp_path, speech):
    with pytest.raises(AudioError, match="no such file"):
        FileSource(tmp_path / "missing.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match="empty file"):
        FileSource(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("this is no audio at all, only words\n" * 20)
    with pytest.raises(AudioError, match="not audio that libsndfile reads"):
        FileSource(tmp_path / "text.wav")
    with pytest.raises(AudioError, match="holds no samples"):
        FileSource(wav(tmp_path / "header.wav", np.zeros(0, np.float32)))
    with pytest.raises(AudioError, match=r"a folder$"):
        FileSource(tmp_path)
    (tmp_path / "link.wav").symlink_to("nothing.wav")
    with pytest.raises(AudioError, match=r"no such file, it is a link to nothing\.wav"):
        FileSource(tmp_path / "link.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(AudioError, match="symbolic links"):
        FileSource(tmp_path / "loop.wav")


@pytest.mark.parametrize("suffix", ["au", "snd", "gsm", "vox"])
def test_what_is_audio_by_its_name_alone_is_refused(tmp_path, suffix):
    path = tmp_path / f"words.{suffix}"
    path.write_text("this is no audio at all, only words\n" * 200)
    with pytest.raises(AudioError, match="not audio"):
        FileSource(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        assert not stat.S_ISREG(path.stat().st_mode)
        with pytest.raises(AudioError, match="a pipe or a device"):
            FileSource(path)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_need_not_be_utf_8(tmp_path, speech):
    path = wav(tmp_path / "a.wav", speech[:RATE_HZ])
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfcml\xe4ut.wav"))
    path.rename(odd)
    assert len(read(FileSource(odd))) == RATE_HZ


def test_a_file_that_vanishes_before_it_is_read(tmp_path, speech):
    path = wav(tmp_path / "a.wav", speech[:RATE_HZ])
    source = FileSource(path)
    path.unlink()
    with pytest.raises(AudioError, match="no such file"):
        read(source)


def test_standard_input_is_read_as_often_as_wanted(tmp_path, speech):
    path = wav(tmp_path / "a.wav", speech[:RATE_HZ])
    program = (
        "from ser_stream.audio.sound_file import FileSource\n"
        "for _ in range(2):\n"
        "    print(sum(len(block.samples) for block in FileSource('-')))\n"
    )
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=file, capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == [str(RATE_HZ)] * 2


def test_a_block_of_many_channels_at_a_high_rate_is_no_longer_than_memory_allows(tmp_path):
    path = tmp_path / "wide.wav"
    soundfile.write(path, np.zeros((100_000, 200), np.float32), 768000, subtype="PCM_16")
    blocks = [len(block.samples) for block in FileSource(path)]
    assert sum(blocks) == 100_000
    assert max(blocks) * 200 <= 1 << 22


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_file_is_an_error_and_not_a_shorter_file(tmp_path, speech, suffix):
    path = wav(tmp_path / f"whole.{suffix}", speech[: 5 * RATE_HZ])
    data = path.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"truncated|broken"):
        read(FileSource(cut))
    assert len(read(FileSource(path))) == 5 * RATE_HZ


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20, -1e10, 3e38])
def test_samples_that_are_not_usable_are_an_error_with_their_place(tmp_path, speech, bad):
    x = speech[: 3 * RATE_HZ].copy()
    x[2 * RATE_HZ] = bad
    path = wav(tmp_path / "bad.wav", x, "FLOAT")
    with pytest.raises(AudioError, match=r"NaN, infinite or huge samples at 2\.00 s"):
        read(FileSource(path))


def test_an_array_must_be_mono(speech):
    np.testing.assert_array_equal(read(ArraySource(speech, RATE_HZ, 0.37)), speech)
    with pytest.raises(AudioError, match="mono"):
        ArraySource(np.zeros((10, 2), np.float32), RATE_HZ)


def test_pacing_waits_until_each_block_would_have_been_spoken(speech):
    now = [100.0]
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    source = PacedSource(ArraySource(speech[:RATE_HZ], RATE_HZ, 0.25), lambda: now[0], sleep)
    with source:
        stamps = [b.captured_s for b in source]
    assert stamps == pytest.approx([100.25, 100.5, 100.75, 101.0])
    assert slept == pytest.approx([0.25] * 4)
