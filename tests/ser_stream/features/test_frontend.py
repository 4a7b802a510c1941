"""Every front end as a stream: the laws of `FrontEnd`, and the normaliser behind it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.features.extractor import Extractor
from ser_stream.features.framing import FrameStream, repeat_to
from ser_stream.features.frontend import FrontEnd
from ser_stream.features.normalizer import (
    HEADER,
    FeatureStatistics,
    Normalizer,
    NormalizerConfig,
    NormalizerState,
)
from ser_stream.features.registry import FRONT_ENDS, make_extractor
from training.recipe.book import load_book, shipped_recipes

RATE_HZ = 16000
MOST = 4096
CAPACITY = 1000
CONFIG = NormalizerConfig(prior_s=0.5, memory_s=1.5)


def front_ends() -> dict[str, tuple[str, dict]]:
    """Front ends of the shipped recipes by the first recipe that has them, and all others."""
    found: dict[str, tuple[str, dict]] = {}
    for name in shipped_recipes():
        recipe = load_book(name).recipe()
        if (recipe.frontend, recipe.frontend_params) not in found.values():
            found[name] = (recipe.frontend, recipe.frontend_params)
    shipped = {name for name, _ in found.values()}
    found |= {f"of no recipe {name}": (name, {}) for name in FRONT_ENDS if name not in shipped}
    return {f"{frontend}-{name}": (frontend, params) for name, (frontend, params) in found.items()}


CASES = front_ends()


@dataclass(frozen=True)
class Case:
    """A front end with the features of a stretch of speech, computed at once."""

    extractor: Extractor
    samples: np.ndarray
    features: np.ndarray
    statistics: FeatureStatistics

    @property
    def scale(self) -> np.ndarray:
        """The size of each feature."""
        return np.maximum(np.abs(self.features).max(axis=0), 1e-3)

    def normalizer(
        self, state: NormalizerState = NormalizerState.NONE, embeds: str = ""
    ) -> Normalizer:
        e = self.extractor
        rate = e.sample_rate_hz / e.hop_length
        return Normalizer(self.statistics, CONFIG, rate, state, embeds=embeds, gain=e.gain)

    def front_end(
        self,
        state: NormalizerState = NormalizerState.NONE,
        embeds: str = "",
        capacity: int = CAPACITY,
    ) -> FrontEnd:
        return FrontEnd(self.extractor, self.normalizer(state, embeds), capacity, MOST)


@pytest.fixture(scope="module", params=CASES)
def case(request, speech) -> Case:
    extractor = make_extractor(*CASES[request.param])
    samples = speech[RATE_HZ : RATE_HZ + 24000]
    frames = extractor(samples)
    x = frames.features.astype(np.float64)
    # Another speaker's, as it were: not those of the stretch itself.
    std = np.maximum(x.std(axis=0), 1e-3)
    statistics = FeatureStatistics(
        (x.mean(axis=0) + 0.5 * std).astype(np.float32), (1.5 * std).astype(np.float32)
    )
    return Case(extractor, samples, frames.features, statistics)


def feed(front_end: FrontEnd, x: np.ndarray, edges: list[int]) -> None:
    for a, b in itertools.pairwise(edges):
        for first in range(a, b, MOST):
            front_end.accept(x[first : min(first + MOST, b)])


def fed(front_end: FrontEnd, x: np.ndarray, block: int = 1000) -> FrontEnd:
    feed(front_end, x, [*range(0, len(x), block), len(x)])
    return front_end


def alike(got: np.ndarray, want: np.ndarray, scale: np.ndarray | float, limit: float = 1e-5):
    assert got.shape == want.shape
    assert got.dtype == np.float32
    assert (np.abs(got - want) / scale).max() <= limit


def test_every_front_end_is_tried():
    assert {name for name, _ in CASES.values()} == set(FRONT_ENDS)


# Blocking


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_blocking_gives_the_features_of_the_whole(case, data):
    x, extractor = case.samples, case.extractor
    cuts = data.draw(st.lists(st.integers(0, len(x)), max_size=30))
    # Somewhere among them samples come one by one, over at least a hop.
    at = data.draw(st.integers(0, len(x) - 700))
    edges = sorted({0, *cuts, *range(at, at + data.draw(st.integers(0, 700))), len(x)})
    front_end = case.front_end()
    for a, b in itertools.pairwise(edges):
        feed(front_end, x, [a, b])
        assert front_end.frames_ready == extractor.frame_count(b)
    raw = extractor.present(case.features)
    got = front_end.window(0, front_end.frames_ready)
    # What the window stage gives lies within [-1, 1], whatever the feature.
    alike(got, raw, case.scale if raw is case.features else 1.0)


@pytest.mark.parametrize("block", [1, 159, 160, 161, 511, 2049, 24000])
def test_regular_blocks_give_the_windows_of_the_whole(case, block):
    state = NormalizerState.RUNNING
    x = case.samples if block > 1 else case.samples[:8000]
    want, got = (case.front_end(state, embeds="statistics") for _ in range(2))
    feed(want, x, [0, len(x)])
    feed(got, x, [*range(0, len(x), block), len(x)])
    n = want.frames_ready
    assert got.frames_ready == n == case.extractor.frame_count(len(x)) > 10
    for first, length in ((0, n), (0, 1), (n - 5, 5), (n // 2, 3)):
        alike(got.window(first, length), want.window(first, length), CONFIG.clip)
    for frame in (0, n // 2, n - 1):
        alike(got.embedding(frame), want.embedding(frame), 1.0)


def test_windows_are_views_of_the_same_frames(case):
    front_end = fed(case.front_end(NormalizerState.COLD), case.samples)
    n = front_end.frames_ready
    whole = case.normalizer(NormalizerState.COLD).normalize(case.features, front_end.moments(n - 1))
    for first, length in ((0, 1), (0, 20), (7, 30), (n - 20, 20)):
        want = case.extractor.present(whole[first : first + length])
        alike(front_end.window(first, length), want, CONFIG.clip)


def test_a_window_is_the_callers_own(case):
    front_end = fed(case.front_end(), case.samples)
    first = front_end.window(3, 20)
    want = first.copy()
    first[:] = 99.0
    np.testing.assert_array_equal(front_end.window(3, 20), want)


# Latency


def test_a_frame_is_ready_exactly_when_its_look_ahead_has_come(case):
    extractor = case.extractor
    front_end = case.front_end()
    heard = 0
    for i in range(14):
        need = extractor.samples_for(i + 1)
        if need - 1 > heard:
            feed(front_end, case.samples, [heard, need - 1])
            assert front_end.frames_ready <= i
            feed(front_end, case.samples, [need - 1, need])
            heard = need
        # The first few come together where the first needs the context of a later one.
        assert front_end.frames_ready == max(i + 1, extractor.shortest - extractor.look_ahead)
    own = 13 * extractor.hop_length + extractor.frame_length
    assert heard == own + extractor.look_ahead * extractor.hop_length


def test_a_frame_sees_its_look_ahead_and_nothing_after(case):
    extractor, x = case.extractor, case.samples
    i = 60 if extractor.hop_length < 200 else 20
    need = extractor.samples_for(i + 1)
    changed = x.copy()
    changed[need:] = 0.5
    alike(extractor(changed).features[: i + 1], case.features[: i + 1], case.scale)
    changed[need - extractor.hop_length :] = 0.5
    assert not np.allclose(extractor(changed).features[i], case.features[i], atol=1e-3)


# Restart and reset


@pytest.mark.parametrize("heard", [0, 1, 500, 5000, 20001])
def test_restart_begins_anew(case, heard):
    x = case.samples
    state = NormalizerState.COLD
    front_end = fed(case.front_end(state), x[:heard], 333)
    front_end.restart()
    assert front_end.frames_ready == 0
    with pytest.raises(IndexError):
        front_end.window(0, 1)
    later = x[3000:18000]
    fed(front_end, later, 700)
    fresh = fed(case.front_end(state), later, 1111)
    n = fresh.frames_ready
    assert front_end.frames_ready == n == case.extractor.frame_count(len(later))
    alike(front_end.window(0, n), fresh.window(0, n), CONFIG.clip)


def test_restart_keeps_the_speaker_and_reset_forgets(case):
    x = case.samples
    state = NormalizerState.RUNNING
    fresh = fed(case.front_end(state, embeds="statistics"), x)
    last = fresh.frames_ready - 1
    again = fed(case.front_end(state, embeds="statistics"), x)
    known = again.moments(last).copy()
    assert known.weight > 10
    again.restart()
    fed(again, x)
    assert again.moments(0).weight >= known.weight - 1
    assert again.moments(last).weight > known.weight
    assert not np.allclose(again.window(0, last), fresh.window(0, last), atol=1e-3)
    again.reset()
    assert again.frames_ready == 0
    fed(again, x)
    np.testing.assert_array_equal(again.moments(last).rows, fresh.moments(last).rows)
    alike(again.window(0, last), fresh.window(0, last), CONFIG.clip)


# Capacity


def test_old_windows_are_gone_and_new_ones_not_there_yet(case):
    capacity = 25
    front_end = fed(case.front_end(capacity=capacity), case.samples, 777)
    n = front_end.frames_ready
    assert n > capacity
    want = case.extractor.present(case.features[n - capacity :])
    scale = 1.0 if want.shape != (capacity, case.extractor.width) else case.scale
    alike(front_end.window(n - capacity, capacity), want, scale)
    for first, length in ((n - capacity - 1, 3), (0, 1), (n - 1, 2), (n, 1), (-1, 2)):
        with pytest.raises(IndexError, match="not inside the held"):
            front_end.window(first, length)
    with pytest.raises(IndexError):
        front_end.embedding(n)
    with pytest.raises(IndexError):
        front_end.moments(n - capacity - 1)


def test_a_short_stream_is_repeated(case):
    state = NormalizerState.RUNNING
    samples = case.samples[: case.extractor.samples_for(11)]
    front_end = fed(case.front_end(state), samples, 100)
    n = front_end.frames_ready
    assert n == len(case.extractor(samples)) == 11
    plain = case.normalizer(state).normalize(
        repeat_to(case.features[:n], 29), front_end.moments(n - 1)
    )
    alike(front_end.repeated_window(29), case.extractor.present(plain), CONFIG.clip, 2e-5)
    cyclic = plain[np.arange(29) % 11]
    np.testing.assert_array_equal(plain, cyclic)


# The normaliser's states


def naive_moments(case: Case, until: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and mean square of the voiced frames 0..until, one after the other.

    All weigh the same here: the stretch is shorter than the normaliser's memory.
    """
    e = case.extractor
    frames = e(case.samples)
    rate = e.sample_rate_hz / e.hop_length
    loudest = -np.inf
    voiced = []
    for i in range(until + 1):
        loudest = max(loudest - CONFIG.release_db_per_s / rate, float(frames.level_db[i]))
        if (
            frames.periodicity[i] >= CONFIG.periodicity
            and frames.level_db[i] >= loudest - CONFIG.range_db
            and frames.level_db[i] >= CONFIG.floor_dbfs
        ):
            voiced.append(case.features[i].astype(np.float64))
    assert 0 < len(voiced) < CONFIG.memory_s * rate
    return len(voiced), np.mean(voiced, axis=0), np.mean(np.square(voiced), axis=0)


def naive_statistics(case: Case, until: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the prior's half second and of the voiced frames together."""
    e = case.extractor
    count, mean, square = naive_moments(case, until)
    weight = CONFIG.prior_s * e.sample_rate_hz / e.hop_length
    prior_mean = case.statistics.mean.astype(np.float64)
    prior_square = case.statistics.std.astype(np.float64) ** 2 + prior_mean**2
    total = weight + count
    blended = (weight * prior_mean + count * mean) / total
    variance = (weight * prior_square + count * square) / total - blended**2
    # Deviations never fall below a tenth of the prior's.
    least = 0.01 * case.statistics.std.astype(np.float64) ** 2
    return blended, np.sqrt(np.maximum(variance, least))


@pytest.mark.parametrize("state", NormalizerState)
def test_windows_are_normalised_by_their_state(case, state):
    front_end = fed(case.front_end(state), case.samples)
    n = front_end.frames_ready
    for first, length in ((0, 12), (n - 12, 12), (n // 2, 6)):
        raw = case.features[first : first + length].astype(np.float64)
        if state is NormalizerState.NONE:
            want = raw
        elif state is NormalizerState.COLD:
            mean, std = case.statistics.mean, case.statistics.std
            want = np.clip((raw - mean) / std, -5, 5)
        else:
            mean, std = naive_statistics(case, first + length - 1)
            want = np.clip((raw - mean) / std, -5, 5)
        want = case.extractor.present(want.astype(np.float32))
        scale = case.scale if state is NormalizerState.NONE and want.shape == raw.shape else 5.0
        alike(front_end.window(first, length), want, scale, 1e-4)


@pytest.mark.parametrize("state", NormalizerState)
def test_the_embedding_is_that_of_the_voiced_frames(case, state):
    front_end = fed(case.front_end(state, embeds="statistics"), case.samples)
    width = case.extractor.width
    for frame in (front_end.frames_ready // 2, front_end.frames_ready - 1):
        mean, std = naive_statistics(case, frame)
        prior = case.statistics
        got = front_end.embedding(frame)
        assert got.shape == (2 * width,)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got[:width], (mean - prior.mean) / prior.std, atol=1e-4)
        np.testing.assert_allclose(got[width:], np.log(std / prior.std), atol=1e-3)
        assert np.abs(got).max() > 0.1


def test_without_evidence_the_embedding_is_zero(case):
    silent = case.front_end(NormalizerState.COLD, embeds="statistics")
    front_end = fed(silent, np.zeros(8000, np.float32))
    for frame in (0, front_end.frames_ready - 1):
        assert front_end.moments(frame).weight == 0
        np.testing.assert_allclose(front_end.embedding(frame), 0.0, atol=1e-6)


def test_the_embedding_is_causal(case):
    x, extractor = case.samples, case.extractor
    i = extractor.frame_count(len(x)) // 2
    need = extractor.samples_for(i + 1)
    other = np.concatenate([x[:need], x[: len(x) - need][::-1] * np.float32(3.0)])
    a, b = (fed(case.front_end(NormalizerState.COLD, embeds="statistics"), y) for y in (x, other))
    shorter = fed(case.front_end(NormalizerState.COLD, embeds="statistics"), x[:need])
    alike(b.embedding(i), a.embedding(i), 1.0)
    alike(shorter.embedding(i), a.embedding(i), 1.0)
    last = a.frames_ready - 1
    assert not np.allclose(b.embedding(last), a.embedding(last), atol=1e-3)


def test_nobody_gathers_what_nobody_asks_for(case):
    front_end = fed(case.front_end(NormalizerState.COLD), case.samples)
    np.testing.assert_array_equal(front_end.moments(front_end.frames_ready - 1).rows, [0.0])
    for state, embeds in (
        (NormalizerState.RUNNING, ""),
        (NormalizerState.COLD, "statistics"),
        (NormalizerState.NONE, "knowledge"),
    ):
        assert case.normalizer(state, embeds).moments_width == HEADER + 2 * case.extractor.width


# Streams of frames


@pytest.mark.parametrize("piece", [0, 8])
def test_a_stream_of_frames_gives_the_frames_of_the_whole(case, piece):
    x, extractor = case.samples, case.extractor
    whole = extractor(x)
    stream = FrameStream(extractor, 4, 3000, piece)
    edges = [0, 1, 700, 701, 12000, 12001, len(x)]
    found = [stream.accept(x[a:b]) for a, b in itertools.pairwise(edges)]
    n = sum(len(frames) for frames in found)
    assert n == stream.frames_ready
    assert len(whole) - n in range(max(piece, 1))
    for name in ("features", "level_db", "periodicity"):
        got = np.concatenate([getattr(frames, name) for frames in found])
        want = getattr(whole, name)[:n]
        alike(got, want, case.scale if name == "features" else 1.0, 1e-4)
    np.testing.assert_array_equal(stream.window(n - 4, 4), found[-1].features[-4:])


def test_frames_in_pieces_are_the_same_to_the_last_bit(case):
    x = case.samples
    one, many = (FrameStream(case.extractor, 1, 3000, 8) for _ in range(2))
    want = one.accept(x).features
    got = [many.accept(x[i : i + 77]).features for i in range(0, len(x), 77)]
    np.testing.assert_array_equal(np.concatenate(got), want)


def test_a_stream_that_starts_again_forgets_its_samples(case):
    x = case.samples
    stream, fresh = (FrameStream(case.extractor, 1, 3000) for _ in range(2))
    stream.accept(x[:5000])
    stream.restart()
    assert stream.frames_ready == 0
    want, got = fresh.accept(x[5000:]), stream.accept(x[5000:])
    np.testing.assert_array_equal(got.features, want.features)
