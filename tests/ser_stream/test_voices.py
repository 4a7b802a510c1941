"""What is learnt of a voice: kept at the end of a stream, begun with by the next, taken back."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from ser_stream.cli import app
from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import Profile, ProfileError
from ser_stream.profiles import learn, list_voices, load_voice, unlearn, voice_path
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock
from tests.helpers.edited_bundle import edited

RATE_HZ = 16000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """What tests learn is their own."""
    monkeypatch.setenv("SER_STREAM_CONFIG", str(tmp_path))
    return tmp_path / "voices"


def heard(bundle, samples, voice: Profile | None = None) -> Engine:
    engine = Engine(bundle, EngineConfig(gate=False, voice=voice))
    engine.reset()
    engine.feed(AudioBlock(samples, 0))
    return engine


def test_the_next_stream_begins_with_what_was_learnt(bundle, speech, folder):
    before, after = speech[: 12 * RATE_HZ], speech[12 * RATE_HZ : 20 * RATE_HZ]
    first = heard(bundle, before)
    voice = learn("ann", first, "2026-01-02")
    assert voice is not None
    assert voice == load_voice("ann", bundle)
    assert voice.voiced_s == pytest.approx(first.voiced_s)
    second = heard(bundle, after, voice)
    # A stranger's stream knows nothing of it.
    alone = heard(bundle, after)
    assert second.voiced_s == alone.voiced_s
    for name in ("weight", "level_db", "total", "square"):
        one, other, both = (getattr(e.heard, name) for e in (first, alone, second))
        np.testing.assert_allclose(both, one + other, rtol=1e-4, atol=1e-3, err_msg=name)


def test_older_speech_fades_out(bundle, speech, folder):
    loud = heard(bundle, speech)
    for _ in range(8):
        voice = learn("ann", loud)
        loud = heard(bundle, speech, voice)
    memory_s = bundle.meta.normalizer.memory_s
    assert load_voice("ann", bundle).voiced_s <= memory_s * 1.001
    quiet = heard(bundle, 0.1 * speech, load_voice("ann", bundle))
    level = quiet.heard.level_db / quiet.heard.weight
    assert loud.heard.level_db / loud.heard.weight - 20.0 < level
    assert level < loud.heard.level_db / loud.heard.weight - 1.0


def test_it_is_taken_back_a_step_at_a_time(bundle, speech, folder):
    first = learn("ann", heard(bundle, speech[: 12 * RATE_HZ]))
    learn("ann", heard(bundle, speech))
    assert load_voice("ann", bundle) != first
    assert unlearn("ann")
    assert load_voice("ann", bundle) == first
    assert not unlearn("ann")
    assert load_voice("ann", bundle) is None
    assert list_voices() == []
    with pytest.raises(ProfileError, match="nothing was learnt of the voice 'ann'"):
        unlearn("ann")


def test_what_there_is_stays_if_the_new_cannot_be_written(bundle, speech, folder, monkeypatch):
    first = learn("ann", heard(bundle, speech[: 12 * RATE_HZ]))

    def full(profile, path):
        raise ProfileError(f"{path}: cannot write")

    with monkeypatch.context() as patch:
        patch.setattr(Profile, "save", full)
        with pytest.raises(ProfileError, match="cannot write"):
            learn("ann", heard(bundle, speech))
    assert load_voice("ann", bundle) == first


def test_a_damaged_voice_does_not_hide_the_others(bundle, speech, folder):
    learn("ann", heard(bundle, speech))
    learn("zoe", heard(bundle, speech))
    voice_path("bob").write_text("{")
    listed = CliRunner().invoke(app, ["profiles"])
    assert listed.exit_code == 1
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ann", "zoe"]
    (line,) = listed.stderr.splitlines()
    assert line.startswith(f"error: {voice_path('bob')}: not a profile")


def test_too_little_speech_changes_nothing(bundle, speech, folder):
    assert learn("ann", heard(bundle, speech[: 4 * RATE_HZ])) is None
    assert learn("ann", heard(bundle, np.zeros(20 * RATE_HZ, np.float32))) is None
    assert list_voices() == []


def test_only_statistics_are_kept(bundle, speech, folder):
    learn("ann", heard(bundle, speech))
    table = json.loads(voice_path("ann").read_text())
    assert voice_path("ann").stat().st_size < 5000
    assert len(table["mean"]) == len(table["variance"]) == bundle.extractor.width


def test_another_front_end_knows_nothing_of_it_and_a_fixed_model_refuses_it(
    bundle, speech, folder, tmp_path
):
    voice = learn("ann", heard(bundle, speech))
    fixed = ModelBundle.load(edited(tmp_path, normalizer_state="cold"))
    with pytest.raises(ProfileError, match="does not adapt to a speaker"):
        Engine(fixed, EngineConfig(voice=voice))
    path = voice_path("ann")
    path.write_text(path.read_text().replace(voice.frontend, "mfcc-0"))
    assert load_voice("ann", bundle) is None


def test_the_commands_learn_tell_use_and_take_back(tmp_path, speech, folder):
    sound = (speech * 32767).astype("<i2").tobytes()

    def run(*arguments: str):
        return CliRunner().invoke(app, arguments)

    def live(*more: str) -> subprocess.CompletedProcess[str]:
        arguments = ["--device", "-", "--rate", str(RATE_HZ), "--jsonl", "--profile", "ann", *more]
        done = subprocess.run(
            [sys.executable, "-m", "ser_stream.cli", *arguments],
            input=sound, capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        return subprocess.CompletedProcess(
            arguments, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    unknown = live()
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: no profile 'ann'")
    first = live("--learn")
    assert first.returncode == 0, first.stderr
    assert "of the voice 'ann'; ser-stream profiles --unlearn ann" in first.stderr
    assert json.loads(first.stdout.splitlines()[-1])["profile"] is None
    listed = run("profiles")
    assert listed.stdout.startswith("ann  learnt 20")
    second = live()
    assert json.loads(second.stdout.splitlines()[-1])["profile"] == "ann"
    soundfile.write(tmp_path / "a.wav", speech[: 6 * RATE_HZ], RATE_HZ)
    rows = [
        list(csv.DictReader(run("score", str(tmp_path / "a.wav"), *more).stdout.splitlines()))
        for more in ((), ("--profile", "ann"))
    ]
    assert [r[0]["profile"] for r in rows] == ["", "ann"]
    assert rows[0][0]["angry"] != rows[1][0]["angry"]
    # Where nothing can be kept, all else is as ever.
    voice_path("ann").parent.rename(tmp_path / "kept")
    (tmp_path / "voices").touch()
    broken = live("--learn")
    assert broken.returncode == 1
    assert f"error: {tmp_path / 'voices'}" in broken.stderr
    assert "heard 33.2 s" in broken.stderr
    assert broken.stdout.count("\n") == first.stdout.count("\n")
    (tmp_path / "voices").unlink()
    (tmp_path / "kept").rename(tmp_path / "voices")
    assert "nothing is left" in run("profiles", "--unlearn", "ann").stdout
    assert "no profile yet" in run("profiles").stderr
    nameless = run("--learn", "--device", "-", "--rate", "16000")
    assert isinstance(nameless.exception, ConfigError)
