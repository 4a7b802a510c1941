"""The registry of front ends, and what a new one takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames, FramewiseExtractor
from ser_stream.features.framing import FrameStream
from ser_stream.features.registry import FRONT_ENDS, FrontEndKind, check_front_end, make_extractor
from ser_stream.models.bundle import ModelBundle
from ser_stream.stream.engine import Engine
from ser_stream.typed import within
from ser_stream.types import AudioBlock, Float32
from tests.helpers.edited_bundle import edited

RATE_HZ = 16000


@dataclass(frozen=True, slots=True)
class PartsConfig:
    """A frame as levels of its parts."""

    parts: Annotated[int, within(1, 1000)] = 51
    part_length: Annotated[int, within(1, 100)] = 20
    hop_length: Annotated[int, within(1, 1000)] = 256


class PartsExtractor(FramewiseExtractor):
    """Levels of the parts of a frame in dB, as the mean of a frame and its two neighbours."""

    sample_rate_hz = RATE_HZ
    look_back = look_ahead = 1

    def __init__(self, config: PartsConfig) -> None:
        self.config = config
        self.hop_length, self.width = config.hop_length, config.parts
        self.frame_length = config.parts * config.part_length
        self.gain = np.ones(self.width, dtype=np.float32)

    def analyse(self, frames: Float32) -> Frames:
        parts = frames.reshape(len(frames), self.width, -1)
        power = np.mean(parts**2, axis=2) + np.float32(1e-8)
        level = np.float32(10.0) * np.log10(power.mean(axis=1))
        return Frames(10.0 * np.log10(power), level, np.ones(len(frames), dtype=np.float32))

    def in_context(self, base: Float32, skip: int) -> Float32:
        padded = np.concatenate([base[:1], base]) if skip == 0 else base
        return (padded[:-2] + padded[1:-1] + padded[2:]) / np.float32(3.0)


@pytest.fixture
def toy(monkeypatch) -> None:
    kind = FrontEndKind(config=PartsConfig, extractor=PartsExtractor)
    monkeypatch.setitem(FRONT_ENDS, "parts", kind)


cuts = st.lists(st.integers(0, 16000), max_size=20)


@settings(max_examples=40)
@given(cuts=cuts)
def test_a_front_end_is_a_file_and_a_row(cuts, speech):
    x = speech[RATE_HZ : 2 * RATE_HZ]
    with pytest.MonkeyPatch.context() as patch:
        kind = FrontEndKind(config=PartsConfig, extractor=PartsExtractor)
        patch.setitem(FRONT_ENDS, "parts", kind)
        extractor = make_extractor("parts", {"parts": 30})
    whole = extractor(x)
    stream = FrameStream(extractor, 1000, 4096)
    edges = sorted({0, *cuts, len(x)})
    got = Frames.join([stream.accept(x[a:b]) for a, b in itertools.pairwise(edges)])
    assert len(got) == len(whole) == extractor.frame_count(len(x)) > 50
    np.testing.assert_allclose(got.features, whole.features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got.level_db, whole.level_db, rtol=1e-5, atol=1e-5)


def test_its_parameters_are_checked(toy):
    assert check_front_end("parts", {"parts": 3}) == PartsConfig(parts=3)
    for params, told in (
        ({"parts": 0}, "front end parts.parts: expected an integer >= 1"),
        ({"parts": "many"}, "front end parts.parts"),
        ({"part": 3}, "front end parts: unknown"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_extractor("parts", params)


@pytest.mark.parametrize("block", [1000, 4999])
def test_a_model_of_it_runs_and_does_not_see_the_blocks(toy, speech, tmp_path, block):
    path = edited(tmp_path, frontend="parts", frontend_params={}, profiles=False)
    engine = Engine(ModelBundle.load(path))
    x = speech[: 5 * RATE_HZ]
    want = engine.feed(AudioBlock(x, 0)) + engine.flush()
    engine.reset()
    got = [p for a in range(0, len(x), block) for p in engine.feed(AudioBlock(x[a : a + block], a))]
    got += engine.flush()
    assert len(got) == len(want) > 5
    assert [(p.start, p.end, p.label) for p in got] == [(p.start, p.end, p.label) for p in want]
    for a, b in zip(got, want, strict=True):
        if a.posterior is not None and b.posterior is not None:
            np.testing.assert_allclose(a.posterior, b.posterior, atol=1e-5)


def test_a_row_says_all_that_is_asked_of_it():
    with pytest.raises(TypeError, match="extractor"):
        FrontEndKind(config=PartsConfig)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ConfigError, match="needs a dataclass"):
        FrontEndKind(config=dict, extractor=PartsExtractor)

    @dataclass(frozen=True)
    class Bare:
        parts: int

    with pytest.raises(ConfigError, match="Bare: no default for parts"):
        FrontEndKind(config=Bare, extractor=PartsExtractor)
