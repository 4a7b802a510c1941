"""What the painted views show, and colours that people can tell apart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QColor

from gui.live.history import STATES, Stretch
from gui.live.spectrogram import COLUMN_S, SPECTROGRAM
from gui.live.timeline import TimelinePlot
from gui.parts.views import CLIP_HOLD_S, AffectPlane, ClassBars, Headline, LevelBar
from gui.theme import DARK, LIGHT, class_colours, class_dashes, palette
from ser_stream.types import State
from tests.helpers.pictures import count, picture

LABELS = ("angry", "happy", "neutral", "sad")


def luminance(colour: QColor) -> float:
    def linear(v: float) -> float:
        return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4

    r, g, b = (linear(v) for v in (colour.redF(), colour.greenF(), colour.blueF()))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: QColor, b: QColor) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_text_can_be_read_in_both_themes(theme):
    # WCAG 2.2: 4.5 for text.
    for colour in (theme.text, theme.faint, theme.warning):
        assert contrast(colour, theme.background) > 4.5
    made = palette(theme)
    assert contrast(made.buttonText().color(), made.button().color()) > 4.5
    assert contrast(made.text().color(), made.base().color()) > 4.5


def test_classes_differ_by_more_than_colour():
    colours, dashes = class_colours(LABELS), class_dashes(LABELS)
    assert len({c.name() for c in colours}) == len(set(dashes)) == len(LABELS)
    # Seen without red or green cones (Vienot et al., 1999) they still differ.
    red_blind = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    rgb = np.array([[c.redF(), c.greenF(), c.blueF()] for c in colours]) ** 2.2
    seen = rgb @ red_blind.T
    for a, b in itertools.combinations(seen, 2):
        assert np.abs(a - b).max() > 0.08


def test_headline_names_the_class_and_stays_readable(qtbot):
    headline = Headline()
    qtbot.addWidget(headline)
    headline.resize(400, 100)
    orange = class_colours(LABELS)[0]
    headline.show_label("angry", "78 % sure", orange)
    assert (headline.text, headline.detail) == ("angry", "78 % sure")
    assert headline.accessibleDescription() == "angry 78 % sure"
    named = picture(headline)
    assert count(named, orange) > 100
    headline.show_label("no speech", "nobody speaks", None)
    assert count(picture(headline), orange) == 0


def test_bars_are_as_long_as_the_belief(qtbot):
    bars = ClassBars(LABELS)
    qtbot.addWidget(bars)
    bars.resize(300, 120)
    bars.show_belief(np.array([0.6, 0.3, 0.1, 0.0], np.float32))
    drawn = [count(picture(bars), c) for c in class_colours(LABELS)]
    assert drawn[3] == 0
    assert drawn[0] / drawn[1] == pytest.approx(2.0, rel=0.1)
    assert drawn[0] / drawn[2] == pytest.approx(6.0, rel=0.2)
    bars.show_belief(None)
    assert count(picture(bars), class_colours(LABELS)[0]) == 0
    bars.set_labels(("a", "b"))
    bars.show_belief(np.array([0.5, 0.5], np.float32))
    picture(bars)


def test_a_warning_of_clipping_stays_for_a_while(qtbot):
    level = LevelBar()
    qtbot.addWidget(level)
    level.resize(300, 20)
    level.show_level(-20.0, 1.0)
    assert not level.clipping
    assert count(picture(level), DARK.good) > 100
    level.show_level(-1.0, 2.0)
    assert level.clipping
    level.show_level(-20.0, 2.0 + 0.9 * CLIP_HOLD_S)
    assert level.clipping
    assert count(picture(level), DARK.warning) > 100
    level.show_level(-20.0, 2.1 + CLIP_HOLD_S)
    assert not level.clipping


def test_the_plane_draws_the_newest_point_where_it_is(qtbot):
    plane = AffectPlane()
    qtbot.addWidget(plane)
    plane.resize(200, 200)
    nan = np.nan
    plane.show_trail(np.array([nan, -0.5, 0.5], np.float32), np.array([nan, 0, 0.5], np.float32))
    np.testing.assert_allclose(plane.points, [[-0.5, 0.0], [0.5, 0.5]])
    image = picture(plane)
    assert image.pixel(149, 51) == DARK.text.rgb()
    assert image.pixel(51, 149) != DARK.text.rgb()


def stretch(n: int, silent: slice = slice(0, 0)) -> Stretch:
    belief = np.tile(np.array([0.7, 0.1, 0.1, 0.1], np.float32), (n, 1))
    speech = np.ones(n, np.float32)
    belief[silent], speech[silent] = np.nan, 0.0
    label = np.where(np.isnan(belief[:, 0]), -1, 0)
    state = np.where(label < 0, STATES.index(State.NO_SPEECH), STATES.index(State.EMOTION))
    nothing = np.full(n, np.nan, np.float32)
    return Stretch(2.0 + 0.1 * np.arange(n), belief, speech, state, label, nothing, nothing)


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_the_timeline_draws_curves_speech_and_sound(qtbot, theme):
    timeline = TimelinePlot(LABELS)
    qtbot.addWidget(timeline)
    timeline.resize(700, 400)
    timeline.set_theme(theme)
    empty = picture(timeline)
    orange = class_colours(LABELS)[0]
    before = count(empty, orange)  # of the legend
    rng = np.random.default_rng(0)
    columns = rng.uniform(-60, 0, (round(32 / COLUMN_S), SPECTROGRAM.n_mels)).astype(np.float32)
    columns[100:120] = np.nan
    timeline.show_stretch(stretch(300, slice(100, 200)), (0.0, columns), 32.0)
    drawn = picture(timeline)
    assert count(drawn, orange) > before + 100
    assert count(drawn, theme.background) < count(empty, theme.background) - 20000
    # The engine has judged by its own threshold what is speech: the same shade wherever that lies.
    spoken = stretch(300, slice(100, 200))
    little = replace(spoken, speech=np.where(spoken.speech > 0, np.float32(0.01), 0.0))
    timeline.show_stretch(little, (0.0, columns), 32.0)
    assert picture(timeline) == drawn
    timeline.show_stretch(stretch(0), (0.0, columns[:0]), 0.0)
    assert count(picture(timeline), orange) == before


def test_the_timeline_takes_other_classes(qtbot):
    timeline = TimelinePlot(LABELS)
    qtbot.addWidget(timeline)
    timeline.set_labels(("calm", "excited"))
    assert [label.text for _, label in timeline.curves.legend.items] == ["calm", "excited"]
    # And the shading.
    assert len(timeline.beliefs.listDataItems()) == 3
