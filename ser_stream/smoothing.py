"""From jumping window posteriors to a label that a person can follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.types import Float32


@dataclass(frozen=True, slots=True)
class SmoothingConfig:
    """How posteriors are averaged and when a label is taken or dropped.

    Attributes:
        time_constant_s: of the exponential moving average; 0 turns averaging off.
        enter: smoothed posterior at which a label is taken...
        leave: ...and below which it is dropped.
        dwell_s: a label that was taken is not exchanged for another one sooner than this.
    """

    time_constant_s: float = 1.0
    enter: float = 0.50
    leave: float = 0.35
    dwell_s: float = 0.6

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave <= self.enter <= 1.0:
            raise ConfigError(
                f"need 0 <= leave <= enter <= 1, got {self.leave}, {self.enter}; lower `leave`"
            )
        if not 0.0 <= self.time_constant_s < math.inf or not 0.0 <= self.dwell_s < math.inf:
            raise ConfigError(
                f"need time_constant_s and dwell_s >= 0, got {self.time_constant_s}, {self.dwell_s}"
            )


class EmaSmoother:
    """Exponential moving average given as a time constant: the hop does not change its speed.

    It starts from the uniform posterior, because nothing has been heard: a single window, the first
    after a pause, mostly silence and a syllable, cannot decide on its own.
    """

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._mean: Float32 | None = None

    def update(self, posterior: Float32, dt_s: float) -> Float32:
        """Return the average after ``posterior`` (classes,), which stands for ``dt_s`` seconds."""
        if self._time_constant_s == 0.0:
            return posterior
        mean = self._mean
        if mean is None:
            mean = np.full(len(posterior), 1.0 / len(posterior), dtype=np.float32)
        keep = np.float32(math.exp(-dt_s / self._time_constant_s))
        mixed = keep * mean + (np.float32(1.0) - keep) * posterior
        self._mean = mixed.astype(np.float32, copy=False)
        return self._mean

    def reset(self) -> None:
        """Forget what was heard."""
        self._mean = None


class LabelDecider:
    """Turn smoothed posteriors into a label or None ("unsure") with hysteresis and dwell."""

    def __init__(self, config: SmoothingConfig) -> None:
        self._config = config
        self._label: int | None = None
        self._held_s = 0.0

    def update(self, smoothed: Float32, dt_s: float) -> int | None:
        """Return the class index that holds after ``smoothed`` (classes,), or None."""
        c = self._config
        self._held_s += dt_s
        if self._label is not None and smoothed[self._label] < c.leave:
            self._label = None
        top = int(smoothed.argmax())
        free = self._label is None or self._held_s >= c.dwell_s
        if top != self._label and free and smoothed[top] >= c.enter:
            self._label = top
            self._held_s = 0.0
        return self._label

    def reset(self) -> None:
        """Drop the label."""
        self._label = None
        self._held_s = 0.0
