"""The engine's laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.errors import AudioError, BundleError, ConfigError
from ser_stream.features.normalizer import NormalizerState
from ser_stream.features.registry import FRONT_ENDS, make_extractor
from ser_stream.models.bundle import ModelBundle, scaled_softmax
from ser_stream.models.inputs import Inputs
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.scoring.recordings import score_file
from ser_stream.scoring.rows import prediction_row
from ser_stream.scoring.wording import verdict
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.smoothing import BeliefFilter
from ser_stream.types import LARGEST_SAMPLE, AudioBlock, Prediction, State
from tests.helpers.edited_bundle import edited
from tests.helpers.engines import Loudness, run, same
from tests.helpers.spy import Spy

RATE_HZ = 16000
WINDOW = 121 * 256 + 1024
HOP = 3 * 512
OPEN = EngineConfig(hop_s=0.1, gate=False)


# Law 1


@pytest.fixture(scope="module")
def uncut(bundle, speech) -> tuple[Engine, np.ndarray, list[Prediction]]:
    """An engine, samples, and what it says of them in one block."""
    x = speech[7 * RATE_HZ : 13 * RATE_HZ]
    engine = Engine(bundle, EngineConfig(hop_s=0.1), detector=Loudness())
    want = run(engine, x, [0, len(x)])
    assert len(want) == (len(x) - WINDOW) // HOP + 1
    # A pause is among it, so gate, restart of the smoothing, and labels all took part.
    assert {p.state for p in want} > {State.NO_SPEECH}
    return engine, x, want


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_any_blocking_gives_the_same_predictions(uncut, data):
    engine, x, want = uncut
    cuts = data.draw(st.lists(st.integers(0, len(x)), max_size=60))
    same(run(engine, x, [0, *sorted(cuts), len(x)]), want)


@pytest.mark.parametrize("block", [1, 160, 511, 512, 1411, 8192, 8193, 40000])
def test_regular_blocks_give_the_same_predictions_with_the_real_gate(bundle, speech, block):
    x = speech[: 6 * RATE_HZ] if block > 1 else speech[: WINDOW + 2 * HOP]
    engine = Engine(bundle, EngineConfig(hop_s=0.1))
    want = run(engine, x, [0, len(x)])
    same(run(engine, x, [*range(0, len(x), block), len(x)]), want)


# Law 2


def seen_by_training(bundle: ModelBundle, x: np.ndarray, hop: int) -> np.ndarray:
    """The windows of a clip, every ``hop`` frames, as `training.data.windows` presents them."""
    pytest.importorskip("torch")
    from training.data.features import FeatureStore
    from training.data.windows import Place, Presenter
    from training.recipe.book import load_recipe

    recipe = load_recipe("default")
    meta = bundle.meta
    assert recipe.frontend_params == meta.frontend_params
    assert (recipe.window_frames, recipe.normalizer) == (meta.window_frames, meta.normalizer)
    frames = bundle.extractor(x)
    prior = bundle.make_normalizer().prior
    presenter = Presenter(recipe, FeatureStore([[frames]]), prior)
    moments = presenter.normalizer.accept(frames)
    last = len(frames) - 1
    firsts = range(0, max(1, len(frames) - meta.window_frames + 1), hop)
    places = [Place(0, 0, f, moments[min(f + meta.window_frames - 1, last)]) for f in firsts]
    return presenter.present(places)["features"]


@pytest.mark.parametrize("hop_s", [0.032, 0.1, 0.384])
def test_live_batch_and_training_see_the_same_features(bundle, demo_path, speech, hop_s):
    training = seen_by_training(bundle, speech, round(hop_s / bundle.hop_s))
    live, batch = Spy(bundle), Spy(bundle)
    config = EngineConfig(hop_s=hop_s, gate=False)
    run(Engine(live, config), speech, [*range(0, len(speech), 441), len(speech)])
    score_file(demo_path, Engine(batch, config))
    assert len(live.windows) == len(batch.windows) == len(training) > 50
    np.testing.assert_allclose(live.windows, training, atol=1e-4)
    np.testing.assert_allclose(batch.windows, training, atol=1e-4)


def test_a_short_clip_is_seen_as_training_sees_it(bundle, speech):
    x = speech[RATE_HZ : 2 * RATE_HZ]
    want = seen_by_training(bundle, x, 1)
    spy = Spy(bundle)
    predictions = run(Engine(spy, OPEN), x, [0, 7000, len(x)])
    assert [(p.start, p.end) for p in predictions] == [(0, 27 * 512 + 2048)]
    np.testing.assert_allclose(spy.windows, want, atol=1e-4)


# Law 5


def started_anew(bundle: ModelBundle, prediction: Prediction) -> None:
    """Assert that the belief knows of no window before this one."""
    belief = BeliefFilter(bundle.meta.smoothing)
    want = belief.update(prediction.posterior, HOP / RATE_HZ)
    np.testing.assert_allclose(prediction.smoothed, want, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5 * RATE_HZ), st.integers(1, 10 * RATE_HZ), st.booleans())
def test_no_window_spans_a_hole(bundle, speech, cut, missing, told):
    engine = Engine(bundle, OPEN)
    after = speech[cut : cut + 3 * RATE_HZ]
    start = cut + missing
    engine.feed(AudioBlock(speech[:cut], 0))
    # A hole is noticed by its flag, and by the position alone.
    predictions = engine.feed(AudioBlock(after, start, gap=told))
    assert predictions
    assert all(p.start >= start for p in predictions)
    assert predictions[0].start == start


def test_after_a_hole_smoothing_is_new_and_the_speaker_is_kept(bundle, speech):
    x = speech[RATE_HZ : 5 * RATE_HZ]
    spy = Spy(bundle)
    engine = Engine(spy, OPEN)
    engine.feed(AudioBlock(x, 0))
    before = len(spy.windows)
    after = engine.feed(AudioBlock(x, 10**6, gap=True))
    started_anew(bundle, after[0])
    # The same audio is normalised differently once the speaker is known.
    assert not np.allclose(spy.windows[before], spy.windows[0], atol=0.05)
    engine.reset()
    engine.feed(AudioBlock(x, 0))
    np.testing.assert_allclose(spy.windows[2 * before], spy.windows[0], atol=1e-5)


def test_a_block_from_the_past_is_an_error(bundle, speech):
    engine = Engine(bundle, OPEN)
    engine.feed(AudioBlock(speech[:1000], 500))
    with pytest.raises(AudioError, match="starts at sample 600"):
        engine.feed(AudioBlock(speech[:1000], 600))


# Law 6


def test_nothing_is_said_before_the_first_full_window(bundle, speech):
    engine = Engine(bundle, OPEN)
    assert engine.warm_up_samples == WINDOW
    assert engine.feed(AudioBlock(speech[: WINDOW - 1], 0)) == []
    assert engine.warm_up_samples == 1
    assert len(engine.feed(AudioBlock(speech[WINDOW - 1 : WINDOW], WINDOW - 1))) == 1
    assert engine.warm_up_samples == 0


def sound(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(5 * RATE_HZ) / RATE_HZ
    return {
        "silence": np.zeros(len(t)),
        "white noise, loud": rng.normal(0, 0.3, len(t)),
        "white noise, quiet": rng.normal(0, 0.001, len(t)),
        "tone of 220 Hz": 0.3 * np.sin(2 * np.pi * 220 * t),
        "quiet tone of 220 Hz": 0.003 * np.sin(2 * np.pi * 220 * t),
    }[name].astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        "silence",
        "white noise, loud",
        "white noise, quiet",
        "tone of 220 Hz",
        "quiet tone of 220 Hz",
    ],
)
def test_no_speech_is_never_an_emotion(bundle, name):
    x = sound(name)
    predictions = run(Engine(bundle, EngineConfig(hop_s=0.1)), x, [0, len(x)])
    assert len(predictions) > 30
    assert {p.state for p in predictions} == {State.NO_SPEECH}
    assert all(p.label is None and p.posterior is None for p in predictions)


def test_a_long_pause_ends_what_was_said(bundle, speech):
    x = np.concatenate([speech[RATE_HZ : 4 * RATE_HZ], np.zeros(5 * RATE_HZ, np.float32)] * 2)
    predictions = run(Engine(bundle, EngineConfig(hop_s=0.1), Loudness()), x, [0, len(x)])
    states = [p.state for p in predictions]
    pause = states.index(State.NO_SPEECH)
    again = next(i for i in range(pause, len(states)) if states[i] is not State.NO_SPEECH)
    started_anew(bundle, predictions[again])


def test_labels_are_only_in_emotions(bundle, speech):
    predictions = run(Engine(bundle, EngineConfig(hop_s=0.1)), speech, [0, len(speech)])
    for p in predictions:
        assert (p.label is not None) == (p.state is State.EMOTION)
        if p.label is not None:
            assert p.smoothed is not None
            assert p.smoothed[bundle.meta.labels.index(p.label)] >= bundle.meta.smoothing.leave
    assert {p.state for p in predictions} >= {State.EMOTION, State.NO_SPEECH}


class Guessing(Spy):
    """The shipped model with random logits, which wander as those of speech do."""

    def __init__(self, bundle: ModelBundle, seed: int) -> None:
        super().__init__(bundle)
        self._rng = np.random.default_rng(seed)
        self._logits = np.zeros(len(bundle.meta.labels))

    def __call__(self, inputs: Inputs) -> np.ndarray:
        steps = self._rng.normal(size=(len(inputs["features"]), len(self._logits)))
        walk = self._logits + np.cumsum(steps, axis=0)
        self._logits = 0.9 * walk[-1]
        return walk.astype(np.float32)


@settings(max_examples=20)
@given(
    st.integers(0, 2**32),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.just(0.0) | st.floats(0.001, 2.0),
    st.lists(st.sampled_from(["speech", "pause", "gap"]), min_size=1, max_size=6),
)
def test_a_written_label_has_the_largest_belief(bundle, seed, thresholds, evidence_s, told):
    leave, enter = sorted(thresholds)
    smoothing = SmoothingConfig(evidence_s=evidence_s, enter=enter, leave=leave)
    config = EngineConfig(hop_s=0.1, smoothing=smoothing)
    engine = Engine(Guessing(bundle, seed), config, Loudness())  # pyright: ignore[reportArgumentType]
    position, labels = 0, bundle.meta.labels
    rng = np.random.default_rng(seed)
    for what in told:
        scale = 0.001 if what == "pause" else 0.1
        x = (scale * rng.normal(size=3 * RATE_HZ)).astype(np.float32)
        for p in engine.feed(AudioBlock(x, position, gap=what == "gap")):
            row = prediction_row(p, labels, RATE_HZ)
            beliefs = {label: row[f"smoothed_{label}"] for label in labels}
            if row["label"] is not None:
                assert row["state"] == "emotion"
                assert beliefs[row["label"]] == max(beliefs.values()) == row["confidence"]
                assert verdict(p, labels) == f"{row['label']} {100 * p.smoothed.max():.0f} %"
            elif row["state"] == "unsure":
                top = labels[p.smoothed.argmax()]
                assert verdict(p, labels).startswith(f"unsure, perhaps {top} ")
        position += len(x)


# The rest


def test_the_gate_is_the_models_unless_told_otherwise(bundle, speech, tmp_path):
    deaf = ModelBundle.load(edited(tmp_path, gate={"threshold": 0.999999, "min_share": 1.0}))

    def answers(model: ModelBundle, gate: GateConfig | bool) -> tuple[set[State], bool | None]:
        engine = Engine(model, EngineConfig(gate=gate))
        predictions = engine.feed(AudioBlock(speech[RATE_HZ : 4 * RATE_HZ], 0))
        return {p.state for p in predictions}, engine.speech_now

    usual = answers(bundle, True)
    assert usual[0] <= {State.UNSURE, State.EMOTION}
    assert usual[1] is True
    assert answers(deaf, True) == ({State.NO_SPEECH}, False)
    assert answers(deaf, bundle.meta.gate) == usual
    assert answers(deaf, False)[1] is None


def test_posteriors_are_the_softmax_of_calibrated_logits(bundle, speech):
    for p in run(Engine(bundle, OPEN), speech[: 4 * RATE_HZ], [0, 4 * RATE_HZ]):
        biased = p.logits.astype(np.float64) + np.array(bundle.meta.logit_bias)
        z = np.exp(biased / bundle.meta.temperature)
        np.testing.assert_allclose(p.posterior, z / z.sum(), rtol=1e-5)
        assert p.smoothed.sum() == pytest.approx(1.0, abs=1e-5)


def test_softmax_survives_large_logits():
    huge = np.array([[1e4, 0.0], [0.0, -1e4]], np.float32)
    np.testing.assert_allclose(scaled_softmax(huge, 0.5, (0.0, 1.0)), [[1, 0], [1, 0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20, -1e10])
def test_samples_that_are_not_usable_are_refused_before_they_spoil_anything(bundle, speech, bad):
    engine = Engine(bundle, OPEN)
    x = speech[: 3 * RATE_HZ].copy()
    want = run(engine, x, [0, len(x)])
    engine.reset()
    broken = x.copy()
    broken[100] = bad
    with pytest.raises(AudioError, match="NaN"):
        engine.feed(AudioBlock(broken, 0))
    same(run(engine, x, [0, len(x)]), want)


@pytest.mark.parametrize("front_end", list(FRONT_ENDS))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_samples_that_are_taken_overflow_nothing(bundle, speech, front_end, sign):
    extractor = make_extractor(front_end, {})
    loud = np.float32(sign * LARGEST_SAMPLE) * np.sign(speech[: 2 * RATE_HZ] + 1e-6)
    frames = extractor(loud.astype(np.float32))
    assert np.isfinite(extractor.present(frames.features)).all()
    assert np.isfinite(frames.level_db).all()
    got = Engine(bundle).feed(AudioBlock(loud.astype(np.float32), 0))
    assert all(np.isfinite(p.posterior).all() for p in got if p.posterior is not None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_is_an_error_and_never_a_prediction(bundle, speech, bad):
    class Broken(Spy):
        def __call__(self, inputs: Inputs) -> np.ndarray:
            logits = super().__call__(inputs)
            logits[:, 1] = bad
            return logits

    engine = Engine(Broken(bundle), OPEN)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BundleError, match=r"gives NaN or infinity for the sound at 1\.00 s"):
        engine.feed(AudioBlock(speech[: 3 * RATE_HZ], RATE_HZ))


def test_flush_ends_a_stream_and_the_next_may_start_anywhere(bundle, speech):
    engine = Engine(bundle, OPEN)
    engine.feed(AudioBlock(speech[: 3 * RATE_HZ], 5000))
    assert engine.flush() == []
    assert engine.feed(AudioBlock(speech[:RATE_HZ], 0)) == []
    assert len(engine.flush()) == 1
    assert engine.flush() == []


@pytest.mark.parametrize(("seconds", "count"), [(0.0, 0), (0.3, 0), (0.49, 0), (0.5, 1), (1.9, 1)])
def test_flush_needs_half_a_second(bundle, speech, seconds, count):
    n = int(seconds * RATE_HZ)
    x = speech[RATE_HZ : RATE_HZ + n]
    assert len(run(Engine(bundle, OPEN), x, [0, n])) == count


class Slow(Loudness):
    """Hears nothing in its first 40 chunks."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, chunks: np.ndarray) -> np.ndarray:
        at = self.heard + np.arange(len(chunks))
        self.heard += len(chunks)
        return np.where(at >= 40, super().__call__(chunks), np.float32(0.0))

    def reset(self) -> None:
        self.heard = 0


@pytest.mark.parametrize("seconds", [1.5, 2.2])
def test_speech_is_found_by_a_detector_that_has_to_get_used_to_it(bundle, speech, seconds):
    clip = speech[16000 : 16000 + round(seconds * 16000)]
    engine = Engine(bundle, EngineConfig(hop_s=0.4), detector=Slow())
    (prediction,) = engine.feed(AudioBlock(clip, 0)) + engine.flush()
    assert prediction.state is not State.NO_SPEECH


def test_hops_are_whole_frames(bundle):
    assert Engine(bundle, EngineConfig(hop_s=0.1, gate=False)).hop_frames == 6
    assert Engine(bundle, EngineConfig(hop_s=0.4, gate=False)).hop_frames == 25
    assert Engine(bundle, EngineConfig(hop_s=0.001, gate=False)).hop_frames == 1
    assert Engine(bundle, EngineConfig(gate=False)).hop_frames == bundle.meta.window_hop_frames
    with pytest.raises(ConfigError, match="hop_s"):
        EngineConfig(hop_s=0.0)


def test_a_hop_longer_than_the_window_skips_audio(bundle, speech):
    engine = Engine(bundle, EngineConfig(hop_s=5.0, gate=False))
    predictions = run(engine, speech, [*range(0, len(speech), 3000), len(speech)])
    step = round(5.0 / bundle.hop_s) * 256
    assert [p.start for p in predictions] == list(range(0, len(speech) - WINDOW + 1, step))


def test_cold_and_running_differ_once_a_voice_was_heard(bundle, speech):
    x = speech[: 5 * RATE_HZ]
    cold, running, untold = (
        run(Engine(bundle, EngineConfig(gate=False, normalizer=state)), x, [0, len(x)])
        for state in (NormalizerState.COLD, NormalizerState.RUNNING, None)
    )
    assert not np.allclose(cold[-1].logits, running[-1].logits, atol=1e-3)
    assert bundle.meta.normalizer_state is NormalizerState.RUNNING
    same(untold, running)


def test_gate_settings_are_checked():
    with pytest.raises(ConfigError, match="threshold"):
        GateConfig(threshold=1.0)
