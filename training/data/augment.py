"""Recording conditions: what a microphone, a room and a channel do to a voice.

A condition is drawn once per speaker and variant and applied to all clips of that speaker, as a
real recording would have it: the running normaliser is trained on what it will meet.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from scipy.fft import next_fast_len

from ser_stream.types import Float32
from training.recipe.config import AugmentConfig

# Container and subtype in libsndfile, least and most kbit/s.
CODECS = {
    "mp3": ("MP3", "MPEG_LAYER_III", 8.0, 160.0),
    "opus": ("OGG", "OPUS", 6.0, 256.0),
}
# Root mean square that an automatic gain control aims at: -26 dBFS.
AGC_TARGET = 0.05


@dataclass(frozen=True, slots=True)
class Condition:
    """One recording condition; the neutral one changes nothing.

    Attributes:
        gain_db: gain applied last.
        agc: how much of a clip's own level an automatic gain control takes out, 0 to 1.
        snr_db: ratio of speech to background noise; None without noise.
        noise: index of the noise recording.
        band_hz: pass band (low, high); None for all.
        reverb_s: time in which the room's sound decays by 60 dB; 0 without a room.
        speed: playback speed.
        silence_s: most background before and after a clip.
        codec: "mp3" or "opus", a lossy recording; "" for none.
        codec_kbps: its bit rate.
    """

    gain_db: float = 0.0
    agc: float = 0.0
    snr_db: float | None = None
    noise: int = 0
    band_hz: tuple[float, float] | None = None
    reverb_s: float = 0.0
    speed: float = 1.0
    silence_s: float = 0.0
    codec: str = ""
    codec_kbps: float = 24.0


def draw_condition(config: AugmentConfig, n_noises: int, rng: np.random.Generator) -> Condition:
    """Draw one condition at random."""
    band = None
    if rng.random() < config.telephone_share:
        band = (300.0, 3400.0)
    elif rng.random() < config.band_share:
        low = float(rng.uniform(60.0, 300.0)) if rng.random() < 0.5 else 0.0
        band = (low, float(rng.uniform(*config.band_hz)))
    agc = 0.0
    # No draw where there is none to make: recipes without it get the conditions they always got.
    if config.agc_share and rng.random() < config.agc_share:
        agc = float(rng.uniform(0.5, 1.0))
    return Condition(
        gain_db=float(rng.uniform(*config.gain_db)),
        agc=agc,
        snr_db=float(rng.uniform(*config.snr_db)) if rng.random() < config.noise_share else None,
        noise=n_noises if config.white_only else int(rng.integers(n_noises + 2)),
        band_hz=band,
        reverb_s=float(rng.uniform(0.1, 0.5)) if rng.random() < config.reverb_share else 0.0,
        speed=float(1.0 + config.speed * rng.uniform(-1, 1))
        if rng.random() < config.speed_share
        else 1.0,
        silence_s=config.silence_s,
        codec=str(rng.choice(list(CODECS))) if rng.random() < config.codec_share else "",
        codec_kbps=float(rng.uniform(*config.codec_kbps)),
    )


def apply_condition(
    samples: Float32,
    rate_hz: int,
    condition: Condition,
    noises: Sequence[Float32],
    rng: np.random.Generator,
) -> Float32:
    """Record float32 ``samples`` (n,) under ``condition``; the length may change."""
    x = samples
    if condition.speed != 1.0:
        x = soxr.resample(x, rate_hz * condition.speed, rate_hz).astype(np.float32)
    if condition.silence_s:
        before, after = (rng.uniform(0.0, condition.silence_s, 2) * rate_hz).astype(int)
        x = np.concatenate([np.zeros(before, np.float32), x, np.zeros(after, np.float32)])
    if condition.reverb_s:
        x = _reverberate(x, condition.reverb_s, rate_hz, rng)
    if condition.snr_db is not None:
        noise = _background(len(x), condition.noise, noises, rng)
        speech_power = float(np.mean(samples**2)) + 1e-12
        noise_power = float(np.mean(noise**2)) + 1e-12
        x = x + noise * np.sqrt(speech_power / noise_power / 10 ** (condition.snr_db / 10))
    if condition.band_hz is not None:
        x = _band_limit(x, condition.band_hz, rate_hz)
    if condition.codec:
        x = through_codec(x, rate_hz, condition.codec, condition.codec_kbps)
    gain = 1.0
    if condition.gain_db:
        # The distance of a speaker varies.
        gain = 10 ** ((condition.gain_db + rng.uniform(-2, 2)) / 20)
    if condition.agc:
        power = float(np.mean(samples**2)) + 1e-12
        gain *= (AGC_TARGET / np.sqrt(power)) ** condition.agc
    return np.clip(x * gain, -1.0, 1.0).astype(np.float32)


def through_codec(x: Float32, rate_hz: int, codec: str, kbps: float) -> Float32:
    """Encode mono float32 ``x`` (n,) and decode it again; the length may change by some ms."""
    # libsndfile takes the bit rate as a share of what the format offers at 16 kHz, highest first.
    container, subtype, least, most = CODECS[codec]
    level = 1.0 - (kbps - least) / (most - least)
    file = io.BytesIO()
    # Both formats work on a scale of their own; clipping would be audible.
    peak = max(float(np.abs(x).max()), 1e-4)
    with soundfile.SoundFile(
        file,
        "w",
        rate_hz,
        1,
        subtype,
        format=container,
        compression_level=min(max(level, 0.0), 1.0),
        bitrate_mode="CONSTANT" if codec == "mp3" else None,
    ) as out:
        out.write(x * np.float32(0.5 / peak))
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    if rate != rate_hz:
        decoded = soxr.resample(decoded, rate, rate_hz)
    return (decoded * np.float32(peak / 0.5)).astype(np.float32)


def _background(n: int, which: int, noises: Sequence[Float32], rng: np.random.Generator) -> Float32:
    # The two indices past the recordings are white and pink noise.
    if which >= len(noises):
        white = rng.standard_normal(n).astype(np.float32)
        if which == len(noises):
            return white
        spectrum = np.fft.rfft(white)
        return np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), n).astype(
            np.float32
        )
    start = int(rng.integers(len(noises[which])))
    return np.resize(np.roll(noises[which], -start), n)


def _reverberate(x: Float32, decay_s: float, rate_hz: int, rng: np.random.Generator) -> Float32:
    # A room's tail is well modelled by noise that decays exponentially by 60 dB in decay_s.
    n = int(decay_s * rate_hz)
    response = rng.standard_normal(n) * 10 ** (-3.0 * np.arange(n) / n)
    response *= rng.uniform(0.2, 0.7) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    size = int(next_fast_len(len(x) + n, real=True) or len(x) + n)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)[: len(x)].astype(
        np.float32
    )


def _band_limit(x: Float32, band_hz: tuple[float, float], rate_hz: int) -> Float32:
    size = int(next_fast_len(len(x), real=True) or len(x))
    hz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    low, high = band_hz
    # First-order skirts of about 100 Hz avoid ringing.
    mask = 1.0 / (1.0 + np.exp((hz - high) / 50.0))
    if low > 0:
        mask *= 1.0 / (1.0 + np.exp((low - hz) / 25.0))
    return np.fft.irfft(np.fft.rfft(x, size) * mask, size)[: len(x)].astype(np.float32)
