"""What a live view remembers."""

from __future__ import annotations

import numpy as np
import pytest

from gui.live.history import STATES, History
from gui.live.spectrogram import COLUMN_S, SPECTROGRAM, Spectrogram
from ser_stream.audio.sources import ArraySource
from ser_stream.features.logmel import LogMelExtractor
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, Prediction, Snapshot, State

RATE_HZ = 16000
LABELS = ("angry", "happy", "neutral", "sad")


def prediction(k: int, state: State = State.NO_SPEECH, **more: object) -> Prediction:
    return Prediction(1600 * k, 1600 * k + 32000, state, **more)  # pyright: ignore[reportArgumentType]


def test_a_session_fills_both(bundle, speech):
    x = speech[: 8 * RATE_HZ]
    history, spectrogram = History(LABELS, RATE_HZ), Spectrogram(RATE_HZ)
    engine = Engine(bundle, EngineConfig(hop_s=0.1, gate=False))
    session = Session(ArraySource(x, RATE_HZ), engine, [history], taps=[spectrogram])
    session.start()
    assert session.wait(60)
    assert session.error is None
    stretch = history.since(0.0)
    expected = Engine(bundle, EngineConfig(hop_s=0.1, gate=False))
    predictions = expected.feed(AudioBlock(x, 0)) + expected.flush()
    assert len(stretch) == len(predictions) > 50
    np.testing.assert_allclose(stretch.end_s, [p.end / RATE_HZ for p in predictions])
    np.testing.assert_allclose(stretch.belief, [p.smoothed for p in predictions], atol=1e-4)
    assert [STATES[i] for i in stretch.state] == [p.state for p in predictions]
    assert [LABELS[i] if i >= 0 else None for i in stretch.label] == [p.label for p in predictions]
    assert np.isnan(stretch.speech).all()
    assert (np.abs(stretch.valence) <= 1).all()
    begin, columns = spectrogram.since(0.0)
    assert begin == 0.0
    np.testing.assert_allclose(columns, LogMelExtractor(SPECTROGRAM)(x).features, atol=1e-3)


def test_the_newest_are_kept_and_asked_for_by_time():
    history = History(LABELS, RATE_HZ, capacity=10)
    assert len(history.since(0.0)) == 0
    smoothed = np.array([0.7, 0.1, 0.1, 0.1], np.float32)
    for k in range(25):
        if k % 2:
            history.write(prediction(k, speech=0.1), Snapshot())
        else:
            angry = prediction(k, State.EMOTION, label="angry", smoothed=smoothed, speech=0.9)
            history.write(angry, Snapshot())
    kept = history.since(0.0)
    np.testing.assert_allclose(kept.end_s, 2.0 + 0.1 * np.arange(15, 25))
    assert len(history.since(2.0 + 2.15)) == 3
    assert len(history.since(99.0)) == 0
    odd = np.arange(15, 25) % 2 == 1
    np.testing.assert_array_equal(np.isnan(kept.belief[:, 0]), odd)
    np.testing.assert_allclose(kept.belief[~odd], np.tile(smoothed, (5, 1)))
    np.testing.assert_allclose(kept.speech, np.where(odd, 0.1, 0.9), atol=1e-6)
    np.testing.assert_array_equal(kept.label, np.where(odd, -1, 0))
    assert (kept.arousal[~odd] > 0).all()
    assert (kept.valence[~odd] < 0).all()
    # A copy: a view may draw while the worker writes.
    kept.belief[:] = 0.0
    assert np.nanmax(history.since(0.0).belief) == pytest.approx(0.7)


def test_classes_without_a_place_have_no_valence():
    history = History(("calm", "odd"), RATE_HZ)
    belief = np.array([0.2, 0.8], np.float32)
    history.write(prediction(0, State.EMOTION, label="odd", smoothed=belief), Snapshot())
    stretch = history.since(0.0)
    assert np.isnan(stretch.valence).all()
    assert stretch.label.tolist() == [1]


@pytest.mark.parametrize("size", [1, 77, 512, 5000, 48000])
def test_columns_do_not_depend_on_blocks(size):
    x = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    whole = LogMelExtractor(SPECTROGRAM)(x).features
    spectrogram = Spectrogram(RATE_HZ)
    for start in range(0, len(x) if size > 1 else 3000, size):
        spectrogram.hear(AudioBlock(x[start : start + size], start))
    _, columns = spectrogram.since(0.0)
    np.testing.assert_allclose(columns, whole[: len(columns)], atol=1e-3)
    assert len(columns) == len(whole if size > 1 else LogMelExtractor(SPECTROGRAM)(x[:3000]))


@pytest.mark.parametrize("size", [100, 3000])
@pytest.mark.parametrize("lost", [1, 12345, 16000 * 30])
def test_what_was_lost_is_empty_and_time_goes_on(size, lost):
    rng = np.random.default_rng(1)
    x = rng.normal(0, 0.1, 32000).astype(np.float32)
    spectrogram = Spectrogram(RATE_HZ, seconds=20.0)
    half = 16000
    for start in range(0, len(x), size):
        at = start if start < half else start + lost
        gap = start - size < half <= start
        spectrogram.hear(AudioBlock(x[start : start + size], at, gap))
    begin, columns = spectrogram.since(0.0)
    hop = SPECTROGRAM.hop_length
    resumed = next(s for s in range(0, len(x), size) if s >= half)
    first = -(-(resumed + lost) // hop)
    after = LogMelExtractor(SPECTROGRAM)(x[first * hop - lost :]).features
    np.testing.assert_allclose(columns[-len(after) :], after, atol=1e-3)
    assert round(begin / COLUMN_S) + len(columns) == first + len(after)
    before = len(LogMelExtractor(SPECTROGRAM)(x[:resumed]))
    assert np.isnan(columns).all(axis=1).sum() == (0 if begin else first - before)
    # What is asked for from later on is a part of it.
    later, part = spectrogram.since(first * COLUMN_S)
    assert later == pytest.approx(first * COLUMN_S)
    np.testing.assert_array_equal(part, columns[-len(after) :])
