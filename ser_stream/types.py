"""The values that travel through the runtime.

Positions are absolute sample indices at the rate of the stream they belong to; seconds exist only
at the edges (tables, screens).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# The largest sample that features are computed of: integers of 32 bits that were stored as floats
# without scaling lie below it, and the squares of what lies far above it overflow.
LARGEST_SAMPLE = 2.0**32


class State(StrEnum):
    """What a prediction is allowed to say; only ``EMOTION`` carries a label."""

    WARMING_UP = "warming up"
    NO_SPEECH = "no speech"
    UNSURE = "unsure"
    EMOTION = "emotion"


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Consecutive mono samples of a stream.

    Attributes:
        samples: float32 of shape (n,), nominally in [-1, 1].
        start: absolute index of the first sample at the stream's own rate.
        gap: samples before this block were lost, so it does not continue the block before it.
        captured_s: when the last sample was captured, on the monotonic clock; None for files.
    """

    samples: Float32
    start: int
    gap: bool = False
    captured_s: float | None = None

    @property
    def end(self) -> int:
        """Absolute index one past the last sample."""
        return self.start + len(self.samples)

    @property
    def usable(self) -> bool:
        """Whether every sample is a number, and at most `LARGEST_SAMPLE` in magnitude."""
        x = self.samples
        # NaN is not less than anything.
        return len(x) == 0 or bool(x.min() >= -LARGEST_SAMPLE and x.max() <= LARGEST_SAMPLE)

    @property
    def first_unusable(self) -> int:
        """Index in ``samples`` of the first that is not usable; their number if all are."""
        bad = np.flatnonzero(~(np.abs(self.samples) <= LARGEST_SAMPLE))
        return int(bad[0]) if len(bad) else len(self.samples)


class AudioSource(Protocol):
    """Where blocks come from: a context manager to be iterated once."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the blocks; known from the moment the source is entered."""
        ...

    @property
    def name(self) -> str:
        """What a person calls this source."""
        ...

    def __iter__(self) -> Iterator[AudioBlock]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word as it is written.

    Attributes:
        text: one word; `ser_stream.words.tokens.tokenize` may make several tokens of it.
        start_s: where it begins in the stream.
        end_s: where it ends.
    """

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one window of the stream sounds like.

    Attributes:
        start: absolute index of the window's first sample at the model's rate.
        end: one past the window's last sample.
        state: what this prediction may say.
        label: the class after hysteresis; None unless ``state`` is ``EMOTION``.
        logits: float32 (classes,) as the network gave them; None where it was not asked.
        posterior: softmax of the scaled logits, float32 (classes,); None with ``logits``.
        smoothed: belief after this window, see `ser_stream.stream.smoothing`; None with ``logits``.
        speech: share of the window that the speech gate calls speech; None without a gate.
        words: texts of the window's words; None where no recogniser runs.
    """

    start: int
    end: int
    state: State
    label: str | None = None
    logits: Float32 | None = None
    posterior: Float32 | None = None
    smoothed: Float32 | None = None
    speech: float | None = None
    words: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How well the stream keeps up.

    Attributes:
        overflows: times the driver or the queue reported lost input.
        lost_samples: samples known to be lost, at the source's rate.
        queue_depth: blocks that wait to be processed.
        real_time_factor: compute time divided by audio time, since the start.
        latency_s: from the capture of a window's last sample to its prediction; None for files.
        device: "running", "stopped", or what went wrong.
        recognizer: of words, like ``device``; None where none listens.
        recognizer_lag_s: sound that came in and is not yet recognised.
    """

    overflows: int = 0
    lost_samples: int = 0
    queue_depth: int = 0
    real_time_factor: float = 0.0
    latency_s: float | None = None
    device: str = "stopped"
    recognizer: str | None = None
    recognizer_lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a view needs, swapped in one assignment; views poll it.

    Attributes:
        prediction: the newest prediction; None before the first full window.
        level_dbfs: root mean square level of the newest block, dB relative to full scale.
        position_s: stream time of the newest sample.
        warm_up_s: audio still missing until the first full window.
        speech_now: whether the newest 32 ms count as speech; None without a gate.
        words: the recogniser's words of the last minute, of which the newest may still change;
            their times are seconds of the stream, as ``position_s`` is.
        health: see `Health`.
        profile: name of the speaker's profile that is gone by; None without one.
        finished: the source has ended and nothing more will come.
    """

    prediction: Prediction | None = None
    level_dbfs: float = -120.0
    position_s: float = 0.0
    warm_up_s: float = 0.0
    speech_now: bool | None = None
    words: tuple[Word, ...] = ()
    health: Health = field(default_factory=Health)
    profile: str | None = None
    finished: bool = False
