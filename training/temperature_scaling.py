"""From logits to posteriors: temperature scaling with a bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ser_stream.models.bundle import scaled_softmax
from ser_stream.types import Float32, Float64


@dataclass(frozen=True, slots=True)
class TemperatureScaling:
    """Posterior = softmax((logits + bias) / temperature)."""

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


def mean_posterior(
    logits: Float32,
    index: NDArray[np.int64],
    n: int,
    scaling: TemperatureScaling = TemperatureScaling(),
) -> Float64:
    """Average the window posteriors of each of ``n`` utterances, (n, classes).

    Args:
        logits: of windows, (windows, classes).
        index: utterance of each window.
        n: utterances; one without a window gets zeros.
        scaling: see `TemperatureScaling`.
    """
    total = np.zeros((n, logits.shape[1]))
    p = scaled_softmax(logits, scaling.temperature, scaling.bias or 0.0)
    np.add.at(total, index, p)
    return total / np.maximum(np.bincount(index, minlength=n), 1)[:, None]


def fit_temperature_scaling(logits: Float32, truth: NDArray[np.int64]) -> TemperatureScaling:
    """Temperature and bias with the least class-balanced negative log-likelihood.

    Args:
        logits: float32 (n, classes).
        truth: classes, int (n,).

    Every class weighs the same, as in UAR: how often each occurs in a user's speech is unknown. The
    biases sum to 0.

    Source: Alexandari, Kundaje & Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", ICML 2020.
    """
    n = logits.shape[1]
    z, y = torch.from_numpy(logits).double(), torch.from_numpy(truth)
    weight = 1.0 / np.maximum(np.bincount(truth, minlength=n), 1)
    # In scale = 1 / temperature and shift = bias / temperature the problem is convex.
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(z * scale + shift, y, weight=torch.from_numpy(weight))
        value.backward()
        return value

    optimizer.step(loss)
    temperature = 1.0 / max(float(scale.detach()), 0.05)
    bias = (shift - shift.mean()).detach() * temperature
    return TemperatureScaling(temperature, tuple(bias.tolist()))
