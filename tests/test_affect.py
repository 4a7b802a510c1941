"""Derived valence and arousal."""

from __future__ import annotations

import numpy as np
import pytest

from ser_stream.affect import PLEASURE_AROUSAL, derived_affect

LABELS = ("angry", "happy", "neutral", "sad")


def test_a_sure_class_has_its_own_place():
    for i, label in enumerate(LABELS):
        got = derived_affect(LABELS, np.eye(4)[i])
        assert (got["derived_valence"], got["derived_arousal"]) == PLEASURE_AROUSAL[label]


def test_a_mixture_lies_between():
    got = derived_affect(LABELS, np.array([0.5, 0.25, 0.25, 0.0], dtype=np.float32))
    assert got["derived_valence"] == pytest.approx(0.5 * -0.51 + 0.25 * 0.81)
    assert got["derived_arousal"] == pytest.approx(0.5 * 0.59 + 0.25 * 0.51)


def test_without_a_posterior_or_a_place_there_is_nothing():
    assert derived_affect(LABELS, None) == {"derived_valence": None, "derived_arousal": None}
    assert derived_affect(("angry", "sarcastic"), np.array([0.5, 0.5])) == {}


def test_all_places_are_on_the_scales():
    assert np.abs(list(PLEASURE_AROUSAL.values())).max() <= 1.0
    assert PLEASURE_AROUSAL["neutral"] == (0.0, 0.0)
