"""Transcripts of recordings: a table for many, or a text or subtitle file beside each.

Subtitles are WebVTT (https://www.w3.org/TR/webvtt1/) and SubRip (.srt, which has no specification).
All of them are UTF-8, with or without a byte order mark; a file in another encoding is refused
rather than guessed at.
"""

from __future__ import annotations

import contextlib
import html
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from pathlib import Path

from ser_stream.errors import SerStreamError
from ser_stream.printable import excerpt
from ser_stream.tables import file_in_table, table_rows, utf8_text
from ser_stream.types import Word
from ser_stream.words.tokens import spoken_words, words_between

# Times are worth more than none.
SUFFIXES = (".vtt", ".srt", ".txt")

_REQUIRED = ("path", "text")
_ARROW = "-->"
_STAMP = r"(?:(\d{1,4}):)?([0-5]\d):([0-5]\d)[.,](\d{3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*{_ARROW}\s*{_STAMP}(?:\s.*)?")
_TAG = re.compile(
    r"</?(?:v|c|i|b|u|s|font|lang|ruby|rt)(?:[.\s][^<>]*)?>"  # not <unk>, which is a word
    r"|<\d[\d:.,]*>"  # WebVTT's time within a cue
    r"|\{\\[^{}]*\}",  # SubStation's, {\an8}
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Python refuses to read a number of thousands of digits.
_ENTITY = re.compile(
    r"&(?:#\d{1,7}(?!\d)|#[xX][\da-fA-F]{1,6}(?![\da-fA-F])|[A-Za-z][A-Za-z\d]{1,31});?"
)
_CHANGE_OF_SPEAKER = re.compile(r"^(?:>>+|[-–—])\s*")
_SPEAKER = re.compile(r"[\[(]?([^\W\d_][^:\[\]()<>]{0,40}?)[\])]?:(?=\s|$)")
_MAX_NAMES = 3
# A day of speech is one megabyte. Every window of a text without times has all of its words.
_MOST_BYTES = 4 << 20
_NO_CUE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")


class TranscriptError(SerStreamError):
    """A transcript that cannot be read."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in a recording.

    Attributes:
        words: in the order of their times; without times from 0 s to infinity each.
        timed: the words have times. **Decision**: those of a cue share its time evenly, as nothing
            says which of them are long.
    """

    words: tuple[Word, ...]
    timed: bool

    @property
    def text(self) -> str:
        """All words, with spaces between them."""
        return " ".join(word.text for word in self.words)

    def words_between(self, start_s: float, end_s: float) -> list[Word]:
        """Words of the window [start_s, end_s): by their middle, or all where none has times."""
        return words_between(self.words, start_s, end_s) if self.timed else list(self.words)


def find_transcript(audio_path: str | Path) -> Transcript | None:
    """Read the transcript beside an audio file; None where there is none.

    For ``talk.wav`` that is the first of ``talk.vtt``, ``talk.wav.vtt``, then the same with
    ``.srt``, then with ``.txt``, which is the whole text without times.

    Raises:
        TranscriptError: there is one that cannot be read.
    """
    audio = Path(audio_path)
    for suffix in SUFFIXES:
        for candidate in (audio.with_suffix(suffix), audio.with_name(audio.name + suffix)):
            if candidate != audio and candidate.is_file():
                return read_transcript(candidate)
    return None


def read_transcript(path: str | Path) -> Transcript:
    """Read a ``.vtt``, ``.srt`` or ``.txt`` file.

    Tags and names of speakers are left out of cues: "JOHN:", "Ann Lee:", ">>", "-". **Decision**:
    up to three words with a capital letter and a colon, at the start of a line, are a name.

    Raises:
        TranscriptError: it cannot be read, is not UTF-8, has another suffix, or a cue that is not
            one; the message has its line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TranscriptError(f"{path}: not a transcript; known: {', '.join(SUFFIXES)}")
    with contextlib.suppress(OSError):
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise TranscriptError(f"{path}: {size} bytes; is this what is said in one recording?")
    text = utf8_text(path, TranscriptError)
    if suffix == ".txt":
        return _untimed(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _timed(_cues(path, lines))


def read_transcripts_csv(path: str | Path) -> dict[Path, Transcript]:
    """Read a table of transcripts.

    Columns, in any order: ``path`` (relative to the CSV's folder, or absolute), ``text``, and where
    wanted ``start_s`` and ``end_s``: a recording may then have several rows. Further columns are
    ignored.

    Returns:
        Transcripts by `Path.resolve` of the recording.

    Raises:
        TranscriptError: the table cannot be read, is not UTF-8, lacks a column, or has a row that
            cannot be used or whose recording does not exist; the message has its line.
    """
    path = Path(path)
    untimed: dict[Path, Transcript] = {}
    timed: defaultdict[Path, list[list[Word]]] = defaultdict(list)
    for number, row in table_rows(path, _REQUIRED, TranscriptError):
        where = f"{path}, line {number}"
        if not row["path"]:
            raise TranscriptError(f"{where}: no path")
        audio = file_in_table(path.parent, row["path"])
        if audio is None:
            named = str(path.parent / row["path"])
            raise TranscriptError(f"{where}: no audio file {excerpt(named, 200)}")
        audio = audio.resolve()
        span = _span(row, where)
        if audio in untimed or (span is None and audio in timed):
            raise TranscriptError(
                f"{where}: {excerpt(row['path'], 200)} again; rows of a file all need times"
            )
        if span is None:
            untimed[audio] = _untimed(row["text"])
        else:
            timed[audio].append(_words(*span, row["text"]))
    return untimed | {audio: _timed(parts) for audio, parts in timed.items()}


def _untimed(text: str) -> Transcript:
    return Transcript(tuple(Word(word, 0.0, math.inf) for word in spoken_words(text)), timed=False)


def _timed(parts: Iterable[list[Word]]) -> Transcript:
    words = sorted(chain.from_iterable(parts), key=lambda word: (word.start_s, word.end_s))
    return Transcript(tuple(words), timed=True)


def _words(start_s: float, end_s: float, text: str) -> list[Word]:
    """Words of ``text``, evenly over the time."""
    words = spoken_words(text)
    step_s = (end_s - start_s) / max(1, len(words))
    return [
        Word(word, start_s + i * step_s, start_s + (i + 1) * step_s) for i, word in enumerate(words)
    ]


def _cues(path: Path, lines: list[str]) -> Iterator[list[Word]]:
    """Words of every cue of a subtitle file."""
    vtt = path.suffix.lower() == ".vtt"
    if vtt and not re.match(r"WEBVTT(?:\s|$)", lines[0]):
        raise _broken(path, 0, lines[0], "a WebVTT file begins with WEBVTT")
    # The newest cue: where it begins and ends, and its text, of which the first line is its times.
    start_s = end_s = 0.0
    text: list[str] = []
    for first, block in _blocks(lines):
        if vtt and _ARROW not in "".join(block) and (first == 0 or _NO_CUE.match(block[0])):
            continue
        arrows = [i for i, line in enumerate(block) if _ARROW in line]
        head = block[: arrows[0]] if arrows else block
        if vtt:
            # A cue may have a name above its times, or the file's head where no line is blank.
            if not arrows or (len(head) > 1 and first > 0):
                raise _broken(path, first, block[0], "a cue without times")
        else:
            # The text of a cue may hold blank lines, so this may be the rest of the one before.
            if arrows and head and _is_number(head[-1]):
                head = head[:-1]
            if head and (not text or _is_number(head[0])):
                raise _broken(path, first, block[0], "a cue without times")
            text += head
        for begin, end in pairwise([*arrows, len(block)]):
            yield _words(start_s, end_s, _spoken(text[1:], vtt))
            start_s, end_s = _times(path, first + begin, block[begin])
            text = block[begin:end]
            # The next cue's number, where there is no blank line between them.
            if end < len(block) and _is_number(text[-1]):
                text.pop()
    yield _words(start_s, end_s, _spoken(text[1:], vtt))


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines between blank lines, with the index of the first of them."""
    for blank, numbered in groupby(enumerate(lines), key=lambda item: not item[1].strip()):
        if not blank:
            numbers, block = zip(*numbered, strict=True)
            yield numbers[0], list(block)


def _is_number(line: str) -> bool:
    return line.strip().isdecimal()


def _times(path: Path, index: int, line: str) -> tuple[float, float]:
    match = _TIMES.fullmatch(line)
    if match is None:
        raise _broken(path, index, line, "not the times of a cue, as 00:01:02.500 --> 00:01:04.000")
    parts = [int(part or 0) for part in match.groups()]
    start_s, end_s = (3600 * h + 60 * m + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
    if end_s < start_s:
        raise _broken(path, index, line, "a cue that ends before it begins")
    return start_s, end_s


def _spoken(lines: list[str], vtt: bool) -> str:
    """Text of a cue without tags, entities and speakers."""
    texts = []
    for line in lines:
        text = _TAG.sub("", _BREAK.sub(" ", line))
        if vtt:
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        text = _CHANGE_OF_SPEAKER.sub("", text.strip(), count=1)
        speaker = _SPEAKER.match(text)
        if speaker is not None and _is_name(speaker[1]):
            text = text[speaker.end() :]
        texts.append(text)
    return " ".join(texts)


def _is_name(text: str) -> bool:
    words = text.split()
    return len(words) <= _MAX_NAMES and all(w[0].isupper() or w.isdecimal() for w in words)


def _broken(path: Path, index: int, line: str, reason: str) -> TranscriptError:
    return TranscriptError(f"{path}, line {index + 1}: {reason}: {excerpt(line.strip())}")


def _span(row: dict[str, str], where: str) -> tuple[float, float] | None:
    """Times of a row; None where it has none."""
    cells = [row.get("start_s", ""), row.get("end_s", "")]
    if not any(cells):
        return None
    try:
        start_s, end_s = (float(cell) for cell in cells)
    except ValueError:
        start_s = end_s = math.nan
    if not 0.0 <= start_s <= end_s < math.inf:
        raise TranscriptError(
            f"{where}: start_s and end_s are {excerpt(cells[0])} and {excerpt(cells[1])}; "
            "give seconds from the file's start, in this order, or neither"
        )
    return start_s, end_s
