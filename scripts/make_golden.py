#!/usr/bin/env python3
"""Make tests/golden/is09_lld: synthesised speech, and what openSMILE computes from it.

Needs the Debian package espeak-ng, and openSMILE's Python package in the environment that runs it
(`pip install opensmile==2.6.0`), which no other part of the project uses.

    python scripts/make_golden.py
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import opensmile  # pyright: ignore[reportMissingImports]
import soundfile
import soxr

RATE_HZ = 16000
TARGET = Path(__file__).parents[1] / "tests" / "golden" / "is09_lld"
# Name: espeak-ng's voice, pitch, words per minute; loudest sample; deviation of added noise; text.
CLIPS = {
    "mostly_unvoiced": ("en-us+m7", 60, 150, 0.3, 0.0, "That is exactly what I told you."),
    "fast_and_loud": (
        "en-us+f3",
        85,
        215,
        0.9,
        0.0,
        "Oh how lovely! And everybody came to see it!",
    ),
    "high": ("de+m2", 85, 140, 0.2, 0.0, "Wir haben es alle gesehen."),
    "low_in_noise": ("pl+f2", 20, 150, 0.4, 0.003, "Dzisiaj pada deszcz i wieje wiatr."),
    "faint": ("it+f4", 60, 130, 0.02, 1e-4, "Non lo sapeva nessuno."),
}


def clip(name: str) -> np.ndarray:
    """Synthesise a clip, int16 (n,) at 16 kHz."""
    voice, pitch, words_per_minute, peak, noise, text = CLIPS[name]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "clip.wav"
        subprocess.run(
            ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(words_per_minute),
             "-w", str(wav), text],
            check=True,
        )  # fmt: skip
        samples, rate = soundfile.read(wav)
    x = soxr.resample(samples, rate, RATE_HZ)
    x = peak * x / np.abs(x).max()
    x += noise * np.random.default_rng(0).normal(size=len(x))
    return np.round(np.clip(x, -1.0, 1.0) * 32767).astype(np.int16)


def main() -> None:
    """Make every clip and its values."""
    config = Path(opensmile.__file__).parent / "core" / "config" / "is09-13" / "IS09_emotion.conf"
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in CLIPS:
        signal = clip(name)
        values: dict[str, np.ndarray] = {}
        for key, level in (("lld", "lld"), ("delta", "lld_de")):
            smile = opensmile.Smile(feature_set=os.fspath(config), feature_level=level)
            table = smile.process_signal((signal / 32768).astype(np.float32), RATE_HZ)
            values[key] = table.to_numpy()
            values[f"{key}_names"] = np.array(list(table.columns), dtype=str)
        tool = f"openSMILE {opensmile.__version__} IS09_emotion"
        np.savez_compressed(TARGET / f"{name}.npz", signal=signal, tool=tool, **values)
        print(f"{name}: {len(signal) / RATE_HZ:.2f} s, {len(values['lld'])} frames")


if __name__ == "__main__":
    main()
