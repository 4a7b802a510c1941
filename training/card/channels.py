"""What may happen to speech on its way: gain, noise, bands, codecs, rates."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ser_stream.types import Float32
from training.data.augment import Condition, apply_condition
from training.data.corpora import Utterance

Channel = Callable[[Float32, int, Utterance], tuple[Float32, int]]


def _rng(utterance: Utterance) -> np.random.Generator:
    return np.random.default_rng([3, zlib.crc32(utterance.path.name.encode())])


def _gain(gain_db: float) -> Channel:
    factor = np.float32(10 ** (gain_db / 20))
    return lambda x, rate, u: (np.clip(x * factor, -1.0, 1.0), rate)


def _under(condition: Condition, noises: Sequence[Float32] = ()) -> Channel:
    def channel(x: Float32, rate: int, u: Utterance) -> tuple[Float32, int]:
        rng = _rng(u)
        drawn = replace(condition, noise=int(rng.integers(len(noises)))) if noises else condition
        return apply_condition(x, rate, drawn, noises, rng), rate

    return channel


def _at_rate(rate_hz: int) -> Channel:
    def channel(x: Float32, rate: int, u: Utterance) -> tuple[Float32, int]:
        import soxr

        return soxr.resample(x, rate, rate_hz).astype(np.float32), rate_hz

    return channel


def channels(noises: Sequence[Float32]) -> dict[str, Channel]:
    """Disturbances of speech, by name; ``noises`` are float32 (n,) at the model's rate."""
    named: dict[str, Channel] = {f"gain {g:+d} dB": _gain(g) for g in (-40, -20, 10)}
    named["automatic gain control"] = _under(Condition(agc=1.0))
    if noises:
        for snr in (20, 10, 5):
            named[f"environmental noise, {snr} dB SNR"] = _under(Condition(snr_db=snr), noises)
    named["telephone band, 300-3400 Hz"] = _under(Condition(band_hz=(300.0, 3400.0)))
    named["room, 0.4 s reverberation"] = _under(Condition(reverb_s=0.4))
    named["MP3, 24 kbit/s"] = _under(Condition(codec="mp3", codec_kbps=24.0))
    named["Opus, 24 kbit/s"] = _under(Condition(codec="opus", codec_kbps=24.0))
    named["8 kHz"] = _at_rate(8000)
    named["48 kHz"] = _at_rate(48000)
    return named
