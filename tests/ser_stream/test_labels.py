"""The vocabulary of emotions, and what is derived from it."""

from __future__ import annotations

import importlib
import itertools
import pkgutil

import numpy as np
import pytest

from gui.theme import PEN_STYLES
from ser_stream.cli.terminal import class_marks
from ser_stream.labels import DASHES, EMOTIONS, canonical, derived_affect, emotions_of

LABELS = ("angry", "happy", "neutral", "sad")


def readers() -> dict[str, set[str]]:
    """Labels that each reader of a corpus gives."""
    import training.data.corpora

    found = {}
    for module in pkgutil.iter_modules(training.data.corpora.__path__, "training.data.corpora."):
        emotions = getattr(importlib.import_module(module.name), "EMOTIONS", None)
        if emotions is not None:
            found[module.name] = set(emotions.values())
    return found


def test_every_label_of_every_reader_is_in_the_vocabulary():
    found = readers()
    assert len(found) >= 4
    for name, labels in found.items():
        assert labels <= set(EMOTIONS), name


def test_an_emotion_of_every_reader_has_a_place():
    named = set().union(*readers().values()) - {"other", "undecided"}
    assert {"fear", "calm"} <= named
    for label in named:
        got = derived_affect((label, "neutral"), np.array([1.0, 0.0]))
        assert (got["derived_valence"], got["derived_arousal"]) == EMOTIONS[label].place


def test_names_and_synonyms_are_unambiguous():
    names = [name for e in EMOTIONS.values() for name in (e.name, *e.synonyms)]
    assert len(names) == len(set(names))
    assert all(name == name.casefold().strip() for name in names)


@pytest.mark.parametrize(
    ("told", "name"),
    [("fearful", "fear"), (" Happiness ", "happy"), ("ANG", "angry"), ("sarcastic", "sarcastic")],
)
def test_synonyms(told, name):
    assert canonical(told) == name


def test_classes_are_told_apart_by_letter_and_by_curve():
    drawn = [(e.colour, e.dash) for e in EMOTIONS.values()]
    assert len(drawn) == len(set(drawn))
    assert len({e.letter for e in EMOTIONS.values()}) == len(EMOTIONS)
    assert set(DASHES) == set(PEN_STYLES)


def test_a_synonym_is_drawn_as_what_it_means():
    (fearful,) = emotions_of(("fearful",))
    assert fearful is EMOTIONS["fear"]
    assert class_marks(("fearful", "sad"))["fearful"][0] == "F"


def test_strangers_among_classes_differ_from_them_and_each_other():
    labels = (*EMOTIONS, "sarcastic", "sleepy", "proud", "awed", "1", "2")
    found = emotions_of(labels)
    assert [e.name for e in found] == list(labels)
    assert len({(e.colour, e.dash) for e in found}) == len(found)
    letters = [e.letter for e in found if e.letter != "*"]
    assert len(letters) == len(set(letters))


def test_more_strangers_than_colours_are_drawn_all_the_same():
    assert len(emotions_of([f"class {i}" for i in range(100)])) == 100


def test_a_sure_class_has_its_own_place():
    for i, label in enumerate(LABELS):
        got = derived_affect(LABELS, np.eye(4)[i])
        assert (got["derived_valence"], got["derived_arousal"]) == EMOTIONS[label].place


def test_a_mixture_lies_between():
    got = derived_affect(LABELS, np.array([0.5, 0.25, 0.25, 0.0], dtype=np.float32))
    assert got["derived_valence"] == pytest.approx(0.5 * -0.51 + 0.25 * 0.81)
    assert got["derived_arousal"] == pytest.approx(0.5 * 0.59 + 0.25 * 0.51)


def test_without_a_posterior_or_a_place_there_is_nothing():
    assert derived_affect(LABELS, None) == {"derived_valence": None, "derived_arousal": None}
    assert derived_affect(("angry", "sarcastic"), np.array([0.5, 0.5])) == {}


def test_all_places_are_on_the_scales():
    places = [e.place for e in EMOTIONS.values() if e.place is not None]
    assert np.abs(places).max() <= 1.0
    assert EMOTIONS["neutral"].place == (0.0, 0.0)
    for (_, a), (_, b) in itertools.combinations(enumerate(places), 2):
        assert a != b
