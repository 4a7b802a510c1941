"""Recording conditions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.data.augment import Condition, apply_condition, draw_condition, through_codec
from training.recipe.book import load_recipe
from training.recipe.config import AugmentConfig

RATE_HZ = 16000


def test_the_neutral_condition_changes_nothing(speech):
    x = speech[RATE_HZ : 2 * RATE_HZ]
    same = apply_condition(x, RATE_HZ, Condition(), [], np.random.default_rng(0))
    np.testing.assert_array_equal(same, x)
    louder = apply_condition(x, RATE_HZ, Condition(gain_db=6.0), [], np.random.default_rng(0))
    gain = np.dot(louder, x) / np.dot(x, x)
    np.testing.assert_allclose(louder, np.clip(gain * x, -1, 1), atol=1e-6)
    assert abs(20 * np.log10(gain) - 6.0) <= 2.0


def test_conditions_do_what_they_say(speech):
    x = speech[RATE_HZ : 3 * RATE_HZ]

    def under(condition: Condition, noises=()) -> np.ndarray:
        return apply_condition(x, RATE_HZ, condition, noises, np.random.default_rng(0))

    def band(y: np.ndarray, low: float, high: float) -> float:
        power = np.abs(np.fft.rfft(y)) ** 2
        hz = np.fft.rfftfreq(len(y), 1 / RATE_HZ)
        return power[(hz >= low) & (hz < high)].sum() / power.sum()

    assert band(under(Condition(band_hz=(300.0, 3400.0))), 300, 3500) > 0.99
    assert band(x, 300, 3500) < 0.99
    assert len(under(Condition(speed=1.25))) == pytest.approx(len(x) / 1.25, abs=2)
    tone = np.sin(np.arange(RATE_HZ)).astype(np.float32)
    for which in (0, 1, 2):  # the recording, white, pink
        noisy = under(Condition(snr_db=10.0, noise=which), [tone])
        gain = np.dot(noisy, x) / np.dot(x, x)
        noise = noisy - gain * x
        snr = 10 * np.log10(np.sum((gain * x) ** 2) / np.sum(noise**2))
        assert snr == pytest.approx(10.0, abs=1.0)
    echo = under(Condition(reverb_s=0.4))
    assert len(echo) == len(x)
    assert np.corrcoef(echo, x)[0, 1] < 0.999
    longer = under(Condition(silence_s=1.0))
    assert len(x) < len(longer) <= len(x) + 2 * RATE_HZ
    assert np.abs(under(Condition(gain_db=60.0))).max() == 1.0


@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_codecs_keep_the_speech_and_its_level(speech, codec):
    x = speech[RATE_HZ : 4 * RATE_HZ] / np.float32(100)
    y = through_codec(x, RATE_HZ, codec, 24.0)
    assert abs(len(y) - len(x)) < 0.2 * RATE_HZ
    assert y.std() == pytest.approx(x.std(), rel=0.1)
    n = 1 << 17
    match = np.fft.irfft(np.fft.rfft(y, n) * np.fft.rfft(x, n).conj(), n).max()
    assert 0.8 < match / np.sqrt(np.dot(x, x) * np.dot(y, y)) < 0.9999
    drawn = draw_condition(AugmentConfig(codec_share=1.0), 0, np.random.default_rng(0))
    assert drawn.codec in ("mp3", "opus")
    assert 16.0 <= drawn.codec_kbps <= 32.0


def test_drawn_conditions_stay_in_range():
    config = AugmentConfig(noise_share=0.6, speed_share=0.5, speed=0.08)
    rng = np.random.default_rng(0)
    drawn = [draw_condition(config, 3, rng) for _ in range(400)]
    assert {c.noise for c in drawn} == {0, 1, 2, 3, 4}
    assert all(abs(c.speed - 1) <= config.speed for c in drawn)
    assert 0.5 < np.mean([c.snr_db is not None for c in drawn]) < 0.7


def test_white_only_needs_no_recordings(speech):
    config = load_recipe("ilt_cat").augment
    rng = np.random.default_rng(0)
    drawn = [draw_condition(config, 0, rng) for _ in range(50)]
    assert all(c.band_hz is None and c.reverb_s == 0.0 and c.speed == 1.0 for c in drawn)
    assert all(c.snr_db is not None and 25.0 <= c.snr_db <= 35.0 for c in drawn)
    x = speech[RATE_HZ : 2 * RATE_HZ]
    noisy = apply_condition(x, RATE_HZ, drawn[0], [], rng)
    noise = noisy - (np.dot(noisy, x) / np.dot(x, x)) * x
    power = np.abs(np.fft.rfft(noise)) ** 2
    half = len(power) // 2
    assert power[:half].sum() == pytest.approx(power[half:].sum(), rel=0.1)


def test_automatic_gain_control_takes_out_a_clips_level(speech):
    def level_db(x: np.ndarray) -> float:
        return float(10 * np.log10(np.mean(x**2)))

    rng = np.random.default_rng(0)
    loud = speech[RATE_HZ : 2 * RATE_HZ]
    quiet = loud * np.float32(0.1)
    between = level_db(loud) - level_db(quiet)
    for strength in (0.0, 0.5, 1.0):
        a, b = (
            apply_condition(x, RATE_HZ, Condition(agc=strength), [], rng) for x in (loud, quiet)
        )
        assert level_db(a) - level_db(b) == pytest.approx((1 - strength) * between, abs=1e-3)
    assert level_db(a) == pytest.approx(-26.0, abs=0.1)
    drawn = [draw_condition(AugmentConfig(agc_share=0.5), 0, rng).agc for _ in range(400)]
    assert 0.4 < np.mean([agc > 0 for agc in drawn]) < 0.6
    assert all(agc == 0.0 or 0.5 <= agc <= 1.0 for agc in drawn)
