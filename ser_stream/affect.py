"""Valence and arousal, derived from a posterior over classes and never measured by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Pleasure and arousal of emotion words, mean ratings on scales from -1 to 1.
# Source: Russell & Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research
# in Personality 11, 1977; neutral is the middle of both scales.
PLEASURE_AROUSAL: dict[str, tuple[float, float]] = {
    "angry": (-0.51, 0.59),
    "bored": (-0.65, -0.62),
    "disgust": (-0.60, 0.35),
    "excited": (0.62, 0.75),
    "fearful": (-0.64, 0.60),
    "frustrated": (-0.64, 0.52),
    "happy": (0.81, 0.51),
    "neutral": (0.0, 0.0),
    "sad": (-0.63, -0.27),
    "surprised": (0.40, 0.67),
}


def derived_affect(
    labels: Sequence[str], posterior: NDArray[np.floating] | None
) -> dict[str, float | None]:
    """Mean valence and arousal of the classes, weighted by ``posterior`` (classes,), in [-1, 1].

    As columns of a row, named for what they are: empty without a posterior, and left out where a
    class has no place in `PLEASURE_AROUSAL`.
    """
    if not all(label in PLEASURE_AROUSAL for label in labels):
        return {}
    if posterior is None:
        return {"derived_valence": None, "derived_arousal": None}
    places = np.array([PLEASURE_AROUSAL[label] for label in labels])
    valence, arousal = (np.asarray(posterior, dtype=np.float64) @ places).tolist()
    return {"derived_valence": round(valence, 4), "derived_arousal": round(arousal, 4)}
