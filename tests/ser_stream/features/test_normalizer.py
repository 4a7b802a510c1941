"""The normaliser against its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames
from ser_stream.features.normalizer import (
    HEADER,
    FeatureStatistics,
    Normalizer,
    NormalizerConfig,
    NormalizerState,
    voiced_frames,
)

RATE = 31.25
PRIOR = FeatureStatistics(
    np.array([-300.0, 20.0], dtype=np.float32), np.array([100.0, 5.0], dtype=np.float32)
)


def some_frames(n: int, seed: int = 0, voiced: float = 0.6) -> Frames:
    rng = np.random.default_rng(seed)
    return Frames(
        rng.normal([-200.0, 10.0], [50.0, 8.0], (n, 2)).astype(np.float32),
        rng.uniform(-30, -20, n).astype(np.float32),
        np.where(rng.random(n) < voiced, 0.9, 0.1).astype(np.float32),
    )


def part(frames: Frames, a: int, b: int) -> Frames:
    return Frames(frames.features[a:b], frames.level_db[a:b], frames.periodicity[a:b])


def test_running_statistics_are_those_of_prior_and_voiced_frames():
    config = NormalizerConfig(prior_s=2.0)
    normalizer = Normalizer(PRIOR, config, RATE)
    frames = some_frames(200)
    moments = normalizer.accept(frames)
    voiced = frames.periodicity >= config.periodicity
    for k in (0, 17, 199):
        x = frames.features[: k + 1][voiced[: k + 1]].astype(np.float64)
        w = 2.0 * RATE
        mean = (w * PRIOR.mean + x.sum(axis=0)) / (w + len(x))
        second = (w * (PRIOR.std.astype(np.float64) ** 2 + PRIOR.mean.astype(np.float64) ** 2)
                  + (x**2).sum(axis=0)) / (w + len(x))  # fmt: skip
        got_mean, got_std = normalizer.statistics(moments[k])
        np.testing.assert_allclose(got_mean, mean, rtol=1e-5)
        np.testing.assert_allclose(got_std, np.sqrt(second - mean**2), rtol=1e-4)
        assert normalizer.evidence_s(moments[k]) == pytest.approx(len(x) / RATE)


def test_without_voice_running_is_cold():
    frames = some_frames(50, voiced=0.0)
    for state in NormalizerState:
        normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE, state)
        mean, std = normalizer.statistics(normalizer.accept(frames)[-1])
        np.testing.assert_allclose(mean, PRIOR.mean)
        np.testing.assert_allclose(std, PRIOR.std)


def test_cold_never_moves():
    normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE, NormalizerState.COLD)
    moments = normalizer.accept(some_frames(500))
    window = some_frames(10).features
    want = np.clip((window - PRIOR.mean) / PRIOR.std, -5, 5)
    np.testing.assert_allclose(normalizer.normalize(window, moments[-1]), want, rtol=1e-5)


def test_none_changes_nothing_and_copies():
    normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE, NormalizerState.NONE)
    frames = some_frames(40)
    moments = normalizer.accept(frames)
    window = frames.features[:10]
    got = normalizer.normalize(window, moments[-1])
    np.testing.assert_array_equal(got, window)
    assert not np.shares_memory(got, window)


@pytest.mark.parametrize("state", NormalizerState)
def test_moments_are_gathered_where_somebody_asks_for_them(state):
    frames = some_frames(30)
    plain = Normalizer(PRIOR, NormalizerConfig(), RATE, state)
    moments = plain.accept(frames)
    running = state is NormalizerState.RUNNING
    assert moments.rows.shape == (30, HEADER + 4 if running else 1)
    assert moments.rows.any() == running
    embeds = Normalizer(PRIOR, NormalizerConfig(), RATE, state, embeds="statistics")
    want = Normalizer(PRIOR, NormalizerConfig(), RATE).accept(frames)
    np.testing.assert_array_equal(embeds.accept(frames).rows, want.rows)


def test_the_embedding_tells_shift_and_spread():
    """By hand: 4 s of voice behind 1 s of prior, four parts to one."""
    normalizer = Normalizer(
        PRIOR, NormalizerConfig(prior_s=1.0), 10.0, NormalizerState.COLD, embeds="statistics"
    )
    # Feature 0 alternates between -200 and 0, feature 1 stays at 25.
    features = np.tile(np.array([[-200, 25], [0, 25]], dtype=np.float32), (20, 1))
    level = np.full(40, -20, dtype=np.float32)
    voice = np.ones(40, dtype=np.float32)
    moments = normalizer.accept(Frames(features, level, voice))
    got = normalizer.embedding(moments[-1])
    # Feature 0: deviations from -300 are 100 and 300. Mean 0.8 * 200 = 160; mean square
    # 0.2 * 100^2 + 0.8 * (100^2 + 300^2) / 2 = 42000; variance 42000 - 160^2 = 16400.
    # Feature 1: deviation 5. Mean 0.8 * 5 = 4; mean square 0.2 * 5^2 + 0.8 * 5^2 = 25; variance 9.
    want = [1.6, 0.8, np.log(np.sqrt(16400) / 100), np.log(3 / 5)]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert got.dtype == np.float32


@pytest.mark.parametrize("state", NormalizerState)
def test_the_embedding_is_zero_until_a_voice_is_heard(state):
    normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE, state, embeds="statistics")
    moments = normalizer.accept(some_frames(50, voiced=0.0))[-1]
    np.testing.assert_allclose(normalizer.embedding(moments), np.zeros(4), atol=1e-7)
    moments = normalizer.accept(some_frames(50))[-1]
    assert np.abs(normalizer.embedding(moments)).min() > 0.01
    normalizer.reset()
    moments = normalizer.accept(some_frames(1, voiced=0.0))[-1]
    np.testing.assert_allclose(normalizer.embedding(moments), np.zeros(4), atol=1e-7)


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(0, 5))
def test_cutting_does_not_matter(cuts, seed):
    frames = some_frames(300, seed)
    config = NormalizerConfig(prior_s=0.5, memory_s=2.0)
    whole = Normalizer(PRIOR, config, RATE).accept(frames)
    piecewise = Normalizer(PRIOR, config, RATE)
    edges = [0, *sorted(cuts), 300]
    rows = [piecewise.accept(part(frames, a, b)) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate([r.rows for r in rows]), whole.rows, rtol=1e-12)


def test_it_is_causal():
    frames, other = some_frames(100, 1), some_frames(100, 2)
    mixed = Frames(
        np.concatenate([frames.features[:60], other.features[60:]]),
        np.concatenate([frames.level_db[:60], other.level_db[60:]]),
        np.concatenate([frames.periodicity[:60], other.periodicity[60:]]),
    )
    a = Normalizer(PRIOR, NormalizerConfig(), RATE).accept(frames)
    b = Normalizer(PRIOR, NormalizerConfig(), RATE).accept(mixed)
    np.testing.assert_array_equal(a[:60].rows, b[:60].rows)
    assert not np.array_equal(a[60:].rows, b[60:].rows)


def test_a_new_speaker_is_learnt_in_finite_time():
    config = NormalizerConfig(prior_s=0.5, memory_s=4.0)
    new = some_frames(1500, voiced=1.0)
    shifted = Frames(new.features + 100.0, new.level_db, new.periodicity)
    after_another, fresh = (Normalizer(PRIOR, config, RATE) for _ in range(2))
    after_another.accept(some_frames(20000, voiced=1.0))
    moments = after_another.accept(shifted)[-1]
    got = after_another.statistics(moments)
    want = fresh.statistics(fresh.accept(shifted)[-1])
    np.testing.assert_allclose(got, want, rtol=1e-3)
    assert after_another.evidence_s(moments) <= 4.0 + 1 / RATE


def test_quiet_frames_after_loud_ones_are_not_voice():
    periodic = np.ones(4, dtype=np.float32)
    level = np.array([-20, -45, -55, -90], dtype=np.float32)
    frames = Frames(np.zeros((4, 2), dtype=np.float32), level, periodic)
    voiced, loudest = voiced_frames(frames, NormalizerConfig(), RATE)
    np.testing.assert_array_equal(voiced, [True, True, False, False])
    np.testing.assert_allclose(loudest, -20 - np.arange(4) / RATE, atol=1e-3)


def test_normalised_features_are_clipped():
    normalizer = Normalizer(PRIOR, NormalizerConfig(clip=3.0), RATE)
    moments = normalizer.accept(some_frames(5))
    silence = np.array([[-1131.0, 0.0]], dtype=np.float32)
    assert normalizer.normalize(silence, moments[-1])[0, 0] == -3.0


def test_reset_forgets_the_speaker():
    normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE)
    first = normalizer.accept(some_frames(50))
    normalizer.accept(some_frames(500, 3))
    normalizer.reset()
    np.testing.assert_array_equal(normalizer.accept(some_frames(50)).rows, first.rows)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="prior_s"):
        NormalizerConfig(prior_s=10.0, memory_s=5.0)
    with pytest.raises(ConfigError, match="std > 0"):
        FeatureStatistics(np.zeros(3, np.float32), np.zeros(3, np.float32))
    with pytest.raises(ConfigError, match="finite"):
        FeatureStatistics(np.full(3, np.nan, np.float32), np.ones(3, np.float32))
    with pytest.raises(ConfigError, match="must be equal"):
        FeatureStatistics(np.zeros(3, np.float32), np.ones(4, np.float32))


# Taking the level out, and being told


GAIN = np.array([1.0, 0.0], dtype=np.float32)
LEVEL = NormalizerConfig(level=True, clip=1e6)


def louder(frames: Frames, gain_db: float) -> Frames:
    return Frames(
        frames.features + np.float32(gain_db) * GAIN,
        frames.level_db + np.float32(gain_db),
        frames.periodicity,
    )


@pytest.mark.parametrize("state", [NormalizerState.COLD, NormalizerState.RUNNING])
@pytest.mark.parametrize("gain_db", [-40.0, 10.0])
@pytest.mark.parametrize("until", [0, 3, 200])
def test_a_louder_recording_is_normalised_alike_from_the_first_frame_on(state, gain_db, until):
    frames = some_frames(201)
    windows = []
    for heard in (frames, louder(frames, gain_db)):
        normalizer = Normalizer(PRIOR, LEVEL, RATE, state, gain=GAIN)
        moments = normalizer.accept(heard)
        windows.append(normalizer.normalize(heard.features[:50], moments[until]))
    np.testing.assert_allclose(windows[0], windows[1], atol=1e-4)


def test_without_a_voice_the_loudest_frame_tells_the_level():
    frames = some_frames(20, voiced=0.0)
    normalizer = Normalizer(PRIOR, LEVEL, RATE, gain=GAIN)
    mean, std = normalizer.statistics(normalizer.accept(frames)[-1])
    loudest = (frames.level_db - np.arange(19, -1, -1) / RATE).max()
    assert mean[0] == pytest.approx(PRIOR.mean[0] + loudest - 6.0, abs=1e-3)
    assert mean[1] == PRIOR.mean[1]
    np.testing.assert_allclose(std, PRIOR.std)


def test_statistics_without_the_level_are_those_of_frames_at_0_dbfs():
    frames = some_frames(400)
    normalizer = Normalizer(PRIOR, LEVEL, RATE, gain=GAIN)
    mean, std = normalizer.statistics(normalizer.accept(frames)[-1])
    voiced, _ = voiced_frames(frames, LEVEL, RATE)
    level = frames.level_db[voiced].astype(np.float64).mean()
    x = frames.features[voiced].astype(np.float64) - level * GAIN
    weight, prior = len(x), RATE * LEVEL.prior_s
    want = (x.sum(axis=0) + prior * PRIOR.mean) / (weight + prior)
    square = (np.square(x).sum(axis=0) + prior * (PRIOR.std**2 + PRIOR.mean**2)) / (weight + prior)
    np.testing.assert_allclose(mean, want + level * GAIN, rtol=1e-5)
    np.testing.assert_allclose(std, np.sqrt(square - want**2), rtol=1e-4)


def test_the_level_needs_a_gain():
    with pytest.raises(ConfigError, match="known gain"):
        Normalizer(PRIOR, LEVEL, RATE)


@pytest.mark.parametrize("config", [NormalizerConfig(), LEVEL])
def test_what_is_told_counts_whatever_is_heard(config):
    neutral, other = some_frames(300, seed=1), louder(some_frames(100, seed=2), 20.0)
    source = Normalizer(PRIOR, config, RATE, gain=GAIN)
    heard = source.accept(neutral)[-1]
    level_db, mean, variance = source.voice_of(heard)
    told = source.profile(float(heard.weight), level_db, mean, variance)
    np.testing.assert_allclose(told.rows[:2], heard.rows[:2])
    np.testing.assert_allclose(told.rows[HEADER:], heard.rows[HEADER:], rtol=1e-9)

    normalizer = Normalizer(PRIOR, config, RATE, embeds="knowledge", gain=GAIN)
    normalizer.use_profile(told)
    normalizer.reset()
    moments = normalizer.accept(other)
    want = source.normalize(other.features, heard)
    for row in moments[[0, 50, -1]]:
        np.testing.assert_allclose(normalizer.normalize(other.features, row), want, atol=1e-5)
        assert normalizer.embedding(row)[1] == 1.0
    normalizer.use_profile(None)
    free = Normalizer(PRIOR, config, RATE, gain=GAIN)
    np.testing.assert_array_equal(
        normalizer.normalize(other.features, moments[-1]),
        free.normalize(other.features, free.accept(other)[-1]),
    )


def test_both_views_are_those_of_what_was_told_and_of_what_was_heard():
    neutral, other = some_frames(300, seed=1), some_frames(100, seed=2)
    one = Normalizer(PRIOR, NormalizerConfig(), RATE)
    two = Normalizer(PRIOR, NormalizerConfig(both=True), RATE)
    told, heard = one.accept(neutral)[-1], two.accept(other)[-1]
    assert two.width == 4
    same = one.normalize(other.features, heard)
    np.testing.assert_array_equal(two.normalize(other.features, heard), np.hstack([same, same]))
    two.use_profile(told)
    want = np.hstack([one.normalize(other.features, told), same])
    np.testing.assert_array_equal(two.normalize(other.features, heard), want)


def test_knowledge_grows_with_what_was_heard():
    normalizer = Normalizer(PRIOR, NormalizerConfig(), RATE, embeds="knowledge")
    moments = normalizer.accept(some_frames(500))
    known = np.array([normalizer.embedding(m) for m in moments])
    assert known.shape == (500, normalizer.embedding_width)
    assert (np.diff(known[:, 0]) >= 0).all()
    assert known[-1, 0] == pytest.approx(np.log1p(moments[-1].weight / RATE) - 1.5, abs=1e-5)
    assert not known[:, 1].any()
