"""Measures, intervals, and temperature scaling."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.metrics import expected_calibration_error, score, summarize, t_interval
from training.temperature_scaling import fit_temperature_scaling, mean_posterior


def test_scores_by_hand():
    truth = np.array([0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 2, 2])
    s = score(truth, predicted, 4)
    assert s.wa == pytest.approx(5 / 7)
    assert s.uar == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    assert np.isnan(s.recall[3])
    assert s.confusion[0].tolist() == [3, 1, 0, 0]
    with pytest.raises(ValueError, match="cannot score"):
        score(truth[:0], predicted[:0], 4)


def test_calibration_error_by_hand():
    posterior = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    truth = np.array([0, 1, 0, 1])
    want = 0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    assert expected_calibration_error(posterior, truth) == pytest.approx(want)


def test_temperature_scaling_undoes_overconfidence_and_bias():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (8000, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(4, p=row) for row in p])
    bias = np.array([0.9, -0.3, 0.0, -0.6])
    got = fit_temperature_scaling((3.0 * logits - bias).astype(np.float32), truth)
    assert got.temperature == pytest.approx(3.0, rel=0.1)
    np.testing.assert_allclose(got.bias, bias, atol=0.25)
    assert sum(got.bias) == pytest.approx(0.0, abs=1e-6)


def test_temperature_scaling_weighs_classes_alike():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (6000, 2))
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    truth = (rng.random(6000) < p).astype(np.int64)
    # Nine tenths of one class are thrown away: the balanced optimum does not move.
    keep = (truth == 0) | (rng.random(6000) < 0.1)
    got = fit_temperature_scaling(logits[keep].astype(np.float32), truth[keep])
    assert got.temperature == pytest.approx(1.0, rel=0.2)
    assert abs(got.bias[0] - got.bias[1]) < 0.3


def test_mean_posterior_averages_per_utterance():
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], dtype=np.float32))
    got = mean_posterior(logits, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(got, [[0.6, 0.4], [0.1, 0.9]], atol=1e-6)


def test_the_interval_is_student_s():
    values = np.array([0.6, 0.7, 0.65, 0.75, 0.7])
    mean, half = t_interval(values)
    assert mean == pytest.approx(0.68)
    # t(0.975, 4) = 2.776445
    assert half == pytest.approx(2.776445 * np.std(values, ddof=1) / np.sqrt(5))
    assert np.isnan(t_interval(values[:1])[1])


def fold(seed: int, fold: int, wa: float, confusion: list[list[int]]) -> dict:
    return {
        "seed": seed,
        "fold": fold,
        "test": {
            "toy": {
                "wa": wa,
                "uar": wa - 0.1,
                "confusion": confusion,
            }
        },
    }


def test_folds_and_seeds_are_summed_up():
    results = [
        fold(s, f, 0.5 + 0.1 * f + 0.02 * s, [[1, 0], [s, f]]) for s in (0, 1) for f in (0, 1)
    ]
    got = summarize(results[::-1], "toy")
    np.testing.assert_allclose(got.wa, [[0.5, 0.6], [0.52, 0.62]])
    np.testing.assert_allclose(got.uar, got.wa - 0.1)
    np.testing.assert_array_equal(got.confusion, [[4, 0], [2, 2]])
    np.testing.assert_allclose(got.recall, [1.0, 0.5])
    # Seeds of a fold are averaged before folds are compared: two values, not four.
    mean, half = got.interval(got.wa)
    assert mean == pytest.approx(0.56)
    assert half == pytest.approx(12.7062 * np.std([0.51, 0.61], ddof=1) / np.sqrt(2), rel=1e-4)
    # A fold that one seed lacks does not count for the other either.
    np.testing.assert_allclose(summarize(results[:3], "toy").wa, [[0.5], [0.52]])
    with pytest.raises(ValueError, match="no fold of other"):
        summarize(results, "other")
