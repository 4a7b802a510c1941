"""A live stream over samples in memory, as the meter runs it."""

from __future__ import annotations

from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock, Float32, Prediction


def predictions_of(engine: Engine, samples: Float32) -> list[Prediction]:
    """All predictions of a stream that begins and ends with ``samples`` (n,)."""
    return engine.feed(AudioBlock(samples, 0, True, None)) + engine.flush()
