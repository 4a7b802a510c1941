"""Sound files that are read at any moment of their growth, by others too."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.audio import sound_writer as sound_file
from ser_stream.audio.sound_file import FileSource
from ser_stream.audio.sound_writer import FlacWriter, SoundWriter, WavWriter, to_int16
from ser_stream.errors import SerStreamError
from tests.helpers.sound_readers import read_by_all

RATE_HZ = 22050
NOISE = np.random.default_rng(0).integers(-30000, 30000, 3 * RATE_HZ).astype(np.int16)
WRITERS = {"wav": WavWriter, "flac": FlacWriter}


def create(path: Path) -> SoundWriter:
    return WRITERS[path.suffix[1:]](io.FileIO(path, "x+"), RATE_HZ)


def test_sixteen_bits_come_out_as_they_went_in():
    every = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(every / np.float32(32768)), every)
    loud = np.array([1.0, 1.7, -1.0, -1.7], np.float32)
    np.testing.assert_array_equal(to_int16(loud), [32767, 32767, -32768, -32768])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_closed_file_has_all_samples_and_silence(tmp_path, kind):
    writer = create(path := tmp_path / f"a.{kind}")
    writer.write(NOISE[:10001])
    writer.silence(200_000)
    writer.write(NOISE[10001:])
    writer.close()
    samples = read_by_all(path, RATE_HZ)
    np.testing.assert_array_equal(samples[:10001], NOISE[:10001])
    assert not samples[10001:210_001].any()
    np.testing.assert_array_equal(samples[210_001:], NOISE[10001:])


def test_silence_in_wav_takes_no_space(tmp_path):
    writer = create(path := tmp_path / "a.wav")
    writer.write(NOISE)
    writer.silence(3600 * RATE_HZ)
    writer.close()
    assert path.stat().st_size > 3600 * RATE_HZ * 2
    assert path.stat().st_blocks * 512 < 1e6


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_synced_is_readable_whatever_comes_after_it(tmp_path, kind):
    """As after a kill: the file is copied while it grows, with more behind what is promised."""
    writer = create(path := tmp_path / f"a.{kind}")
    for at in range(0, len(NOISE), 700):
        writer.write(NOISE[at : at + 700])
        if at % 7000 == 0:
            writer.sync()
        if at % 21000 == 9100:
            copy = tmp_path / f"{at}.{kind}"
            shutil.copyfile(path, copy)
            samples = read_by_all(copy, RATE_HZ)
            assert writer.samples <= len(samples)
            np.testing.assert_array_equal(samples, NOISE[: len(samples)])
            # Up to the last sync, and FLAC's frame of 4096.
            assert at - 2100 - 4096 * (kind == "flac") <= writer.samples
    writer.close()
    np.testing.assert_array_equal(read_by_all(path, RATE_HZ), NOISE)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_header_promises_only_what_is_on_the_disk(tmp_path, monkeypatch, kind):
    """Power may fail at any moment: the disk has what was there at the last fsync, or newer."""
    path = tmp_path / f"a.{kind}"
    on_disk: list[bytes] = []

    def fsync(handle: int) -> None:
        assert os.path.sameopenfile(handle, written.fileno())
        on_disk.append(path.read_bytes())

    written = io.FileIO(path, "x+")
    monkeypatch.setattr(sound_file.os, "fsync", fsync)
    writer = WRITERS[kind](written, RATE_HZ)
    copy = tmp_path / f"copy.{kind}"
    promised = 0
    for at in range(0, len(NOISE), 7000):
        writer.write(NOISE[at : at + 7000])
        writer.sync()
        # A header that is newer than the rest reached the disk before it.
        copy.write_bytes(path.read_bytes()[:80] + on_disk[-2][80:])
        assert soundfile.info(copy).frames == writer.samples > promised
        promised = writer.samples
        np.testing.assert_array_equal(soundfile.read(copy, dtype="int16")[0], NOISE[:promised])
    writer.close()


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("room", [50_000, 50_001, 65_536])
def test_a_file_that_may_grow_no_more_keeps_what_it_has(tmp_path, kind, room):
    class Full(io.FileIO):
        """Takes a part of what does not fit, and then nothing, as systems do."""

        def write(self, data) -> int:
            left = room - self.tell()
            if left <= 0:
                raise OSError(28, "No space left on device")
            return super().write(memoryview(data)[:left])

    path = tmp_path / f"a.{kind}"
    writer = WRITERS[kind](Full(path, "x+"), RATE_HZ)
    writer.write(NOISE[:5000])
    writer.sync()
    written = 5000
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012 which write is not known
        for at in range(5000, len(NOISE), 700):
            writer.write(NOISE[at : at + 700])
            written = at
    writer.abandon()
    samples = read_by_all(path, RATE_HZ)
    np.testing.assert_array_equal(samples, NOISE[: len(samples)])
    assert len(samples) >= written - (4096 + 700 if kind == "flac" else 0)
    assert path.stat().st_size <= room


def test_wav_becomes_rf64_where_its_sizes_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_file, "MOST_RIFF_BYTES", 72 + 2 * 50_000)
    writer = create(path := tmp_path / "a.wav")
    writer.write(NOISE[:49_999])
    writer.sync()
    assert soundfile.info(path).format == "WAV"
    assert writer.note is None
    writer.write(NOISE[49_999:])
    writer.sync()
    assert "RF64" in str(writer.note)
    assert soundfile.info(path).format == "RF64"
    np.testing.assert_array_equal(read_by_all(path, RATE_HZ), NOISE)
    writer.close()
    np.testing.assert_array_equal(read_by_all(path, RATE_HZ), NOISE)


@pytest.mark.parametrize("beyond", [-2, 2])
def test_files_around_four_gigabytes_are_read_to_their_end(tmp_path, beyond):
    """Twelve hours and more of silence, which is a hole in the file, between two sounds."""
    count = sound_file.MOST_RIFF_BYTES // 2 + beyond - 36
    writer = create(path := tmp_path / "a.wav")
    writer.write(NOISE[:1000])
    writer.silence(count - 2000)
    writer.write(NOISE[-1000:])
    writer.close()
    info = soundfile.info(path)
    assert (info.format, info.frames) == ("RF64" if beyond > 0 else "WAV", count)
    ends = [
        soundfile.read(path, start=at, frames=1000, dtype="int16")[0] for at in (0, count - 1000)
    ]
    np.testing.assert_array_equal(ends, [NOISE[:1000], NOISE[-1000:]])
    assert FileSource(path).duration_s == count / RATE_HZ
    if shutil.which("sox"):
        told = subprocess.run(["sox", "--i", "-s", path], capture_output=True, check=True)
        assert int(told.stdout) == count
    if shutil.which("ffprobe"):
        command = ["ffprobe", "-v", "error", "-show_entries", "stream=duration_ts", "-of",
                   "csv=p=0", str(path)]  # fmt: skip
        assert int(subprocess.run(command, capture_output=True, check=True).stdout) == count


def test_a_rate_that_flac_does_not_know_is_refused(tmp_path):
    with (
        io.FileIO(tmp_path / "a.flac", "x+") as file,
        pytest.raises(SerStreamError, match=r"no rate of 65537 Hz; name a \.wav"),
    ):
        FlacWriter(file, 65537)
    FlacWriter(io.FileIO(tmp_path / "b.flac", "x+"), 192_000).close()
