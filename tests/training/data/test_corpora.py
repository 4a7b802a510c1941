"""Readers of corpora: official layouts, a user's own table, and what each says when it is wrong."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import SerStreamError
from ser_stream.labels import canonical
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.metadata import TrainingData
from tests.helpers.iemocap_tree import EMOTION, RATE_HZ, Expected, make_tree
from training.data.corpora import (
    CORPORA,
    Corpus,
    CorpusError,
    Utterance,
    audio_files,
    iemocap,
    manifest,
    read_corpus,
)
from training.data.noises import NOISE_CREDIT


def test_official_names_are_read(tmp_path):
    for name in (
        "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1040_ITH_SAD_X.flac",
        "AudioWAV/._1001_DFA_ANG_XX.wav",
        "AudioWAV/notes.wav", "wav/03a01Fa.wav", "wav/16b10Lb.flac", "wav/03a01Xa.wav",
        "Actor_01/03-01-05-01-02-01-01.wav", "Actor_24/03-01-02-01-02-01-24.flac",
        "Actor_01/03-02-05-01-02-01-01.wav", "samples/SM0_happiness_12.wav",
        "samples/WR0_surprised_64.flac", "samples/WR0_joy_64.wav", "samples/wr0_fear_1.wav",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "data.tsv").write_text(
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "SM0_happiness_12.wav\thappiness\t„Mój teść”.\tmój teść\t        SM0\tmale\t24\n",
        encoding="utf-8",
    )
    found = {
        corpus: [(u.speaker, u.emotion, u.text) for u in read_corpus(corpus, tmp_path)]
        for corpus in ("crema-d", "emodb", "nemo", "ravdess")
    }
    assert found == {
        "crema-d": [
            ("crema-d/1001", "angry", "Don't forget a jacket"),
            ("crema-d/1040", "sad", "I think I have a doctor's appointment"),
        ],
        "emodb": [("emodb/03", "happy", ""), ("emodb/16", "bored", "")],
        "nemo": [("nemo/SM0", "happy", "„Mój teść”."), ("nemo/WR0", "surprised", "")],
        "ravdess": [
            ("ravdess/01", "angry", "Dogs are sitting by the door"),
            ("ravdess/24", "calm", "Dogs are sitting by the door"),
        ],
    }


def test_wrong_corpora_are_told(tmp_path):
    with pytest.raises(CorpusError, match="unknown corpus"):
        read_corpus("iemocop", tmp_path)
    with pytest.raises(CorpusError, match="no folder"):
        read_corpus("emodb", tmp_path / "missing")
    with pytest.raises(CorpusError, match="holds no clip"):
        read_corpus("emodb", tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(CorpusError, match="no folder"):
        read_corpus("emodb", tmp_path / "a.csv")


@pytest.mark.corpus
def test_the_corpora_beside_the_checkout_are_read_whole(corpora):
    four = ("angry", "happy", "neutral", "sad")
    counts = {}
    for name in ("crema-d", "emodb", "nemo", "ravdess"):
        utterances = [u for u in read_corpus(name, corpora / name) if u.emotion in four]
        counts[name] = (len(utterances), len({u.speaker for u in utterances}))
    assert counts == {
        "crema-d": (3931, 73), "emodb": (339, 10), "nemo": (720, 9), "ravdess": (672, 24),
    }  # fmt: skip
    assert len(read_corpus("emodb", corpora / "emodb")) == 535
    for name in ("crema-d", "ravdess"):
        with (corpora / name / "index.csv").open(encoding="utf-8", newline="") as file:
            want = {corpora / name / row["path"]: row["text"] for row in csv.DictReader(file)}
        assert {u.path: u.text for u in read_corpus(name, corpora / name)} == want
    with (corpora / "nemo" / "index.csv").open(encoding="utf-8", newline="") as file:
        labels = {
            corpora / "nemo" / row["path"]: (f"nemo/{row['speaker']}", row["emotion"])
            for row in csv.DictReader(file)
        }
    found = read_corpus("nemo", corpora / "nemo")
    assert {u.path: (u.speaker, u.emotion) for u in found} == labels
    assert len(audio_files(corpora / "esc10")) == 400


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"file_id\temotion\n", "data.tsv: no column raw_text"),
        (b"", "data.tsv: no column file_id, raw_text"),
        (b"file_id\traw_text\n\xff\n", "data.tsv: not UTF-8"),
    ],
)
def test_a_wrong_table_of_sentences_is_told(tmp_path, table, message):
    (tmp_path / "data.tsv").write_bytes(table)
    with pytest.raises(CorpusError, match=message):
        read_corpus("nemo", tmp_path)


def test_a_corpus_says_all_that_is_asked_of_it():
    told = {field.name: getattr(CORPORA["emodb"], field.name) for field in fields(Corpus)}
    for name in told:
        with pytest.raises(TypeError, match=name):
            Corpus(**{k: v for k, v in told.items() if k != name})
    for credit in (TrainingData("", "CC0 1.0", ""), TrainingData("EMO-DB", "", "Burkhardt")):
        with pytest.raises(CorpusError, match="needs a name and a licence"):
            Corpus(**{**told, "credit": credit})
    names = [corpus.credit.corpus for corpus in CORPORA.values()]
    assert len(set(names)) == len(names)


def test_the_shipped_model_was_trained_on_what_allows_it():
    allowed = {corpus.credit.corpus for corpus in CORPORA.values() if corpus.trains_shipped}
    trained = {data.corpus for data in ModelBundle.load().meta.training_data}
    assert trained
    assert trained <= {*allowed, NOISE_CREDIT.corpus}
    assert not allowed & {CORPORA[name].credit.corpus for name in ("iemocap", "nemo", "ravdess")}


def test_an_utterance_is_a_whole_file_unless_told():
    u = Utterance(Path("a.wav"), "x", "x/1", "sad")
    assert (u.session, u.part, u.text, u.start_s, u.end_s) == ("", "", "", 0.0, None)


# IEMOCAP


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    return make_tree(tmp_path_factory.mktemp("iemocap"), utterances_per_cell=1)


@pytest.fixture
def copy(tree: Expected, tmp_path: Path) -> Path:
    """A copy of the tree that a test may damage."""
    return Path(shutil.copytree(tree.folder, tmp_path / "copy"))


def test_the_tree_holds_what_it_promises(tree):
    frequent = dict.fromkeys(("angry", "happy", "excited", "neutral", "sad"), 20)
    rare = dict.fromkeys(("frustrated", "fear", "surprised", "disgust", "other", "undecided"), 5)
    assert tree.counts == frequent | rare
    assert len(tree.speakers) == 10
    assert len(tree.sessions) == 5
    cells = Counter((t.speaker, t.part, t.label) for t in tree.turns.values())
    assert all(cells[s, p, "exc"] == 1 for s in tree.speakers for p in ("improvised", "scripted"))
    # Both letters speak in dialogues of either letter.
    assert {(t.dialogue.split("_")[0][-1], t.speaker[-1]) for t in tree.turns.values()} == {
        ("F", "F"), ("F", "M"), ("M", "F"), ("M", "M"),
    }  # fmt: skip
    kinds = {t.dialogue.split("_", 1)[1] for t in tree.turns.values()}
    assert kinds == {"impro01", "impro05a", "impro05b", "script01_1", "script02_2b"}
    texts = [t.text for t in tree.turns.values()]
    assert "" in texts
    assert any("]:" in t for t in texts)
    assert any(t.startswith("[LAUGHTER]") for t in texts)
    for turn in tree.turns.values():
        info = soundfile.info(turn.audio)
        assert (info.samplerate, info.channels, info.subtype) == (RATE_HZ, 1, "PCM_16")
        assert info.duration + 1e-3 >= 0.6
        assert info.duration <= 3.0
    junk = [p for p in tree.folder.rglob("._*") if p.is_file()]
    assert {p.suffix for p in junk} >= {".txt", ".wav"}
    assert list(tree.folder.glob("Session*/dialog/EmoEvaluation/Attribute/*.txt"))


def test_trees_depend_on_their_seed_alone(tree, tmp_path):
    def contents(expected: Expected) -> dict[str, bytes]:
        files = (p for p in expected.folder.rglob("*Ses05*") if p.is_file())
        return {str(p.relative_to(expected.folder)): p.read_bytes() for p in files}

    assert contents(make_tree(tmp_path / "same", 1)) == contents(tree)
    assert contents(make_tree(tmp_path / "other", 1, seed=1)) != contents(tree)


def test_every_labelled_turn_is_read_as_it_is(tree):
    utterances = read_corpus("iemocap", tree.folder)
    assert {u.path.stem: u for u in utterances} == {
        t.name: Utterance(
            t.audio, "iemocap", t.speaker, t.emotion, t.session, t.part, t.text, 0.0, None
        )
        for t in tree.turns.values()
    }
    assert len(utterances) == len(tree.turns)
    assert [u.path for u in utterances] == sorted(u.path for u in utterances)
    assert Counter(u.emotion for u in utterances) == tree.counts
    assert sorted({u.speaker for u in utterances}) == [
        f"iemocap/Ses0{n}{g}" for n in range(1, 6) for g in "FM"
    ]
    assert sorted({u.session for u in utterances}) == tree.sessions


def test_the_parent_of_the_release_will_do(tree):
    assert read_corpus("iemocap", tree.folder.parent) == read_corpus("iemocap", tree.folder)


def test_labels_have_times_and_dimensions(tree):
    for path in sorted(tree.folder.glob("Session*/dialog/EmoEvaluation/[!.]*.txt")):
        expected = [t for t in tree.turns.values() if t.dialogue == path.stem]
        assert [(t.name, t.label, t.start_s, t.end_s, t.vad) for t in iemocap.read_turns(path)] == [
            (t.name, t.label, t.start_s, t.end_s, t.vad) for t in expected
        ]


def test_transcripts_are_those_of_labelled_turns(tree):
    files = sorted(tree.folder.glob("Session*/dialog/transcriptions/[!.]*.txt"))
    texts = {name: text for name, text in tree.texts.items() if text}
    assert iemocap.read_transcripts(files) == texts


def test_labels_in_other_hands_are_read_too(tmp_path):
    path = tmp_path / "Ses01F_impro01.txt"
    path.write_bytes(
        b"\xef\xbb\xbf% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\r\n\r\n"
        b"[1 - 2.5]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\r\n"
        b"A-E3:\tval 3; act 2; dom  2;\t()\r\n\r\n"
        b"[3.0 - 3.5]\tSes01F_impro01_MXX0\tneu\t[2.5, 2.5, 2.5]\r\n"
        b"[4.0 - 5.0]\tSes01F_impro01_M000\txxx\t[]\r\n"
    )
    first, second = iemocap.read_turns(path)
    assert (first.name, first.start_s, first.end_s) == ("Ses01F_impro01_F000", 1.0, 2.5)
    assert (second.name, second.vad) == ("Ses01F_impro01_M000", None)


def test_another_audio_format_will_do(copy):
    wav = next((copy / "Session3/sentences/wav").glob("*/[!.]*.wav"))
    samples, rate = soundfile.read(wav)
    soundfile.write(wav.with_suffix(".flac"), samples, rate)
    wav.unlink()
    assert wav.with_suffix(".flac") in {u.path for u in read_corpus("iemocap", copy)}


def test_some_sessions_and_no_transcripts_will_do(copy, tree):
    shutil.rmtree(copy / "Session2")
    shutil.rmtree(copy / "Session4" / "dialog" / "transcriptions")
    utterances = read_corpus("iemocap", copy)
    assert {u.session for u in utterances} == set(tree.sessions) - {"iemocap/Ses02"}
    assert {u.text for u in utterances if u.session == "iemocap/Ses04"} == {""}
    assert all(
        u.text == tree.texts[u.path.stem] for u in utterances if u.session != "iemocap/Ses04"
    )


def test_turns_without_audio_are_counted(copy):
    folders = sorted(p for p in (copy / "Session1/sentences/wav").iterdir() if p.is_dir())
    gone = sorted(p for f in folders[:2] for p in f.glob("[!.]*.wav"))[3:9]
    for path in gone:
        path.unlink()
    first = next(
        t.name
        for p in sorted((copy / "Session1/dialog/EmoEvaluation").glob("[!.]*.txt"))
        for t in iemocap.read_turns(p)
        if t.name in {g.stem for g in gone}
    )
    with pytest.raises(CorpusError, match=f"6 labelled turns have no audio, first {first};"):
        read_corpus("iemocap", copy)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[1, 2, 3]", "labelled a second time"),
        ("[1.0 - 2.0]\tSes01F_impro01_F800\tjoy\t[1, 2, 3]", "line 4: not a labelled turn"),
        ("[1.0 - 2.0]\tSes01F_impro01_F800", "line 4: not a labelled turn"),
        ("[1.0 - x]\tSes01F_impro01_F800\tneu\t[1, 2, 3]", "line 4: not a labelled turn"),
    ],
)
def test_labels_that_contradict_are_told(copy, line, message):
    path = copy / "Session1/dialog/EmoEvaluation/Ses01F_impro99.txt"
    path.write_text(f"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_corpus("iemocap", copy)


@pytest.mark.parametrize("name", ["Ses01F_improv_F000", "Ses01F_impro01_X000", "S1_impro01_F000"])
def test_a_name_of_no_turn_is_told(copy, name):
    path = copy / "Session1/dialog/EmoEvaluation/Ses01F_impro99.txt"
    path.write_text(f"[1.0 - 2.0]\t{name}\tneu\t[1, 2, 3]\n")
    audio = copy / "Session1/sentences/wav" / name.rpartition("_")[0] / f"{name}.wav"
    audio.parent.mkdir(exist_ok=True)
    audio.touch()
    with pytest.raises(CorpusError, match=f"'{name}' is not named"):
        read_corpus("iemocap", copy)


def test_a_folder_that_is_no_iemocap_is_told(tmp_path):
    with pytest.raises(CorpusError, match="holds no Session1 to Session5"):
        read_corpus("iemocap", tmp_path)
    (tmp_path / "Session1").mkdir()
    with pytest.raises(CorpusError, match=r"no labels in .*EmoEvaluation"):
        read_corpus("iemocap", tmp_path)


def test_every_label_has_a_word():
    assert iemocap.EMOTIONS == EMOTION


# A user's own recordings


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.flac", "deep/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_manifest_is_read(recordings):
    path = write(
        recordings,
        "\ufeffSpeaker,path,note,emotion,session,part,text,start_s,end_s\r\n"
        "ann,a.wav,x,angry,s1,improvised,\"Well, no: \"\"no\"\".\r\nNever.\",,\r\n"
        "\r\n"
        "ann,a.wav,,gêné,,,,1.5,2\r\n"
        f" bob , {recordings / 'deep' / 'c.wav'} ,,sad\r\n",
    )  # fmt: skip
    want = [
        Utterance(
            recordings / "a.wav", "manifest", "manifest/ann", "angry", "manifest/s1",
            "improvised", 'Well, no: "no".\r\nNever.',
        ),
        Utterance(
            recordings / "a.wav", "manifest", "manifest/ann", "gêné", start_s=1.5, end_s=2.0
        ),
        Utterance(recordings / "deep" / "c.wav", "manifest", "manifest/bob", "sad"),
    ]  # fmt: skip
    assert read_corpus("manifest", path) == want
    assert read_corpus("manifest", recordings) == want
    assert read_corpus("manifest", path.rename(recordings / "mine.csv")) == want


def test_label_is_another_word_for_emotion(recordings):
    path = write(recordings, "path,label,speaker\na.wav,sad,ann\n")
    assert [u.emotion for u in read_corpus("manifest", path)] == ["sad"]
    path = write(recordings, "path,label,speaker,emotion\na.wav,7,ann,sad\n")
    assert [u.emotion for u in read_corpus("manifest", path)] == ["sad"]


HEAD = "path,emotion,speaker,start_s,end_s\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\ufeff\n\n", "empty"),
        (HEAD, "no clips"),
        ("path,feeling,speaker\na.wav,sad,ann\n", "no column emotion; its columns: 'path, fe"),
        ("file;emotion;speaker\n", "no column path, emotion, speaker"),
        ("path,emotion,label,speaker,path\n", "come twice: 'path'"),
        (HEAD + "a.wav,sad,ann\n,sad,ann\n", "line 3: no path"),
        (HEAD + "a.wav,,ann\n", "line 2: no emotion"),
        (HEAD + "a.wav,sad\n", "line 2: no speaker"),
        (HEAD + "\na.wav,sad, \n", "line 3: no speaker"),
        (HEAD + "a.wav,sad,ann,one,\n", "line 2: start_s is 'one'"),
        (HEAD + "a.wav,sad,ann,-1,\n", "line 2: start_s is '-1'"),
        (HEAD + "a.wav,sad,ann,0,nan\n", "line 2: end_s is 'nan'"),
        (HEAD + "a.wav,sad,ann,0,inf\n", "line 2: end_s is 'inf'"),
        (HEAD + "a.wav,sad,ann,3,2\n", "line 2: ends at 2.0 s"),
        (HEAD + "a.wav,sad,ann,2,2\n", "line 2: ends at 2.0 s"),
        (HEAD + "a.wav,sad,ann,,0\n", "line 2: ends at 0.0 s"),
        (HEAD + "a.wav,sad,ann\nz.wav,sad,ann\n", r"line 3: no audio file .*z\.wav"),
        (HEAD + "deep,sad,ann\n", "line 2: no audio file"),
        (HEAD + "a.wav,sad,ann,0,1,well, no\n", "line 2: 7 cells for 5 columns"),
        (HEAD + "a.wav,sad,ann\nb.flac,sad,ann\n./a.wav,fear,ann,0.0,9\n", "line 4: the same clip"),
        (HEAD + 'a.wav,"sad\n,ann', "line 2: unexpected end of data"),
        ('path,emotion,speaker,text\n"a.wav",sad,ann,"two\nlines"\nz.wav,sad,ann,\n', "line 4: no"),
        ((HEAD + "a.wav,gêné,ann\n").encode("latin-1"), "not UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_told(recordings, text, message):
    path = write(recordings, text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_corpus("manifest", path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, SerStreamError)


def test_a_folder_must_hold_one_manifest(recordings):
    with pytest.raises(CorpusError, match=r"0 files manifest\.csv"):
        read_corpus("manifest", recordings)
    path = write(recordings / "deep", "path,emotion,speaker\nc.wav,sad,ann\n")
    assert read_corpus("manifest", recordings)[0].path == recordings / "deep" / "c.wav"
    shutil.copy(path, recordings)
    with pytest.raises(CorpusError, match=r"2 files manifest\.csv"):
        read_corpus("manifest", recordings)
    with pytest.raises(CorpusError, match="no file or folder"):
        read_corpus("manifest", recordings / "other.csv")


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)
spans = st.tuples(st.floats(0, 1e4), st.none() | st.floats(1e-3, 1e4))


@given(st.lists(st.tuples(words, words, st.just("") | words, spans), min_size=1, max_size=6))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("own")
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["path", "emotion", "speaker", "text", "start_s", "end_s"])
    for i, (emotion, speaker, text, (start, length)) in enumerate(rows):
        (folder / f"{i}.wav").touch()
        end = "" if length is None else repr(start + length)
        writer.writerow([f"{i}.wav", emotion, speaker, text, repr(start), end])
    path = write(folder, out.getvalue())
    assert manifest.read(path) == [
        Utterance(
            folder / f"{i}.wav", "manifest", f"manifest/{speaker}", canonical(emotion), text=text,
            start_s=start, end_s=None if length is None else start + length,
        )
        for i, (emotion, speaker, text, (start, length)) in enumerate(rows)
    ]  # fmt: skip
