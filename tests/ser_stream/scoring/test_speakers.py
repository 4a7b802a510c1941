"""Recordings of one speaker: heard before any is scored, in whatever order they come."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from ser_stream.cli import app
from ser_stream.errors import ConfigError
from ser_stream.models.profile import ProfileError
from ser_stream.scoring.recordings import FileScore, score_file
from ser_stream.scoring.speakers import Speakers, speaker_of
from ser_stream.stream.engine import Engine
from tests.helpers.edited_bundle import edited

RATE_HZ = 16000


@pytest.fixture
def talks(tmp_path, speech) -> list[Path]:
    """Clips of one voice in two folders."""
    paths = []
    for k in range(4):
        path = tmp_path / "ab"[k % 2] / f"{k}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, speech[3 * k * RATE_HZ : (3 * k + 3) * RATE_HZ], RATE_HZ)
        paths.append(path)
    return paths


def scored(bundle, files: list[Path], how: str) -> dict[Path, FileScore]:
    speakers = Speakers(bundle, speaker_of(how))
    speakers.hear(files)
    engine = Engine(bundle)
    return {path: score_file(path, engine, speakers=speakers) for path in files}


def test_the_order_of_files_does_not_matter(bundle, talks):
    one = scored(bundle, talks, "all")
    other = scored(bundle, talks[::-1], "all")
    for path in talks:
        assert one[path].speaker == "all"
        np.testing.assert_array_equal(one[path].posterior, other[path].posterior)


def test_what_is_known_is_what_was_heard_in_all_recordings(bundle, talks):
    speakers = Speakers(bundle, speaker_of("all"))
    speakers.hear(talks)
    known = speakers.known("all")
    alone = [Speakers(bundle, speaker_of("file")) for _ in talks]
    for one, path in zip(alone, talks, strict=True):
        one.hear([path])
    parts = [one.known(str(path)) for one, path in zip(alone, talks, strict=True)]
    np.testing.assert_allclose(known.weight, sum(p.weight for p in parts), rtol=1e-12)
    np.testing.assert_allclose(known.total, sum(p.total for p in parts), atol=1e-6)
    # The normaliser of a stream over the same samples knows the same.
    normalizer = bundle.make_normalizer()
    samples = soundfile.read(talks[0], dtype="float32")[0]
    heard = normalizer.accept(bundle.extractor(samples))[-1]
    np.testing.assert_allclose(parts[0].total, heard.total, rtol=1e-5, atol=1e-3)


def test_groups(bundle, talks, tmp_path):
    alone = scored(bundle, talks, "file")
    by_folder = scored(bundle, talks, "folder")
    assert [by_folder[p].speaker for p in talks] == [str(p.parent) for p in talks]
    # Two in a folder are not one by itself.
    assert any(not np.array_equal(alone[p].posterior, by_folder[p].posterior) for p in talks)
    table = tmp_path / "who.csv"
    table.write_text(
        "\n".join(["path,speaker,Person", *(f"{p},x,p{p.parent.name}" for p in talks[:3])])
    )
    by_table = scored(bundle, talks, f"{table}:person")
    assert [by_table[p].speaker for p in talks] == ["pa", "pb", "pa", None]
    np.testing.assert_array_equal(by_table[talks[0]].posterior, by_folder[talks[0]].posterior)
    # A recording that the table does not name is a stranger's.
    np.testing.assert_array_equal(
        by_table[talks[3]].posterior, score_file(talks[3], Engine(bundle)).posterior
    )


def test_nothing_stays_for_the_next_recording(bundle, talks):
    engine = Engine(bundle)
    before = score_file(talks[0], engine)
    speakers = Speakers(bundle, speaker_of("all"))
    speakers.hear(talks)
    known = score_file(talks[0], engine, speakers=speakers)
    assert not np.array_equal(known.posterior, before.posterior)
    np.testing.assert_array_equal(score_file(talks[0], engine).posterior, before.posterior)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("speakers", "name file, folder, all or a .csv table"),
        ("none.csv", "cannot read"),
        ("table.csv:who", "no column who; its columns: .*path, speaker"),
        ("table.csv", "line 2: no file 'absent.wav'"),
        ("empty.csv", "empty"),
        ("header.csv", "names no speaker of any recording"),
        ("twice.csv", "line 3: 'table.csv' again, of 'bob'; it was of 'ann'"),
    ],
)
def test_what_is_no_speaker_is_told(how, told, tmp_path):
    (tmp_path / "table.csv").write_text("path,speaker\nabsent.wav,ann\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("path,speaker\ntable.csv,\n")
    (tmp_path / "twice.csv").write_text("path,speaker\ntable.csv,ann\ntable.csv,bob\n")
    with pytest.raises(ConfigError, match=told):
        speaker_of(how if how == "speakers" else str(tmp_path / how))


def test_a_model_that_does_not_adapt_is_told(tmp_path):
    from ser_stream.models.bundle import ModelBundle

    fixed = ModelBundle.load(edited(tmp_path, normalizer_state="cold"))
    with pytest.raises(ProfileError, match="does not adapt to a speaker"):
        Speakers(fixed, speaker_of("all"))


def test_the_command_says_whose_recordings_it_took_them_for(talks, tmp_path):
    (tmp_path / "a" / "broken.wav").write_bytes(b"RIFF")
    for more in ([], ["--windows"]):
        out = tmp_path / "out.csv"
        result = CliRunner().invoke(
            app, ["score", str(tmp_path), "--speaker", "folder", "-o", str(out), *more]
        )
        assert result.exit_code == 3, result.output
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert {(r["path"], r["speaker"]) for r in rows} == {
            *((str(p), str(p.parent)) for p in talks),
            (str(tmp_path / "a" / "broken.wav"), str(tmp_path / "a")),
        }
        assert {r["profile"] for r in rows} == {""}


def test_what_cannot_be_heard_twice_is_told(talks):
    for arguments, told in (
        (["-", "--speaker", "all"], "standard input comes once"),
        ([str(talks[0]), "--speaker", "all", "--profile", "ann"], "give no --profile"),
    ):
        result = CliRunner().invoke(app, ["score", *arguments], input=b"")
        assert isinstance(result.exception, ConfigError)
        assert told in str(result.exception)
