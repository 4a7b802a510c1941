"""From samples to normalised windows of frames, incrementally.

Computed once per frame: features, with the context that they declare, and the normaliser's moments.
Recomputed per window: normalisation by the statistics known at the window's end, and what the front
end itself does to whole windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ser_stream.errors import ConfigError
from ser_stream.extractor import Extractor, Frames
from ser_stream.features import (
    LogMelConfig,
    LogMelExtractor,
    MfccConfig,
    MfccExtractor,
    SpectrogramConfig,
    SpectrogramExtractor,
    repeat_to,
)
from ser_stream.framing import FrameStream
from ser_stream.lld import LldConfig, LldExtractor
from ser_stream.normalizer import (
    FeatureStatistics,
    Moments,
    Normalizer,
    NormalizerConfig,
    NormalizerState,
)
from ser_stream.ring import RingBuffer
from ser_stream.typed import typed
from ser_stream.types import Float32

# Closed: a model file names one of these and can bring no code of its own.
FRONT_ENDS: dict[str, tuple[type[Any], Callable[[Any], Extractor]]] = {
    "mfcc": (MfccConfig, MfccExtractor),
    "logmel": (LogMelConfig, LogMelExtractor),
    "spectrogram": (SpectrogramConfig, SpectrogramExtractor),
    "is09": (LldConfig, LldExtractor),
}


def make_extractor(name: str, params: Mapping[str, Any]) -> Extractor:
    """Build front end ``name``.

    Raises:
        ConfigError: the registry has no such front end, or a parameter is not one of its own, has
            another type, or is out of range.
    """
    config = check_front_end(name, params)
    return FRONT_ENDS[name][1](config)


def check_front_end(name: str, params: Mapping[str, Any]) -> Any:
    """Build the configuration of front end ``name`` and nothing else; raises like the above."""
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; known: {', '.join(FRONT_ENDS)}")
    config_type, _ = FRONT_ENDS[name]
    return typed(dict(params), config_type, where=f"front end {name}")


def make_normalizer(
    extractor: Extractor,
    statistics: FeatureStatistics,
    config: NormalizerConfig,
    state: NormalizerState,
    embeds: str = "",
) -> Normalizer:
    """Build a fresh normaliser of an extractor's features; see `Normalizer`.

    Raises:
        ConfigError: the level is to be taken out of features whose gain is no constant.
    """
    rate = extractor.sample_rate_hz / extractor.hop_length
    return Normalizer(statistics, config, rate, state, embeds=embeds, gain=extractor.gain)


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
        self._normalizer = normalizer
        self._frames = FrameStream(extractor, capacity, max_samples)
        self._moments = RingBuffer(capacity, normalizer.moments_width, dtype="float64")

    @property
    def frames_ready(self) -> int:
        """Frames computed since the last reset or restart."""
        return self._frames.frames_ready

    def accept(self, samples: Float32) -> Frames:
        """Take the next samples, float32 (n,); return the frames that they complete, as computed.

        At most ``max_samples`` come at once, so that no frame is gone before it was looked at.
        """
        frames = self._frames.accept(samples)
        if len(frames):
            self._moments.push(self._normalizer.accept(frames).rows)
        return frames

    def window(self, first: int, n: int) -> Float32:
        """What the network sees of frames [first, first + n), float32 (frames, features), new.

        Raises:
            IndexError: the frames are gone, or not there yet.
        """
        return self._extractor.present(
            self._normalizer.normalize(self._frames.window(first, n), self.moments(first + n - 1))
        )

    def repeated_window(self, n: int) -> Float32:
        """All frames since the restart, fewer than ``n``, repeated cyclically to (n, features)."""
        ready = self.frames_ready
        return self._extractor.present(
            self._normalizer.normalize(
                repeat_to(self._frames.window(0, ready), n), self.moments(ready - 1)
            )
        )

    def embedding(self, frame: int) -> Float32:
        """Describe the speaker as known after ``frame``, float32 (embedding_width,)."""
        return self._normalizer.embedding(self.moments(frame))

    def moments(self, frame: int) -> Moments:
        """What the normaliser knew after ``frame``, a view until the next `accept`."""
        return Moments(self._moments.window(frame, 1)[0])

    def restart(self) -> None:
        """Drop audio and frames, because what follows does not continue them; keep the speaker."""
        self._frames.restart()
        self._moments.reset()

    def reset(self) -> None:
        """Forget everything, the speaker too."""
        self.restart()
        self._normalizer.reset()
