"""Sounds that are no speech, and how many of their windows are called an emotion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_stream.audio.sources import ArraySource
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.stream.listening import Listening, predictions_of
from ser_stream.types import Float32, State
from training.data.audio import load_audio
from training.data.noises import split_noises


def no_speech_sounds(rate_hz: int, noise: Path | None) -> dict[str, list[Float32]]:
    """Sounds without emotion, by kind, (n,) at ``rate_hz``; ``noise`` is a folder of recordings."""
    rng = np.random.default_rng(0)
    n = 20 * rate_hz
    t = np.arange(n) / rate_hz
    white = 0.1 * rng.standard_normal(n)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), n)
    sounds = {
        "silence": [np.zeros(n)],
        "hiss of a quiet room": [1e-4 * rng.standard_normal(n)],
        "white noise": [white],
        "pink noise": [0.1 * pink / pink.std()],
        "tones": [0.2 * np.sin(2 * np.pi * f * t) for f in (110.0, 220.0, 440.0, 1000.0)],
        "chords": [_chords(t, root) for root in (110.0, 164.8, 220.0)],
    }
    named = {name: [x.astype(np.float32) for x in many] for name, many in sounds.items()}
    if noise is not None:
        named["environmental sound"] = noise_recordings(noise, rate_hz)
    return named


def _chords(t: np.ndarray[Any, Any], root_hz: float) -> np.ndarray[Any, Any]:
    """A progression of major triads, half a second each, struck and decaying like a piano's."""
    steps = (0, 5, 7, 0, -3, 5, 7, 12)
    which = (t // 0.5).astype(int) % len(steps)
    base = root_hz * 2 ** (np.array(steps)[which] / 12)
    sound = np.zeros(len(t))
    for semitones in (0, 4, 7):
        for harmonic in (1, 2, 3, 4):
            # The phase is a running sum: the pitch may jump, the wave may not.
            hz = base * 2 ** (semitones / 12) * harmonic
            phase = 2 * np.pi * np.cumsum(hz) * (t[1] - t[0])
            sound += np.sin(phase) / harmonic**1.5
    return 0.08 * sound * np.exp(-3.0 * (t % 0.5))


def noise_recordings(folder: Path, rate_hz: int) -> list[Float32]:
    """Recordings that cards measure with, mono float32 (n,) each at ``rate_hz``."""
    return [load_audio(p, rate_hz) for p in split_noises(folder)[1]]


def called_an_emotion(bundle: ModelBundle, sounds: Sequence[Float32]) -> tuple[int, int]:
    """Windows of ``sounds`` (n,) that get an emotion as label, and windows in all."""
    rate = bundle.meta.sample_rate_hz
    engine = Listening(bundle, LIVE_HOP_S).engine()
    called = total = 0
    for sound in sounds:
        engine.reset()
        predictions = predictions_of(engine, ArraySource(sound, rate, block_s=None))
        called += sum(p.state is State.EMOTION for p in predictions)
        total += len(predictions)
    return called, total
