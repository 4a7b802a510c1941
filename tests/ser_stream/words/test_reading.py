"""Words beside the sound, from a transcript or a recogniser to what is said and shown."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.audio.sources import ArraySource
from ser_stream.errors import ConfigError
from ser_stream.scoring.recordings import score_file
from ser_stream.scoring.rows import prediction_row
from ser_stream.scoring.words import Transcripts, recognize
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, Prediction, Word
from ser_stream.words import reader as module
from ser_stream.words.live import WordTap
from ser_stream.words.reader import open_reader
from ser_stream.words.recognizers import AsrError
from ser_stream.words.tokens import tokenize
from ser_stream.words.transcripts import Transcript
from tests.helpers.commands import one_line, ser_stream
from tests.helpers.engines import Loudness, run, same
from tests.helpers.fake_asr import FakeAsr
from tests.helpers.reading_bundle import TOKENS, WEIGHT
from tests.helpers.sinks import Keep

RATE_HZ = 16000
OPEN = EngineConfig(hop_s=0.25, gate=False)


def transcript(*words: tuple[str, float, float]) -> Transcript:
    return Transcript(tuple(Word(*word) for word in words), timed=True)


TALK = transcript(("grim", 0.6, 0.9), ("table", 1.0, 1.4), ("lovely", 2.5, 3.0), ("gone", 5.0, 5.2))


class ClockAsr(FakeAsr):
    """Says a word in the middle of every second."""

    name = "clock"

    def __init__(self, words: Iterable[str] = ("lovely",), fails_at_s: float = np.inf) -> None:
        self._say = list(words)
        super().__init__(fails_at_s)

    def words(self) -> list[Word]:
        n = self.heard // RATE_HZ
        return [Word(self._say[i % len(self._say)], i + 0.4, i + 0.6) for i in range(n)]


# The engine


@settings(max_examples=60)
@given(data=st.data())
def test_any_blocking_gives_the_same_predictions(reading, reader, speech, data):
    x = speech[: 7 * RATE_HZ]
    cuts = data.draw(st.lists(st.integers(1, len(x) - 1), max_size=12, unique=True))
    first = data.draw(st.integers(0, RATE_HZ))
    engine = Engine(reading, EngineConfig(hop_s=0.25), Loudness(), reader)
    engine.word_source = TALK
    want = run(engine, x, [0, len(x)], first)
    got = run(engine, x, [0, *sorted(cuts), len(x)], first)
    same(got, want)
    assert [p.words for p in got] == [p.words for p in want]
    assert {word for p in want for word in p.words or ()} >= {"lovely", "gone"}


def test_a_window_has_the_words_spoken_in_it_and_they_count(reading, reader, speech):
    x = speech[: 7 * RATE_HZ]
    silent, worded = Engine(reading, OPEN), Engine(reading, OPEN, reader=reader)
    worded.word_source = TALK
    alone, told = (run(e, x, [0, len(x)]) for e in (silent, worded))
    assert len(told) > 15
    for before, after in zip(alone, told, strict=True):
        start_s, end_s = after.start / RATE_HZ, after.end / RATE_HZ
        spoken = [w.text for w in TALK.words if start_s <= (w.start_s + w.end_s) / 2 < end_s]
        assert after.words == tuple(spoken)
        assert before.words is None
        assert before.logits is not None
        assert after.logits is not None
        added = np.zeros(4)
        for word in spoken:
            added[["grim", "lovely", "table", "gone"].index(word)] += WEIGHT
        np.testing.assert_allclose(after.logits - before.logits, added, atol=1e-4)


def test_words_that_come_late_change_nothing_said_before(reading, reader, speech):
    class Late:
        def __init__(self) -> None:
            self.known: list[Word] = []

        def words_between(self, start_s: float, end_s: float) -> list[Word]:
            return Transcript(tuple(self.known), timed=True).words_between(start_s, end_s)

    x = speech[: 6 * RATE_HZ]
    engine = Engine(reading, OPEN, reader=reader)
    engine.word_source = late = Late()
    early = engine.feed(AudioBlock(x[: 3 * RATE_HZ], 0))
    late.known.append(Word("lovely", 2.0, 2.4))
    later = engine.feed(AudioBlock(x[3 * RATE_HZ :], 3 * RATE_HZ))
    assert early
    assert all(p.words == () for p in early)
    heard = [p.words for p in later]
    assert heard[0] == ("lovely",)  # its window still holds the word
    assert heard[-1] == ()


def test_only_the_newest_tokens_are_read(reader):
    words = [Word("grim", 0, 1)] * 9 + [Word("can't", 1, 2), Word("lovely", 2, 3)]
    vectors = reader.vectors(words)
    assert vectors.shape == (TOKENS, 4)  # grim, grim, ca, n't, lovely
    np.testing.assert_array_equal(vectors.argmax(axis=1)[[0, 1, 4]], [0, 0, 1])
    assert not vectors[2:4].any()
    assert reader.vectors([]).shape == (0, 4)


def test_words_that_no_window_has_room_for_are_not_looked_at(reader, monkeypatch):
    seen: list[str] = []

    def counted(text: str) -> list[str]:
        seen.append(text)
        return tokenize(text)

    monkeypatch.setattr(module, "tokenize", counted)
    words = [Word("lovely", 0.0, 1.0)] * 100_000
    assert reader.vectors(words).shape == (TOKENS, 4)
    assert len(seen) == TOKENS


def test_other_vectors_than_those_of_the_training_are_refused(
    reading_folder, reading, bundle, tmp_path
):
    other = tmp_path / "other.txt"
    other.write_text((reading_folder / "vectors.txt").read_text() + "one 0 0 0 1\n")
    with pytest.raises(ConfigError, match=r"not the word vectors .* wants vectors.txt"):
        open_reader(reading, other)
    other.write_text("one 0 0\ntwo 1 1\n")
    with pytest.raises(ConfigError, match="has 2 values"):
        open_reader(reading, other)
    with pytest.raises(ConfigError, match="reads no words"):
        open_reader(bundle, reading_folder / "vectors.txt")
    with pytest.raises(ConfigError, match="No such file"):
        open_reader(reading, tmp_path / "none.txt")
    assert open_reader(reading, None) is None


# The session


def live(engine: Engine, x: np.ndarray, asr: ClockAsr) -> tuple[Session, list[Prediction]]:
    keep = Keep()
    tap = WordTap(asr, RATE_HZ, patient=True)
    session = Session(ArraySource(x, RATE_HZ), engine, [keep], words=tap)
    session.start()
    assert session.wait(60)
    return session, [prediction for prediction, _ in keep.got]


def test_a_session_goes_by_the_words_and_shows_them(reading, reader, speech):
    x = speech[: 6 * RATE_HZ]
    session, got = live(Engine(reading, OPEN, reader=reader), x, ClockAsr())
    assert session.error is None
    assert [w.text for w in session.snapshot.words] == ["lovely"] * 6
    assert [w.start_s for w in session.snapshot.words] == [i + 0.4 for i in range(6)]
    assert session.snapshot.health.recognizer == "running"
    assert {len(p.words) for p in got if p.words} == {1, 2}
    assert got[-1].label == "happy"


def test_words_are_shown_where_the_model_reads_none(bundle, speech):
    session, got = live(Engine(bundle, OPEN), speech[: 4 * RATE_HZ], ClockAsr())
    assert len(session.snapshot.words) == 4
    assert got[-1].words == ("lovely",)  # that of the newest second is not known yet
    row = prediction_row(got[-1], bundle.meta.labels, RATE_HZ)
    assert row["words"] == "lovely"
    want = run(Engine(bundle, OPEN), speech[: 4 * RATE_HZ], [0, 4 * RATE_HZ])
    same(got, want)


def test_a_recogniser_that_fails_leaves_the_meter_running(reading, reader, speech):
    x = speech[: 8 * RATE_HZ]
    asr = ClockAsr(fails_at_s=3.5)
    session, got = live(Engine(reading, OPEN, reader=reader), x, asr)
    assert session.error is None
    assert session.snapshot.health.recognizer == "clock failed: the model file is gone"
    alone = run(Engine(reading, OPEN), x, [0, len(x)])
    assert len(got) == len(alone)
    # From when the last word has left the window, it is the model without words.
    for mine, its in zip(got[-8:], alone[-8:], strict=True):
        assert mine.words == ()
        np.testing.assert_allclose(mine.posterior, its.posterior, atol=1e-5)


# Recordings


@pytest.fixture
def takes(tmp_path: Path, speech: np.ndarray) -> Path:
    for name in ("table", "beside", "none"):
        soundfile.write(tmp_path / f"{name}.wav", speech[: 5 * RATE_HZ], RATE_HZ)
    (tmp_path / "beside.txt").write_text("so gone, gone")
    with (tmp_path / "words.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text"])
        rows.writerow(["table.wav", "lovely lovely"])
    return tmp_path


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {Path(row["path"]).name: row for row in csv.DictReader(io.StringIO(text))}


def test_recordings_are_scored_with_their_transcripts(reading_folder, takes):
    told = ["--model", reading_folder / "reading.onnx", "--vectors", reading_folder / "vectors.txt"]
    table = ["--transcripts", takes / "words.csv"]
    result = ser_stream("score", takes, *told, *table)
    assert result.returncode == 0, result.stderr
    rows = rows_of(result.stdout)
    assert {n: r["transcript"] for n, r in rows.items()} == {
        "table.wav": "table", "beside.wav": "file", "none.wav": "missing"
    }  # fmt: skip
    assert (rows["table.wav"]["label"], rows["beside.wav"]["label"]) == ("happy", "sad")
    alone = ser_stream("score", takes / "none.wav", "--model", reading_folder / "reading.onnx")
    assert "reads words too" in alone.stderr
    row = rows_of(alone.stdout)["none.wav"]
    assert row["transcript"] == ""
    for column in ("happy", "sad", "label"):
        assert row[column] == rows["none.wav"][column]
    windows = ser_stream("score", takes / "beside.wav", *told, "--windows", "--jsonl")
    words = [json.loads(line)["words"] for line in windows.stdout.splitlines()]
    assert words
    assert set(words) == {"so gone, gone"}


def test_what_is_wrong_with_transcripts_is_told(reading_folder, takes):
    told = ["--model", reading_folder / "reading.onnx", "--vectors", reading_folder / "vectors.txt"]
    none = ser_stream("score", takes, "--transcripts", takes / "words.csv")
    one_line(none, 1, "for models that read words: name --vectors")
    (takes / "words.csv").write_text("path,text\nlost.wav,hello\n")
    one_line(ser_stream("score", takes, *told, "--transcripts", takes / "words.csv"), 1,
             "line 2: no audio file")  # fmt: skip
    (takes / "words.csv").write_bytes("path,text\ntable.wav,caf\xe9\n".encode("latin-1"))
    one_line(ser_stream("score", takes, *told, "--transcripts", takes / "words.csv"), 1, "UTF-8")
    (takes / "beside.txt").write_bytes(b"caf\xe9")
    result = ser_stream("score", takes, *told)
    assert result.returncode == 3
    row = rows_of(result.stdout)["beside.wav"]
    assert "UTF-8" in row["error"]
    assert row["label"] == ""
    one_line(ser_stream("score", takes, *told, "--asr", takes / "nothing"), 1, "no such recogniser")
    (takes / "model").mkdir()
    one_line(ser_stream("score", takes, *told, "--asr", takes / "model"), 1, "no encoder*.onnx")
    vectors = takes / "broken.txt"
    vectors.write_text("a 1 2 3 4\nb 1 2 x 4\n")
    one_line(ser_stream("score", takes, *told[:3], vectors), 1, "line 2")


def test_a_recogniser_writes_down_what_has_no_transcript(reading, reader, takes):
    engine = Engine(reading, OPEN, reader=reader)
    words = Transcripts(None, ClockAsr(["grim"]))
    score = score_file(takes / "none.wav", engine, transcripts=words)
    assert (score.transcript, score.label) == ("recognised", "angry")
    score = score_file(takes / "beside.wav", engine, transcripts=words)
    assert (score.transcript, score.label) == ("file", "sad")
    bad = score_file(
        takes / "none.wav", engine, transcripts=Transcripts(None, ClockAsr(fails_at_s=2.0))
    )
    assert bad.error == "clock failed: the model file is gone"
    assert score_file(takes / "none.wav", engine).transcript is None
    assert engine.word_source is None


def test_a_recording_is_recognised_whole(takes):
    found = recognize(takes / "none.wav", ClockAsr(["a", "b"]))
    assert found.timed
    assert found.text == "a b a b a"
    with pytest.raises(AsrError, match="clock failed"):
        recognize(takes / "none.wav", ClockAsr(fails_at_s=1.0))


@pytest.mark.slow
def test_pocketsphinx_transcribes_into_what_score_reads(reading_folder, takes, demo_path):
    pytest.importorskip("pocketsphinx")
    result = ser_stream("transcribe", demo_path, takes / "gone.wav", "-o", takes / "said.csv")
    assert result.returncode == 3
    assert "gone.wav" in result.stderr
    from ser_stream.words.transcripts import read_transcripts_csv

    (found,) = read_transcripts_csv(takes / "said.csv").values()
    assert found.timed
    assert len(found.words) > 20
    assert all(
        a.end_s <= b.start_s + 0.02 for a, b in zip(found.words, found.words[1:], strict=False)
    )
    told = ["--model", reading_folder / "reading.onnx", "--vectors", reading_folder / "vectors.txt"]
    scored = ser_stream("score", demo_path, *told, "--transcripts", takes / "said.csv", "--windows")
    said = [row["words"] for row in csv.DictReader(io.StringIO(scored.stdout))]
    assert len({s for s in said if s}) > 5


def test_the_demo_shows_words(reading_folder):
    pytest.importorskip("pocketsphinx")
    told = ["--model", reading_folder / "reading.onnx", "--vectors", reading_folder / "vectors.txt"]
    result = ser_stream(
        "demo", "--fast", "--duration", 9, "--jsonl", "--asr", "pocketsphinx", *told
    )
    assert result.returncode == 0, result.stderr
    words = [json.loads(line)["words"] for line in result.stdout.splitlines()]
    assert any(words)
    one_line(
        ser_stream("demo", "--fast", "--vectors", reading_folder / "vectors.txt"), 1, "with --asr"
    )


@pytest.mark.slow
@pytest.mark.microphone
def test_words_come_live_through_a_microphone(reading_folder, demo_path, virtual_microphone):
    pytest.importorskip("pocketsphinx")
    command = [
        sys.executable, "-m", "ser_stream.cli", "--device", "pulse", "--jsonl", "--duration", "14",
        "--asr", "pocketsphinx", "--model", reading_folder / "reading.onnx",
        "--vectors", reading_folder / "vectors.txt",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as meter:
        assert meter.stderr is not None
        for line in meter.stderr:
            if line.startswith("listening"):
                break
        played = ["paplay", f"--device={virtual_microphone}", str(demo_path)]
        with subprocess.Popen(played) as player:
            output, _ = meter.communicate(timeout=60)
            player.terminate()
    assert meter.returncode == 0
    rows = [json.loads(line) for line in output.splitlines()]
    assert sum(bool(row["words"]) for row in rows) > 20
    assert len({row["words"] for row in rows}) > 5
