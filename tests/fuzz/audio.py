"""Recordings in every format and subtype that libsndfile writes, scored."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from importlib import resources
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.recordings import score_file
from ser_stream.scoring.rows import prediction_row
from ser_stream.stream.engine import Engine
from ser_stream.types import Prediction

from .kinds import FuzzKind, require, require_finite
from .mutations import damaged

# Listed by libsndfile, but it cannot write them.
READ_ONLY = {"DWVW_12", "MPEG_LAYER_I", "MPEG_LAYER_II"}
FORMATS = sorted(
    (name, subtype)
    for name in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(name)
    # Headerless files differ in nothing that could be read.
    if subtype not in READ_ONLY and (name != "RAW" or subtype == "PCM_16")
)
# What libsndfile calls the formats whose names are no suffix of a file.
SUFFIXES = {"WAVEX": "wav", "NIST": "sph", "SVX": "iff", "MAT4": "mat", "MAT5": "mat"}
RATES_HZ = (8000, 16000, 44100)
ODD_RATES_HZ = (1, 7, 999, 4000, 11025, 48000, 192000, 768000, 800000, 2**31 - 1)
LENGTHS_S = (0.6, 0.6, 1.2, 2.4)
ODD_LENGTHS_S = (0.0, 0.001, 0.2)
ODD_VALUES = (np.nan, np.inf, -np.inf, 1e20, -1e38, 1e-45, 1e308)


def demo_path() -> Path:
    """The clip that is shipped with the package."""
    return Path(str(resources.files("ser_stream") / "demo" / "demo.flac"))


@functools.cache
def speech() -> np.ndarray:
    """Its samples, float64, 16 kHz."""
    return soundfile.read(demo_path(), dtype="float64")[0]


class Fuzz(FuzzKind):
    """Audio files, from valid ones to random bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._engine = Engine(ModelBundle.load())
        self._valid: dict[tuple[str, str, int, int], bytes] = {}

    def make(self, rng: Random) -> tuple[str, bytes]:
        name, subtype = rng.choice(FORMATS)
        data = self._recording(name, subtype, rng)
        if rng.random() < 0.9:
            data = damaged(data, rng, self._recording(*rng.choice(FORMATS), rng))
        elif rng.random() < 0.1:
            data = rng.randbytes(rng.choice((0, 1, 100, 5000)))
        other = rng.choice(FORMATS)[0] if rng.random() < 0.1 else name
        return "." + SUFFIXES.get(other, other.lower()), data

    def check(self, path: Path) -> str | None:
        return scored(path, self._engine)

    def _recording(self, name: str, subtype: str, rng: Random) -> bytes:
        """A file as libsndfile writes it."""
        channels = rng.choice((1, 1, 1, 2, 3, 8))
        # Vorbis crashes when it is to write some of the odd ones.
        rate = rng.choice(ODD_RATES_HZ if rng.random() < 0.1 and name != "OGG" else RATES_HZ)
        length_s = rng.choice(ODD_LENGTHS_S if rng.random() < 0.1 else LENGTHS_S)
        frames = math.ceil(length_s * min(rate, 48000))
        start = rng.randrange(16000, 160000)
        samples = np.repeat(speech()[start : start + frames, None], channels, axis=1)
        draw = rng.random()
        if draw < 0.1:
            samples *= 0.0
        # libsndfile reads beyond its tables where it is to write such values as integers.
        elif subtype not in ("FLOAT", "DOUBLE"):
            pass
        elif draw < 0.3 and frames:
            samples[rng.randrange(frames)] = rng.choice(ODD_VALUES)
        elif draw < 0.4:
            samples *= rng.choice((1e3, 1e20, 1e-30))
        path = self.folder / f"valid.{name.lower()}"
        for told, written in ((rate, samples), (8000, samples[:, 0]), (44100, samples[:, 0])):
            # Not every format has any rate and number of channels.
            with contextlib.suppress(soundfile.LibsndfileError):
                soundfile.write(path, written, told, subtype, format=name)
                break
        return path.read_bytes()


def scored(path: Path, engine: Engine, **more: object) -> str | None:
    """Score a file, write its rows as the command does, and look at every number of them."""
    meta = engine.bundle.meta
    seen: list[Prediction] = []
    score = score_file(path, engine, seen.append, **more)  # type: ignore[arg-type]
    rows = [score.row(meta.labels)]
    rows += [prediction_row(p, meta.labels, meta.sample_rate_hz) for p in seen]
    for row in rows:
        require_finite(row, path.name)
        json.dumps(row, allow_nan=False)
    for prediction in seen:
        require_finite(prediction.logits, "logits")
        require(0 <= prediction.start < prediction.end, f"times of {prediction}")
    # The batch goes on after any error, but words of Python are no words for users.
    require(re.match(r"\w*(Error|Exception)\b", score.error or "") is None, str(score.error))
    if score.error is None:
        require(score.state is not None and score.duration_s is not None, f"no state: {score}")
        require((score.posterior is None) == (score.windows == 0), f"no posterior: {score}")
    return score.error
