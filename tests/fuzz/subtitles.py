"""Subtitles and texts beside a recording."""

from __future__ import annotations

from pathlib import Path
from random import Random

from ser_stream.scoring.words import Transcripts
from ser_stream.words.transcripts import SUFFIXES, find_transcript

from .kinds import require
from .mutations import NUMBERS, ODD_TEXTS, damaged, encoded, odd_words, repeated, with_line_ends
from .transcripts import Reading, check_transcript

AUDIO = "case.wav"
STAMPS = ("00:00:01,000", "0:01.5", "99:59:59.999", "9999:59:59,999", "00:60:00,000", "00:01.000",
          "٠٠:٠١.٠٠٠", "-00:01.000", "00:00:00.0000", "1:2:3,4")  # fmt: skip
TAGS = ("<v Ann Lee>", "</v>", "<i>", "<c.red>", "{\\an8}", "<00:00:01.000>", "<br>", "<unk>",
        "&amp;", "&#65;", "&nosuch;", "ANN:", ">>", "- ", "[MAN]:", "NOTE x", "STYLE", "WEBVTT",
        "REGION", "7")  # fmt: skip


class Fuzz(Reading):
    """``.vtt``, ``.srt`` and ``.txt`` files beside a recording, as ``score`` finds them."""

    def place(self, path: Path) -> None:
        path.with_name(AUDIO).symlink_to(self.folder / "talk.wav")

    def make(self, rng: Random) -> tuple[str, bytes]:
        suffix = rng.choice(SUFFIXES)
        if rng.random() < 0.1:
            data = repeated(rng).encode()
        elif suffix == ".txt":
            data = encoded(with_line_ends([odd_words(rng) for _ in range(4)], rng), rng)
        else:
            data = encoded(with_line_ends(_cues(rng, suffix), rng), rng)
        if rng.random() < 0.3:
            data = damaged(data, rng, data)
        return suffix, data

    def check(self, path: Path) -> str | None:
        transcript = find_transcript(path.with_name(AUDIO))
        require(transcript is not None, "the file beside the recording is found")
        if transcript is not None:
            check_transcript(transcript)
        return self.score(path.with_name(AUDIO), Transcripts())


def _cues(rng: Random, suffix: str) -> list[str]:
    strange = rng.choice((0.0, 0.02, 0.2))
    lines = ["WEBVTT" + rng.choice(("", " - talk", "\tx")), ""] if suffix == ".vtt" else []
    if rng.random() < strange:
        lines = [rng.choice(("", "WEBVTTX", "\ufeffWEBVTT", *ODD_TEXTS)), *lines]
    at = 0.0
    for number in range(rng.choice((0, 1, 3, 10, 400))):
        if suffix == ".srt" or rng.random() < 0.3:
            lines.append(str(number + 1) if rng.random() >= strange else rng.choice(NUMBERS))
        first = _stamp(at, rng, strange)
        at += rng.choice((0.0, 0.5, 2.0))
        arrow = " --> " if rng.random() >= strange else rng.choice(("-->", "->", " -- > ", "\t-->"))
        setting = rng.choice(("", "", " align:start position:10%"))
        lines.append(first + arrow + _stamp(at, rng, strange) + setting)
        for _ in range(rng.choice((0, 1, 1, 2))):
            tag = rng.choice(TAGS) if rng.random() < 0.3 else ""
            lines.append(tag + odd_words(rng) + (rng.choice(TAGS) if rng.random() < 0.1 else ""))
        if rng.random() >= strange:
            lines.append("")
    return lines


def _stamp(seconds: float, rng: Random, strange: float) -> str:
    if rng.random() < strange:
        return rng.choice(STAMPS)
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:06.3f}"
