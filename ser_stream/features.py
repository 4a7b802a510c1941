"""Spectral front ends: MFCCs (with deltas), log-mel bands, and a mu-law spectrogram.

Training, batch scoring and the live meter call these same functions on the same samples, so a live
window holds exactly what the network was trained on (values may differ in the last bits of float32,
because matrix products are blocked by the number of frames that come together).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.extractor import Frames, FramewiseExtractor
from ser_stream.typed import within
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


def a_weighting(hz: Float64) -> Float64:
    """What A-weighting multiplies the power at ``hz`` (n,) by, 1 at 1 kHz (IEC 61672-1)."""
    f2 = np.square(np.asarray(hz, dtype=np.float64))
    poles = (f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2)
    return 10.0**0.2 * np.square(12194.0**2 * f2**2 / poles)


def dct_matrix(n_in: int, n_out: int) -> Float32:
    """First ``n_out`` rows of the orthonormal DCT-II, float32 of shape (n_in, n_out)."""
    k = np.arange(n_out)[None, :]
    n = np.arange(n_in)[:, None]
    basis = np.sqrt(2.0 / n_in) * np.cos(np.pi * k * (2 * n + 1) / (2 * n_in))
    basis[:, 0] = np.sqrt(1.0 / n_in)
    return basis.astype(np.float32)


@dataclass(frozen=True, slots=True)
class MfccConfig:
    """MFCCs, left-aligned; the defaults are those of paper 1 (Xu & Zhang, section III.A).

    Attributes:
        sample_rate_hz: rate of the samples.
        n_fft: frame length in samples, and of the taper.
        hop_length: step between frames, samples.
        n_mels: mel bands.
        n_mfcc: cepstral coefficients, the zeroth included.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        log_floor: power below which the logarithm is held.
        pitch: append two features that the paper does not have: the pitch in octaves above 100 Hz,
            and the periodicity, which tells how far the pitch can be believed.
        taper: "hann" or "hamming", periodic.
        deltas: 1 appends the slope of each coefficient, 2 its curvature too (paper 2: Peng et al.,
            section 4.2), as `delta_filter` gives them; four frames of look-ahead.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    n_fft: Annotated[int, within(16, 16384)] = 2048
    hop_length: Annotated[int, within(1, 16384)] = 512
    n_mels: Annotated[int, within(1, 512)] = 128
    n_mfcc: Annotated[int, within(1, 512)] = 13
    f_min_hz: float = 0.0
    f_max_hz: float = 8000.0
    log_floor: Annotated[float, within(1e-30, 1.0)] = 1e-10
    pitch: bool = False
    taper: str = "hann"
    deltas: int = 0

    def __post_init__(self) -> None:
        _check_bands(self)
        if not 0 < self.n_mfcc <= self.n_mels:
            raise ConfigError(f"need 0 < n_mfcc <= n_mels, got {self.n_mfcc}, {self.n_mels}")
        if self.deltas not in (0, 1, 2):
            raise ConfigError(f"deltas must be 0, 1 or 2, got {self.deltas}")
        if self.pitch and not _hears_pitch(self.n_fft, self.sample_rate_hz):
            raise ConfigError(f"a frame of {self.n_fft} samples is too short for pitch")


@dataclass(frozen=True, slots=True)
class LogMelConfig:
    """Log-mel bands, left-aligned; the defaults are those of paper 4 (He et al., section 3.2).

    Attributes:
        sample_rate_hz: rate of the samples.
        n_fft: frame length in samples, and of the taper.
        hop_length: step between frames, samples.
        n_mels: mel bands.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        log_floor: power below which the logarithm is held.
        taper: "hann" or "hamming", periodic.
        prosody: append three features that the paper does not have: the pitch in octaves above
            100 Hz, the periodicity, which tells how far the pitch can be believed, and the level
            in dBFS. They also tell voiced frames, which the running normaliser learns from.
        a_weighted: level, pitch and periodicity are those of the A-weighted spectrum, in which a
            room's rumble and the mains' hum count for little.
        range_db: a band is held at this many dB below its frame's loudest, so that what a channel
            does not let through looks alike, however faint; 0 does not hold it.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    n_fft: Annotated[int, within(16, 16384)] = 400
    hop_length: Annotated[int, within(1, 16384)] = 160
    n_mels: Annotated[int, within(1, 512)] = 40
    f_min_hz: float = 0.0
    f_max_hz: float = 8000.0
    log_floor: Annotated[float, within(1e-30, 1.0)] = 1e-10
    taper: str = "hann"
    prosody: bool = False
    a_weighted: bool = False
    range_db: Annotated[float, within(0.0, 300.0)] = 0.0

    def __post_init__(self) -> None:
        _check_bands(self)
        if self.range_db < 0:
            raise ConfigError(f"need range_db >= 0, got {self.range_db}")
        if self.prosody and not _hears_pitch(self.n_fft, self.sample_rate_hz):
            raise ConfigError(f"a frame of {self.n_fft} samples is too short for prosody")


@dataclass(frozen=True, slots=True)
class SpectrogramConfig:
    """Magnitude spectrogram of paper 3 (Li et al., section 2.1), left-aligned.

    The magnitudes of a window are scaled to [-1, 1] by its own least and largest, and then
    companded by the mu-law, equation (1).

    Attributes:
        sample_rate_hz: rate of the samples.
        frame_length: samples of a frame, and of its Hamming taper.
        hop_length: step between frames, samples.
        n_fft: length of the transform; frames are padded with zeros to it.
        n_bins: lowest bins that are kept.
        mu: of the mu-law.
        pad_frames: frames of zeros that follow a window's own: 197 frames lie within 2 s, and the
            paper's matrix has 200.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    frame_length: Annotated[int, within(16, 16384)] = 640
    hop_length: Annotated[int, within(1, 16384)] = 160
    n_fft: Annotated[int, within(16, 16384)] = 1600
    n_bins: Annotated[int, within(1, 8193)] = 400
    mu: Annotated[float, within(1e-3, 1e6)] = 255.0
    pad_frames: Annotated[int, within(0, 1000)] = 3

    def __post_init__(self) -> None:
        if not 0 < self.hop_length <= self.frame_length <= self.n_fft:
            raise ConfigError(
                "need 0 < hop_length <= frame_length <= n_fft, "
                f"got {self.hop_length}, {self.frame_length}, {self.n_fft}"
            )
        if not 0 < self.n_bins <= self.n_fft // 2 + 1:
            raise ConfigError(f"need 0 < n_bins <= {self.n_fft // 2 + 1}, got {self.n_bins}")
        if self.mu <= 0 or self.pad_frames < 0:
            raise ConfigError(f"need mu > 0 and pad_frames >= 0, got {self.mu}, {self.pad_frames}")


def _check_bands(c: MfccConfig | LogMelConfig) -> None:
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


# Periodicity looks at lags of one period of a voice between these two pitches.
PITCH_MIN_HZ = 60.0
PITCH_MAX_HZ = 400.0
# The pitch feature counts octaves from here.
PITCH_REFERENCE_HZ = 100.0
OCTAVE_COST = np.float32(0.02)
# Scalars that leave float32 arrays float32.
ZERO, HALF, ONE, TWO, TEN = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 10.0))
# Far below what a sample of 24 bits leads to; the inverse of less would overflow.
NO_CONTRAST = np.float32(1e-30)


# Half the width of the filter behind deltas, frames.
DELTA_REACH = 4


class _MelSpectrum:
    """Log-mel bands of frames, with what else the power spectrum tells.

    Args:
        c: frames and bands.
        a_weighted: the level is that of the A-weighted spectrum.
        range_db: bands are held at this many dB below the loudest of their frame; 0 does not.
    """

    def __init__(
        self, c: MfccConfig | LogMelConfig, a_weighted: bool = False, range_db: float = 0.0
    ) -> None:
        self._taper = _taper(c.taper, c.n_fft)
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
        return self._taper

    @property
    def weights(self) -> Float32 | None:
        """What level and voice count each bin's power by, (n_fft // 2 + 1,); None for all alike."""
        return self._weights

    def power(self, frames: Float32) -> Float32:
        spectrum = np.fft.rfft(frames * self._taper)  # (n, n_fft // 2 + 1) complex64
        power: Float32 = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        return power

    def log_mel(self, power: Float32) -> Float32:
        mel = power[:, : self._bins] @ self._mel  # (n, n_mels)
        if self._range is not None:
            np.maximum(mel, mel.max(axis=1, keepdims=True) * self._range, out=mel)
        return TEN * np.log10(np.maximum(mel, self._log_floor))

    def level_db(self, power: Float32) -> Float32:
        total = power.sum(axis=1) if self._weights is None else power @ self._weights
        mean_square = total * self._power_scale
        return TEN * np.log10(np.maximum(mean_square, self._level_floor))


class _VoiceTracker:
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


class LogMelExtractor(FramewiseExtractor):
    """Compute log-mel frames of whole arrays, in dB."""

    def __init__(self, config: LogMelConfig) -> None:
        self.config = c = config
        self.sample_rate_hz, self.hop_length = c.sample_rate_hz, c.hop_length
        self.frame_length, self.width = c.n_fft, c.n_mels + (3 if c.prosody else 0)
        self._spectrum = spectrum = _MelSpectrum(c, c.a_weighted, c.range_db)
        self._voice = None
        if c.prosody:
            self._voice = _VoiceTracker(c.sample_rate_hz, spectrum.taper, spectrum.weights)
        # A band moves as many dB as the recording, and so does the level.
        self.gain = np.ones(self.width, dtype=np.float32)
        if c.prosody:
            self.gain[-3:-1] = 0.0

    def analyse(self, frames: Float32) -> Frames:
        power = self._spectrum.power(frames)
        mel, level = self._spectrum.log_mel(power), self._spectrum.level_db(power)
        if self._voice is None:
            return Frames(mel, level, np.ones(len(power), dtype=np.float32))
        octaves, periodicity = self._voice.octaves_and_periodicity(power)
        return Frames(np.column_stack([mel, octaves, periodicity, level]), level, periodicity)


class MfccExtractor(FramewiseExtractor):
    """Compute MFCC frames of whole arrays."""

    def __init__(self, config: MfccConfig) -> None:
        self.config = c = config
        self.sample_rate_hz, self.hop_length = c.sample_rate_hz, c.hop_length
        self.frame_length = c.n_fft
        self._base_width = c.n_mfcc + (2 if c.pitch else 0)
        self.width = self._base_width * (1 + c.deltas)
        if c.deltas:
            self.look_back = self.look_ahead = DELTA_REACH
            self._filters = [delta_filter(DELTA_REACH, k + 1) for k in range(c.deltas)]
        self._spectrum = _MelSpectrum(c)
        self._dct = dct_matrix(c.n_mels, c.n_mfcc)
        # What every band gains goes into the zeroth coefficient alone.
        self.gain = np.zeros(self.width, dtype=np.float32)
        self.gain[: c.n_mfcc] = self._dct.sum(axis=0)
        self.gain[1 : c.n_mfcc] = 0.0
        self._voice = None
        if _hears_pitch(c.n_fft, c.sample_rate_hz):
            self._voice = _VoiceTracker(c.sample_rate_hz, self._spectrum.taper)

    @property
    def base_width(self) -> int:
        return self._base_width

    @property
    def shortest(self) -> int:
        # The first frames take the slope of the first one that has neighbours on both sides.
        return self.look_back + 1 + self.look_ahead

    def analyse(self, frames: Float32) -> Frames:
        c = self.config
        power = self._spectrum.power(frames)
        n = len(power)
        features = np.empty((n, self._base_width), dtype=np.float32)
        np.matmul(self._spectrum.log_mel(power), self._dct, out=features[:, : c.n_mfcc])
        if self._voice is None:
            periodicity = np.ones(n, dtype=np.float32)
        elif c.pitch:
            features[:, -2], periodicity = self._voice.octaves_and_periodicity(power)
            features[:, -1] = periodicity
        else:
            periodicity = self._voice.periodicity(power)
        return Frames(features, self._spectrum.level_db(power), periodicity)

    def in_context(self, base: Float32, skip: int) -> Float32:
        if not self.config.deltas:
            return base[skip:]
        n = len(base) - skip - DELTA_REACH
        at_start = DELTA_REACH - skip
        if n <= at_start:
            return np.empty((0, self.width), dtype=np.float32)
        inner = len(base) - 2 * DELTA_REACH
        columns = [base[skip : skip + n]]
        for taps in self._filters:
            change = np.zeros((inner, self._base_width), dtype=np.float32)
            for k, tap in enumerate(taps):
                if tap:
                    change += tap * base[k : k + inner]
            columns.append(np.concatenate([np.repeat(change[:1], at_start, axis=0), change]))
        return np.concatenate(columns, axis=1)


class SpectrogramExtractor(FramewiseExtractor):
    """Compute magnitude spectra, and compand them window by window."""

    def __init__(self, config: SpectrogramConfig) -> None:
        self.config = c = config
        self.sample_rate_hz, self.hop_length = c.sample_rate_hz, c.hop_length
        self.frame_length, self.width = c.frame_length, c.n_bins
        self._taper = _taper("hamming", c.frame_length)
        self._scale = np.float32(1.0 / np.log1p(c.mu))
        self._mu = np.float32(c.mu)

    def analyse(self, frames: Float32) -> Frames:
        spectrum = np.fft.rfft(frames * self._taper, self.config.n_fft)[:, : self.width]
        mean_square = np.einsum("ij,ij->i", frames, frames) / np.float32(self.frame_length)
        return Frames(
            np.abs(spectrum),
            TEN * np.log10(np.maximum(mean_square, np.float32(1e-12))),
            np.ones(len(frames), dtype=np.float32),
        )

    def present(self, window: Float32) -> Float32:
        n, width = window.shape
        x = np.zeros((n + self.config.pad_frames, width), dtype=np.float32)
        x[:n] = window
        low = x.min()
        span = x.max() - low
        if span > NO_CONTRAST:
            x -= low
            x *= TWO / span
            x -= ONE
        # A window of one value only has no contrast to expand: it stays at zero.
        else:
            x[:] = 0.0
        return mu_law(x, self._mu, self._scale)


def mu_law(x: Float32, mu: np.float32, scale: np.float32) -> Float32:
    """Compand x in [-1, 1] by ``sgn(x) ln(1 + mu |x|) / ln(1 + mu)``, scale = 1 / ln(1 + mu).

    Source: paper 3 (Li et al.), equation (1).
    """
    y = np.abs(x)
    y *= mu
    np.log1p(y, out=y)
    y *= scale
    return np.copysign(y, x)


def delta_filter(reach: int, order: int) -> Float32:
    """Weights of 2 * reach + 1 frames whose sum is the ``order``-th derivative per frame.

    The derivative in the middle of the polynomial of that order that fits the frames best (Savitzky
    & Golay, Analytical Chemistry 36, 1964); what librosa calls delta.
    """
    powers = np.vander(np.arange(-reach, reach + 1), order + 1, increasing=True)
    weights = np.linalg.pinv(powers)[order] * math.factorial(order)
    weights[np.abs(weights) < 1e-12] = 0.0
    return weights.astype(np.float32)


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


def _hears_pitch(frame_length: int, rate_hz: int) -> bool:
    """Whether frames hold two periods of the lowest voice."""
    return frame_length * PITCH_MIN_HZ >= 2 * rate_hz


TAPERS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


@lru_cache(maxsize=16)
def _taper(name: str, n: int) -> Float32:
    a, b = TAPERS[name]
    taper = (a - b * np.cos(2.0 * np.pi * np.arange(n) / n)).astype(np.float32)
    taper.flags.writeable = False
    return taper
