"""Smoothing against closed forms, and a truth table for the label."""

from __future__ import annotations

import numpy as np
import pytest

from ser_stream.errors import ConfigError
from ser_stream.smoothing import EmaSmoother, LabelDecider, SmoothingConfig

A, B = np.float32([1, 0]), np.float32([0, 1])


def test_a_step_is_followed_with_the_time_constant_whatever_the_hop():
    for hop in (0.032, 0.1, 0.4):
        ema = EmaSmoother(0.8)
        for _ in range(round(1.6 / hop)):
            smoothed = ema.update(A, hop)
        # From the uniform posterior towards A...
        assert smoothed[1] == pytest.approx(0.5 * np.exp(-1.6 / 0.8), rel=1e-4)
        before = smoothed[0]
        for _ in range(round(1.6 / hop)):
            smoothed = ema.update(B, hop)
        # ...and from there towards B.
        assert smoothed[0] == pytest.approx(before * np.exp(-1.6 / 0.8), rel=1e-4)
        assert smoothed.dtype == np.float32
        assert smoothed.sum() == pytest.approx(1.0)


def test_zero_turns_averaging_off():
    ema = EmaSmoother(0.0)
    np.testing.assert_array_equal(ema.update(A, 0.1), A)
    np.testing.assert_array_equal(ema.update(B, 0.1), B)


def test_one_window_decides_nothing_and_reset_forgets():
    ema = EmaSmoother(0.8)
    first = ema.update(A, 0.1)
    assert first[0] < 0.6
    ema.update(A, 5.0)
    ema.reset()
    np.testing.assert_array_equal(ema.update(A, 0.1), first)


def decide(config: SmoothingConfig, *first: float, dt_s: float = 0.1) -> list[int | None]:
    decider = LabelDecider(config)
    return [decider.update(np.float32([p, 1 - p]), dt_s) for p in first]


def test_a_label_is_taken_at_enter_and_dropped_below_leave():
    config = SmoothingConfig(enter=0.6, leave=0.45, dwell_s=0.0)
    # In between nothing changes; the other class would need 0.6 too.
    assert decide(config, 0.55, 0.6, 0.5, 0.45, 0.44, 0.5, 0.4) == [
        None, 0, 0, 0, None, None, 1,
    ]  # fmt: skip


def test_a_label_is_not_exchanged_before_its_dwell():
    config = SmoothingConfig(enter=0.5, leave=0.1, dwell_s=0.35)
    assert decide(config, 0.9, 0.3, 0.3, 0.3, 0.3, 0.9) == [0, 0, 0, 0, 1, 1]


def test_below_leave_a_label_ends_even_during_its_dwell():
    config = SmoothingConfig(enter=0.8, leave=0.35, dwell_s=9.0)
    assert decide(config, 0.9, 0.34, 0.1) == [0, None, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"enter": 0.3, "leave": 0.4},
        {"enter": 1.1},
        {"time_constant_s": -1.0},
        {"dwell_s": float("inf")},
        {"time_constant_s": float("nan")},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="need"):
        SmoothingConfig(**settings)
