"""Pitch and periodicity of frames from their power spectra."""

from __future__ import annotations

import numpy as np

from ser_stream.features.mel import HALF, ONE, TWO, ZERO
from ser_stream.types import Float32

# Periodicity looks at lags of one period of a voice between these two pitches.
PITCH_MIN_HZ = 60.0
PITCH_MAX_HZ = 400.0
# The pitch feature counts octaves from here.
PITCH_REFERENCE_HZ = 100.0
OCTAVE_COST = np.float32(0.02)


class VoiceTracker:
    """Pitch and periodicity from the autocorrelation, which the power spectrum gives.

    Args:
        rate_hz: rate of the samples.
        taper: of the frames, whose own autocorrelation is divided out.
        weights: what each bin's power counts, (bins,); None for all alike.
    """

    SILENCE = np.float32(1e-9)
    FLAT = np.float32(-1e-9)

    def __init__(self, rate_hz: int, taper: Float32, weights: Float32 | None = None) -> None:
        self._periods = _periods(rate_hz)
        self._lag_cosines = _lag_cosines(taper, self._periods)
        if weights is not None:
            self._lag_cosines *= weights[: len(self._lag_cosines), None]
        self._octave_cost = OCTAVE_COST * np.log2(self._periods / self._periods[0])
        self._reference_octave = np.float32(np.log2(rate_hz / 2 / PITCH_REFERENCE_HZ))

    def periodicity(self, power: Float32) -> Float32:
        """Largest normalised autocorrelation at a voice's periods, power (n, bins) -> (n,)."""
        return self._periodicity(self._correlation(power))

    def octaves_and_periodicity(self, power: Float32) -> tuple[Float32, Float32]:
        """Pitch in octaves above 100 Hz and periodicity, power (n, bins) -> (n,), (n,)."""
        correlation = self._correlation(power)
        return self._octaves(correlation), self._periodicity(correlation)

    def _periodicity(self, correlation: Float32) -> Float32:
        return np.minimum(np.maximum(correlation.max(axis=1), ZERO), ONE)

    def _correlation(self, power: Float32) -> Float32:
        product = power[:, : len(self._lag_cosines)] @ self._lag_cosines  # (n, 1 + lags)
        # Column 0 is lag 0, the power itself; the others are the periods of a voice.
        product[:, 1:] /= np.maximum(product[:, :1], self.SILENCE)
        return product[:, 1:]

    def _octaves(self, correlation: Float32) -> Float32:
        # Twice a period is a period too: a small cost per octave prefers the shorter one.
        frame = np.arange(len(correlation))
        best = (correlation - self._octave_cost)[:, 1:-1].argmax(axis=1) + 1
        before, after = correlation[frame, best - 1], correlation[frame, best + 1]
        # The peak of the parabola through the best lag and its neighbours, at most half a lag away.
        bend = np.minimum(before + after - TWO * correlation[frame, best], self.FLAT)
        shift = HALF * (before - after) / bend
        lag = self._periods[best] + np.minimum(np.maximum(shift, -HALF), HALF)
        return self._reference_octave - np.log2(lag)


def _periods(rate_hz: int) -> Float32:
    """Periods of a voice in samples at half the rate, the shortest first."""
    half = rate_hz / 2
    return np.arange(int(half / PITCH_MAX_HZ), int(half / PITCH_MIN_HZ) + 2, dtype=np.float32)


def _lag_cosines(taper: Float32, periods: Float32) -> Float32:
    """Matrix (bins, 1 + lags) from power spectra to the autocorrelation at 0 and at voice periods.

    By Wiener and Khinchin the autocorrelation is the inverse transform of the power; only the lags
    of a voice are needed, so a product with their cosines is cheaper than the whole transform.
    Power above a quarter of the rate is left out: then every second lag will do, and voices lose
    nothing.
    The taper's own autocorrelation shrinks later lags; dividing by it undoes that (Boersma, IFA
    Proceedings 17, 1993, equation 9).
    """
    n_fft = len(taper)
    bins = np.arange(n_fft // 4 + 1)
    lags = 2 * np.concatenate([[0], periods.astype(int)])
    padded = np.fft.rfft(taper.astype(np.float64), 2 * n_fft)
    own = np.fft.irfft(np.abs(padded) ** 2)
    # Every bin but the first stands for itself and its mirror image.
    weight = np.where(bins == 0, 1.0, 2.0)[:, None]
    cosines = weight * np.cos(2.0 * np.pi * bins[:, None] * lags[None, :] / n_fft)
    return (cosines * (own[0] / own[lags])).astype(np.float32)


def hears_pitch(frame_length: int, rate_hz: int) -> bool:
    """Whether frames hold two periods of the lowest voice."""
    return frame_length * PITCH_MIN_HZ >= 2 * rate_hz
