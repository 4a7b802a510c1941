"""Mel filters, A-weighting, and the log-mel spectrum of frames."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.types import Float32, Float64


def hz_to_mel(hz: Float64 | float) -> Float64:
    """Convert Hz to mels on Slaney's scale: linear below 1 kHz, logarithmic above.

    Source: M. Slaney, Auditory Toolbox, 1998 (the default of librosa).
    """
    hz = np.asarray(hz, dtype=np.float64)
    linear = 3.0 * hz / 200.0
    logarithmic = 15.0 + 27.0 * np.log(np.maximum(hz, 1e-3) / 1000.0) / np.log(6.4)
    return np.where(hz < 1000.0, linear, logarithmic)


def mel_to_hz(mel: Float64 | float) -> Float64:
    """Invert `hz_to_mel`: mels, a number or (n,), to Hz of the same shape."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


def mel_filters(rate_hz: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float) -> Float32:
    """Triangular mel filters of unit area (Slaney), float32 of shape (n_fft // 2 + 1, n_mels)."""
    bins = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    edges = mel_to_hz(np.linspace(hz_to_mel(f_min_hz), hz_to_mel(f_max_hz), n_mels + 2))
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)


def a_weighting(hz: Float64) -> Float64:
    """What A-weighting multiplies the power at ``hz`` (n,) by, 1 at 1 kHz (IEC 61672-1)."""
    f2 = np.square(np.asarray(hz, dtype=np.float64))
    poles = (f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2)
    return 10.0**0.2 * np.square(12194.0**2 * f2**2 / poles)


class Bands(Protocol):
    """Frames and mel bands, as the configurations of log-mels and of MFCCs name them."""

    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def n_fft(self) -> int: ...
    @property
    def hop_length(self) -> int: ...
    @property
    def n_mels(self) -> int: ...
    @property
    def f_min_hz(self) -> float: ...
    @property
    def f_max_hz(self) -> float: ...
    @property
    def log_floor(self) -> float: ...
    @property
    def taper(self) -> str: ...


def check_bands(c: Bands) -> None:
    """Refuse frames and bands that cannot be.

    Raises:
        ConfigError: as it says.
    """
    if not 0 < c.hop_length <= c.n_fft:
        raise ConfigError(f"need 0 < hop_length <= n_fft, got {c.hop_length}, {c.n_fft}")
    if c.n_mels < 1:
        raise ConfigError(f"need n_mels >= 1, got {c.n_mels}")
    if not 0 <= c.f_min_hz < c.f_max_hz <= c.sample_rate_hz / 2:
        raise ConfigError(
            f"need 0 <= f_min_hz < f_max_hz <= {c.sample_rate_hz / 2}, "
            f"got {c.f_min_hz}, {c.f_max_hz}"
        )
    if c.taper not in TAPERS:
        raise ConfigError(f"unknown taper {c.taper!r}; known: {', '.join(TAPERS)}")


# Scalars that leave float32 arrays float32.
ZERO, HALF, ONE, TWO, TEN = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 10.0))


class MelSpectrum:
    """Log-mel bands of frames, with the level of the power spectrum.

    Args:
        c: frames and bands.
        a_weighted: the level is that of the A-weighted spectrum.
        range_db: bands are held at this many dB below the loudest of their frame; 0 does not.
    """

    def __init__(self, c: Bands, a_weighted: bool = False, range_db: float = 0.0) -> None:
        self._taper = taper_of(c.taper, c.n_fft)
        mel = mel_filters(c.sample_rate_hz, c.n_fft, c.n_mels, c.f_min_hz, c.f_max_hz)
        # Bins above the highest band have zero weight: they need not be multiplied.
        self._bins = int(np.flatnonzero(mel.any(axis=1))[-1]) + 1
        self._mel = np.ascontiguousarray(mel[: self._bins])
        self._log_floor = np.float32(c.log_floor)
        taper_power = np.sum(self._taper.astype(np.float64) ** 2)
        # Parseval: sum |x w|^2 = (|X_0|^2 + 2 sum |X_k|^2) / n_fft; divided by the taper's power it
        # is the mean square of the samples.
        self._power_scale = np.float32(2.0 / c.n_fft / taper_power)
        self._level_floor = np.float32(1e-12)
        self._range = np.float32(10.0 ** (-range_db / 10.0)) if range_db else None
        self._weights = None
        if a_weighted:
            bins = np.arange(c.n_fft // 2 + 1, dtype=np.float64) * c.sample_rate_hz / c.n_fft
            self._weights = a_weighting(bins).astype(np.float32)

    @property
    def taper(self) -> Float32:
        """Weights of a frame's samples, (n_fft,)."""
        return self._taper

    @property
    def weights(self) -> Float32 | None:
        """What level and voice count each bin's power by, (n_fft // 2 + 1,); None for all alike."""
        return self._weights

    def power(self, frames: Float32) -> Float32:
        """Power spectra of float32 ``frames`` (n, n_fft), float32 (n, n_fft // 2 + 1)."""
        spectrum = np.fft.rfft(frames * self._taper)  # (n, n_fft // 2 + 1) complex64
        power: Float32 = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        return power

    def log_mel(self, power: Float32) -> Float32:
        """Bands of ``power`` (n, n_fft // 2 + 1) in dB, float32 (n, n_mels)."""
        mel = power[:, : self._bins] @ self._mel  # (n, n_mels)
        if self._range is not None:
            np.maximum(mel, mel.max(axis=1, keepdims=True) * self._range, out=mel)
        return TEN * np.log10(np.maximum(mel, self._log_floor))

    def level_db(self, power: Float32) -> Float32:
        """Levels of frames of ``power`` (n, n_fft // 2 + 1) in dBFS, float32 (n,)."""
        total = power.sum(axis=1) if self._weights is None else power @ self._weights
        mean_square = total * self._power_scale
        return TEN * np.log10(np.maximum(mean_square, self._level_floor))


TAPERS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


@lru_cache(maxsize=16)
def taper_of(name: str, n: int) -> Float32:
    """The periodic taper ``name`` of ``n`` samples, float32 (n,), read-only."""
    a, b = TAPERS[name]
    taper = (a - b * np.cos(2.0 * np.pi * np.arange(n) / n)).astype(np.float32)
    taper.flags.writeable = False
    return taper
