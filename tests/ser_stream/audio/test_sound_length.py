"""Sound files that were cut short, and those that never stated their length."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.audio.sound_file import FileSource
from ser_stream.errors import AudioError

RATE_HZ = 16000
# Of these, nothing in the file states how long it is.
STATE_NO_LENGTH = {"PAF", "PVF", "IRCAM", "SD2", "XI"}
# libsndfile lists them and writes none.
NOT_WRITTEN = {
    ("AIFF", "DWVW_12"),
    ("MP3", "MPEG_LAYER_I"),
    ("MP3", "MPEG_LAYER_II"),
    ("WAV", "MPEG_LAYER_III"),
}
# Whose last byte is no sound: a mark of the end, or the fill of a last packet.
END_IS_NO_SOUND = {"VOC": ("PCM_16",), "CAF": ("ALAC_16", "ALAC_24", "ALAC_32")}
WRITTEN = [
    (name, subtype)
    for name in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(name)
    if name != "RAW" and (name, subtype) not in NOT_WRITTEN
]


def samples_in(path: Path) -> int:
    return sum(len(block.samples) for block in FileSource(path))


def written(path: Path, name: str, subtype: str, samples: np.ndarray) -> bytes:
    rate = 8000 if name == "WVE" else RATE_HZ
    soundfile.write(path, samples, rate, subtype=subtype, format=name)
    return path.read_bytes()


@pytest.mark.parametrize(("name", "subtype"), WRITTEN)
def test_a_file_that_was_cut_is_told_in_every_format_that_states_its_length(
    tmp_path, speech, name, subtype
):
    n = 4 * RATE_HZ
    path = tmp_path / f"whole.{name.lower()}"
    data = written(path, name, subtype, speech[RATE_HZ : RATE_HZ + n])
    # Some formats fill their last packet.
    whole = samples_in(path)
    assert n <= whole <= 1.02 * n
    for length in (len(data) // 4, len(data) // 2, len(data) - len(data) // 50, len(data) - 1):
        path.write_bytes(data[:length])
        if name in STATE_NO_LENGTH:
            assert 0 < samples_in(path) <= whole
            continue
        if length == len(data) - 1 and subtype in END_IS_NO_SOUND.get(name, ()):
            assert samples_in(path) == whole
            continue
        with pytest.raises(AudioError, match=r"truncated|broken|not audio"):
            samples_in(path)


@pytest.mark.parametrize("length", [0, 0x7F000000, 0x7FFFF000, 0xFFFFFFFF])
@pytest.mark.parametrize(("name", "mark"), [("WAV", b"data"), ("AIFF", b"SSND"), ("AU", None)])
def test_a_length_that_was_left_open_means_until_the_end(tmp_path, speech, name, mark, length):
    path = tmp_path / f"open.{name.lower()}"
    data = bytearray(written(path, name, "PCM_16", speech[:RATE_HZ]))
    at = 8 if mark is None else data.index(mark) + 4
    data[at : at + 4] = struct.pack("<I" if name == "WAV" else ">I", length)
    path.write_bytes(data)
    if (name, length) == ("AU", 0):
        # libsndfile takes it at its word, and no program writes it.
        with pytest.raises(AudioError, match="holds no samples"):
            FileSource(path)
        return
    want, _ = soundfile.read(path, dtype="float32") if length else (speech[:RATE_HZ], 0)
    got = np.concatenate([block.samples for block in FileSource(path)])
    assert len(got) == RATE_HZ
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_rf64_that_was_left_open(tmp_path, speech):
    path = tmp_path / "open.rf64"
    data = bytearray(written(path, "RF64", "PCM_16", speech[:RATE_HZ]))
    at = data.index(b"ds64") + 8
    data[at : at + 24] = bytes(24)
    path.write_bytes(data)
    assert samples_in(path) == RATE_HZ


def test_a_length_of_zero_before_another_chunk_is_meant(tmp_path):
    path = tmp_path / "nothing.wav"
    data = written(path, "WAV", "PCM_16", np.zeros(0, np.float32))
    path.write_bytes(data + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match="holds no samples"):
        FileSource(path)


def test_an_mp3_that_states_no_length_is_read_to_its_end(tmp_path, speech):
    path = tmp_path / "a.mp3"
    data = written(path, "MP3", "MPEG_LAYER_III", speech[: 4 * RATE_HZ])
    assert samples_in(path) == 4 * RATE_HZ
    # As a pipe leaves it: without the header that states the number of frames.
    path.write_bytes(data.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    # libsndfile alone stops at the length that it estimates from the first frame.
    assert soundfile.info(path).frames < 3.5 * RATE_HZ
    assert samples_in(path) >= 4 * RATE_HZ
    source = FileSource(path, block_s=0.1)
    assert len(next(iter(source)).samples) == RATE_HZ // 10  # and nobody reads on


@pytest.mark.parametrize("keep", [12, 20, 40, 60, 100, 128, 300])
@pytest.mark.parametrize(("name", "subtype"), WRITTEN[::7])
def test_a_header_that_ends_too_soon_is_no_crash(tmp_path, speech, name, subtype, keep):
    path = tmp_path / f"head.{name.lower()}"
    data = written(path, name, subtype, speech[:RATE_HZ])
    path.write_bytes(data[:keep])
    try:
        assert samples_in(path) < RATE_HZ
    except AudioError:
        return
