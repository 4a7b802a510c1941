"""Files, good and bad; pacing."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.errors import AudioError
from ser_stream.sources import ArraySource, FileSource, PacedSource

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


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_file_is_an_error_and_not_a_shorter_file(tmp_path, speech, suffix):
    path = wav(tmp_path / f"whole.{suffix}", speech[: 5 * RATE_HZ])
    data = path.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"truncated|broken"):
        read(FileSource(cut))
    assert len(read(FileSource(path))) == 5 * RATE_HZ


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_wav_that_was_streamed_has_no_length_and_is_not_truncated(tmp_path, speech, length):
    path = wav(tmp_path / "streamed.wav", speech[:RATE_HZ])
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", length)
    path.write_bytes(data)
    if length:
        assert len(read(FileSource(path))) == RATE_HZ
    else:
        with pytest.raises(AudioError, match="no samples"):
            FileSource(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_an_error_with_their_place(tmp_path, speech, bad):
    x = speech[: 3 * RATE_HZ].copy()
    x[2 * RATE_HZ] = bad
    path = wav(tmp_path / "bad.wav", x, "FLOAT")
    with pytest.raises(AudioError, match=r"NaN or infinite samples at 2\.00 s"):
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
