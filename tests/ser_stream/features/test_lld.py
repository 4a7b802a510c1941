"""The IS09 descriptors against stored openSMILE output and against their definitions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.features.is09 import LldConfig, LldExtractor, htk_mel_filters
from tests.helpers.places import ROOT, SHARED

RATE_HZ = 16000
# Synthesised speech, and beside the checkout, where they are, voices of two corpora.
GOLDEN = ROOT / "tests" / "golden" / "is09_lld"
VOICES = SHARED / "golden" / "is09_lld"
CLIPS = [
    *sorted(GOLDEN.glob("*.npz")),
    *(pytest.param(p, marks=pytest.mark.corpus) for p in sorted(VOICES.glob("*.npz"))),
]
ENERGY, MFCC, ZCR, VOICING, F0 = 0, slice(1, 13), 13, 14, 15


def sounds(speech: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(RATE_HZ) / RATE_HZ
    return {
        "speech": speech[: 4 * RATE_HZ],
        "quiet speech": speech[: 4 * RATE_HZ] * np.float32(1e-3),
        "noise": rng.normal(0, 0.1, RATE_HZ).astype(np.float32),
        "tone": (0.1 * np.sin(2 * np.pi * 220 * t)).astype(np.float32),
        "silence": np.zeros(RATE_HZ, dtype=np.float32),
        "full scale DC": np.ones(RATE_HZ, dtype=np.float32),
    }


def pulses(f0_hz: float, seconds: float = 1.0) -> np.ndarray:
    """Harmonics of equal amplitude up to 4 kHz."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    k = np.arange(1, int(4000 / f0_hz) + 1)
    return (0.05 * np.cos(2 * np.pi * f0_hz * k[:, None] * t).sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
def test_opensmile_gives_the_same(clip: Path):
    stored = np.load(clip)
    extractor = LldExtractor()
    samples = (stored["signal"] / 32768).astype(np.float32)
    got = extractor(samples).features
    assert len(got) == (len(samples) - 400) // 160 + 1 - extractor.look_ahead
    n = len(got)
    for part, names in (("lld", slice(0, 16)), ("delta", slice(16, 32))):
        mine, want = got[:, names], stored[part][:n]
        span = np.abs(want).max(axis=0)
        error = np.abs(mine - want)
        assert (error / span)[:, : VOICING + 1].max() < 2e-5
        norm = np.linalg.norm(want[:, MFCC], axis=1)
        # Nothing is wrong where there is nothing: synthesised speech has digital silence.
        assert (np.linalg.norm(error[:, MFCC], axis=1) <= 1e-4 * norm).all()
        assert np.corrcoef(mine[:, VOICING], want[:, VOICING])[0, 1] > 0.9999
        # Elementwise: single values pass through zero, hence the floor at a hundredth of the span.
        relative = error / np.maximum(np.abs(want), 0.01 * span)
        assert relative[:, : VOICING + 1].max() < 1e-3
        assert (relative[:, F0] < 0.02).mean() >= 0.95
    voiced, want_voiced = got[:, F0] > 0, stored["lld"][:n, F0] > 0
    assert want_voiced.any()
    np.testing.assert_array_equal(voiced, want_voiced)
    ratio = got[voiced, F0] / stored["lld"][:n][voiced, F0]
    assert (np.abs(ratio - 1) < 0.02).mean() >= 0.95


def naive_frame(x: np.ndarray) -> list[float]:
    """The 16 descriptors of 400 samples, one formula after the other, in float64."""
    x = x.astype(np.float64)
    crossings = 0
    for i in range(1, len(x) - 1):
        change = x[i - 1] * x[i] < 0
        touch = x[i] == 0 and x[i - 1] * x[i + 1] <= 0
        crossings += bool(change or touch)
    y = np.empty(400)
    y[0] = 0.03 * x[0]
    for i in range(1, 400):
        y[i] = x[i] - 0.97 * x[i - 1]
    y *= (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)) * 32768 / 32767
    power = np.abs(np.fft.rfft(y, 512)) ** 2
    log_mel = []
    centres = np.linspace(0.0, 1127 * np.log(1 + 8000 / 700), 28)
    for band in range(1, 27):
        total = 0.0
        for k in range(257):
            mel = 1127 * np.log(1 + k * 31.25 / 700)
            rising = (mel - centres[band - 1]) / (centres[band] - centres[band - 1])
            falling = (centres[band + 1] - mel) / (centres[band + 1] - centres[band])
            total += max(0.0, min(rising, falling)) * np.sqrt(power[k])
        log_mel.append(np.log(max(1.0, 32767 * total)))
    mfcc = []
    for i in range(1, 13):
        c = sum(v * np.cos(np.pi * i * (j + 0.5) / 26) for j, v in enumerate(log_mel))
        mfcc.append(c * np.sqrt(2 / 26) * (1 + 11 * np.sin(np.pi * i / 22)))
    a = np.abs(np.fft.irfft(power))
    highest = a[255]
    for lag in range(31, 256):
        if a[lag] > a[lag - 1]:
            highest = max(highest, a[lag])
    voicing = highest / a[0] if a[0] > 0 else 0.0
    c = np.fft.irfft(np.log1p(power))[:256]
    clear = 0.6 * (c[32:].max() + np.abs(c).mean())
    peaks = [i for i in range(33, 255) if c[i] > clear and c[i - 1] < c[i] > c[i + 1]]
    pitch = RATE_HZ / peaks[0] if voicing >= 0.55 and peaks else 0.0
    return [np.sqrt(np.mean(y**2)), *mfcc, crossings / 400, voicing, pitch]


def naive_pitches(pitches: np.ndarray, memory: int, memory_frames: int) -> np.ndarray:
    """The clean contour, one frame at a time, each from its own memory."""

    def plausible(t: int) -> float:
        if pitches[t] == 0:
            return 0.0
        before = [p for p in pitches[max(0, t - memory_frames) : t] if p > 0][-memory:]
        mean = before[0] if before else pitches[t]
        for p in before[1:]:
            mean += (0.3 if abs(p - mean) < 0.4 * mean else 0.1) * (p - mean)
        return pitches[t] if abs(pitches[t] - mean) < 0.4 * mean else mean

    clean = [0.0, 0.0, *(plausible(t) for t in range(len(pitches)))]
    contour = []
    for older, old, now in zip(clean, clean[1:], clean[2:], strict=False):
        if old > 0 and older > 0:
            contour.append((old + older) / 2)
        else:
            contour.append(old if now > 0 else 0.0)
    return np.array(contour)


@pytest.mark.parametrize("name", ["speech", "quiet speech", "noise", "tone", "silence"])
def test_frames_equal_their_definition(speech, name):
    x = sounds(speech)[name]
    x = x[RATE_HZ // 2 : RATE_HZ // 2 + 400 + 160 * 29].copy()
    got = LldExtractor().frames_of(x)
    want = np.array([naive_frame(x[i * 160 : i * 160 + 400]) for i in range(30)])
    assert got.features.shape == want.shape
    assert got.features.dtype == np.float32
    np.testing.assert_allclose(got.features[:, ENERGY], want[:, ENERGY], rtol=1e-5)
    np.testing.assert_allclose(got.features[:, MFCC], want[:, MFCC], atol=1e-3)
    np.testing.assert_allclose(got.features[:, ZCR], want[:, ZCR], atol=1e-7)
    np.testing.assert_allclose(got.features[:, VOICING], want[:, VOICING], atol=1e-5)
    np.testing.assert_allclose(got.features[:, F0], want[:, F0], rtol=1e-6)
    np.testing.assert_array_equal(got.periodicity, got.features[:, VOICING])


def test_level_is_that_of_the_raw_samples(speech):
    x = speech[RATE_HZ : 2 * RATE_HZ]
    extractor = LldExtractor()
    got = extractor.frames_of(x).level_db
    want = [
        10 * np.log10(np.mean(x[i * 160 : i * 160 + 400].astype(float) ** 2)) for i in range(98)
    ]
    np.testing.assert_allclose(got, want, atol=1e-3)
    silence = extractor.frames_of(np.zeros(800, dtype=np.float32))
    np.testing.assert_allclose(silence.level_db, -120.0, atol=1e-4)


def test_smoothing_and_deltas_equal_their_definition(speech):
    extractor = LldExtractor(LldConfig(pitch_memory=5, pitch_memory_frames=40))
    base = extractor.frames_of(speech[: 6 * RATE_HZ]).features
    raw = base.astype(np.float64)
    raw[:, F0] = naive_pitches(base[:, F0].astype(np.float64), 5, 40)
    got = extractor.in_context(base, 0)
    assert got.shape == (len(base) - 3, 32)

    def smooth(t: int) -> np.ndarray:
        t = max(t, 0)
        return (raw[max(t - 1, 0)] + raw[t] + raw[t + 1]) / 3

    for t in range(len(got)):
        slope = sum(d * (smooth(t + d) - smooth(t - d)) for d in (1, 2)) / 10
        np.testing.assert_allclose(got[t], [*smooth(t), *slope], rtol=1e-4, atol=1e-4)
    assert (got[:, F0] > 0).any()


@given(seed=st.integers(0, 2**32 - 1), voiced=st.floats(0.1, 1.0))
def test_outliers_become_the_running_mean(seed, voiced):
    rng = np.random.default_rng(seed)
    extractor = LldExtractor(LldConfig(pitch_memory=6, pitch_memory_frames=20))
    # Not whole lags: those can lie exactly on a limit, where rounding decides.
    pitches = rng.uniform(62, 480, 120).astype(np.float32) * (rng.random(120) < voiced)
    base = np.zeros((120, 16), dtype=np.float32)
    base[:, F0] = pitches
    want = naive_pitches(pitches, 6, 20)
    edged = np.concatenate([want[:1], want])
    want = (edged[:-2] + edged[1:-1] + edged[2:]) / 3
    got = extractor.in_context(base, 0)[:, F0]
    np.testing.assert_allclose(got, want[: len(got)], rtol=1e-4)


@given(cuts=st.lists(st.integers(1, 600), max_size=12), hops=st.lists(st.integers(1, 9)))
@pytest.mark.parametrize("config", [LldConfig(), LldConfig(pitch_memory=4, pitch_memory_frames=30)])
def test_no_value_depends_on_where_the_stream_is_cut(speech, config, cuts, hops):
    extractor = LldExtractor(config)
    speech = speech[: 8 * RATE_HZ]
    whole = extractor(speech).features
    total = extractor.base_count(len(speech))
    edges = np.unique([0, total, *np.clip(np.cumsum(cuts), 0, total)])
    base = np.zeros((0, 16), dtype=np.float32)
    pieces = []
    done = 0
    for first, last in pairwise(edges):
        # Only the samples of the new frames, then only the frames that the next ones depend on.
        new = extractor.frames_of(speech[first * 160 : (last - 1) * 160 + 400])
        assert len(new) == last - first
        base = np.concatenate([base, new.features])
        start = max(0, done - extractor.look_back)
        for extra in (*hops, last):
            end = min(done + extra + extractor.look_ahead, last)
            piece = extractor.in_context(base[start:end], done - start)
            pieces.append(piece)
            done += len(piece)
            start = max(0, done - extractor.look_back)
    got = np.concatenate(pieces)
    assert got.shape == whole.shape == (extractor.frame_count(len(speech)), 32)
    span = np.maximum(np.abs(whole).max(axis=0), 1e-3)
    assert (np.abs(got - whole) / span).max() < 1e-5


def test_nothing_outside_the_declared_context_matters(speech):
    extractor = LldExtractor(LldConfig(pitch_memory=4, pitch_memory_frames=30))
    base = extractor.frames_of(speech[: 3 * RATE_HZ]).features
    back, ahead = extractor.look_back, extractor.look_ahead
    t = 150
    want = extractor.in_context(base, 0)[t]
    spoiled = np.full_like(base, 1e6)
    spoiled[t - back : t + ahead + 1] = base[t - back : t + ahead + 1]
    np.testing.assert_array_equal(extractor.in_context(spoiled, t)[0], want)
    one = extractor.in_context(base[t - back : t + ahead + 1], back)
    np.testing.assert_array_equal(one, want[None])


@pytest.mark.parametrize("name", ["silence", "full scale DC", "quiet speech", "noise"])
def test_every_sound_gives_finite_values(speech, name):
    frames = LldExtractor()(sounds(speech)[name])
    assert len(frames) > 90
    for values in (frames.features, frames.level_db, frames.periodicity):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert len(values) == len(frames)
    assert frames.periodicity.min() >= 0
    assert frames.periodicity.max() <= 1


def test_silence_has_no_voice():
    frames = LldExtractor()(np.zeros(RATE_HZ, dtype=np.float32))
    assert not frames.features[:, [ENERGY, VOICING, F0]].any()
    np.testing.assert_allclose(frames.features[:, MFCC], 0.0, atol=1e-5)
    assert not frames.features[:, 16:].any()


@pytest.mark.parametrize("n", [0, 1, 399, 400, 560, 879, 880, 1040])
def test_short_input_gives_the_frames_that_are_ready(speech, n):
    extractor = LldExtractor()
    x = speech[RATE_HZ : RATE_HZ + n]
    base = extractor.frames_of(x)
    assert base.features.shape == (extractor.base_count(n), 16)
    frames = extractor(x)
    assert frames.features.shape == (extractor.frame_count(n), 32)
    assert len(frames.level_db) == len(frames.periodicity) == len(frames)
    assert extractor.frame_count(880) == 1
    assert extractor.samples_for(1) == 880


@pytest.mark.parametrize("f0_hz", [155.0, 220.0, 310.0, 440.0])
def test_harmonics_have_the_right_pitch(f0_hz):
    features = LldExtractor()(pulses(f0_hz)).features[3:]
    # A lag is a whole number of samples.
    np.testing.assert_allclose(features[:, F0], f0_hz, rtol=f0_hz / RATE_HZ + 0.01)
    assert features[:, VOICING].min() > 0.55


def test_voicing_falls_with_the_period():
    """The frame is short and its taper not compensated, as in the reference."""
    heights = (440.0, 220.0, 155.0, 110.0, 80.0)
    voicing = [LldExtractor()(pulses(f0_hz)).features[:, VOICING].mean() for f0_hz in heights]
    assert (np.diff(voicing) < 0).all()
    assert voicing[0] > 0.8
    assert voicing[-1] < 0.3


def test_white_noise_has_no_voice():
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ).astype(np.float32)
    features = LldExtractor()(noise).features
    assert features[:, VOICING].max() < 0.5
    assert (features[:, F0] > 0).mean() < 0.02


def test_mel_filters_are_triangles_that_sum_to_one():
    filters = htk_mel_filters(RATE_HZ, 512, 26, 0.0, 8000.0)
    assert filters.shape == (257, 26)
    centres = filters.argmax(axis=0)
    assert (np.diff(centres) > 0).all()
    np.testing.assert_allclose(filters[centres[0] + 1 : centres[-1]].sum(axis=1), 1.0)
    np.testing.assert_allclose(filters[[0, -1]], 0.0, atol=1e-9)


def test_other_settings_keep_the_shapes(speech):
    config = LldConfig(n_mfcc=8, frame_length=512, hop_length=256, lifter=0.0)
    extractor = LldExtractor(config)
    frames = extractor(speech[:RATE_HZ])
    assert extractor.base_width == 12
    assert frames.features.shape == ((RATE_HZ - 512) // 256 + 1 - 3, 24)
    assert np.isfinite(frames.features).all()
    # Only the MFCCs ask for a lifter: 1 + 11 sin(pi / 22) is its first value.
    raw = LldExtractor(LldConfig(frame_length=512, hop_length=256)).frames_of(speech[:RATE_HZ])
    plain = extractor.frames_of(speech[:RATE_HZ])
    ratio = raw.features[:, 1] / plain.features[:, 1]
    np.testing.assert_allclose(ratio, 1 + 11 * np.sin(np.pi / 22), rtol=1e-4)


@pytest.mark.parametrize(
    "bad",
    [
        {"frame_length": 8},
        {"hop_length": 0},
        {"hop_length": 401},
        {"pre_emphasis": 1.5},
        {"n_mfcc": 26},
        {"n_mels": 400},
        {"lifter": -1.0},
        {"f_max_hz": 9000.0},
        {"f_min_hz": 8000.0},
        {"pitch_max_hz": 50.0},
        {"pitch_max_hz": 5000.0},
        {"voicing_cutoff": 0.0},
        {"pitch_memory": 0},
        {"pitch_memory_frames": 10},
    ],
)
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        LldConfig(**bad)
