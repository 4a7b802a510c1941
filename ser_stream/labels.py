"""The one vocabulary of emotions: what each is called, where it lies, and how it is drawn.

Readers of corpora, tables, terminal and window take names, places, colours, dashes and letters from
here. A model may have classes that are not in it: they have no place in valence and arousal, and
colours and letters that depend on their position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Emotion:
    """One class as it is named and drawn everywhere.

    Attributes:
        name: as readers, models and rows call it.
        letter: stands for it where there is room for one character; no two are alike.
        colour: in the window, hexadecimal; colour and dash together are unique.
        dash: of its curve, one of `DASHES`.
        terminal: the colour in a terminal, one of the sixteen standard ones.
        place: valence and arousal, each in [-1, 1]; None for what has no place.
        synonyms: other names, of other corpora and of people who write tables.
    """

    name: str
    letter: str
    colour: str
    dash: str
    terminal: str
    place: tuple[float, float] | None
    synonyms: tuple[str, ...] = ()


DASHES = ("solid", "dash", "dot", "dash-dot", "dash-dot-dot")

# Okabe & Ito, "Color Universal Design", 2008, which differ for any colour vision;
# yellow is too faint on white, and black cannot be seen on black.
_VERMILION, _ORANGE, _GREEN, _SKY = "#D55E00", "#E69F00", "#009E73", "#56B4E9"
_PURPLE, _BLUE, _GREY = "#CC79A7", "#0072B2", "#999999"
_COLOURS = (_VERMILION, _ORANGE, _GREEN, _SKY, _PURPLE, _BLUE, _GREY)
_TERMINAL = ("bright_magenta", "bright_green", "bright_cyan", "bright_red", "bright_blue")

# Places are mean ratings of the words, pleasure and arousal. Source: Russell & Mehrabian, "Evidence
# for a three-factor theory of emotions", Journal of Research in Personality 11, 1977; neutral is
# the middle of both scales. "Calm" is not among their words: its place is that of Warriner,
# Kuperman & Brysbaert, Behavior Research Methods 45, 2013, brought from 1..9 to -1..1.
_VOCABULARY = (
    Emotion(
        "angry", "A", _VERMILION, "solid", "red", (-0.51, 0.59), ("anger", "ang", "mad")
    ),
    Emotion(
        "happy", "H", _ORANGE, "dash", "yellow", (0.81, 0.51),
        ("happiness", "hap"),
    ),
    Emotion("neutral", "N", _GREEN, "dot", "cyan", (0.0, 0.0), ("neutrality", "neu")),
    Emotion("sad", "S", _SKY, "dash-dot", "blue", (-0.63, -0.27), ("sadness",)),
    Emotion(
        "fear", "F", _PURPLE, "dash-dot-dot", "magenta", (-0.64, 0.60),
        ("fearful", "fea", "afraid", "scared"),
    ),
    Emotion("disgust", "D", _BLUE, "solid", "green", (-0.60, 0.35), ("disgusted", "dis")),
    Emotion(
        "surprised", "U", _GREY, "dash", "bright_magenta", (0.40, 0.67), ("surprise", "sur")
    ),
    Emotion("bored", "B", _VERMILION, "dot", "bright_black", (-0.65, -0.62), ("boredom",)),
    Emotion("calm", "C", _GREEN, "solid", "bright_cyan", (0.47, -0.83), ("calmness",)),
    Emotion(
        "excited", "X", _ORANGE, "dash-dot", "bright_yellow", (0.62, 0.75), ("excitement", "exc")
    ),
    Emotion(
        "frustrated", "R", _PURPLE, "solid", "bright_red", (-0.64, 0.52), ("frustration", "fru")
    ),
    Emotion("other", "O", _BLUE, "dash", "white", None, ("oth",)),
    Emotion("undecided", "-", _GREY, "dot", "bright_white", None, ("xxx",)),
)  # fmt: skip
EMOTIONS = {emotion.name: emotion for emotion in _VOCABULARY}
_BY_ANY_NAME = {name: e for e in _VOCABULARY for name in (e.name, *e.synonyms)}


def canonical(label: str) -> str:
    """The vocabulary's name for ``label``, in any case; other labels as they are, but stripped."""
    stripped = label.strip()
    found = _BY_ANY_NAME.get(stripped.casefold())
    return stripped if found is None else found.name


def emotions_of(labels: Sequence[str]) -> tuple[Emotion, ...]:
    """How each of a model's classes is named and drawn, in their order.

    A class that the vocabulary does not hold is drawn by its position, with a letter of its own
    name that no other class has.
    """
    return _emotions_of(tuple(labels))


@lru_cache(maxsize=16)
def _emotions_of(labels: tuple[str, ...]) -> tuple[Emotion, ...]:
    known = [_BY_ANY_NAME.get(label.strip().casefold()) for label in labels]
    letters = {e.letter for e in known if e is not None}
    drawn = {(e.colour, e.dash) for e in known if e is not None}
    free = [(c, d) for d in DASHES for c in _COLOURS if (c, d) not in drawn] or [(_GREY, "solid")]
    found: list[Emotion] = []
    for i, (label, emotion) in enumerate(zip(labels, known, strict=True)):
        if emotion is not None:
            found.append(emotion)
            continue
        letter = next((c for c in label.upper() if c.isalpha() and c not in letters), "*")
        letters.add(letter)
        found.append(
            Emotion(label, letter, *free[i % len(free)], _TERMINAL[i % len(_TERMINAL)], None)
        )
    return tuple(found)


def derived_affect(
    labels: Sequence[str], posterior: NDArray[np.floating] | None
) -> dict[str, float | None]:
    """Mean valence and arousal of the classes, weighted by ``posterior`` (classes,), in [-1, 1].

    They are derived and never measured by themselves. As columns of a row: empty without a
    posterior, and left out where a class has no place.
    """
    places = [emotion.place for emotion in emotions_of(labels)]
    if any(place is None for place in places):
        return {}
    if posterior is None:
        return {"derived_valence": None, "derived_arousal": None}
    mean = np.asarray(posterior, dtype=np.float64) @ np.array(places, dtype=np.float64)
    valence, arousal = mean.tolist()
    return {"derived_valence": round(valence, 4), "derived_arousal": round(arousal, 4)}
