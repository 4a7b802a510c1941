"""What every front end computes per frame, in two stages.

`Extractor.frames_of` looks at the samples of one frame alone. `Extractor.in_context` looks at a
fixed number of frames before and after (smoothing, deltas); its look-ahead is latency, and is
declared. Both are functions of whole arrays without state, so training, batch scoring and the live
meter call the same code on the same values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_stream.types import Float32

# Samples of the frames that are transformed at once.
BLOCK_SAMPLES = 65536


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive analysis frames.

    Attributes:
        features: float32 of shape (frames, features).
        level_db: float32 of shape (frames,), mean power of the frame in dBFS.
        periodicity: float32 of shape (frames,), 0 for noise to 1 for a perfectly periodic frame;
            1 throughout where the front end computes none.
    """

    features: Float32
    level_db: Float32
    periodicity: Float32

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, which: slice) -> Frames:
        """Some of them, as views."""
        return Frames(self.features[which], self.level_db[which], self.periodicity[which])

    @classmethod
    def join(cls, parts: Sequence[Frames]) -> Frames:
        """One or more runs of frames, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([p.features for p in parts]),
            np.concatenate([p.level_db for p in parts]),
            np.concatenate([p.periodicity for p in parts]),
        )

    @classmethod
    def none(cls, width: int) -> Frames:
        """No frames, of ``width`` features."""
        empty = np.zeros(0, dtype=np.float32)
        return cls(empty.reshape(0, width), empty, empty)


class Extractor(ABC):
    """Stateless features of frames; frame i starts at sample i * hop_length.

    Attributes:
        config: its settings; two of one kind with equal settings compute the same.
        sample_rate_hz: rate of the samples.
        hop_length: step between frames, samples.
        frame_length: samples that one frame sees by itself.
        width: features per frame.
        look_back: frames before a frame that it depends on.
        look_ahead: frames after a frame that it depends on; a frame is ready that much later.
        gain: what each feature gains when the recording gets 1 dB louder, float32 (width,); None
            where that is no constant.
        bands: so many features at the beginning are levels of frequency bands in dB, from low to
            high, so that a filter adds its response to them.
    """

    config: Any
    sample_rate_hz: int
    hop_length: int
    frame_length: int
    width: int
    look_back: int = 0
    look_ahead: int = 0
    gain: Float32 | None = None
    bands: int = 0

    def computes_like(self, other: Extractor) -> bool:
        """Whether both give the same frames for the same samples."""
        return type(self) is type(other) and self.config == other.config

    @property
    def shortest(self) -> int:
        """Frames that must have been seen before the first one is ready."""
        return self.look_ahead + 1

    @property
    def base_width(self) -> int:
        """Values per frame between the two stages."""
        return self.width

    @abstractmethod
    def frames_of(self, samples: Float32) -> Frames:
        """First stage: all full frames of float32 ``samples`` (n,), base_width values each.

        Fewer samples than one frame give no frames, not an error.
        """

    def in_context(self, base: Float32, skip: int) -> Float32:
        """Second stage: frames [skip, m - look_ahead) of ``base`` (m, base_width), (n, width).

        ``skip`` is look_back, or less where ``base`` begins with the first frame of the stream:
        then the edge is treated as the front end defines it, and no frame is ready before there are
        ``shortest``.
        """
        return base[skip:]

    def base_count(self, n_samples: int) -> int:
        """Count the frames whose own samples lie within ``n_samples``."""
        return full_frames(n_samples, self.frame_length, self.hop_length)

    def frame_count(self, n_samples: int) -> int:
        """Count the frames that ``n_samples`` samples complete, their look-ahead included."""
        n = self.base_count(n_samples)
        return n - self.look_ahead if n >= self.shortest else 0

    def samples_for(self, n_frames: int) -> int:
        """Count the samples that ``n_frames`` frames need, their look-ahead included."""
        n = max(n_frames + self.look_ahead, self.shortest)
        return (n - 1) * self.hop_length + self.frame_length

    def present(self, window: Float32) -> Float32:
        """Per-window stage: what the network sees of a window (frames, width) of frames."""
        return window

    def __call__(self, samples: Float32) -> Frames:
        """Compute all frames that float32 ``samples`` (n,) complete."""
        base = self.frames_of(np.ascontiguousarray(samples, dtype=np.float32))
        features = self.in_context(base.features, 0)
        n = len(features)
        return Frames(features, base.level_db[:n], base.periodicity[:n])


class FramewiseExtractor(Extractor):
    """An extractor whose first stage looks at frames one by one."""

    def frames_of(self, samples: Float32) -> Frames:
        """Analyse the full frames of float32 ``samples`` (n,), in pieces that fit a cache."""
        frames = overlapping(samples, self.frame_length, self.hop_length)
        # Blocks that stay in a core's cache: beyond it, the transform takes twice as long.
        size = max(8, BLOCK_SAMPLES // self.frame_length)
        if len(frames) <= size:
            return self.analyse(frames)
        parts = [self.analyse(frames[i : i + size]) for i in range(0, len(frames), size)]
        return Frames.join(parts)

    @abstractmethod
    def analyse(self, frames: Float32) -> Frames:
        """Analyse float32 ``frames`` (n, frame_length), each by itself; n may be 0."""


def full_frames(n_samples: int, frame_length: int, hop_length: int) -> int:
    """Count the frames that lie wholly within ``n_samples``."""
    return 0 if n_samples < frame_length else (n_samples - frame_length) // hop_length + 1


def overlapping(samples: Float32, frame_length: int, hop_length: int) -> Float32:
    """View contiguous ``samples`` (n,) as full frames (frames, frame_length), without a copy.

    What `numpy.lib.stride_tricks.sliding_window_view` gives, without its checks, which cost as much
    as the transform of a few frames.
    """
    n = full_frames(len(samples), frame_length, hop_length)
    return np.ndarray((n, frame_length), np.float32, samples, 0, (4 * hop_length, 4))
