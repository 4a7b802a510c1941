"""How wide a network's inputs and outputs are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """What a recipe's labels, front end and inputs come to.

    Attributes:
        classes: of the posterior.
        frame: values of the front end's frame.
        bands: so many of them, at the beginning, are levels of frequency bands.
        views: how many times a window has them, normalised in different ways.
        embedding: values that describe the speaker; 0 for none.
        words: of a word vector.
    """

    classes: int
    frame: int
    bands: int
    views: int
    embedding: int
    words: int

    @property
    def features(self) -> int:
        """Values of a window's frame."""
        return self.views * self.frame
