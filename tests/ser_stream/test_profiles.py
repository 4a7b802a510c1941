"""Profiles: made from neutral speech, refused where there is too little, and used."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console
from typer.testing import CliRunner

from ser_stream.audio.sound_file import FileSource
from ser_stream.cli import app
from ser_stream.cli.profiles import _guided
from ser_stream.cli.terminal import CalibrationView
from ser_stream.errors import AudioError, ConfigError
from ser_stream.features.normalizer import NormalizerState
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import Profile, ProfileError, frontend_key
from ser_stream.profiles import ProfileRecorder, list_profiles, load_profile, profile_path
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock
from tests.helpers.edited_bundle import edited
from tests.helpers.spy import Spy

RATE_HZ = 16000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Profiles of a test are its own."""
    monkeypatch.setenv("SER_STREAM_CONFIG", str(tmp_path))
    return tmp_path / "profiles"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that claims to have been trained for profiles."""
    return edited(tmp_path_factory.mktemp("model"), profiles=True)


@pytest.fixture(scope="module")
def bundle(model) -> ModelBundle:
    return ModelBundle.load(model)


@pytest.fixture(scope="module")
def made(bundle, speech) -> Profile:
    recorder = ProfileRecorder(bundle)
    recorder.feed(speech)
    return recorder.finish("me", "2026-01-02")


def test_a_profile_does_not_depend_on_the_blocks(bundle, speech, made):
    recorder = ProfileRecorder(bundle)
    for i in range(0, len(speech), 777):
        recorder.feed(speech[i : i + 777])
    other = recorder.finish("me", "2026-01-02")
    assert other.voiced_s == pytest.approx(made.voiced_s)
    np.testing.assert_allclose(other.mean, made.mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.variance, made.variance, rtol=1e-4, atol=1e-4)
    assert recorder.heard_s == pytest.approx(len(speech) / RATE_HZ)


def test_its_statistics_are_those_of_the_voiced_frames(bundle, speech, made):
    frames = bundle.extractor(speech)
    from ser_stream.features.normalizer import voiced_frames

    voiced, _ = voiced_frames(frames, bundle.meta.normalizer, 1.0 / bundle.hop_s)
    assert made.voiced_s == pytest.approx(voiced.sum() * bundle.hop_s)
    assert made.level_db == pytest.approx(frames.level_db[voiced].mean(), abs=1e-3)
    want = frames.features[voiced].astype(np.float64)
    np.testing.assert_allclose(made.mean, want.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(made.variance, want.var(axis=0), rtol=1e-3, atol=1e-3)


def test_it_survives_its_file(made, folder):
    made.save(profile_path("me"))
    assert (folder / "me.json").is_file()
    assert Profile.load(folder / "me.json") == made
    assert list_profiles() == ["me"]
    assert (folder / "me.json").stat().st_size < 5000
    text = json.loads((folder / "me.json").read_text())
    assert set(text) == {
        "schema", "name", "frontend", "voiced_s", "level_db", "mean", "variance", "created",
    }  # fmt: skip


def test_windows_are_normalised_by_it_from_the_first_on(bundle, speech, made):
    engine = Engine(bundle, EngineConfig(gate=False, profile=made))
    first, *_ = engine.feed(AudioBlock(speech[: 4 * RATE_HZ], 0))
    # A normaliser that was told the very moments that the profile was made of.
    normalizer = bundle.make_normalizer()
    neutral = normalizer.accept(bundle.extractor(speech))[-1].copy()
    normalizer.reset()
    normalizer.use_profile(neutral)
    frames = bundle.extractor(speech[: bundle.window_samples])
    moments = normalizer.accept(frames)[-1]
    window = normalizer.normalize(frames.features, moments)
    want = bundle({"features": window[None], "embedding": normalizer.embedding(moments)[None]})
    np.testing.assert_allclose(first.logits, want[0], atol=1e-3)
    without, *_ = Engine(bundle, EngineConfig(gate=False)).feed(
        AudioBlock(speech[: 4 * RATE_HZ], 0)
    )
    assert np.abs(first.logits - without.logits).max() > 0.01


def test_it_stays_as_it_is_whoever_speaks(bundle, speech, made):
    spy = Spy(bundle)
    engine = Engine(spy, EngineConfig(gate=False, profile=made))
    alone = len(engine.feed(AudioBlock(speech[: 4 * RATE_HZ], 0)))
    engine.feed(AudioBlock(speech[8 * RATE_HZ : 20 * RATE_HZ], 4 * RATE_HZ))
    again = len(engine.feed(AudioBlock(speech[: 4 * RATE_HZ], 40 * RATE_HZ, gap=True)))
    assert alone == again > 3
    # The view by the profile; the other one goes by what was heard.
    told = bundle.extractor.width
    before, later = np.stack(spy.windows[:alone]), np.stack(spy.windows[-again:])
    np.testing.assert_allclose(before[..., :told], later[..., :told], atol=1e-4)
    assert np.abs(before[..., told:] - later[..., told:]).max() > 0.01


def test_a_model_that_was_not_trained_for_profiles_refuses_them(made, tmp_path):
    without = ModelBundle.load(edited(tmp_path, profiles=False))
    with pytest.raises(ProfileError, match="not trained to know a speaker by a profile"):
        Engine(without, EngineConfig(profile=made))


def test_a_profile_and_another_state_are_refused(made):
    with pytest.raises(ConfigError, match="of no use in the state cold"):
        EngineConfig(profile=made, normalizer=NormalizerState.COLD)


def test_too_little_speech_and_clipping_are_refused(bundle, speech):
    recorder = ProfileRecorder(bundle)
    recorder.feed(np.zeros(20 * RATE_HZ, np.float32))
    assert "too quiet" in str(recorder.advice())
    with pytest.raises(ProfileError, match=r"only 0\.0 s of speech in 20 s"):
        recorder.finish("me")
    recorder = ProfileRecorder(bundle)
    recorder.feed(np.clip(50 * speech, -1, 1))
    with pytest.raises(ProfileError, match="clips"):
        recorder.finish("me")


def test_what_counts_as_speech_is_said_by_the_model(tmp_path, speech):
    deaf = ModelBundle.load(edited(tmp_path, gate={"threshold": 0.999999, "min_share": 0.2}))
    recorder = ProfileRecorder(deaf)
    recorder.feed(speech)
    assert recorder.speech_s < 0.1 < recorder.heard_s


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 9},
        {"mean": [1.0], "variance": [1.0, 2.0]},
        {"mean": [float("nan")], "variance": [1.0]},
        {"mean": [1.0], "variance": [-1.0]},
        {"voiced_s": 0},
        {"level_db": "loud"},
        {"level_db": float("inf")},
        {"voiced_s": 10**400},
        {"mean": [10**400] * 51},
        {"mean": [[[]]]},
        {"name": "\x1b[31mme"},
        {"name": "\ud800"},
        {"created": 3},
        {"surprise": 1},
    ],
)
def test_broken_profiles_are_refused(made, tmp_path, changes):
    path = tmp_path / "x.json"
    made.save(path)
    table = json.loads(path.read_text())
    assert Profile.load(path) == made
    path.write_text(json.dumps({**table, **changes}))
    with pytest.raises(ProfileError, match="not a profile of this version"):
        Profile.load(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "\0", "[" * 100_000, '{"mean":' + "[" * 3000,
     '{"voiced_s":' + "9" * 5000 + "}", '{"schema": 1, "schema": 1}',
     '{"name": "' + "x" * 2_000_000],
)  # fmt: skip
def test_other_files_are_no_profiles(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match="not a profile of this version"):
        Profile.load(path)


def test_a_profile_of_another_length_is_refused(bundle, made, monkeypatch):
    short = replace(made, mean=made.mean[:5], variance=made.variance[:5])
    with pytest.raises(ProfileError, match="5 features, the model's front end 51; calibrate"):
        Engine(bundle, EngineConfig(profile=short))
    # As a file that claims the front end's key.
    short.save(profile_path("me"))
    result = CliRunner().invoke(
        app, ["score", "--profile", "me", "--model", str(bundle.path), str(bundle.path)]
    )
    assert isinstance(result.exception, ProfileError)


def test_names_that_are_no_file_names_are_refused():
    for name in ("", "../me", "a/b", ".hidden", "me.", "x" * 65):
        with pytest.raises(ConfigError, match="profile name"):
            profile_path(name)
    assert profile_path("Ann at work").name == "Ann at work.json"


def test_a_profile_of_another_front_end_is_refused(bundle, made):
    other = Profile("me", frontend_key("mfcc", {}), 9.0, -20.0, made.mean, made.variance)
    other.save(profile_path("me"))
    with pytest.raises(ProfileError, match="another front end"):
        load_profile("me", bundle)
    with pytest.raises(ProfileError, match="no profile 'you'; known: me"):
        load_profile("you", bundle)


# The commands


def test_calibrate_and_score(model, demo_path, tmp_path, speech, folder):
    result = CliRunner().invoke(
        app, ["calibrate", "--profile", "me", "--file", str(demo_path), "--model", str(model)]
    )
    assert result.exit_code == 0, result.output
    assert "s of speech" in result.stdout
    soundfile.write(tmp_path / "a.wav", speech[: 6 * RATE_HZ], RATE_HZ)

    def scored(*more: str) -> str:
        done = CliRunner().invoke(
            app, ["score", str(tmp_path / "a.wav"), "--no-gate", "--model", str(model), *more]
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    with_profile = scored("--profile", "me")
    assert with_profile.replace(",me,", ",neutral,") == scored("--neutral", str(demo_path))
    assert with_profile != scored()
    live = CliRunner().invoke(
        app, ["demo", "--fast", "--duration", "3", "--profile", "me", "--model", str(model)]
    )
    assert live.exit_code == 0, live.output
    assert "listening: ser-stream  demo.flac  16 kHz  profile me" in live.output
    both = CliRunner().invoke(
        app, ["score", "a.wav", "--profile", "me", "--neutral", str(demo_path)]
    )
    assert isinstance(both.exception, ConfigError)


def test_a_model_without_profiles_is_refused_before_anybody_reads_aloud(folder, tmp_path):
    plain = str(edited(tmp_path, profiles=False))
    for arguments in (
        ["calibrate", "--profile", "me", "--model", plain],
        ["score", "a.wav", "--neutral", "b.wav", "--model", plain],
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, ProfileError)
        assert "not trained to know a speaker" in str(result.exception)
    assert list_profiles() == []


def test_silence_makes_no_profile(model, folder, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(20 * RATE_HZ), RATE_HZ)
    result = CliRunner().invoke(
        app,
        ["calibrate", "--profile", "me", "--model", str(model), "--file",
         str(tmp_path / "silence.wav")],
    )  # fmt: skip
    assert isinstance(result.exception, ProfileError)
    assert list_profiles() == []


def test_the_reading_is_guided_until_there_is_enough(bundle, demo_path, capsys, folder):
    with FileSource(demo_path) as source:
        recorder = _guided(source, bundle, 8.0)
    told = capsys.readouterr().err
    assert 8.0 <= recorder.speech_s < 9.0
    assert recorder.heard_s < 33.0
    assert "8.0 s of speech" not in told.splitlines()[0]
    assert " of 8 s of speech" in told.splitlines()[-1]
    assert recorder.finish("me").voiced_s > 2.0
    # Nothing but noise: it gives up after a while and makes no profile.
    hiss = NoiseSource()
    recorder = _guided(hiss, bundle, 5.0)
    assert recorder.heard_s == pytest.approx(20.0, abs=1.1)
    with pytest.raises(ProfileError, match="s of speech"):
        recorder.finish("me")


class NoiseSource:
    """A microphone that hears nothing but its own noise."""

    sample_rate_hz = RATE_HZ

    def __iter__(self):
        rng = np.random.default_rng(0)
        for k in range(600):
            yield AudioBlock(rng.normal(0, 1e-3, RATE_HZ).astype(np.float32), k * RATE_HZ)


def test_the_view_fits_a_narrow_terminal():
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(CalibrationView(6.0, 15.0, -63.0, "too quiet: raise the gain"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 60
    assert any("6 of 15 s" in line for line in lines)
    assert lines[-1].startswith("too quiet")


def test_rubbish_makes_no_profile(bundle, speech):
    recorder = ProfileRecorder(bundle)
    with pytest.raises(AudioError, match="NaN, infinite or huge"):
        recorder.feed(np.append(speech[:RATE_HZ], np.float32(np.nan)))
