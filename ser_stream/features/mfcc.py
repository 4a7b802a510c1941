"""Mel-frequency cepstral coefficients with deltas: the front end of papers 1 and 2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames, FramewiseExtractor
from ser_stream.features.mel import MelSpectrum, check_bands
from ser_stream.features.voice import VoiceTracker, hears_pitch
from ser_stream.typed import within
from ser_stream.types import Float32


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
            and the periodicity, which says how reliable the pitch is.
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
        check_bands(self)
        if not 0 < self.n_mfcc <= self.n_mels:
            raise ConfigError(f"need 0 < n_mfcc <= n_mels, got {self.n_mfcc}, {self.n_mels}")
        if self.deltas not in (0, 1, 2):
            raise ConfigError(f"deltas must be 0, 1 or 2, got {self.deltas}")
        if self.pitch and not hears_pitch(self.n_fft, self.sample_rate_hz):
            raise ConfigError(f"a frame of {self.n_fft} samples is too short for pitch")


# Half the width of the filter behind deltas, frames.
DELTA_REACH = 4


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
        self._spectrum = MelSpectrum(c)
        self._dct = dct_matrix(c.n_mels, c.n_mfcc)
        # What every band gains goes into the zeroth coefficient alone.
        self.gain = np.zeros(self.width, dtype=np.float32)
        self.gain[: c.n_mfcc] = self._dct.sum(axis=0)
        self.gain[1 : c.n_mfcc] = 0.0
        self._voice = None
        if hears_pitch(c.n_fft, c.sample_rate_hz):
            self._voice = VoiceTracker(c.sample_rate_hz, self._spectrum.taper)

    @property
    def base_width(self) -> int:
        return self._base_width

    @property
    def shortest(self) -> int:
        # The first frames take the slope of the first one that has neighbours on both sides.
        return self.look_back + 1 + self.look_ahead

    def analyse(self, frames: Float32) -> Frames:
        """MFCCs of float32 ``frames`` (n, n_fft), features (n, base width)."""
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
        """Append the deltas to ``base`` (n, base width); float32 (frames, width)."""
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


def delta_filter(reach: int, order: int) -> Float32:
    """Weights of 2 * reach + 1 frames whose sum is the ``order``-th derivative per frame.

    The derivative in the middle of the polynomial of that order that fits the frames best (Savitzky
    & Golay, Analytical Chemistry 36, 1964); what librosa calls delta.
    """
    powers = np.vander(np.arange(-reach, reach + 1), order + 1, increasing=True)
    weights = np.linalg.pinv(powers)[order] * math.factorial(order)
    weights[np.abs(weights) < 1e-12] = 0.0
    return weights.astype(np.float32)
