"""Recordings as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser_stream.types import Float32
from training.data.corpora import CorpusError


def load_audio(
    path: Path, rate_hz: int, start_s: float = 0.0, end_s: float | None = None
) -> Float32:
    """Read a clip, or a span of it, as mono float32 (n,) at ``rate_hz``.

    Raises:
        CorpusError: the file cannot be read, or holds nothing there.
    """
    mono, rate = load_span(path, start_s, end_s)
    return mono if rate == rate_hz else soxr.resample(mono, rate, rate_hz).astype(np.float32)


def load_span(path: Path, start_s: float = 0.0, end_s: float | None = None) -> tuple[Float32, int]:
    """Read a clip, or a span of it, as mono float32 (n,), and its own rate.

    Raises:
        CorpusError: the file cannot be read, or holds nothing there.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(file.frames, round(start_s * rate)))
            n = -1 if end_s is None else round(end_s * rate) - round(start_s * rate)
            samples = file.read(n, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{path}: {error}") from error
    if len(samples) == 0:
        raise CorpusError(f"{path}: no samples" + ("" if start_s == 0.0 else f" at {start_s} s"))
    return samples.mean(axis=1), rate
