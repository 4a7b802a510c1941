"""Per-frame features: what is causal and computed once per frame.

Training, batch scoring and the live meter call these same functions on the same samples, so a live
window holds exactly what the network was trained on (values may differ in the last bits of float32,
because matrix products are blocked by the number of frames that come together).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
    """Invert `hz_to_mel`."""
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


def dct_matrix(n_in: int, n_out: int) -> Float32:
    """First ``n_out`` rows of the orthonormal DCT-II, float32 of shape (n_in, n_out)."""
    k = np.arange(n_out)[None, :]
    n = np.arange(n_in)[:, None]
    basis = np.sqrt(2.0 / n_in) * np.cos(np.pi * k * (2 * n + 1) / (2 * n_in))
    basis[:, 0] = np.sqrt(1.0 / n_in)
    return basis.astype(np.float32)


@dataclass(frozen=True, slots=True)
class MfccConfig:
    """MFCCs of paper 1 (Xu & Zhang, section III.A), left-aligned.

    Attributes:
        sample_rate_hz: rate of the samples.
        n_fft: frame length in samples; the taper is a periodic Hann window of that length.
        hop_length: step between frames, samples.
        n_mels: mel bands.
        n_mfcc: cepstral coefficients, the zeroth included.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        log_floor: power below which the logarithm is held.
        pitch: append two features that the paper does not have: the pitch in octaves above 100 Hz,
            and the periodicity, which tells how far the pitch can be believed.
    """

    sample_rate_hz: int = 16000
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    n_mfcc: int = 13
    f_min_hz: float = 0.0
    f_max_hz: float = 8000.0
    log_floor: float = 1e-10
    pitch: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.hop_length <= self.n_fft:
            raise ConfigError(f"need 0 < hop_length <= n_fft, got {self.hop_length}, {self.n_fft}")
        if not 0 < self.n_mfcc <= self.n_mels:
            raise ConfigError(f"need 0 < n_mfcc <= n_mels, got {self.n_mfcc}, {self.n_mels}")
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ConfigError(
                f"need 0 <= f_min_hz < f_max_hz <= {self.sample_rate_hz / 2}, "
                f"got {self.f_min_hz}, {self.f_max_hz}"
            )


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive analysis frames.

    Attributes:
        features: float32 of shape (frames, features).
        level_db: float32 of shape (frames,), mean power of the frame in dBFS.
        periodicity: float32 of shape (frames,), 0 for noise to 1 for a perfectly periodic frame.
    """

    features: Float32
    level_db: Float32
    periodicity: Float32

    def __len__(self) -> int:
        return len(self.features)


# Periodicity looks at lags of one period of a voice between these two pitches.
PITCH_MIN_HZ = 60.0
PITCH_MAX_HZ = 400.0
# The pitch feature counts octaves from here.
PITCH_REFERENCE_HZ = 100.0
OCTAVE_COST = np.float32(0.02)
# Scalars that leave float32 arrays float32.
ZERO, HALF, ONE, TWO, TEN = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 10.0))


class MfccExtractor:
    """Compute MFCC frames of whole arrays; stateless, so every caller gets the same values."""

    def __init__(self, config: MfccConfig) -> None:
        self.config = config
        c = config
        self._taper = _periodic_hann(c.n_fft)
        mel = mel_filters(c.sample_rate_hz, c.n_fft, c.n_mels, c.f_min_hz, c.f_max_hz)
        # Bins above the highest band have zero weight: they need not be multiplied.
        self._bins = int(np.flatnonzero(mel.any(axis=1))[-1]) + 1
        self._mel = np.ascontiguousarray(mel[: self._bins])
        self._dct = dct_matrix(c.n_mels, c.n_mfcc)
        self._log_floor = np.float32(c.log_floor)
        taper_power = np.sum(self._taper.astype(np.float64) ** 2)
        self._power_scale = np.float32(2.0 / c.n_fft / taper_power)
        self._level_floor = np.float32(1e-12)
        self._silence = np.float32(1e-9)
        self._flat = np.float32(-1e-9)
        self._periods = _periods(c.sample_rate_hz)
        self._lag_cosines = _lag_cosines(self._taper, self._periods)
        self._octave_cost = OCTAVE_COST * np.log2(self._periods / self._periods[0])
        self._reference_octave = np.float32(np.log2(c.sample_rate_hz / 2 / PITCH_REFERENCE_HZ))

    @property
    def width(self) -> int:
        """Features per frame."""
        return self.config.n_mfcc + (2 if self.config.pitch else 0)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples."""
        return self.config.sample_rate_hz

    @property
    def hop_length(self) -> int:
        """Step between frames, samples."""
        return self.config.hop_length

    @property
    def frame_length(self) -> int:
        """Samples that one frame sees."""
        return self.config.n_fft

    def frame_count(self, n_samples: int) -> int:
        """Count the full frames in ``n_samples`` samples."""
        c = self.config
        return 0 if n_samples < c.n_fft else (n_samples - c.n_fft) // c.hop_length + 1

    def __call__(self, samples: Float32) -> Frames:
        """Compute all full frames of float32 ``samples`` (n,); frame i starts at i * hop_length."""
        c = self.config
        n = self.frame_count(len(samples))
        if n == 0:
            nothing = np.zeros(0, dtype=np.float32)
            return Frames(np.zeros((0, self.width), dtype=np.float32), nothing, nothing)
        # Overlapping frames as a view: what sliding_window_view gives, without its checks, which
        # cost as much as the transform of a few frames.
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        frames = np.ndarray((n, c.n_fft), np.float32, samples, 0, (4 * c.hop_length, 4))
        spectrum = np.fft.rfft(frames * self._taper)  # (n, n_fft // 2 + 1) complex64
        power: Float32 = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        mel = power[:, : self._bins] @ self._mel  # (n, n_mels)
        log_mel = TEN * np.log10(np.maximum(mel, self._log_floor))
        correlation = self._correlation(power)
        periodicity = np.minimum(np.maximum(correlation.max(axis=1), ZERO), ONE)
        features = np.empty((n, self.width), dtype=np.float32)
        np.matmul(log_mel, self._dct, out=features[:, : c.n_mfcc])
        if c.pitch:
            features[:, -2] = self._octaves(correlation)
            features[:, -1] = periodicity
        return Frames(features, self._level_db(power), periodicity)

    def _level_db(self, power: Float32) -> Float32:
        # Parseval: sum |x w|^2 = (|X_0|^2 + 2 sum |X_k|^2) / n_fft; divided by the taper's power it
        # is the mean square of the samples.
        mean_square = power.sum(axis=1) * self._power_scale
        return TEN * np.log10(np.maximum(mean_square, self._level_floor))

    def _correlation(self, power: Float32) -> Float32:
        product = power[:, : len(self._lag_cosines)] @ self._lag_cosines  # (n, 1 + lags)
        # Column 0 is lag 0, the power itself; the others are the periods of a voice.
        product[:, 1:] /= np.maximum(product[:, :1], self._silence)
        return product[:, 1:]

    def _octaves(self, correlation: Float32) -> Float32:
        # Twice a period is a period too: a small cost per octave prefers the shorter one.
        frame = np.arange(len(correlation))
        best = (correlation - self._octave_cost)[:, 1:-1].argmax(axis=1) + 1
        before, after = correlation[frame, best - 1], correlation[frame, best + 1]
        # The peak of the parabola through the best lag and its neighbours, at most half a lag away.
        bend = np.minimum(before + after - TWO * correlation[frame, best], self._flat)
        shift = HALF * (before - after) / bend
        lag = self._periods[best] + np.minimum(np.maximum(shift, -HALF), HALF)
        return self._reference_octave - np.log2(lag)


def repeat_to(features: Float32, n: int) -> Float32:
    """Repeat (frames, features) cyclically until there are ``n`` frames; cut what is over.

    An utterance shorter than the window is presented so, in training and at run time: silence
    would look like nothing that the network knows.
    """
    if len(features) == 0:
        raise ValueError("no frame to repeat")
    return features[np.arange(n) % len(features)]


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


@lru_cache(maxsize=8)
def _periodic_hann(n: int) -> Float32:
    taper = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)).astype(np.float32)
    taper.flags.writeable = False
    return taper
