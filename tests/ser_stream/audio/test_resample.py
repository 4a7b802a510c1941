"""Streaming resampling: cutting does not matter, positions stay absolute."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.audio.resample import StreamingResampler
from ser_stream.errors import ConfigError
from ser_stream.types import AudioBlock


def run(x: np.ndarray, rate: int, edges: list[int]) -> np.ndarray:
    resampler = StreamingResampler(rate, 16000)
    out = []
    position = 0
    blocks = [resampler.push(AudioBlock(x[a:b], a)) for a, b in itertools.pairwise(edges)]
    for block in [*blocks, resampler.flush()]:
        assert block.start == position
        assert not block.gap
        position = block.end
        out.append(block.samples)
    return np.concatenate(out)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@given(cuts=st.lists(st.integers(0, 20000), max_size=12))
def test_cutting_does_not_matter(rate, cuts):
    x = np.random.default_rng(0).normal(0, 0.1, 20000).astype(np.float32)
    got = run(x, rate, [0, *sorted(cuts), len(x)])
    want = soxr.resample(x, rate, 16000)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert len(got) == round(len(x) * 16000 / rate)


def test_a_gap_is_told_with_the_first_samples_after_it_and_at_its_place():
    resampler = StreamingResampler(48000, 16000)
    x = np.ones(48000, dtype=np.float32)
    resampler.push(AudioBlock(x, 0))
    told = []
    for i in range(10):
        start = 480000 + 480 * i
        told.append(resampler.push(AudioBlock(x[:480], start, gap=i == 0)))
    filled = [b for b in told if len(b.samples)]
    assert filled[0].gap
    assert filled[0].start == 160000
    assert not any(b.gap for b in filled[1:])
    assert [b.start for b in filled[1:]] == [b.end for b in filled[:-1]]


def test_a_rate_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="resample"):
        StreamingResampler(0, 16000)
