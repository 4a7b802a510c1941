"""The belief filter against closed forms and the label against a truth table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.models.bundle import scaled_softmax
from ser_stream.models.settings import SmoothingConfig
from ser_stream.stream.smoothing import BeliefFilter, LabelDecider, Smoother

A, B = np.float32([0.8, 0.2]), np.float32([0.2, 0.8])


def test_it_is_the_forward_recursion_over_all_paths():
    """Against the sum over every path of states, with the likelihoods of three steps."""
    config = SmoothingConfig(evidence_s=0.5, stay_s=0.7)
    posteriors = np.float32([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4]])
    dt_s, n = 0.25, 3
    belief_filter = BeliefFilter(config)
    for p in posteriors:
        belief = belief_filter.update(p, dt_s)
    change = 1 - np.exp(-dt_s / config.stay_s)
    transition = (1 - change) * np.eye(n) + change / n
    likelihood = posteriors.astype(float) ** (dt_s / config.evidence_s)
    total = np.zeros(n)
    for path in itertools.product(range(n), repeat=4):
        weight = 1 / n
        for step, (a, b) in enumerate(itertools.pairwise(path)):
            weight *= transition[a, b] * likelihood[step, b]
        total[path[-1]] += weight
    np.testing.assert_allclose(belief, total / total.sum(), rtol=1e-5)
    assert belief.dtype == np.float32


def test_the_hop_hardly_matters():
    config = SmoothingConfig(evidence_s=1.0, stay_s=2.0)
    after = []
    for hop in (0.02, 0.1, 0.2):
        belief_filter = BeliefFilter(config)
        for p in [A] * round(2 / hop) + [B] * round(1 / hop):
            belief = belief_filter.update(p, hop)
        after.append(belief[0])
    np.testing.assert_allclose(after, after[0], atol=0.03)


def test_a_change_is_followed_and_forgetting_helps():
    def steps_until_b(stay_s: float) -> int:
        belief_filter = BeliefFilter(SmoothingConfig(evidence_s=1.0, stay_s=stay_s))
        for _ in range(200):
            belief_filter.update(A, 0.1)
        return next(k for k in range(1000) if belief_filter.update(B, 0.1)[1] > 0.5)

    assert 2 <= steps_until_b(0.5) < steps_until_b(5.0) < steps_until_b(500.0) < 100


def test_a_window_that_rules_a_class_out_does_so_not_for_good():
    belief_filter = BeliefFilter(SmoothingConfig())
    belief_filter.update(np.float32([1.0, 0.0]), 0.4)
    for _ in range(20):
        belief = belief_filter.update(np.float32([0.0, 1.0]), 0.4)
    assert np.isfinite(belief).all()
    assert belief[1] > 0.9


def test_slower_settings_are_as_sure_in_the_end():
    usual, final = SmoothingConfig(), []
    for evidence_s in (0.2, 0.7, 3.0):
        config = usual.with_evidence(evidence_s)
        assert config.enter == usual.enter
        belief_filter = BeliefFilter(config)
        for _ in range(3000):
            belief = belief_filter.update(A, 0.02)
        final.append(belief[0])
    np.testing.assert_allclose(final, final[0], atol=0.02)
    assert usual.with_evidence(0.0).stay_s == usual.stay_s
    assert usual.with_evidence(1.4).stay_s == pytest.approx(2 * usual.stay_s)


def test_zero_takes_each_window_as_it_is():
    belief_filter = BeliefFilter(SmoothingConfig(evidence_s=0.0))
    np.testing.assert_array_equal(belief_filter.update(A, 0.1), A)
    np.testing.assert_array_equal(belief_filter.update(B, 0.1), B)


def test_one_window_decides_nothing_and_reset_forgets():
    belief_filter = BeliefFilter(SmoothingConfig())
    first = belief_filter.update(A, 0.1)
    assert first[0] < SmoothingConfig().enter
    belief_filter.update(A, 5.0)
    belief_filter.reset()
    np.testing.assert_array_equal(belief_filter.update(A, 0.1), first)


def decide(config: SmoothingConfig, *first: float) -> list[int | None]:
    decider = LabelDecider(config)
    return [decider.update(np.float32([p, 1 - p])) for p in first]


def test_a_label_is_taken_at_enter_and_dropped_below_leave():
    config = SmoothingConfig(enter=0.6, leave=0.45)
    # In between nothing changes; what was dropped needs 0.6 to come back.
    three = [[0.55, 0.3], [0.6, 0.3], [0.5, 0.3], [0.45, 0.3], [0.44, 0.3], [0.5, 0.3], [0.6, 0.3]]
    decider = LabelDecider(config)
    assert [decider.update(np.float32([a, b, 1 - a - b])) for a, b in three] == [
        None, 0, 0, 0, None, None, 0,
    ]  # fmt: skip


def test_a_label_that_another_class_outweighs_is_dropped_at_once():
    config = SmoothingConfig(enter=0.8, leave=0.0)
    # Of two classes with the same belief the first counts as the larger one.
    assert decide(config, 0.9, 0.55, 0.5, 0.45, 0.55, 0.2, 0.45, 0.5) == [
        0, 0, 0, None, None, 1, 1, None,
    ]  # fmt: skip


@st.composite
def configs(draw: st.DrawFn) -> SmoothingConfig:
    leave, enter = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return SmoothingConfig(
        evidence_s=draw(st.just(0.0) | st.floats(0.001, 3.0)),
        stay_s=draw(st.floats(0.05, 10.0)),
        enter=enter,
        leave=leave,
        forget_s=draw(st.floats(0.0, 3.0)),
    )


@given(configs(), st.data())
def test_a_label_has_the_largest_belief_whatever_is_heard(config, data):
    n = data.draw(st.integers(2, 6))
    # A posterior's logits, or a pause.
    heard = st.none() | st.lists(st.floats(-20, 20, width=32), min_size=n, max_size=n)
    smoother = Smoother(config)
    held = None
    for logits in data.draw(st.lists(heard, min_size=1, max_size=40)):
        dt_s = data.draw(st.sampled_from([0.016, 0.1, 0.5]))
        if logits is None:
            smoother.pause(dt_s)
            continue
        belief, label = smoother.update(scaled_softmax(np.float32(logits), 1.0), dt_s)
        assert belief.sum() == pytest.approx(1.0)
        if label is not None:
            assert label == belief.argmax()
            assert belief[label] >= (config.leave if label == held else config.enter)
        held = label


def test_a_short_pause_keeps_the_label_and_a_long_one_ends_it():
    config = SmoothingConfig(stay_s=1.0, forget_s=1.5)
    certain = np.float32([0.99, 0.005, 0.005])

    def after(pause_s: float) -> tuple[np.ndarray, int | None]:
        smoother = Smoother(config)
        for _ in range(50):
            _, label = smoother.update(certain, 0.1)
        assert label == 0
        for _ in range(round(pause_s / 0.1)):
            smoother.pause(0.1)
        even = np.full(3, 1 / 3, dtype=np.float32)
        return smoother.update(even, 0.1)

    before, label = after(0.0)
    assert label == 0
    kept, label = after(1.0)
    assert label == 0
    # Nothing was heard, so that the belief has only decayed, by exp(-1) in a second.
    np.testing.assert_allclose(kept - 1 / 3, (before - 1 / 3) * np.exp(-1), atol=1e-5)
    gone, label = after(1.7)
    assert label is None
    np.testing.assert_allclose(gone, 1 / 3, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"enter": 0.3, "leave": 0.4},
        {"enter": 1.1},
        {"evidence_s": -1.0},
        {"evidence_s": 1e-9},
        {"evidence_s": float("nan")},
        {"stay_s": 0.0},
        {"stay_s": float("inf")},
        {"forget_s": -1.0},
        {"forget_s": float("nan")},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="need"):
        SmoothingConfig(**settings)
