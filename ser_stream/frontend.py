"""From samples to normalised windows of frames, incrementally.

Per frame and causal, computed once: features and the normaliser's moments. Per window, recomputed:
normalisation by the statistics known at the window's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Protocol

from ser_stream.errors import ConfigError
from ser_stream.features import Frames, MfccConfig, MfccExtractor, repeat_to
from ser_stream.normalizer import Normalizer
from ser_stream.ring import RingBuffer
from ser_stream.types import Float32, Float64


class Extractor(Protocol):
    """Stateless per-frame features of whole arrays; frame i starts at sample i * hop_length."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples."""
        ...

    @property
    def hop_length(self) -> int:
        """Step between frames, samples."""
        ...

    @property
    def frame_length(self) -> int:
        """Samples that one frame sees."""
        ...

    @property
    def width(self) -> int:
        """Features per frame."""
        ...

    def frame_count(self, n_samples: int) -> int:
        """Count the full frames in ``n_samples`` samples."""
        ...

    def __call__(self, samples: Float32) -> Frames:
        """Compute all full frames of float32 ``samples`` (n,)."""
        ...


def _mfcc(params: Mapping[str, Any]) -> Extractor:
    known = {f.name for f in fields(MfccConfig)}
    if unknown := set(params) - known:
        raise ConfigError(f"front end mfcc: unknown parameters {sorted(unknown)}")
    return MfccExtractor(MfccConfig(**params))


# Closed: a model file names one of these and can bring no code of its own.
FRONT_ENDS: dict[str, Callable[[Mapping[str, Any]], Extractor]] = {"mfcc": _mfcc}


def make_extractor(name: str, params: Mapping[str, Any]) -> Extractor:
    """Build the per-frame stage ``name``.

    Raises:
        ConfigError: the registry has no such front end, or a parameter is not one of its own.
    """
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; known: {', '.join(FRONT_ENDS)}")
    return FRONT_ENDS[name](params)


class FrontEnd:
    """Compute each frame once and hand out normalised windows.

    Args:
        extractor: the per-frame stage.
        normalizer: owned by this front end from now on.
        capacity: frames that stay available behind the newest.
        max_samples: most samples that `accept` takes at once.
    """

    def __init__(
        self, extractor: Extractor, normalizer: Normalizer, capacity: int, max_samples: int
    ) -> None:
        self._extractor = extractor
        self._hop = extractor.hop_length
        self._normalizer = normalizer
        self.max_samples = max_samples
        self._audio = RingBuffer(extractor.frame_length + max_samples)
        self._features = RingBuffer(capacity, extractor.width)
        self._moments = RingBuffer(capacity, normalizer.moments_width, dtype="float64")

    @property
    def frames_ready(self) -> int:
        """Frames computed since the last reset or restart."""
        return self._features.end

    def accept(self, samples: Float32) -> None:
        """Compute the frames that ``samples`` (n,), n <= max_samples, complete."""
        self._audio.push(samples)
        first = self.frames_ready * self._hop
        frames = self._extractor(self._audio.window(first, self._audio.end - first))
        if len(frames):
            self._features.push(frames.features)
            self._moments.push(self._normalizer.accept(frames))

    def window(self, first: int, n: int) -> Float32:
        """Normalised frames [first, first + n), float32 of shape (n, features), a new array.

        Raises:
            IndexError: the frames are gone, or not there yet.
        """
        return self._normalizer.normalize(
            self._features.window(first, n), self.moments(first + n - 1)
        )

    def repeated_window(self, n: int) -> Float32:
        """All frames since the restart, fewer than ``n``, repeated cyclically to (n, features)."""
        ready = self.frames_ready
        return self._normalizer.normalize(
            repeat_to(self._features.window(0, ready), n), self.moments(ready - 1)
        )

    def moments(self, frame: int) -> Float64:
        """What the normaliser knew after ``frame``, float64 (1 + 2 features,)."""
        return self._moments.window(frame, 1)[0]

    def restart(self) -> None:
        """Drop audio and frames, because what follows does not continue them; keep the speaker."""
        self._audio.reset()
        self._features.reset()
        self._moments.reset()

    def reset(self) -> None:
        """Forget everything, the speaker too."""
        self.restart()
        self._normalizer.reset()
