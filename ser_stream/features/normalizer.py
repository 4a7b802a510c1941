"""Mean and variance normalisation (CMVN), weighted by the evidence about the speaker.

Corpora, rooms and voices differ more in the mean and spread of the features than emotions do. The
normaliser takes those out with one of two kinds of statistics: those of the training data
(``cold``), or those of the voiced frames so far, blended in as evidence grows (``running``).
A profile of the user's neutral speech can take the place of the stream's own statistics: that is
the calibrated state, ``running`` with a profile. Front ends that scale each window by themselves
need no statistics (``none``).
It is causal, and since its state is recorded per frame, it does not depend on how audio is cut
into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames
from ser_stream.typed import FieldError, within
from ser_stream.types import Float32, Float64


class NormalizerState(StrEnum):
    """Which statistics normalise a window."""

    NONE = "none"
    COLD = "cold"
    RUNNING = "running"


# Columns of moments before the sums over features.
HEADER = 3
# Descriptions of the speaker that a network may take besides the normalised window.
EMBEDDINGS = ("", "statistics", "knowledge")
# How much louder the loudest frame is than the mean of the voiced ones, about.
CREST_DB = 6.0
# The logarithm of 1 + seconds of evidence lies around this.
USUAL_EVIDENCE = 1.5


@dataclass(frozen=True, slots=True)
class NormalizerConfig:
    """How running statistics grow.

    Attributes:
        prior_s: seconds of training statistics that running statistics start from.
        memory_s: seconds of voiced speech after which older speech fades out exponentially, so
            that the statistics follow a new speaker in finite time.
        periodicity: a frame counts as voiced at this normalised autocorrelation or more...
        range_db: ...and at this many dB below the loudest recent frame or less...
        floor_dbfs: ...and above this level.
        release_db_per_s: how fast the loudest recent level decays.
        clip: normalised features are limited to +- this many standard deviations.
        level: take the level of the voice out first, so that a louder recording sounds the same
            from the first window on; for front ends whose features have a known gain.
        both: windows hold every feature twice: normalised by the profile, or without one by the
            running statistics, and normalised by the running statistics.
    """

    prior_s: Annotated[float, within(0.0, 1e9)] = 1.0
    memory_s: Annotated[float, within(0.0, 1e9)] = 120.0
    periodicity: Annotated[float, within(-1.0, 2.0)] = 0.4
    range_db: Annotated[float, within(0.0, 1000.0)] = 30.0
    floor_dbfs: Annotated[float, within(-1000.0, 1000.0)] = -75.0
    release_db_per_s: Annotated[float, within(0.0, 1e6)] = 1.0
    clip: Annotated[float, within(0.0, 1e9)] = 5.0
    level: bool = False
    both: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.prior_s < self.memory_s:
            raise ConfigError(f"need 0 < prior_s < memory_s, got {self.prior_s}, {self.memory_s}")
        if self.clip <= 0.0:
            raise FieldError("clip", f"need clip > 0, got {self.clip}")


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


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over voiced frames so far: after one frame, or after each of many.

    Attributes:
        rows: float64 (width,) or (frames, width): `HEADER` columns, and two for each feature; or
            one column of zeros where they are not needed.
    """

    rows: Float64

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, frames: int | slice | list[int]) -> Moments:
        """Those after some of many frames; a view where NumPy gives one."""
        return Moments(self.rows[frames])

    def copy(self) -> Moments:
        """The same, without what else the array holds."""
        return Moments(self.rows.copy())

    def at_most(self, weight: float) -> Moments:
        """The same statistics as if of ``weight`` voiced frames, where they are of more."""
        if self.rows.shape[-1] <= 1 or self.rows[0] <= weight:
            return self
        rows = self.rows * (weight / self.rows[0])
        rows[2] = self.rows[2]
        return Moments(rows)

    @property
    def weight(self) -> Float64:
        """Voiced frames, (...); older ones count less once there are more than the memory holds."""
        return self.rows[..., 0]

    @property
    def level_db(self) -> Float64:
        """Sum of their levels, dBFS, (...)."""
        return self.rows[..., 1]

    @property
    def loudest_db(self) -> Float64:
        """Decayed loudest level of all frames, dBFS, (...)."""
        return self.rows[..., 2]

    @property
    def total(self) -> Float64:
        """Sum of their features' deviations from the training mean, (..., features)."""
        return self.rows[..., HEADER : (HEADER + self.rows.shape[-1]) // 2]

    @property
    def square(self) -> Float64:
        """Sum of the squares of those, (..., features)."""
        return self.rows[..., (HEADER + self.rows.shape[-1]) // 2 :]


class Normalizer:
    """Accumulate moments of voiced frames and turn them into statistics.

    Args:
        prior: training statistics; of frames at a level of 0 dBFS where the level is taken out.
        config: how statistics run.
        frames_per_s: frame rate.
        state: which statistics normalise.
        embeds: which embedding the network takes, one of `EMBEDDINGS`; any gathers moments in
            every state.
        gain: what each feature gains per dB, float32 (features,); needed where the level is taken
            out.

    The moments of frame k describe the voiced frames 0..k, and are what a window that ends with
    frame k is normalised by.
    """

    def __init__(
        self,
        prior: FeatureStatistics,
        config: NormalizerConfig,
        frames_per_s: float,
        state: NormalizerState = NormalizerState.RUNNING,
        *,
        embeds: str = "",
        gain: Float32 | None = None,
    ) -> None:
        if config.level and gain is None:
            raise ConfigError("the level can only be taken out of features with a known gain")
        adapts = state is not NormalizerState.NONE and config.level
        self._gathers = bool(embeds) or state is NormalizerState.RUNNING or adapts
        self._embeds = embeds
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
        self._prior_variance = prior.std.astype(np.float64) ** 2
        self._gain = np.zeros(0) if gain is None else gain.astype(np.float64)
        self._profile: Moments | None = None
        self._before: Moments | None = None
        self.reset()

    @property
    def moments_width(self) -> int:
        """Columns of moments; one that stays 0 where they are not needed."""
        return HEADER + 2 * len(self.prior.mean) if self._gathers else 1

    @property
    def embedding_width(self) -> int:
        """Values of an embedding."""
        return embedding_width(self._embeds, len(self.prior.mean))

    @property
    def width(self) -> int:
        """Values per frame of a normalised window."""
        return len(self.prior.mean) * (2 if self.config.both else 1)

    def reset(self) -> None:
        """Begin with the evidence from before the stream, if any; a profile stays."""
        before = self._before
        self._moments: Float64 = (
            np.zeros(self.moments_width) if before is None else before.rows.copy()
        )
        self._loudest_db = -np.inf
        self._voiced = 0

    @property
    def voiced_s(self) -> float:
        """Seconds of voiced speech since the last `reset`."""
        return self._voiced / self._frames_per_s

    @property
    def now(self) -> Moments:
        """What is known of the speaker after the newest frame; a copy."""
        return Moments(self._moments.copy())

    def begin_with(self, moments: Moments | None) -> None:
        """From the next `reset` on begin with ``moments`` of the same speaker; None with nothing.

        They count as much as the memory holds, at most.
        """
        self._before = None if moments is None else moments.at_most(self._memory)

    def use_profile(self, moments: Moments | None) -> None:
        """Use ``moments`` of neutral speech instead of the stream's; None ends it."""
        self._profile = moments

    def profile(self, weight: float, level_db: float, mean: Float64, variance: Float64) -> Moments:
        """Moments of ``weight`` frames with this mean level, mean and variance (features,)."""
        shift = mean - self._prior_mean
        header = [weight, weight * level_db, level_db]
        sums = [weight * shift, weight * (variance + shift**2)]
        return Moments(np.concatenate([header, *sums]))

    def voice_of(self, moments: Moments) -> tuple[float, Float64, Float64]:
        """Mean level, mean and variance (features,) of the voiced frames behind ``moments``."""
        shift = moments.total / moments.weight
        variance = np.maximum(moments.square / moments.weight - shift**2, 0.0)
        return float(moments.level_db / moments.weight), self._prior_mean + shift, variance

    def accept(self, frames: Frames) -> Moments:
        """Take the next frames; return the moments after each of them."""
        rows = np.zeros((len(frames), self.moments_width))
        if not (self._gathers and len(frames)):
            return Moments(rows)
        voiced, loudest_db = voiced_frames(
            frames, self.config, self._frames_per_s, self._loudest_db
        )
        self._loudest_db = float(loudest_db[-1])
        n_voiced = int(voiced.sum())
        self._voiced += n_voiced
        own = Moments(rows)
        own.weight[:] = 1.0
        own.level_db[:] = frames.level_db
        np.subtract(frames.features, self._prior_mean, out=own.total)
        np.square(own.total, out=own.square)
        # Each row holds its frame's own evidence, and then all evidence so far.
        if self._moments[0] + n_voiced <= self._memory:
            # Nothing fades yet: a running sum.
            rows[~voiced] = 0.0
            rows[:1] += self._moments
            np.cumsum(rows, axis=0, out=rows)
            self._moments = rows[-1].copy()
        else:
            for row, is_voiced in zip(rows, voiced.tolist(), strict=True):
                if is_voiced:
                    keep = self._keep if self._moments[0] >= self._memory else 1.0
                    self._moments = keep * self._moments + row
                row[:] = self._moments
        own.loudest_db[:] = loudest_db
        return own

    def statistics(self, moments: Moments) -> tuple[Float32, Float32]:
        """Blend training statistics with the profile, or without one with ``moments`` of one frame.

        Returns:
            mean and standard deviation, float32 of shape (features,).
        """
        if self.state is NormalizerState.NONE:
            return self.prior.mean, self.prior.std
        if self.state is NormalizerState.COLD:
            mean = self._prior_mean + self._level(moments)
            return mean.astype(np.float32), self.prior.std
        return self._blended(moments if self._profile is None else self._profile)

    def _blended(self, moments: Moments) -> tuple[Float32, Float32]:
        shift, std, level = self._blend(moments)
        return (self._prior_mean + shift + level).astype(np.float32), std.astype(np.float32)

    def _blend(self, moments: Moments) -> tuple[Float64, Float64, Float64 | float]:
        """Shift of the mean from the training mean, deviation, and the level's part of the mean."""
        weight, total, square = moments.weight, moments.total, moments.square
        level = self._level(moments)
        if self.config.level:
            square = square - 2.0 * level * total + weight * level**2
            total = total - weight * level
        whole = weight + self._prior_weight
        shift = total / whole
        variance = (square + self._prior_weight * self._prior_variance) / whole - shift * shift
        return shift, np.sqrt(np.maximum(variance, 1e-2 * self._prior_variance)), level

    def _level(self, moments: Moments) -> Float64 | float:
        """What the level adds to each feature; 0 where it is not taken out."""
        if not self.config.level:
            return 0.0
        # The mean level of the voice; a guess from the loudest frame until there is one.
        if moments.weight > 0:
            return moments.level_db / moments.weight * self._gain
        return (moments.loudest_db - CREST_DB) * self._gain

    def normalize(self, window: Float32, moments: Moments) -> Float32:
        """Normalise a window (frames, features) by the moments at its end.

        Returns:
            float32 (frames, width).
        """
        if self.state is NormalizerState.NONE:
            by_profile = window.copy()
        else:
            by_profile = self._standardized(window, *self.statistics(moments))
        if not self.config.both:
            return by_profile
        # Without a profile both are the same.
        by_stream = by_profile
        if self._profile is not None and self.state is NormalizerState.RUNNING:
            by_stream = self._standardized(window, *self._blended(moments))
        return np.concatenate([by_profile, by_stream], axis=1)

    def _standardized(self, window: Float32, mean: Float32, std: Float32) -> Float32:
        normalized = window - mean
        normalized /= std
        np.minimum(normalized, self._clip, out=normalized)
        return np.maximum(normalized, -self._clip, out=normalized)

    def embedding(self, moments: Moments) -> Float32:
        """Describe the speaker by ``moments`` of one frame, float32 (embedding_width,).

        "statistics": how far the mean of the voiced frames so far lies from that of the training
        data, in its standard deviations, and the logarithm of the ratio of the standard deviations:
        a naive speaker embedding that is causal and zero without evidence. "knowledge": the
        evidence, log(1 + seconds), and whether there is a profile.
        """
        if self._embeds == "knowledge":
            evidence = np.log1p(self.evidence_s(moments)) - USUAL_EVIDENCE
            return np.array([evidence, float(self._profile is not None)], dtype=np.float32)
        shift, std, _ = self._blend(moments)
        values = np.concatenate([shift / self.prior.std, np.log(std / self.prior.std)])
        return values.astype(np.float32)

    def evidence_s(self, moments: Moments) -> float:
        """Seconds of voiced speech behind ``moments``."""
        return float(moments.weight / self._frames_per_s)


def embedding_width(embeds: str, width: int) -> int:
    """Values of an embedding of the kind ``embeds`` over ``width`` features."""
    return {"": 0, "statistics": 2 * width, "knowledge": 2}[embeds]


def voiced_frames(
    frames: Frames, config: NormalizerConfig, frames_per_s: float, loudest_db: float = -np.inf
) -> tuple[NDArray[np.bool_], Float64]:
    """Decide by level and periodicity which frames are voiced speech.

    Args:
        frames: consecutive frames.
        config: thresholds.
        frames_per_s: frame rate.
        loudest_db: last of the second value returned for the frames before these.

    Returns:
        One flag per frame, bool (frames,), and the decayed loudest level after each, (frames,).
    """
    # loudest_k = max over j <= k of level_j - release * (k - j), as one running maximum.
    ramp = np.arange(1, len(frames) + 1) * (config.release_db_per_s / frames_per_s)
    raised = frames.level_db.astype(np.float64) + ramp
    loudest = (np.maximum(np.maximum.accumulate(raised), loudest_db) - ramp).astype(np.float64)
    voiced = (
        (frames.periodicity >= config.periodicity)
        & (frames.level_db >= loudest - config.range_db)
        & (frames.level_db >= config.floor_dbfs)
    )
    return voiced, loudest
