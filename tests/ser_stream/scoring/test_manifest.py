"""Corrections as rows of a manifest, read back by the reader that training uses."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ser_stream.labels import canonical
from ser_stream.scoring.manifest import COLUMNS, OPTIONAL, Clip, ManifestError, keep
from training.data.corpora import Utterance, read_corpus

HEAD = "path,emotion,speaker,start_s,end_s\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("talks/a.wav", "talks/b, c.wav", "elsewhere/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def read(path: Path) -> list[Utterance]:
    return read_corpus("manifest", path)


def utterance(path: Path, emotion: str, speaker: str, start=0.0, end=None) -> Utterance:
    return Utterance(path, "manifest", f"manifest/{speaker}", emotion, start_s=start, end_s=end)


def test_clips_are_read_back_as_they_were_kept(folder):
    file = folder / "talks" / "mine.csv"
    clips = [
        Clip(folder / "talks" / "a.wav", "angry", "ann"),
        Clip(folder / "talks" / "a.wav", "gêné, un peu", "Ann \"A\"", 1.25, 2.0004),
        Clip(folder / "talks" / "b, c.wav", "sad", "bob", 0.0, 1.5),
        Clip(folder / "elsewhere" / "d.wav", " happy ", " bob ", 3.0),
    ]  # fmt: skip
    assert [keep(file, clip) for clip in clips] == [1, 2, 3, 4]
    assert read(file) == [
        utterance(folder / "talks" / "a.wav", "angry", "ann"),
        utterance(folder / "talks" / "a.wav", "gêné, un peu", 'Ann "A"', 1.25, 2.0),
        utterance(folder / "talks" / "b, c.wav", "sad", "bob", 0.0, 1.5),
        utterance(folder / "elsewhere" / "d.wav", "happy", "bob", 3.0),
    ]
    lines = file.read_text("utf-8").splitlines()
    assert lines[0] + "\n" == HEAD
    assert lines[1] == "a.wav,angry,ann,,"
    assert lines[4].startswith(str(folder / "elsewhere" / "d.wav"))


NAMES = ("a.wav", "b, c.wav", "=d.wav", "'e.wav", "f\rg.wav", "h\ni.wav", 'j".wav', " k.wav")
words = st.text(max_size=12)
spans = st.tuples(st.floats(0, 1e5), st.none() | st.floats(2e-3, 1e5))
clips = st.builds(
    lambda name, emotion, speaker, span, texts: Clip(
        Path(name), emotion, speaker, span[0], None if span[1] is None else sum(span), *texts
    ),
    st.sampled_from(NAMES), words, words, spans, st.tuples(words, words, words),
)  # fmt: skip


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name in NAMES:
        (folder / name).touch()
    return folder


def read_back(clip: Clip, folder: Path) -> Utterance:
    """What training makes of a kept clip."""
    start, end = (None if t is None else round(t, 3) for t in (clip.start_s, clip.end_s))
    told = {name: text.strip() for name, text in asdict(clip).items() if isinstance(text, str)}
    return Utterance(
        folder / clip.path, "manifest", f"manifest/{told['speaker']}", canonical(told["emotion"]),
        f"manifest/{told['session']}" if told["session"] else "", told["part"], told["text"],
        start or 0.0, end,
    )  # fmt: skip


@given(st.lists(clips, min_size=1, max_size=5))
def test_training_reads_what_the_window_keeps(odd_names, told):
    folder = odd_names
    file = folder / "mine.csv"
    file.write_text(",".join((*COLUMNS, *OPTIONAL)) + "\n")
    kept: dict[tuple[Path, float], Utterance] = {}
    for clip in told:
        before = file.read_bytes()
        try:
            count = keep(file, replace(clip, path=folder / clip.path))
        except ManifestError:
            assert file.read_bytes() == before
            continue
        want = read_back(clip, folder)
        at = (want.path, want.start_s)
        if at in kept:
            # What the window does not know of a clip that is there already stays.
            old = kept[at]
            want = replace(
                want, session=want.session or old.session, part=want.part or old.part,
                text=want.text or old.text,
            )  # fmt: skip
        kept[at] = want
        assert count == len(kept)
        assert read(file) == list(kept.values())


@given(clips)
def test_a_clip_is_refused_only_for_a_reason(odd_names, clip):
    told = [text.strip() for text in asdict(clip).values() if isinstance(text, str)]
    assume(told[0] and told[1])
    assume(not any("\0" in text for text in told))
    file = odd_names / "other.csv"
    file.unlink(missing_ok=True)
    clip = replace(clip, path=odd_names / clip.path, session="", part="", text="")
    assert keep(file, clip) == 1
    assert read(file) == [read_back(clip, odd_names)]


@pytest.mark.parametrize("column", ["emotion", "speaker", "text"])
@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_a_text_that_no_table_can_hold_is_refused(folder, column, text):
    clip = Clip(folder / "talks" / "a.wav", "sad", "ann")
    with pytest.raises(ManifestError, match=f"{column} .*: no table can hold this text"):
        keep(folder / "mine.csv", replace(clip, **{column: text}))
    assert not (folder / "mine.csv").exists()


def test_a_folder_with_its_manifest_can_be_moved(folder):
    keep(folder / "talks" / "mine.csv", Clip(folder / "talks" / "a.wav", "sad", "ann"))
    moved = (folder / "talks").rename(folder / "moved")
    assert [u.path for u in read(moved / "mine.csv")] == [moved / "a.wav"]


def test_the_same_span_is_corrected_not_told_twice(folder):
    file = folder / "talks" / "mine.csv"
    a = folder / "talks" / "a.wav"
    keep(file, Clip(a, "sad", "ann", 1.0, 2.0))
    keep(file, Clip(a, "happy", "ann", 2.0, 3.0))
    assert (
        keep(file, Clip(folder / "talks" / ".." / "talks" / "a.wav", "angry", "bob", 1.0, 2.5)) == 2
    )
    assert read(file) == [
        utterance(a, "angry", "bob", 1.0, 2.5),
        utterance(a, "happy", "ann", 2.0, 3.0),
    ]


def test_another_header_is_kept_and_written_by(folder):
    file = folder / "talks" / "mine.csv"
    before = (
        "\ufeffspeaker,note,Path,session,label,start_s,end_s\r\n"
        'ann,"two\r\nlines",a.wav,s1,angry,,\r\n\r\n'
        "ann,x,a.wav,s1,angry,1,2"
    )
    file.write_bytes(before.encode())
    keep(file, Clip(folder / "talks" / "b, c.wav", "sad", "bob", 1.0, 2.0))
    after = file.read_bytes().decode()
    assert after == before + '\r\nbob,,"b, c.wav",,sad,1,2\r\n'
    assert keep(file, Clip(folder / "talks" / "a.wav", "happy", "eve", 1.0, 3.0)) == 3
    assert file.read_bytes().decode() == after.replace(
        "ann,x,a.wav,s1,angry,1,2", "eve,x,a.wav,s1,happy,1,3"
    )
    assert [u.emotion for u in read(file)] == ["angry", "happy", "sad"]
    assert read(file)[0].session == "manifest/s1"


def test_an_empty_file_gets_a_header(folder):
    file = folder / "talks" / "mine.csv"
    file.write_bytes(b"\n")
    keep(file, Clip(folder / "talks" / "a.wav", "sad", "ann"))
    assert file.read_text().startswith(HEAD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"path,emotion\na.wav,sad\n",
            "no column speaker, start_s, end_s; its columns: 'path, emotion'",
        ),
        (b"path,emotion,speaker\na.wav,sad,ann\n", "no column start_s, end_s"),
        (b"path,emotion,speaker,start_s,end_s\n\xff\n", "not UTF-8"),
        (b'path,emotion,speaker,start_s,end_s\n"a,b\n', "line 2: "),
    ],
)
def test_a_file_that_cannot_hold_the_clip_is_left_alone(folder, text, message):
    file = folder / "talks" / "mine.csv"
    file.write_bytes(text)
    with pytest.raises(ManifestError, match=message):
        keep(file, Clip(folder / "talks" / "a.wav", "sad", "ann", 1.0, 2.0))
    assert file.read_bytes() == text


def test_whole_recordings_need_no_times(folder):
    file = folder / "talks" / "mine.csv"
    file.write_text("path,emotion,speaker\n")
    keep(file, Clip(folder / "talks" / "a.wav", "sad", "ann"))
    assert read(file) == [utterance(folder / "talks" / "a.wav", "sad", "ann")]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (Clip(Path("a.wav"), " ", "ann"), "which emotion"),
        (Clip(Path("a.wav"), "sad", ""), "who speaks"),
        (Clip(Path("a.wav"), "sad", "ann", 2.0, 2.0003), "holds nothing"),
        (Clip(Path("a.wav "), "sad", "ann"), "rename"),
        (Clip(Path("\udcff.wav"), "sad", "ann"), "rename"),
    ],
)
def test_a_clip_that_no_row_can_tell_is_refused(folder, clip, message):
    with pytest.raises(ManifestError, match=message):
        keep(folder / "mine.csv", clip)
    assert not (folder / "mine.csv").exists()


def test_a_crash_while_writing_loses_nothing(folder, monkeypatch):
    file = folder / "talks" / "mine.csv"
    clip = Clip(folder / "talks" / "a.wav", "sad", "ann")
    keep(file, clip)
    before = file.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ManifestError, match=r"cannot write \(No space left"):
        keep(file, Clip(folder / "talks" / "a.wav", "happy", "ann"))
    assert file.read_bytes() == before
    assert sorted(p.name for p in file.parent.iterdir()) == ["a.wav", "b, c.wav", "mine.csv"]


def test_a_manifest_stays_as_open_as_it_was(folder):
    file = folder / "talks" / "mine.csv"
    file.write_text(HEAD)
    file.chmod(0o664)
    keep(file, Clip(folder / "talks" / "a.wav", "sad", "ann"))
    assert file.stat().st_mode & 0o777 == 0o664


def test_a_folder_that_is_not_there_is_told(folder):
    with pytest.raises(ManifestError, match="cannot write"):
        keep(folder / "no" / "mine.csv", Clip(folder / "talks" / "a.wav", "sad", "ann"))
