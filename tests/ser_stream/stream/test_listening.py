"""How a stream is listened to: one value, and the one place that assembles an engine of it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from ser_stream.audio.sources import ArraySource
from ser_stream.errors import ConfigError
from ser_stream.features.normalizer import NormalizerState
from ser_stream.models.settings import LIVE_HOP_S, SmoothingConfig
from ser_stream.stream.listening import Listening, feed_source, predictions_of
from ser_stream.types import AudioBlock, Word
from ser_stream.words.live import WordTap
from tests.helpers.fake_asr import FakeAsr

RATE_HZ = 16000
ROOT = Path(__file__).parents[3]
PACKAGES = ("ser_stream", "gui", "training", "export", "benchmarks", "scripts")
ASSEMBLED = {"Engine", "EngineConfig", "Session"}


class OneWord(FakeAsr):
    """Hears one word once it is over."""

    def words(self) -> list[Word]:
        return [Word("well", 0.5, 1.0)] if self.heard > RATE_HZ else []


def calls(path: Path) -> set[str]:
    """Names that a file calls."""
    tree = ast.parse(path.read_text())
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_one_place_assembles_engines_and_sessions():
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if calls(path) & ASSEMBLED
    }
    # An engine without a configuration makes the default one.
    assert found == {"ser_stream/stream/listening.py", "ser_stream/stream/engine.py"}


def test_a_session_steps_as_live_streams_do_and_recordings_as_the_model_says(bundle, speech):
    source = ArraySource(speech[:RATE_HZ], RATE_HZ)
    usual = Listening(bundle)
    assert usual.engine().hop_frames == bundle.meta.window_hop_frames
    assert usual.session(source).engine.hop_frames == bundle.hop_frames(LIVE_HOP_S)
    assert bundle.hop_frames(LIVE_HOP_S) != bundle.meta.window_hop_frames
    own = Listening(bundle, hop_s=0.2)
    assert own.engine().hop_frames == own.session(source).engine.hop_frames == 12


def test_an_engine_has_what_was_chosen(bundle):
    smoothing = SmoothingConfig(evidence_s=2.0)
    engine = Listening(bundle, smoothing=smoothing, gate=False).engine()
    assert engine.smoothing == smoothing
    assert engine.speech_now is None
    assert Listening(bundle).engine().smoothing == bundle.meta.smoothing
    with pytest.raises(ConfigError, match="hop_s"):
        Listening(bundle, hop_s=0.0).engine()


def test_the_state_of_the_normalizer_is_the_chosen_one(bundle, speech):
    x = speech[: 4 * RATE_HZ]
    running, cold = (
        predictions_of(
            Listening(bundle, gate=False, normalizer=state).engine(), ArraySource(x, RATE_HZ)
        )
        for state in (NormalizerState.RUNNING, NormalizerState.COLD)
    )
    assert not np.allclose(running[-1].logits, cold[-1].logits)


def test_a_session_opens_what_listens_for_words_at_the_sources_rate(bundle, speech):
    rates = []

    def opened(rate_hz: int) -> WordTap:
        rates.append(rate_hz)
        return WordTap(OneWord(), rate_hz, patient=True)

    listening = Listening(bundle, open_words=opened)
    source = ArraySource(np.repeat(speech[: 3 * RATE_HZ], 3), 48000)
    session = listening.session(source)
    session.start()
    assert session.wait(60.0)
    assert rates == [48000]
    assert session.words is not None
    assert [w.text for w in session.snapshot.words] == ["well"]
    # Who listens live makes no difference to recordings.
    assert listening == Listening(bundle)


@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_a_source_is_fed_to_its_end(bundle, speech, rate_hz):
    x = speech[: round(3.3 * rate_hz)]
    engine = Listening(bundle, gate=False).engine()
    steps = list(feed_source(engine, ArraySource(x, rate_hz, 0.5)))
    assert [s for _, s in steps] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.3, 3.3])
    found = [p for predictions, _ in steps for p in predictions]
    whole = predictions_of(engine, ArraySource(x, rate_hz, block_s=None))
    assert [(p.start, p.end) for p in found] == [(p.start, p.end) for p in whole]
    assert len(found) > 2
    if rate_hz == RATE_HZ:
        engine.reset()
        direct = engine.feed(AudioBlock(x, 0)) + engine.flush()
        assert [p.end for p in direct] == [p.end for p in found]
        np.testing.assert_allclose(found[-1].logits, direct[-1].logits, atol=1e-5)


def test_a_short_source_ends_with_one_prediction(bundle, speech):
    engine = Listening(bundle, gate=False).engine()
    assert len(predictions_of(engine, ArraySource(speech[: RATE_HZ // 2], RATE_HZ))) == 1
    assert predictions_of(engine, ArraySource(np.zeros(0, np.float32), RATE_HZ)) == []
