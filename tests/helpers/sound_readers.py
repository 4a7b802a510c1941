"""Sound files as everybody reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from ser_stream.audio.sound_file import FileSource


def read_by_all(path: Path, rate_hz: int) -> np.ndarray:
    """The samples, after every reader found the same ones; those that are not installed are not."""
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == rate_hz
    ours = np.concatenate([block.samples for block in FileSource(path)])
    np.testing.assert_array_equal(ours, samples / np.float32(32768))
    raw = ("-t", "raw", "-e", "signed", "-b", "16", "-")
    for command in (
        ["sox", "-D", str(path), *raw],
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-"],
    ):
        if shutil.which(command[0]):
            result = subprocess.run(command, capture_output=True, check=False, timeout=60)
            assert result.returncode == 0, result.stderr
            others = np.frombuffer(result.stdout, "<i2")
            # FFmpeg also reads frames that come after those that FLAC's header counts.
            np.testing.assert_array_equal(others[: len(samples)], samples)
    return samples
