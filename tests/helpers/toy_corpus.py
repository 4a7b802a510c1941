"""A corpus in CREMA-D's layout whose emotions differ in pitch and brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16000
# Pitch in Hz, and how fast the harmonics fall.
SOUNDS = {"ANG": (300, 0.5), "HAP": (250, 2.0), "NEU": (140, 1.0), "SAD": (110, 3.0)}


def make_toy_corpus(root: Path, speakers: int = 7, takes: int = 3) -> Path:
    """Write ``root``/AudioWAV with four emotions of each of the takes of each speaker."""
    folder = root / "AudioWAV"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for speaker in range(1001, 1001 + speakers):
        for take in range(takes):
            for emotion, (pitch, tilt) in SOUNDS.items():
                t = np.arange(int(RATE_HZ * rng.uniform(1.2, 2.6))) / RATE_HZ
                f = pitch * rng.uniform(0.9, 1.1)
                x = sum(np.sin(2 * np.pi * f * k * t) / k**tilt for k in range(1, 12))
                x = 0.1 * x / np.abs(x).max() + rng.normal(0, 1e-3, len(t))
                soundfile.write(folder / f"{speaker}_T{take}X_{emotion}_XX.flac", x, RATE_HZ)
    return root
