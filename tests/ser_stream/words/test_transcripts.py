"""Transcripts from tables and from files beside the audio."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.errors import SerStreamError
from ser_stream.types import Word
from ser_stream.words.tokens import spoken_words
from ser_stream.words.transcripts import (
    Transcript,
    TranscriptError,
    find_transcript,
    read_transcript,
    read_transcripts_csv,
)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, name: str, content: str | bytes) -> Transcript:
    return read_transcript(written(folder / name, content))


def timed(transcript: Transcript) -> list[tuple[str, float, float]]:
    assert transcript.timed
    return [(w.text, round(w.start_s, 6), round(w.end_s, 6)) for w in transcript.words]


# Files

VTT = """\
WEBVTT - a talk
Kind: captions

NOTE
Made by hand --
and checked

STYLE
::cue { color: red }

intro
00:01.000 --> 00:03.000 align:start position:0%
<v Ann Lee>Don't <i.loud>go</i></v>
away &amp; stay

2
01:00:00.000 --> 01:00:01.500
&gt;&gt; JOHN: [music] <00:59.900><c>Well</c>, -- I see.
"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_webvtt(tmp_path, end, mark):
    found = timed(read(tmp_path, "a.vtt", mark + VTT.replace("\n", end)))
    assert found == [
        ("Don't", 1.0, 1.4), ("go", 1.4, 1.8), ("away", 1.8, 2.2), ("&", 2.2, 2.6),
        ("stay", 2.6, 3.0),
        ("Well,", 3600.0, 3600.5), ("I", 3600.5, 3601.0), ("see.", 3601.0, 3601.5),
    ]  # fmt: skip


SRT = """\
1
00:00:02,000 --> 00:00:03,000 X1:10 X2:20
{\\an8}<font color="red">- Yes.</font><br>No
2
00:00:01,000 --> 00:00:02,000
ANN: so

it <unk> AT&amp;T
3
00:00:04,000 --> 00:00:04,000

"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_subrip(tmp_path, end, mark):
    found = timed(read(tmp_path, "a.srt", mark + SRT.replace("\n", end)))
    assert found == [
        ("so", 1.0, 1.25), ("it", 1.25, 1.5), ("<unk>", 1.5, 1.75), ("AT&amp;T", 1.75, 2.0),
        ("Yes.", 2.0, 2.5), ("No", 2.5, 3.0),
    ]  # fmt: skip


def test_times_need_no_hours_no_blank_line_and_no_numbers(tmp_path):
    text = "WEBVTT\n00:01.000-->00:02.000\na\n1984\n00:02,000 --> 00:03,000\nb\n"
    assert timed(read(tmp_path, "a.vtt", text)) == [("a", 1.0, 2.0), ("b", 2.0, 3.0)]
    text = "00:01.000 --> 00:02.000\na 1\n\n00:02.000 --> 00:03.000\nb\n\n12 monkeys\n"
    assert [w.text for w in read(tmp_path, "a.srt", text).words] == ["a", "1", "b", "12", "monkeys"]


def test_a_cue_may_be_a_number_and_a_head_may_go_straight_on(tmp_path):
    text = "WEBVTT\nKind: captions\nLanguage: en\n00:01.000 --> 00:02.000\n1984\n"
    assert timed(read(tmp_path, "a.vtt", text)) == [("1984", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("JOHN: hello", "hello"),
        ("SPEAKER_01: hello", "hello"),
        ("[Speaker 1]: hello", "hello"),
        ("Ann Mary Lee: hello", "hello"),
        ("\u2014 I: hello", "hello"),
        ("JOHN:", ""),
        ("at 10:30 they", "at 10:30 they"),
        ("one thing: hello", "one thing: hello"),
        ("The Four Words Here: hello", "The Four Words Here: hello"),
        ("a John: hello", "a John: hello"),
    ],
)
def test_speakers_are_no_words(tmp_path, line, said):
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\n{line}\n"
    assert read(tmp_path, "a.vtt", text).text == said


def test_files_without_words(tmp_path):
    for name, text in (
        ("a.vtt", "WEBVTT"),
        ("a.srt", ""),
        ("b.srt", "1\n00:00:01,000 --> 00:00:02,000\n"),
    ):
        assert read(tmp_path, name, text) == Transcript((), timed=True)
    assert read(tmp_path, "a.txt", "\ufeff [silence] -- \r\n") == Transcript((), timed=False)


def test_a_text_has_no_times(tmp_path):
    transcript = read(tmp_path, "a.txt", "Well,\r\n I [LAUGHTER] see.\n")
    assert transcript.words == tuple(Word(w, 0.0, math.inf) for w in ("Well,", "I", "see."))
    assert not transcript.timed
    assert transcript.text == "Well, I see."
    assert transcript.words_between(5.0, 6.0) == list(transcript.words)


def test_words_of_a_window(tmp_path):
    transcript = read(tmp_path, "a.srt", "00:00:00,000 --> 00:00:04,000\na b c d\n")
    assert [w.text for w in transcript.words_between(1.0, 3.0)] == ["b", "c"]


CUE = "1\r\n00:00:01,000 --> 00:00:02,000\r\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vtt", "", "line 1: a WebVTT file begins with WEBVTT: ''"),
        ("a.vtt", "WEBVTTX\n\n", "line 1: a WebVTT file begins"),
        ("a.vtt", "WEBVTT\n\n00:01.000 -> 00:02.000\na\n", "line 3: a cue without times: '00:01"),
        ("a.vtt", "WEBVTT\n\na\nb\n00:01.000 --> 00:02.000\n", "line 3: a cue without times: 'a'"),
        ("a.vtt", "WEBVTT\n\na\n00:01.0 --> 00:02.000\n", "line 4: not the times of a cue"),
        ("a.vtt", "WEBVTT\n\n00:61.000 --> 01:02.000\n", "line 3: not the times"),
        ("a.vtt", "WEBVTT\n\n00:02.000 --> 00:01.000\n", "line 3: a cue that ends before"),
        ("a.srt", "hello\n", "line 1: a cue without times: 'hello'"),
        ("a.srt", f"{CUE}a\r\n\r\n2\r\nb\r\n", "line 5: a cue without times: '2'"),
        ("a.srt", f"a\r\nb\r\n{CUE}c", "line 1: a cue without times: 'a'"),
        ("a.srt", "1\n00:00:01,000 --> never\na\n", "line 2: not the times of a cue"),
        ("a.srt", f"{'9' * 5000}:00:00,000 --> 00:00:02,000\n", "line 1: not the times of a cue"),
        ("a.srt", "x" * 99, f"'{'x' * 40}...'"),
        ("a.srt", "caf\u00e9".encode("latin-1"), "not UTF-8 (byte 3)"),
        ("a.txt", "hello".encode("utf-16"), "not UTF-8 (byte 0)"),
        ("a.txt", "hello".encode("utf-16-le"), "not UTF-8 (holds zero bytes)"),
        ("a.doc", "hello", "not a transcript; known: .vtt, .srt, .txt"),
    ],
)  # fmt: skip
def test_broken_files_are_told(tmp_path, name, content, message):
    with pytest.raises(TranscriptError) as error:
        read(tmp_path, name, content)
    assert str(error.value).startswith(str(tmp_path / name))
    assert message in str(error.value)
    assert isinstance(error.value, SerStreamError)


def test_a_file_that_is_missing_is_told(tmp_path):
    with pytest.raises(TranscriptError, match="cannot read"):
        read_transcript(tmp_path / "a.srt")


def test_the_transcript_beside_a_recording(tmp_path):
    audio = tmp_path / "talk.part.wav"
    assert find_transcript(audio) is None
    for name in ("talk.part.wav.txt", "talk.part.txt"):
        written(tmp_path / name, name)
        assert find_transcript(audio) == read_transcript(tmp_path / name)
    for name in ("talk.part.wav.srt", "talk.part.srt", "talk.part.vtt"):
        text = f"00:01.000 --> 00:02.000\n{name}\n"
        written(tmp_path / name, "WEBVTT\n\n" + text if name.endswith("vtt") else text)
        found = find_transcript(str(audio))
        assert found is not None
        assert found.text == name
    written(tmp_path / "talk.part.vtt", "broken")
    with pytest.raises(TranscriptError, match="WEBVTT"):
        find_transcript(audio)


stamps = st.integers(0, 359_999_999)


@settings(max_examples=50)
@given(st.lists(st.tuples(stamps, stamps, st.text()), max_size=5), st.booleans())
def test_words_of_a_cue_share_its_time(cues, srt):
    def stamp(ms: int) -> str:
        s, ms = divmod(ms, 1000)
        return f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}{',' if srt else '.'}{ms:03}"

    # Lower case: nobody's name.
    lines = [] if srt else ["WEBVTT", ""]
    want: list[Word] = []
    for number, (one, other, text) in enumerate(cues):
        words = [f"w{word}" for word in spoken_words(text) if not set(word) & set("<>&{}\\[]:-\0")]
        a, b = sorted((one, other))
        lines += [str(number), f"{stamp(a)} --> {stamp(b)}", " ".join(words), ""]
        want += [Word(w, a / 1000, b / 1000) for w in spoken_words(" ".join(words))]
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), "a.srt" if srt else "a.vtt", "\n".join(lines)).words
    assert sorted(w.text for w in found) == sorted(w.text for w in want)
    assert [w.start_s for w in found] == sorted(w.start_s for w in found)
    spans = [(w.text, w.start_s, w.end_s) for w in want]
    for word in found:
        assert any(
            t == word.text and a - 1e-6 <= word.start_s <= word.end_s <= b + 1e-6
            for t, a, b in spans
        )


@given(st.sampled_from([".vtt", ".srt", ".txt"]), st.text() | st.binary())
def test_any_file_is_read_or_refused(suffix, content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        )
        try:
            transcript = read_transcript(path)
        except TranscriptError:
            return
    assert transcript.timed == (suffix != ".txt")
    assert all(0.0 <= word.start_s <= word.end_s for word in transcript.words)


# Tables


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "sub/b.wav", "c.wav"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table(folder, mark):
    table = (
        f'{mark}Text , note,path\r\n"Well, ""yes""\nno",x,a.wav\r\n\r\n'
        f"[LAUGHTER],y,sub/b.wav\r\nmaybe,,{folder / 'c.wav'}\r\n"
    )
    found = read_transcripts_csv(written(folder / "t.csv", table))
    assert {path: transcript.text for path, transcript in found.items()} == {
        (folder / "a.wav").resolve(): 'Well, "yes" no',
        (folder / "sub" / "b.wav").resolve(): "",
        (folder / "c.wav").resolve(): "maybe",
    }
    assert not any(transcript.timed for transcript in found.values())


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_table_names_a_recording_whose_name_is_not_utf_8(folder):
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    odd.touch()
    found = read_transcripts_csv(written(folder / "t.csv", "path,text\ncaf\\xe9.wav,yes\n"))
    assert list(found) == [odd.resolve()]


def test_a_table_with_times(folder):
    table = "path,text,start_s,end_s\na.wav,c d,2,3\nc.wav,whole,,\na.wav,a b,0.5,1\n"
    found = read_transcripts_csv(str(written(folder / "t.csv", table)))
    assert timed(found[(folder / "a.wav").resolve()]) == [
        ("a", 0.5, 0.75), ("b", 0.75, 1.0), ("c", 2.0, 2.5), ("d", 2.5, 3.0),
    ]  # fmt: skip
    assert found[(folder / "c.wav").resolve()] == Transcript(
        (Word("whole", 0.0, math.inf),), timed=False
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("path,words\na.wav,x\n", "no column text; its columns: 'path, words'"),
        ("path;text\na.wav;x\n", "no column path, text; its columns: 'path;text'"),
        ("path,text,text\n", "columns that come twice: 'text'"),
        ("path,text\na.wav,x\nd.wav,x\n", "line 3: no audio file"),
        (f"path,text\n{'x' * 5000},a.wav\n", "line 2: no audio file"),
        ("path,text\n,x\n", "line 2: no path"),
        ("path,text\na.wav,Well, yes\n", "line 2: 3 cells for 2 columns"),
        ('path,text\na.wav,"x\ny"\na.wav,"x\n', "line 4: unexpected end of data"),
        ("path,text\na.wav,x\nsub/../a.wav,x\n", "line 3: 'sub/../a.wav' again"),
        ("path,text,start_s,end_s\na.wav,x,0,1\na.wav,x,,\n", "line 3: 'a.wav' again"),
        ("path,text,start_s,end_s\na.wav,x,,\na.wav,x,0,1\n", "line 3: 'a.wav' again"),
        ("path,text,start_s\na.wav,x,1\n", "line 2: start_s and end_s are '1' and ''"),
        ("path,text,start_s,end_s\na.wav,x,2,1\n", "line 2: start_s and end_s"),
        ("path,text,start_s,end_s\na.wav,x,0,inf\n", "line 2: start_s and end_s"),
        ("path,text,start_s,end_s\na.wav,x,nan,1\n", "line 2: start_s and end_s"),
        ("path,text,start_s,end_s\na.wav,x,-1,1\n", "line 2: start_s and end_s"),
        ("path,text\na.wav,caf\u00e9\n".encode("cp1252"), "not UTF-8 (byte 19)"),
        ("path,text\na.wav,x\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_broken_tables_are_told(folder, content, message):
    path = written(folder / "t.csv", content)
    with pytest.raises(TranscriptError) as error:
        read_transcripts_csv(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
