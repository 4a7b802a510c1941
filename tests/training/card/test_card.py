"""The report card: what it measures, and what it refuses to measure."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from tests.helpers.edited_bundle import edited
from tests.helpers.toy_corpus import make_toy_corpus

pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.metadata import TrainingData
from ser_stream.models.settings import SmoothingConfig
from ser_stream.stream.smoothing import LabelDecider, Smoother
from training.card.card import make_card, reliability, unseen
from training.card.channels import channels
from training.card.no_speech import called_an_emotion, no_speech_sounds
from training.card.response import EmotionStretch, respond, stretches
from training.cli import app
from training.data.corpora import CORPORA, Corpus, Utterance, audio_files, credits_of
from training.data.hearing import Hearing
from training.errors import TrainingError
from training.evaluate import Heard, hear, hearings

RATE_HZ = 16000


@pytest.fixture(scope="module")
def data(tmp_path_factory, speech):
    """Corpora of three toy speakers, and two recordings of noise."""
    root = tmp_path_factory.mktemp("data")
    make_toy_corpus(root / "crema-d", speakers=3, takes=3)
    noise = root / "esc10" / "rain"
    noise.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("1-1-A", "5-2-A"):
        soundfile.write(noise / f"{name}.ogg", 0.1 * rng.normal(size=3 * RATE_HZ), RATE_HZ)
    return root


OF_TOYS = {
    "test crema-d": {
        "uar": 0.5,
        "protocol": "toy",
        "speakers": ["crema-d/1001", "crema-d/1002"],
    }
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The shipped model, as if it had left out the toy speakers and knew profiles."""
    return edited(tmp_path_factory.mktemp("model"), metrics=OF_TOYS, profiles=True)


@pytest.fixture(scope="module")
def toy(data) -> list[Utterance]:
    return CORPORA["crema-d"].read(data / "crema-d")


def test_only_speakers_that_were_left_out_are_scored(model, toy):
    bundle = ModelBundle.load(model)
    assert {u.speaker for u in unseen(bundle, "crema-d", toy)} == {"crema-d/1001", "crema-d/1002"}
    others = [replace(u, speaker=u.speaker.replace("crema-d", "ravdess")) for u in toy]
    assert unseen(bundle, "ravdess", others) == others


def test_a_model_that_does_not_tell_whom_it_left_out_is_refused(bundle, toy):
    secretive = ModelBundle.load()
    object.__setattr__(secretive, "meta", replace(bundle.meta, metrics={}))
    with pytest.raises(TrainingError, match="does not tell which speakers"):
        unseen(secretive, "crema-d", toy)
    assert TrainingData("CREMA-D", "", "").corpus == "CREMA-D"


def test_states_are_those_that_a_model_was_trained_for(tmp_path, bundle):
    assert hearings(bundle) == tuple(Hearing)
    without = ModelBundle.load(edited(tmp_path, profiles=False))
    assert hearings(without) == tuple(h for h in Hearing if h is not Hearing.CALIBRATED)
    fixed = ModelBundle.load(edited(tmp_path, normalizer_state="cold"))
    assert hearings(fixed) == (Hearing.COLD, Hearing.LONG)


def test_calibration_takes_half_of_the_neutral_clips_out_of_the_score(model, toy):
    heard = hear(ModelBundle.load(model), toy, Hearing.CALIBRATED)
    left = {(u.speaker, u.path) for u in toy} - {(u.speaker, u.path) for u in heard.utterances}
    assert len(left) == 3  # one of three takes of each of three speakers
    assert all("_NEU_" in path.name for _, path in left)
    with pytest.raises(TrainingError, match="no speaker has a neutral clip"):
        hear(
            ModelBundle.load(model), [u for u in toy if u.emotion != "neutral"], Hearing.CALIBRATED
        )


def test_a_clip_without_speech_counts_as_wrong(bundle, toy):
    # The toy's buzzing is no speech to the detector.
    heard = hear(bundle, toy, Hearing.ALONE, gate=True)
    assert not heard.answered.any()
    assert (heard.predicted != heard.truth).all()
    np.testing.assert_array_equal(heard.posterior, 0.25)
    assert hear(bundle, toy, Hearing.ALONE).answered.all()


def test_channels_change_what_they_say(speech, toy):
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=RATE_HZ).astype(np.float32)]
    x = speech[RATE_HZ : 4 * RATE_HZ]
    for name, channel in channels(noise).items():
        y, rate = channel(x, RATE_HZ, toy[0])
        again, _ = channel(x, RATE_HZ, toy[0])
        np.testing.assert_array_equal(y, again)
        assert y.dtype == np.float32
        assert rate == {"8 kHz": 8000, "48 kHz": 48000}.get(name, RATE_HZ)
        assert len(y) / rate == pytest.approx(3.0, abs=0.1)
        if name == "gain -40 dB":
            np.testing.assert_allclose(y, x / 100, rtol=1e-5)
        elif rate == RATE_HZ:
            assert len(y) != len(x) or np.abs(y - x).max() > 1e-3


def test_the_meter_calls_nothing_an_emotion_that_is_no_speech(bundle, data):
    sounds = no_speech_sounds(RATE_HZ, data / "esc10")
    assert len(sounds["environmental sound"]) == 1  # the fifth fold alone
    for kind in ("silence", "white noise", "chords", "environmental sound"):
        called, windows = called_an_emotion(bundle, sounds[kind][:1])
        assert called == 0
        assert windows >= 10
    assert "environmental sound" not in no_speech_sounds(RATE_HZ, None)


def test_reliability_counts_every_clip_once():
    posterior = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    truth = np.array([0, 1, 1, 0])
    heard = Heard([], truth, posterior, np.array([True, True, True, False]), np.zeros(4))
    bins = reliability(heard)
    assert [b["clips"] for b in bins] == [1, 1, 2]
    assert [b["accuracy"] for b in bins] == [0.0, 1.0, 0.5]
    assert bins[-1]["confidence"] == pytest.approx(0.925)


def test_delay_and_flicker_of_a_scripted_stretch():
    def sure(label: int | None) -> np.ndarray | None:
        if label is None:
            return None
        return np.where(np.arange(4) == label, 0.97, 0.01).astype(np.float32)

    ends = [0.1 * (k + 1) for k in range(100)]
    change = EmotionStretch(ends, [sure(2)] * 50 + [sure(0)] * 50, 5.0, 0)
    wavering = [sure(0 if (k // 10) % 2 else 1) for k in range(100)]
    steady = EmotionStretch(ends, wavering, None, 0)
    quick = respond([change, steady], Smoother(SmoothingConfig(0.0, 0.6, 0.5, 0.35)), 0.1)
    assert quick.delay_s == pytest.approx(0.1)
    # What is said from 3 s on changes every second: at 3.1 s, 4.1 s, ... 9.1 s.
    assert quick.changes_per_minute == pytest.approx(7 / (7.1 / 60), rel=0.02)
    assert quick.right == pytest.approx(0.5, abs=0.1)
    assert (quick.right + quick.wrong, quick.unsure) == (1.0, 0.0)
    # A second of silence is no change, and what was said before it still holds after it.
    spoken = [sure(None if 40 <= k < 50 else 0) for k in range(100)]
    smoother = Smoother(SmoothingConfig())
    paused = respond([change, EmotionStretch(ends, spoken, None, 0)], smoother, 0.1)
    assert (paused.changes_per_minute, paused.unsure, paused.right) == (0.0, 0.0, 1.0)
    slow = respond([change, steady], Smoother(SmoothingConfig(2.0, 1.0, 0.9, 0.8)), 0.1)
    assert slow.delay_s > 1.0
    assert slow.unsure > 0.5
    never = respond([replace(change, target=3), steady], smoother, 0.1)
    assert never.delay_s == np.inf
    assert never.found == 0.0
    with pytest.raises(TrainingError, match="too few clips"):
        respond([steady], smoother, 0.1)


class Stubborn(LabelDecider):
    """Shows the first class whatever is believed."""

    def update(self, belief: np.ndarray) -> int | None:
        return 0


def test_labels_that_another_class_outweighs_are_counted():
    ends = [0.1 * (k + 1) for k in range(100)]
    angry, sad = np.float32([0.97, 0.01, 0.01, 0.01]), np.float32([0.01, 0.01, 0.01, 0.97])
    found = [
        EmotionStretch(ends, [angry] * 50 + [sad] * 50, change_s, 3) for change_s in (5.0, None)
    ]
    config = SmoothingConfig(0.0)
    assert respond(found, Smoother(config), 0.1).outweighed == 0.0
    assert respond(found, Smoother(config, Stubborn(config)), 0.1).outweighed == 0.5


def test_clips_of_a_speaker_are_joined(bundle, toy):
    found = stretches(bundle, [u for u in toy if u.speaker == "crema-d/1001"])
    changing = [s for s in found if s.change_s is not None]
    assert len(changing) == 12  # each of four after each other one
    assert len(found) - len(changing) == 4
    assert all(0 < s.change_s < s.ends_s[-1] for s in changing if s.change_s is not None)


@pytest.mark.slow
def test_the_command_writes_everything(model, data, tmp_path):
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["card", *arguments, "--data", str(data)])
        assert result.exit_code == 0, result.output
        return result.output

    run(str(model), "-o", str(tmp_path / "one"))
    card = json.loads((tmp_path / "one" / "card.json").read_text())
    assert set(card["corpora"]) == {"crema-d"}
    assert set(card["corpora"]["crema-d"]) == {
        *("speakers", "alone", "running", "one-emotion", "neutral-first", "known", "calibrated")
    }
    assert card["corpora"]["crema-d"]["running"]["utterances"] == 24
    assert len(card["robustness"]) == 13
    assert card["no_speech"]["environmental sound"]["called_an_emotion"] == 0
    text = (tmp_path / "one" / "README.md").read_text()
    for part in ("## Accuracy", "## Robustness", "## What is no speech", "## Responsiveness"):
        assert part in text
    for image in ("reliability.png", "response.png", "confusion-crema-d-running.png"):
        assert (tmp_path / "one" / image).read_bytes().startswith(b"\x89PNG")
        assert f"({image})" in text


@pytest.mark.slow
def test_several_cards_make_a_table_and_are_not_made_twice(model, data, tmp_path):
    other = edited(tmp_path, metrics=OF_TOYS, profiles=False).rename(tmp_path / "stranger.onnx")

    def run(*arguments: str) -> str:
        command = ["card", str(model), str(other), *arguments, "--data", str(data), "-o"]
        result = CliRunner().invoke(app, [*command, str(tmp_path / "both")])
        assert result.exit_code == 0, result.output
        return result.output

    assert "already" not in run("--no-robustness")
    folder = tmp_path / "both"
    rows = (folder / "README.md").read_text().splitlines()[-2:]
    for path, row, states in zip((model, other), rows, (3, 2), strict=True):
        card = json.loads((folder / path.stem / "card.json").read_text())
        corpus = card["corpora"]["crema-d"]
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert cells[0] == f"[`{path.stem}`]({path.stem}/README.md)"
        assert cells[1].count("/") == states - 1
        assert cells[1].endswith(f"{100 * list(corpus.values())[-1]['uar']:.1f}")
        assert cells[2] == f"{corpus['running']['ece']:.3f}"
        assert cells[3:7] == ["-"] * 4
    assert run("--no-robustness").count("of this file already") == 2
    # A card without bad channels is not enough, nor is another file's or another gate's.
    kept = folder / other.stem / "card.json"
    for digest in (card["measured"]["model"], card["measured"]["detector"]):
        kept.write_text(kept.read_text().replace(digest, "0" * 64))
        assert run("--no-robustness").count("of this file already") == 1
    # Nor is one whose writing was cut off, nor what is no card.
    for text in (kept.read_text()[:100], "[]"):
        kept.write_text(text)
        assert run("--no-robustness").count("of this file already") == 1


@pytest.fixture
def short(monkeypatch):
    """Long streams of seconds."""
    monkeypatch.setattr("training.long_stream.NEUTRAL_S", 8.0)
    monkeypatch.setattr("training.long_stream.STRETCH_S", 5.0)


def test_evaluate_hears_in_every_state_that_a_model_knows(model, data, tmp_path, short):
    corpus = f"crema-d={data / 'crema-d'}"
    for path, states in ((model, 8), (edited(tmp_path, profiles=False), 7)):
        result = CliRunner().invoke(
            app,
            ["evaluate", str(path), "--corpus", corpus, "--part", "all", "-o",
             str(tmp_path / "e.json")],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        found = json.loads((tmp_path / "e.json").read_text())
        assert len(found) == states
        assert all(0.0 <= one["uar"] <= 1.0 for one in found.values())
        assert f"crema-d all {Hearing.CALIBRATED}" not in found or path == model


def test_a_state_that_a_corpus_cannot_give_is_left_out(model, toy, tmp_path):
    table = tmp_path / "clips.csv"
    rows = [f"{u.path},{u.emotion},{u.speaker}" for u in toy if u.emotion != "neutral"]
    table.write_text("\n".join(["path,emotion,speaker", *rows]) + "\n")
    result = CliRunner().invoke(
        app,
        ["evaluate", str(model), "--corpus", f"manifest={table}", "--part", "all", "-o",
         str(tmp_path / "e.json")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "e.json").read_text())
    for state in ("calibrated", "neutral-first", "long"):
        assert f"manifest all {state}: left out, no speaker has" in result.output
        assert f"manifest all {state}" not in found
    assert found["manifest all one-emotion"]["uar"] >= 0.0
    assert found["manifest all running"]["by_evidence"][0]["from_s"] == 0.0


def test_a_corpus_is_a_reader_and_a_row(model, data, tmp_path, monkeypatch):
    # What does not depend on the corpus takes longest: all but one state, and what is no speech.
    monkeypatch.setattr("training.card.card.no_speech_sounds", lambda rate_hz, noise: {})
    for user in ("training.evaluate", "training.card.card"):
        monkeypatch.setattr(f"{user}.hearings", lambda bundle: (Hearing.RUNNING,))

    def read(folder: Path) -> list[Utterance]:
        return [
            Utterance(path, "toy", f"toy/{path.stem[:4]}", emotion)
            for path in audio_files(folder)
            for code, emotion in (("ANG", "angry"), ("NEU", "neutral"))
            if code in path.stem and path.stem.startswith("1001")
        ]

    credit = TrainingData("Toys", "CC0 1.0", "")
    toy = Corpus(read=read, credit=credit, trains_shipped=False, takes_file=False, in_card=True)
    monkeypatch.setitem(CORPORA, "toy", toy)
    shutil.copytree(data / "crema-d", tmp_path / "toy")
    with pytest.raises(TrainingError, match=r"no folder crema-d or .* or toy there"):
        make_card(ModelBundle.load(model), tmp_path / "none")
    result = CliRunner().invoke(
        app,
        ["evaluate", str(model), "--corpus", f"toy={tmp_path / 'toy'}", "--part", "all", "-o",
         str(tmp_path / "e.json")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "toy all (6 clips, 1 speakers) running" in result.output
    assert "sad -" in result.output
    steps: list[str] = []
    card = make_card(ModelBundle.load(model), tmp_path, steps.append, robustness=False)
    assert card["corpora"]["toy"]["running"]["utterances"] == 6
    assert "toy, responsiveness" in steps
    trained = edited(tmp_path, metrics={}, training_data=[asdict(credit)])
    with pytest.raises(TrainingError, match="was trained on toy"):
        unseen(ModelBundle.load(trained), "toy", read(tmp_path / "toy"))
    assert credits_of(["toy", "emodb", "toy"]) == (CORPORA["emodb"].credit, credit)


def test_models_of_one_name_are_refused(model, data, tmp_path):
    command = ["card", str(model), str(model), "--data", str(data), "-o", str(tmp_path / "both")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, ConfigError)
    assert "two models are called edited" in str(result.exception)
