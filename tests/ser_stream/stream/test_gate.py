"""The speech gate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.models.settings import GateConfig
from ser_stream.stream.detector import LevelControl, SileroDetector
from ser_stream.stream.gate import SpeechGate

RATE_HZ = 16000


class Scripted:
    """Says what the chunk's first sample says."""

    chunk_length = 4

    def __call__(self, chunks: np.ndarray) -> np.ndarray:
        assert chunks.shape[1:] == (4,)
        return chunks[:, 0]

    def reset(self) -> None:
        return None


@given(st.lists(st.integers(0, 40), max_size=10))
def test_share_counts_full_chunks_inside_the_span(cuts):
    truth = np.array([1, 0, 1, 1, 0, 0, 1, 1, 1, 0], dtype=np.float32)
    samples = np.repeat(truth, 4)
    gate = SpeechGate(Scripted(), GateConfig(), capacity=40)
    edges = [0, *sorted(cuts), 40]
    for a, b in itertools.pairwise(edges):
        gate.accept(samples[a:b])
    assert gate.share(0, 40) == pytest.approx(0.6)
    assert gate.share(1, 39) == pytest.approx(truth[1:9].mean())
    assert gate.share(8, 16) == 1.0
    assert gate.share(9, 11) == 0.0
    assert gate.probability == 0.0


def test_reset_starts_at_zero():
    gate = SpeechGate(Scripted(), GateConfig(), capacity=16)
    gate.accept(np.ones(6, np.float32))
    gate.reset()
    gate.accept(np.zeros(4, np.float32))
    assert gate.share(0, 4) == 0.0
    assert gate.probability == 0.0


class Accustomed:
    """Hears speech once it has heard eight chunks."""

    chunk_length = 4

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, chunks: np.ndarray) -> np.ndarray:
        at = self.heard + np.arange(len(chunks))
        self.heard += len(chunks)
        return (at >= 8).astype(np.float32)

    def reset(self) -> None:
        self.heard = 0


@given(st.lists(st.integers(0, 80), max_size=10))
def test_the_opening_is_heard_twice_however_the_stream_is_cut(cuts):
    samples = np.zeros(80, np.float32)
    gate = SpeechGate(Accustomed(), GateConfig(), capacity=80, opening=26)
    first = np.concatenate(
        [gate.accept(samples[a:b]) for a, b in itertools.pairwise([0, *sorted(cuts), 80])]
    )
    # Six chunks fit into the opening; the second hearing begins with what six have taught.
    np.testing.assert_array_equal(first, [0] * 6 + [1] * 14)
    assert [gate.share(i, i + 4) for i in range(0, 40, 4)] == [0, 0, *[1] * 8]
    gate.reset()
    assert gate.accept(samples[:24]).sum() == 0
    assert gate.share(8, 24) == 1.0


def test_a_stream_that_ends_within_its_opening_is_heard_twice_too():
    gate = SpeechGate(Accustomed(), GateConfig(), capacity=80, opening=40)
    gate.end_opening()
    gate.reset()
    gate.accept(np.zeros(21, np.float32))
    assert gate.share(0, 21) == 0.0
    gate.end_opening()
    assert gate.share(0, 21) == pytest.approx(0.4)
    gate.end_opening()
    assert gate.share(0, 21) == pytest.approx(0.4)


def heard(x: np.ndarray) -> float:
    gate = SpeechGate(SileroDetector(), GateConfig(), capacity=len(x))
    gate.accept(x.astype(np.float32))
    return gate.share(0, len(x))


def test_silero_hears_speech_and_nothing_else(speech):
    assert heard(speech[RATE_HZ : 4 * RATE_HZ]) > 0.8
    rng = np.random.default_rng(0)
    assert heard(rng.normal(0, 0.1, 3 * RATE_HZ)) < 0.1
    assert heard(np.zeros(3 * RATE_HZ)) == 0.0


def test_silero_starts_anew_after_reset(speech):
    detector = SileroDetector()
    chunks = speech[RATE_HZ : RATE_HZ + 20 * 512].reshape(20, 512)
    first = detector(chunks)
    detector.reset()
    np.testing.assert_array_equal(detector(chunks), first)


def test_silero_hears_the_same_however_the_stream_is_cut(speech):
    chunks = speech[RATE_HZ : RATE_HZ + 20 * 512].reshape(20, 512)
    whole, detector = SileroDetector()(chunks), SileroDetector()
    parts = np.concatenate([detector(part) for part in np.split(chunks, [1, 3, 11])])
    np.testing.assert_allclose(parts, whole, atol=1e-4)


@pytest.mark.parametrize("gain_db", [-40, -20, 10])
def test_silero_hears_speech_at_any_level(speech, gain_db):
    x = speech[RATE_HZ : 4 * RATE_HZ]
    assert heard(np.clip(x * 10 ** (gain_db / 20), -1, 1)) == pytest.approx(heard(x), abs=0.15)


def test_silero_hears_speech_through_a_telephone(speech):
    x = speech[RATE_HZ : 4 * RATE_HZ]
    spectrum, hz = np.fft.rfft(x), np.fft.rfftfreq(len(x), 1 / RATE_HZ)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    assert heard(np.fft.irfft(spectrum, len(x))) == pytest.approx(heard(x), abs=0.15)


def test_level_control_amplifies_what_is_quiet_and_nothing_else():
    control = LevelControl(0.032)
    loud, quiet = (np.full((3, 512), v, np.float32) for v in (0.5, 1e-3))
    np.testing.assert_array_equal(control(loud), loud)
    # The loudest recent chunk decides: quiet ones soon after a loud one stay quiet.
    np.testing.assert_array_equal(control(quiet), quiet)
    control.reset()
    np.testing.assert_allclose(control(quiet), 10 ** (-30 / 20), rtol=1e-5)
    control.reset()
    np.testing.assert_allclose(control(quiet / np.float32(100)), quiet, rtol=1e-5)
    later = [control(loud[:1]), *(control(quiet) for _ in range(200))]
    assert later[-1].max() == pytest.approx(10 ** (-30 / 20), rel=1e-3)


@pytest.mark.corpus
def test_no_window_of_environmental_sound_is_speech(corpora):
    share = []
    for path in sorted((corpora / "esc10").rglob("*.ogg"))[::40]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE_HZ
        gate = SpeechGate(SileroDetector(), GateConfig(), capacity=len(samples))
        gate.accept(samples)
        share += [gate.share(i, i + 31744) for i in range(0, len(samples) - 31743, 6144)]
    assert len(share) > 30
    assert max(share) < GateConfig().min_share
