"""From jumping window posteriors to a label that a person can follow."""

from __future__ import annotations

import math

import numpy as np

from ser_stream.models.settings import SmoothingConfig
from ser_stream.types import Float32

# No window rules a class out for good.
LEAST_POSTERIOR = 1e-3
LEAST_BELIEF = 1e-30


class BeliefFilter:
    """Forward filter of a hidden Markov model whose states are the classes.

    Source: Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), 1989,
    equations (19) and (20), normalised. In each step the emotion may have changed to any with the
    rate 1 / stay_s, and the posterior, whose classes were equally likely in training, stands for
    the likelihood, raised to the share of an independent observation that the step is worth.

    It starts from the uniform belief, without evidence.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self._config = config
        self._belief: Float32 | None = None

    def update(self, posterior: Float32, dt_s: float) -> Float32:
        """Return the belief after ``posterior`` (classes,), which stands for ``dt_s`` seconds."""
        c = self._config
        if c.evidence_s == 0.0:
            return posterior
        if self._belief is None:
            self._belief = np.full(len(posterior), 1.0 / len(posterior), dtype=np.float32)
        self.pause(dt_s)
        # Logarithms: a high power of every posterior is 0, and the sum cannot be divided by.
        likelihood = np.log(np.maximum(posterior, LEAST_POSTERIOR, dtype=np.float64))
        log = np.log(np.maximum(self._belief, LEAST_BELIEF, dtype=np.float64))
        log += dt_s / c.evidence_s * likelihood
        belief = np.exp(log - log.max())
        belief = (belief / belief.sum()).astype(np.float32)
        self._belief = belief
        return belief

    def pause(self, dt_s: float) -> None:
        """Let ``dt_s`` seconds pass without evidence, in which the emotion may have changed."""
        if self._belief is not None:
            changed = 1.0 - math.exp(-dt_s / self._config.stay_s)
            self._belief = (1.0 - changed) * self._belief + changed / len(self._belief)

    def reset(self) -> None:
        """Drop all evidence."""
        self._belief = None


class LabelDecider:
    """Turn beliefs into a label or None ("unsure") with hysteresis.

    A label is always the class of the largest belief, of several with the same the first: as soon
    as another class takes that place the label is dropped, however low `SmoothingConfig.leave` is.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self._config = config
        self._label: int | None = None

    def update(self, belief: Float32) -> int | None:
        """Return the class index that holds after ``belief`` (classes,), or None."""
        top = int(belief.argmax())
        threshold = self._config.leave if top == self._label else self._config.enter
        self._label = top if belief[top] >= threshold else None
        return self._label

    def reset(self) -> None:
        """Drop the label."""
        self._label = None


class Smoother:
    """Belief and label of a stream with pauses.

    >>> import numpy as np
    >>> from ser_stream.models.settings import SmoothingConfig
    >>> from ser_stream.stream.smoothing import Smoother
    >>> smoother = Smoother(SmoothingConfig(enter=0.7))
    >>> posterior = np.array([0.1, 0.8, 0.1], np.float32)
    >>> for _ in range(5):
    ...     belief, label = smoother.update(posterior, dt_s=0.2)
    ...     print(belief.round(2), label)
    [0.26 0.48 0.26] None
    [0.19 0.62 0.19] None
    [0.13 0.74 0.13] 1
    [0.08 0.83 0.08] 1
    [0.05 0.89 0.05] 1
    """

    def __init__(self, config: SmoothingConfig, decider: LabelDecider | None = None) -> None:
        self._forget_s = config.forget_s
        self._belief = BeliefFilter(config)
        self._decider = LabelDecider(config) if decider is None else decider
        self._quiet_s = 0.0

    def update(self, posterior: Float32, dt_s: float) -> tuple[Float32, int | None]:
        """Take a window with speech: the belief (classes,), and the class that holds or None."""
        self._quiet_s = 0.0
        belief = self._belief.update(posterior, dt_s)
        return belief, self._decider.update(belief)

    def pause(self, dt_s: float) -> None:
        """Take a window without speech; after ``forget_s`` of them nothing is left."""
        self._quiet_s += dt_s
        if self._quiet_s > self._forget_s:
            self.reset()
        else:
            self._belief.pause(dt_s)

    def reset(self) -> None:
        """Drop all evidence."""
        self._belief.reset()
        self._decider.reset()
        self._quiet_s = 0.0
