"""Mean and variance normalisation (CMVN) that knows how much it knows about the speaker.

Corpora, rooms and voices differ more in the mean and spread of the features than emotions do. The
normaliser takes those out with one of two kinds of statistics: those of the training data
(``cold``), or those of the voiced frames heard so far, blended in as evidence grows (``running``).
A third kind is known beforehand: those of the user's neutral speech (``calibrated``). Front ends
that scale each window by itself need none of them (``none``).
It is causal, and since its state is recorded per frame, it does not depend on how audio is cut
into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.extractor import Frames
from ser_stream.types import Float32, Float64


class NormalizerState(StrEnum):
    """Which statistics normalise a window."""

    NONE = "none"
    COLD = "cold"
    RUNNING = "running"
    CALIBRATED = "calibrated"


@dataclass(frozen=True, slots=True)
class NormalizerConfig:
    """How running statistics grow.

    Attributes:
        prior_s: seconds of training statistics that running statistics start from.
        memory_s: seconds of voiced speech after which older speech fades out exponentially, so
            that a new speaker is learnt in finite time.
        periodicity: a frame counts as voiced at this normalised autocorrelation or more...
        range_db: ...and at this many dB below the loudest recent frame or less...
        floor_dbfs: ...and above this level.
        release_db_per_s: how fast the loudest recent level is forgotten.
        clip: normalised features are limited to +- this many standard deviations.
    """

    prior_s: float = 1.0
    memory_s: float = 120.0
    periodicity: float = 0.4
    range_db: float = 30.0
    floor_dbfs: float = -75.0
    release_db_per_s: float = 1.0
    clip: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 < self.prior_s < self.memory_s:
            raise ConfigError(f"need 0 < prior_s < memory_s, got {self.prior_s}, {self.memory_s}")
        if self.clip <= 0.0:
            raise ConfigError(f"need clip > 0, got {self.clip}")


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and standard deviation per feature, float32 of shape (features,)."""

    mean: Float32
    std: Float32

    def __post_init__(self) -> None:
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise ConfigError(f"mean {self.mean.shape} and std {self.std.shape} must be equal, 1-d")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ConfigError("normalisation statistics are not finite")
        if (self.std <= 0).any():
            raise ConfigError("normalisation statistics need std > 0 for every feature")


class Normalizer:
    """Accumulate moments of voiced frames and turn them into statistics.

    Args:
        prior: training statistics.
        config: how statistics run.
        frames_per_s: frame rate.
        state: which statistics normalise.
        embeds: gather moments in any state, because `embedding` will be asked for.
        known: moments of the speaker's neutral speech, float64 (1 + 2 features,), for the
            calibrated state; they stay as they are.

    Moments are float64 rows ``[weight, sum (features), sum of squares (features)]``; the row of
    frame k describes the voiced frames 0..k and is what a window that ends with frame k is
    normalised by.
    """

    def __init__(
        self,
        prior: FeatureStatistics,
        config: NormalizerConfig,
        frames_per_s: float,
        state: NormalizerState = NormalizerState.RUNNING,
        *,
        embeds: bool = False,
        known: Float64 | None = None,
    ) -> None:
        if (state is NormalizerState.CALIBRATED) != (known is not None):
            raise ConfigError("the calibrated state, and no other, takes moments of a profile")
        self._known = known
        self._gathers = embeds or state in (NormalizerState.RUNNING, NormalizerState.CALIBRATED)
        self.prior = prior
        self.config = config
        self.state = state
        self._frames_per_s = frames_per_s
        self._prior_weight = config.prior_s * frames_per_s
        self._memory = config.memory_s * frames_per_s
        self._keep = 1.0 - 1.0 / self._memory
        self._clip = np.float32(config.clip)
        # Moments are taken around the prior mean: sums of squares of raw MFCCs would cancel badly.
        self._prior_mean = prior.mean.astype(np.float64)
        variance = prior.std.astype(np.float64) ** 2
        self._prior_moments = self._prior_weight * np.concatenate(
            [[1.0], np.zeros(len(variance)), variance]
        )
        self._least_variance = 1e-2 * variance
        self.reset()

    @property
    def moments_width(self) -> int:
        """Columns of a moments row: 1 + 2 features, or 1 that stays 0 where nobody needs them."""
        return 1 + 2 * len(self.prior.mean) if self._gathers else 1

    def reset(self) -> None:
        """Forget the speaker."""
        self._moments: Float64 = np.zeros(self.moments_width)
        self._loudest_db = -np.inf

    def accept(self, frames: Frames) -> Float64:
        """Take the next frames; return the moments after each, float64 (frames, moments_width)."""
        rows = np.zeros((len(frames), self.moments_width))
        if not (self._gathers and len(frames)):
            return rows
        if self._known is not None:
            rows[:] = self._known
            return rows
        voiced, self._loudest_db = voiced_frames(
            frames, self.config, self._frames_per_s, self._loudest_db
        )
        width = len(self._prior_mean)
        rows[:, 0] = 1.0
        deviation = rows[:, 1 : 1 + width]
        np.subtract(frames.features, self._prior_mean, out=deviation)
        np.square(deviation, out=rows[:, 1 + width :])
        # Each row holds its frame's own evidence, and then all evidence so far.
        if self._moments[0] + voiced.sum() <= self._memory:
            # Nothing fades yet: a running sum.
            rows[~voiced] = 0.0
            rows[:1] += self._moments
            np.cumsum(rows, axis=0, out=rows)
            self._moments = rows[-1].copy()
            return rows
        for row, is_voiced in zip(rows, voiced.tolist(), strict=True):
            if is_voiced:
                keep = self._keep if self._moments[0] >= self._memory else 1.0
                self._moments = keep * self._moments + row
            row[:] = self._moments
        return rows

    def statistics(self, moments: Float64) -> tuple[Float32, Float32]:
        """Blend training statistics with ``moments`` (..., moments_width).

        Returns:
            mean and standard deviation, float32 of shape (..., features).
        """
        if self.state is NormalizerState.COLD or self.state is NormalizerState.NONE:
            return self.prior.mean, self.prior.std
        return self._blend(moments)

    def _blend(self, moments: Float64) -> tuple[Float32, Float32]:
        width = len(self._prior_mean)
        blended = (moments + self._prior_moments) / (moments[..., :1] + self._prior_weight)
        shift = blended[..., 1 : 1 + width]
        variance = np.maximum(blended[..., 1 + width :] - shift * shift, self._least_variance)
        mean = self._prior_mean + shift
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)

    def normalize(self, window: Float32, moments: Float64) -> Float32:
        """Normalise a window (frames, features) by the moments (moments_width,) at its end."""
        if self.state is NormalizerState.NONE:
            return window.copy()
        mean, std = self.statistics(moments)
        normalized = window - mean
        normalized /= std
        np.minimum(normalized, self._clip, out=normalized)
        return np.maximum(normalized, -self._clip, out=normalized)

    def embedding(self, moments: Float64) -> Float32:
        """Describe the speaker by what ``moments`` (moments_width,) hold, float32 (2 features,).

        How far the mean of the voiced frames so far lies from that of the training data, in its
        standard deviations, and the logarithm of the ratio of the standard deviations: a naive
        speaker embedding that is causal and zero while nothing is known.
        """
        mean, std = self._blend(moments)
        shift = (mean - self.prior.mean) / self.prior.std
        return np.concatenate([shift, np.log(std / self.prior.std)])

    def evidence_s(self, moments: Float64) -> float:
        """Seconds of voiced speech behind ``moments``."""
        return float(moments[0] / self._frames_per_s)


def voiced_frames(
    frames: Frames, config: NormalizerConfig, frames_per_s: float, loudest_db: float = -np.inf
) -> tuple[NDArray[np.bool_], float]:
    """Tell which frames are voiced speech as far as level and periodicity can.

    Args:
        frames: consecutive frames.
        config: thresholds.
        frames_per_s: frame rate.
        loudest_db: second value returned for the frames before these.

    Returns:
        One flag per frame, and the decayed loudest level after the last.
    """
    if len(frames) == 0:
        return np.zeros(0, dtype=np.bool_), loudest_db
    # loudest_k = max over j <= k of level_j - release * (k - j), as one running maximum.
    ramp = np.arange(1, len(frames) + 1) * (config.release_db_per_s / frames_per_s)
    raised = frames.level_db.astype(np.float64) + ramp
    loudest = np.maximum(np.maximum.accumulate(raised), loudest_db) - ramp
    voiced = (
        (frames.periodicity >= config.periodicity)
        & (frames.level_db >= loudest - config.range_db)
        & (frames.level_db >= config.floor_dbfs)
    )
    return voiced, float(loudest[-1])
