"""Per-frame features against librosa and against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames
from ser_stream.features.framing import repeat_to
from ser_stream.features.logmel import LogMelConfig, LogMelExtractor
from ser_stream.features.mel import a_weighting, hz_to_mel, mel_filters, mel_to_hz
from ser_stream.features.mfcc import MfccConfig, MfccExtractor, dct_matrix, delta_filter
from ser_stream.features.registry import FRONT_ENDS, make_extractor
from ser_stream.features.spectrogram import SpectrogramConfig, SpectrogramExtractor

RATE_HZ = 16000
# Paper 2's: 32 coefficients of 25 ms frames with two orders of deltas.
CONFIG_OF_DELTAS = {"n_fft": 400, "hop_length": 160, "n_mels": 40, "n_mfcc": 32, "taper": "hamming"}
DELTAS = MfccConfig(**CONFIG_OF_DELTAS, deltas=2)
# Every kind of frame count there is: no context, pitch, deltas with and without the second order.
EXTRACTORS = {
    **{name: (name, {}) for name in FRONT_ENDS},
    "mfcc with pitch": ("mfcc", {"pitch": True, "f_max_hz": 5300.0}),
    "mfcc with one delta": ("mfcc", {"pitch": True, "deltas": 1}),
    "mfcc with two deltas": ("mfcc", {"n_fft": 400, "hop_length": 160, "n_mels": 40, "deltas": 2}),
    "logmel of the shipped model": (
        "logmel",
        {"n_fft": 1024, "hop_length": 256, "prosody": True, "a_weighted": True, "range_db": 60.0},
    ),
}


def sounds(speech: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    return {
        "speech": speech[: 5 * RATE_HZ],
        "quiet speech": speech[: 5 * RATE_HZ] * np.float32(1e-3),
        "noise": rng.normal(0, 0.1, 2 * RATE_HZ).astype(np.float32),
        "tone": (0.1 * np.sin(2 * np.pi * 220 * t)).astype(np.float32),
        "silence": np.zeros(2 * RATE_HZ, dtype=np.float32),
    }


@pytest.mark.parametrize("f_max_hz", [8000.0, 5300.0])
@pytest.mark.parametrize("n_mfcc", [13, 40])
def test_mfcc_equals_librosa(speech, f_max_hz, n_mfcc):
    librosa = pytest.importorskip("librosa")
    extractor = MfccExtractor(MfccConfig(f_max_hz=f_max_hz, n_mfcc=n_mfcc))
    for name, x in sounds(speech).items():
        mel = librosa.feature.melspectrogram(
            y=x, sr=RATE_HZ, n_fft=2048, hop_length=512, window="hann", center=False, power=2.0,
            n_mels=128, fmin=0.0, fmax=f_max_hz,
        )  # fmt: skip
        log_mel = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
        want = librosa.feature.mfcc(S=log_mel, n_mfcc=n_mfcc, dct_type=2, norm="ortho").T
        got = extractor(x).features
        assert got.shape == want.shape, name
        # Relative to the frame: single coefficients pass through zero.
        error = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
        assert error.max() < 1e-4, name


def test_mfcc_equals_its_definition(speech):
    c = MfccConfig()
    x = speech[8000 : 8000 + 4096].astype(np.float64)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    filters = mel_filters(RATE_HZ, 2048, 128, 0.0, 8000.0).astype(np.float64)
    want = []
    for first in range(0, len(x) - 2048 + 1, 512):
        power = np.abs(np.fft.fft(x[first : first + 2048] * taper)[:1025]) ** 2
        log_mel = 10 * np.log10(np.maximum(filters.T @ power, 1e-10))
        want.append(
            [
                (np.sqrt(1 / 128) if k == 0 else np.sqrt(2 / 128))
                * sum(log_mel[n] * np.cos(np.pi * k * (2 * n + 1) / 256) for n in range(128))
                for k in range(13)
            ]
        )
    got = MfccExtractor(c)(x.astype(np.float32)).features
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-2)


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Largest distance of a frame from what it should be, relative to that frame."""
    assert got.shape == want.shape
    distance = np.linalg.norm(got - want, axis=1)
    size = np.linalg.norm(want, axis=1)
    assert (size > 0).all()
    return float((distance / size).max())


def reference_log_mel(x: np.ndarray, taper: str) -> np.ndarray:
    """librosa's 40 log-mel bands of left-aligned 25 ms frames, (frames, 40)."""
    librosa = pytest.importorskip("librosa")
    mel = librosa.feature.melspectrogram(
        y=x, sr=RATE_HZ, n_fft=400, hop_length=160, window=taper, center=False, power=2.0,
        n_mels=40, fmin=0.0, fmax=8000.0,
    )  # fmt: skip
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T


def test_mfcc_with_deltas_equals_librosa(speech):
    librosa = pytest.importorskip("librosa")
    from scipy.fft import dct

    extractor = MfccExtractor(DELTAS)
    assert (extractor.width, extractor.look_back, extractor.look_ahead) == (96, 4, 4)
    for name, x in sounds(speech).items():
        static = dct(reference_log_mel(x, "hamming"), type=2, norm="ortho", axis=1)[:, :32]
        slopes = [librosa.feature.delta(static, order=k, axis=0) for k in (1, 2)]
        # The last 4 frames have no future yet; librosa extrapolates there.
        want = np.concatenate([static, *slopes], axis=1)[:-4]
        got = extractor(x).features
        assert relative_error(got, want) < 1e-4, name
        for k in (1, 2):
            part = slice(32 * k, 32 * (k + 1))
            error = np.linalg.norm((got - want)[:, part], axis=1).max()
            # A slope says nothing below the rounding errors of the values that it is taken of.
            size = np.linalg.norm(want[:, part], axis=1).max()
            assert error < 1e-4 * size + 1e-6 * np.abs(static).max(), (name, k)


def test_one_delta_is_the_first_of_two(speech):
    one = MfccExtractor(MfccConfig(**{**CONFIG_OF_DELTAS, "deltas": 1}))
    two, none = MfccExtractor(DELTAS), MfccExtractor(MfccConfig(**CONFIG_OF_DELTAS))
    x = speech[RATE_HZ : 2 * RATE_HZ]
    assert (one.width, none.width) == (64, 32)
    np.testing.assert_array_equal(one(x).features, two(x).features[:, :64])
    n = len(two(x))
    np.testing.assert_array_equal(two(x).features[:, :32], none(x).features[:n])
    assert len(none(x)) == n + 4


def test_the_first_frames_take_the_slope_of_the_first_that_has_one(speech):
    features = MfccExtractor(DELTAS)(speech[RATE_HZ : 2 * RATE_HZ]).features
    np.testing.assert_array_equal(features[:4, 32:], np.repeat(features[4:5, 32:], 4, axis=0))
    assert not np.array_equal(features[4, 32:], features[5, 32:])


@pytest.mark.parametrize("order", [1, 2])
def test_delta_filters_differentiate_polynomials(order):
    taps = delta_filter(4, order).astype(np.float64)
    t = np.arange(-4, 5)
    # The derivative at 0 of a0 + a1 t + a2 t^2.
    for powers, want in (([1, 0, 0], (0, 0)), ([0, 1, 0], (1, 0)), ([0, 0, 1], (0, 2))):
        value = sum(a * t**k for k, a in enumerate(powers))
        np.testing.assert_allclose(taps @ value, want[order - 1], atol=1e-6)
    if order == 1:
        np.testing.assert_allclose(taps, t / 60.0, atol=1e-7)


def test_log_mel_equals_librosa(speech):
    extractor = LogMelExtractor(LogMelConfig())
    for name, x in sounds(speech).items():
        assert relative_error(extractor(x).features, reference_log_mel(x, "hann")) < 1e-4, name


def naive_magnitudes(x: np.ndarray) -> np.ndarray:
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(640) / 640)
    frames = []
    for first in range(0, len(x) - 640 + 1, 160):
        padded = np.zeros(1600)
        padded[:640] = x[first : first + 640].astype(np.float64) * taper
        frames.append(np.abs(np.fft.fft(padded))[:400])
    return np.array(frames)


def test_magnitudes_equal_their_definition(speech):
    extractor = SpectrogramExtractor(SpectrogramConfig())
    for name, sound in sounds(speech).items():
        x = sound[: 2 * RATE_HZ]
        want = naive_magnitudes(x)
        got = extractor(x).features
        assert got.shape == want.shape == (197, 400)
        scale = np.abs(want).max(axis=1, keepdims=True)
        assert (np.abs(got - want) <= 1e-5 * scale).all(), name


def test_magnitudes_equal_librosa(speech):
    librosa = pytest.importorskip("librosa")
    extractor = SpectrogramExtractor(SpectrogramConfig())
    for name, x in sounds(speech).items():
        # librosa puts a short taper into the middle of a long frame.
        middle = np.pad(x, 480)
        want = np.abs(
            librosa.stft(
                middle, n_fft=1600, hop_length=160, win_length=640, window="hamming", center=False
            )
        ).T[:, :400]
        got = extractor(x).features
        assert got.shape == want.shape
        scale = np.abs(want).max(axis=1, keepdims=True)
        assert (np.abs(got - want) <= 1e-5 * scale).all(), name


def naive_presentation(window: np.ndarray) -> np.ndarray:
    """Paper 3: three frames of zeros, min-max to [-1, 1], and equation (1)."""
    padded = np.concatenate([window.astype(np.float64), np.zeros((3, window.shape[1]))])
    low, high = padded.min(), padded.max()
    out = np.zeros_like(padded)
    for (i, k), value in np.ndenumerate(padded):
        x = 2.0 * (value - low) / (high - low) - 1.0
        out[i, k] = np.sign(x) * np.log(1 + 255 * abs(x)) / np.log(256)
    return out


def test_the_window_stage_equals_its_formula(speech):
    extractor = SpectrogramExtractor(SpectrogramConfig())
    for name, x in sounds(speech).items():
        if name == "silence":
            continue
        window = extractor(x[RATE_HZ // 2 : RATE_HZ]).features
        got = extractor.present(window)
        assert got.shape == (len(window) + 3, 400)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, naive_presentation(window), atol=2e-5, err_msg=name)
        assert got.min() == -1.0
        assert got.max() == pytest.approx(1.0, abs=1e-6)


def test_the_window_stage_leaves_its_input_alone_and_knows_no_level(speech):
    extractor = SpectrogramExtractor(SpectrogramConfig())
    window = extractor(speech[RATE_HZ : 2 * RATE_HZ]).features
    before = window.copy()
    want = extractor.present(window)
    np.testing.assert_array_equal(window, before)
    np.testing.assert_allclose(extractor.present(window * np.float32(1e-3)), want, atol=2e-5)


@pytest.mark.parametrize(
    ("value", "pad_frames"), [(0.0, 3), (0.0, 0), (7.0, 0), (1e-30, 0), (1e-39, 3)]
)
def test_a_window_without_contrast_is_zero(value, pad_frames):
    extractor = SpectrogramExtractor(SpectrogramConfig(pad_frames=pad_frames))
    out = extractor.present(np.full((20, 400), value, dtype=np.float32))
    np.testing.assert_array_equal(out, np.zeros((20 + pad_frames, 400)))


@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.floats(-44, 30),
    spread=st.floats(0, 12),
    pad_frames=st.integers(0, 3),
)
def test_presented_windows_stay_in_range(seed, exponent, spread, pad_frames):
    rng = np.random.default_rng(seed)
    extractor = SpectrogramExtractor(SpectrogramConfig(n_bins=20, pad_frames=pad_frames))
    window = (10.0 ** (exponent + spread * rng.uniform(-0.5, 0.5, (10, 20)))).astype(np.float32)
    out = extractor.present(window)
    assert out.shape == (10 + pad_frames, 20)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1.0


@pytest.mark.parametrize("key", EXTRACTORS)
@given(n=st.integers(0, 8000), k=st.integers(1, 40))
def test_counts_say_what_comes(speech, key, n, k):
    name, params = EXTRACTORS[key]
    extractor = make_extractor(name, params)
    x = speech[RATE_HZ : RATE_HZ + n]
    frames = extractor(x)
    count = extractor.frame_count(n)
    assert len(frames) == count
    assert frames.features.shape == (count, extractor.width)
    assert frames.level_db.shape == frames.periodicity.shape == (count,)
    base = extractor.frames_of(np.ascontiguousarray(x))
    assert base.features.shape == (extractor.base_count(n), extractor.base_width)
    # Never a frame from less than `shortest`, and all but the look-ahead from as many or more.
    assert count == (len(base) - extractor.look_ahead if len(base) >= extractor.shortest else 0)
    # k frames need exactly so many samples.
    need = extractor.samples_for(k)
    assert extractor.frame_count(need) >= k
    assert extractor.frame_count(need - 1) < k
    if k + extractor.look_ahead >= extractor.shortest:
        assert extractor.frame_count(need) == k


@pytest.mark.parametrize("key", EXTRACTORS)
def test_every_front_end_is_float32_and_finite_on_every_sound(speech, key):
    extractor = make_extractor(*EXTRACTORS[key])
    for name, x in sounds(speech).items():
        frames = extractor(x[:RATE_HZ])
        assert isinstance(frames, Frames)
        for values in (frames.features, frames.level_db, frames.periodicity):
            assert values.dtype == np.float32
            assert np.isfinite(values).all(), name
        assert frames.periodicity.min() >= 0.0
        assert frames.periodicity.max() <= 1.0
        assert extractor.present(frames.features).dtype == np.float32


@pytest.mark.parametrize("key", EXTRACTORS)
def test_the_registry_builds_from_plain_values(key):
    name, params = EXTRACTORS[key]
    assert set(FRONT_ENDS) == {name for name, _ in EXTRACTORS.values()}
    extractor = make_extractor(name, params)
    for field, value in params.items():
        assert getattr(extractor.config, field) == value
    with pytest.raises(ConfigError, match=f"front end {name}: unknown"):
        make_extractor(name, {**params, "surprise": 1})


@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 2559, 2560, 31743, 31744, 32000])
def test_frames_are_left_aligned_and_counted_exactly(n):
    extractor = MfccExtractor(MfccConfig())
    want = 0 if n < 2048 else 1 + (n - 2048) // 512
    assert extractor.frame_count(n) == want
    assert extractor(np.zeros(n, dtype=np.float32)).features.shape == (want, 13)
    assert extractor.frame_count(2 * RATE_HZ) == 59


def test_a_frame_does_not_depend_on_its_neighbours(speech):
    extractor = MfccExtractor(MfccConfig())
    whole = extractor(speech[:20000]).features
    for i in (0, 7, len(whole) - 1):
        alone = extractor(speech[i * 512 : i * 512 + 2048]).features[0]
        np.testing.assert_allclose(alone, whole[i], rtol=1e-5, atol=1e-3)


def test_features_are_float32(speech):
    frames = MfccExtractor(MfccConfig())(speech[:8000])
    assert {frames.features.dtype, frames.level_db.dtype, frames.periodicity.dtype} == {
        np.dtype(np.float32)
    }


def test_level_is_the_tapered_power_in_db():
    t = np.arange(8192) / RATE_HZ
    x = (0.1 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    level = MfccExtractor(MfccConfig())(x).level_db
    np.testing.assert_allclose(level, 20 * np.log10(0.1 / np.sqrt(2)), atol=0.05)
    assert MfccExtractor(MfccConfig())(np.zeros(4096, np.float32)).level_db.max() <= -119


@pytest.mark.parametrize("pitch_hz", [65, 110, 220, 380])
def test_periodicity_knows_a_voice_from_noise_at_any_level(pitch_hz):
    rng = np.random.default_rng(1)
    t = np.arange(16000) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 12))
    extractor = MfccExtractor(MfccConfig())
    for gain in (0.3, 1e-3):
        assert extractor((gain * buzz).astype(np.float32)).periodicity.min() > 0.9
        noise = rng.normal(0, gain, 16000).astype(np.float32)
        assert extractor(noise).periodicity.max() < 0.3
    assert extractor(np.zeros(4096, dtype=np.float32)).periodicity.max() == 0.0


def test_mel_scale_inverts():
    hz = np.linspace(0, 8000, 321)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-8)


def test_dct_is_orthonormal():
    basis = dct_matrix(24, 24).astype(np.float64)
    np.testing.assert_allclose(basis.T @ basis, np.eye(24), atol=1e-6)


def test_repeat_to_repeats_and_cuts():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(repeat_to(x, 7), x[[0, 1, 2, 0, 1, 2, 0]])
    with pytest.raises(ValueError, match="no frame"):
        repeat_to(x[:0], 4)


@pytest.mark.parametrize(
    ("config", "params", "message"),
    [
        (MfccConfig, {"hop_length": 0}, "need 0 < hop_length"),
        (MfccConfig, {"hop_length": 4096}, "need 0 < hop_length"),
        (MfccConfig, {"n_mfcc": 0}, "need 0 < n_mfcc"),
        (MfccConfig, {"n_mfcc": 129}, "need 0 < n_mfcc"),
        (MfccConfig, {"f_max_hz": 9000.0}, "need 0 <= f_min_hz"),
        (MfccConfig, {"f_min_hz": 8000.0}, "need 0 <= f_min_hz"),
        (MfccConfig, {"taper": "kaiser"}, "unknown taper 'kaiser'; known: hann, hamming"),
        (MfccConfig, {"deltas": 3}, "deltas must be 0, 1 or 2"),
        (MfccConfig, {"deltas": -1}, "deltas must be 0, 1 or 2"),
        (MfccConfig, {"n_fft": 400, "hop_length": 160, "pitch": True}, "too short for pitch"),
        (LogMelConfig, {"hop_length": 0}, "need 0 < hop_length"),
        (LogMelConfig, {"hop_length": 401}, "need 0 < hop_length"),
        (LogMelConfig, {"n_mels": 0}, "need n_mels >= 1"),
        (LogMelConfig, {"f_min_hz": -1.0}, "need 0 <= f_min_hz"),
        (LogMelConfig, {"sample_rate_hz": 8000}, "need 0 <= f_min_hz"),
        (LogMelConfig, {"taper": "Hann"}, "unknown taper"),
        (LogMelConfig, {"range_db": -1.0}, "need range_db >= 0"),
        (SpectrogramConfig, {"hop_length": 0}, "need 0 < hop_length"),
        (SpectrogramConfig, {"hop_length": 641}, "hop_length <= frame_length"),
        (SpectrogramConfig, {"n_fft": 512}, "frame_length <= n_fft"),
        (SpectrogramConfig, {"n_bins": 0}, "need 0 < n_bins <= 801"),
        (SpectrogramConfig, {"n_bins": 802}, "need 0 < n_bins <= 801"),
        (SpectrogramConfig, {"mu": 0.0}, "need mu > 0"),
        (SpectrogramConfig, {"pad_frames": -1}, "pad_frames >= 0"),
    ],
)
def test_impossible_settings_are_refused(config, params, message):
    with pytest.raises(ConfigError, match=message):
        config(**params)


def test_the_registry_is_closed():
    assert make_extractor("mfcc", {"n_mfcc": 20}).width == 20
    with pytest.raises(ConfigError, match="unknown front end"):
        make_extractor("os.system", {})
    with pytest.raises(ConfigError, match="front end mfcc: unknown"):
        make_extractor("mfcc", {"n_coefficients": 13})


@pytest.mark.parametrize("pitch_hz", [70.0, 101.0, 153.3, 220.0, 307.0, 380.0])
def test_pitch_is_found_in_octaves_whatever_the_level(pitch_hz):
    t = np.arange(16000) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 12))
    extractor = MfccExtractor(MfccConfig(pitch=True))
    assert extractor.width == 15
    for gain in (0.2, 1e-3):
        features = extractor((gain * buzz).astype(np.float32)).features
        assert features.dtype == np.float32
        hz = 100.0 * 2.0 ** features[:, 13]
        np.testing.assert_allclose(hz, pitch_hz, rtol=0.01)
        assert features[:, 14].min() > 0.9


def test_pitch_leaves_the_coefficients_alone(speech):
    with_pitch = MfccExtractor(MfccConfig(pitch=True))(speech[:16000])
    without = MfccExtractor(MfccConfig())(speech[:16000])
    np.testing.assert_array_equal(with_pitch.features[:, :13], without.features)
    np.testing.assert_array_equal(with_pitch.features[:, 14], with_pitch.periodicity)
    silent = MfccExtractor(MfccConfig(pitch=True))(np.zeros(4096, np.float32)).features
    assert np.isfinite(silent).all()


# What the running normaliser needs


@pytest.mark.parametrize("n_mels", [40, 48])
def test_prosody_is_appended_to_the_bands(speech, n_mels):
    config = LogMelConfig(n_fft=1024, hop_length=256, n_mels=n_mels, f_max_hz=5300.0)
    x = speech[RATE_HZ : 4 * RATE_HZ]
    plain = LogMelExtractor(config)(x)
    with_prosody = LogMelExtractor(replace(config, prosody=True))(x)
    np.testing.assert_array_equal(with_prosody.features[:, :n_mels], plain.features)
    mfcc = MfccConfig(n_fft=1024, hop_length=256, n_mfcc=1, pitch=True)
    reference = MfccExtractor(mfcc)(x)
    np.testing.assert_array_equal(with_prosody.features[:, n_mels:-1], reference.features[:, 1:])
    np.testing.assert_array_equal(with_prosody.periodicity, reference.periodicity)
    np.testing.assert_array_equal(with_prosody.features[:, -1], plain.level_db)
    assert LogMelExtractor(replace(config, prosody=True))(x[:100]).features.shape == (0, n_mels + 3)
    with pytest.raises(ConfigError, match="too short for prosody"):
        LogMelConfig(prosody=True)


@pytest.mark.parametrize(
    "extractor",
    [
        LogMelExtractor(LogMelConfig()),
        LogMelExtractor(LogMelConfig(n_fft=1024, hop_length=256, prosody=True)),
        LogMelExtractor(
            LogMelConfig(n_fft=1024, prosody=True, a_weighted=True, range_db=40.0, log_floor=1e-14)
        ),
        MfccExtractor(MfccConfig()),
        MfccExtractor(MfccConfig(pitch=True, deltas=2)),
    ],
)
def test_the_gain_of_a_feature_is_what_a_louder_recording_adds(speech, extractor):
    assert extractor.gain is not None
    assert extractor.gain.any()
    rng = np.random.default_rng(0)
    # Noise keeps every band above its floor.
    x = (speech[RATE_HZ : 3 * RATE_HZ] / 4 + rng.normal(0, 1e-3, 2 * RATE_HZ)).astype(np.float32)
    louder = extractor(x * np.float32(10 ** (6 / 20))).features
    # Where the pitch is anybody's guess, rounding may decide.
    change = np.median(louder - extractor(x).features, axis=0)
    np.testing.assert_allclose(change, 6.0 * extractor.gain, atol=1e-2)


# The values that the standard tabulates, dB.
A_WEIGHTING_DB = {31.5: -39.4, 63: -26.2, 125: -16.1, 250: -8.6, 500: -3.2, 1000: 0.0, 2000: 1.2,
                  4000: 1.0, 8000: -1.1}  # fmt: skip


def test_a_weighting_equals_the_tabulated_values():
    hz = np.array([1000.0 * 10 ** (n / 10) for n in (-15, -12, -9, -6, -3, 0, 3, 6, 9)])
    weights_db = 10 * np.log10(a_weighting(hz))
    np.testing.assert_allclose(weights_db, list(A_WEIGHTING_DB.values()), atol=0.06)
    assert a_weighting(np.zeros(1)) == [0.0]


WEIGHTED = LogMelExtractor(LogMelConfig(n_fft=1024, hop_length=256, prosody=True, a_weighted=True))


def test_rumble_changes_neither_level_nor_voice():
    t = np.arange(RATE_HZ) / RATE_HZ
    voice = 0.02 * np.sin(2 * np.pi * 150 * np.outer(np.arange(1, 20), t)).sum(axis=0)
    rumble = 0.1 * np.sin(2 * np.pi * 30 * t)
    x, y = (v.astype(np.float32) for v in (voice, voice + rumble))
    plain = LogMelExtractor(LogMelConfig(n_fft=1024, hop_length=256, prosody=True))
    assert np.median(plain(y).level_db - plain(x).level_db) > 2.5
    clean, rumbling = WEIGHTED(x), WEIGHTED(y)
    np.testing.assert_allclose(rumbling.level_db, clean.level_db, atol=0.1)
    np.testing.assert_allclose(rumbling.periodicity, clean.periodicity, atol=0.02)
    np.testing.assert_allclose(rumbling.features[:, -3], clean.features[:, -3], atol=0.01)
    np.testing.assert_array_equal(rumbling.features[:, -1], rumbling.level_db)


def test_weighting_leaves_the_bands_alone_and_the_level_of_1_khz():
    t = np.arange(RATE_HZ) / RATE_HZ
    x = (0.1 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    frames = WEIGHTED(x)
    plain = LogMelExtractor(LogMelConfig(n_fft=1024, hop_length=256))(x)
    np.testing.assert_array_equal(frames.features[:, :-3], plain.features)
    np.testing.assert_allclose(frames.level_db, 20 * np.log10(0.1 / np.sqrt(2)), atol=0.05)


def test_bands_keep_a_range_below_the_loudest_of_their_frame(speech):
    x = speech[RATE_HZ : 3 * RATE_HZ]
    config = LogMelConfig(n_fft=1024, hop_length=256, log_floor=1e-14)
    free = LogMelExtractor(config)(x).features
    held = LogMelExtractor(replace(config, range_db=30.0))(x).features
    floor = free.max(axis=1, keepdims=True) - 30.0
    assert 0.05 < (free < floor).mean() < 0.95
    np.testing.assert_allclose(held, np.maximum(free, floor), atol=1e-4)
