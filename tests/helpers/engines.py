"""What tests of engines share: a cheap detector, a run over blocks, a comparison."""

from __future__ import annotations

import itertools

import numpy as np

from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock, Prediction


class Loudness:
    """A detector for tests: loud is speech; cheap, and exact about where."""

    chunk_length = 512

    def __call__(self, chunks: np.ndarray) -> np.ndarray:
        return (np.abs(chunks).max(axis=1) > 0.01).astype(np.float32)

    def reset(self) -> None:
        return None


def run(engine: Engine, x: np.ndarray, edges: list[int], first: int = 0) -> list[Prediction]:
    """Predictions of ``x``, (n,), cut at ``edges``; its first sample is at ``first``."""
    engine.reset()
    predictions = []
    for a, b in itertools.pairwise(edges):
        predictions += engine.feed(AudioBlock(x[a:b], first + a))
    return predictions + engine.flush()


def same(got: list[Prediction], want: list[Prediction]) -> None:
    """Assert that two runs predict the same, but for rounding."""
    assert [(p.start, p.end, p.state, p.label) for p in got] == [
        (p.start, p.end, p.state, p.label) for p in want
    ]
    for a, b in zip(got, want, strict=True):
        assert a.speech == b.speech
        for name in ("logits", "posterior", "smoothed"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-5)
