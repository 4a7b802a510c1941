"""What a network is given of a window, by the names of its graph's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.types import Float32

Inputs = Mapping[str, NDArray[Any]]
"""Arrays by the names of a graph's inputs, with an axis of windows in front or, of one, without it:

- ``features``: float32 (frames, features), presented by the front end;
- ``embedding``: float32 (dimension,), who speaks: the normaliser's statistics, or an embedder's;
- ``tokens``: float32 (tokens, width), vectors of the window's words, zeros after them;
- ``text_lengths``: int64 (), how many of the tokens are words.

Live, in batch and in training they are the same. A network in training may take ``lengths`` beside
them, int64 (), how many of the frames are the recording's own; a graph has no such input.
"""


def stacked(windows: Sequence[Inputs]) -> dict[str, NDArray[Any]]:
    """Join the inputs (...) of n windows with the same names to (n, ...); views of a single one."""
    if len(windows) == 1:
        # Live, where each window is a batch of its own.
        return {name: np.asarray(value, order="C")[None] for name, value in windows[0].items()}
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


def word_inputs(words: Sequence[Float32], tokens: int) -> dict[str, NDArray[Any]]:
    """Tokens and their number for windows with word vectors float32 (n, width) each; see `pad`."""
    padded, valid = pad(words, tokens)
    return {"tokens": padded, "text_lengths": valid.sum(axis=1, dtype=np.int64)}


def pad(sequences: Sequence[Float32], length: int) -> tuple[Float32, NDArray[np.bool_]]:
    """Bring sequences of word vectors to one length.

    **Decision**: of a longer sequence the newest words are kept, because a live window asks what
    was said last. A sequence of no words has no valid step.

    Args:
        sequences: float32 (n_i, d) each, one d, at least one of them.
        length: steps of the result.

    Returns:
        float32 (b, length, d), zeros after the words, and bool (b, length), true for a word.

    Raises:
        ConfigError: no sequence, another shape, different d, or a length below 1.
    """
    if length < 1:
        raise ConfigError(f"length must be at least 1, got {length}")
    if not sequences:
        raise ConfigError("no sequences to pad")
    shapes = {np.shape(s)[1:] for s in sequences}
    if len(shapes) != 1 or any(np.ndim(s) != 2 for s in sequences):
        raise ConfigError(
            f"sequences must be (n, d) with one d, got {[np.shape(s) for s in sequences]}"
        )
    padded = np.zeros((len(sequences), length, np.shape(sequences[0])[1]), dtype=np.float32)
    valid = np.zeros((len(sequences), length), dtype=np.bool_)
    for row, mask, sequence in zip(padded, valid, sequences, strict=True):
        newest = sequence[-length:]
        row[: len(newest)] = newest
        mask[: len(newest)] = True
    return padded, valid
