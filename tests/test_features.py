"""Per-frame features against librosa and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from ser_stream.errors import ConfigError
from ser_stream.features import (
    MfccConfig,
    MfccExtractor,
    dct_matrix,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
    repeat_to,
)
from ser_stream.frontend import make_extractor

RATE_HZ = 16000


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
    "params",
    [
        {"hop_length": 0},
        {"hop_length": 4096},
        {"n_mfcc": 0},
        {"n_mfcc": 129},
        {"f_max_hz": 9000.0},
        {"f_min_hz": 8000.0},
    ],
)
def test_impossible_settings_are_refused(params):
    with pytest.raises(ConfigError, match="need"):
        MfccConfig(**params)


def test_the_registry_is_closed():
    assert make_extractor("mfcc", {"n_mfcc": 20}).width == 20
    with pytest.raises(ConfigError, match="unknown front end"):
        make_extractor("os.system", {})
    with pytest.raises(ConfigError, match="unknown parameters"):
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
