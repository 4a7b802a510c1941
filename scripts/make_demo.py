#!/usr/bin/env python3
"""Make ser_stream/demo/demo.flac: synthesised speech of changing pitch, pace and loudness.

Needs the Debian package espeak-ng. No recording of a person is involved: the clip shows how the
meter moves, not how well it recognises people.

    python scripts/make_demo.py
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE_HZ = 16000
TARGET = Path(__file__).parents[1] / "ser_stream" / "demo" / "demo.flac"


@dataclass(frozen=True)
class Phrase:
    """One sentence: espeak-ng's pitch (0-99), words per minute, pitch range; level; pause after."""

    text: str
    voice: str
    pitch: int
    words_per_minute: int
    pitch_range: int
    level_dbfs: float
    pause_s: float


PHRASES = (
    Phrase("This is how the meter looks while somebody talks in a calm, even voice.",
           "en-us", 40, 150, 30, -28.0, 1.2),
    Phrase("Now louder! And faster! Why does nobody ever listen to what I say!",
           "en-us", 75, 215, 95, -14.0, 2.6),
    Phrase("And then slowly, quietly, with very little left in the voice.",
           "en-us", 15, 95, 10, -36.0, 1.0),
    Phrase("Oh, how lovely! The sun is out, the table is laid, and everybody came!",
           "en-us+f3", 85, 185, 99, -20.0, 2.6),
    Phrase("That was all. Thank you for listening.",
           "en-us+f3", 45, 145, 30, -28.0, 1.0),
)  # fmt: skip


def speak(phrase: Phrase) -> np.ndarray:
    """Synthesise one phrase as float32 (n,) at 16 kHz, its loudest 50 ms at ``level_dbfs``."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "phrase.wav"
        subprocess.run(
            ["espeak-ng", "-v", phrase.voice, "-p", str(phrase.pitch),
             "-s", str(phrase.words_per_minute), "-w", str(wav),
             "-m",
             f'<speak><prosody range="{phrase.pitch_range}%">{phrase.text}</prosody></speak>'],
            check=True,
        )  # fmt: skip
        samples, rate = soundfile.read(wav, dtype="float32")
    samples = soxr.resample(samples, rate, RATE_HZ)
    n = RATE_HZ // 20
    blocks = samples[: len(samples) // n * n].reshape(-1, n)
    loudest = np.sqrt((blocks**2).mean(axis=1).max())
    return samples * (10 ** (phrase.level_dbfs / 20) / loudest)


def main() -> None:
    """Write the clip with a little room noise under it."""
    parts = [np.zeros(int(0.6 * RATE_HZ), np.float32)]
    for phrase in PHRASES:
        parts += [speak(phrase), np.zeros(int(phrase.pause_s * RATE_HZ), np.float32)]
    clip = np.concatenate(parts)
    noise = np.random.default_rng(0).normal(0.0, 10 ** (-72 / 20), len(clip))
    clip = np.clip(clip + noise, -1.0, 1.0).astype(np.float32)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(TARGET, clip, RATE_HZ, subtype="PCM_16")
    print(f"{TARGET}: {len(clip) / RATE_HZ:.1f} s, {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
