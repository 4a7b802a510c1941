"""Word vectors of windows, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.types import Float32


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
