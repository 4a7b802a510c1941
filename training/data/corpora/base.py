"""What every corpus reader shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ser_stream.errors import SerStreamError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


class CorpusError(SerStreamError):
    """A corpus folder that is not what its reader expects."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled clip.

    Attributes:
        path: the audio file.
        corpus: name of the corpus.
        speaker: unique over all corpora, "corpus/speaker".
        emotion: the intended emotion in this project's words.
        session: unique over all corpora, "corpus/session"; "" if the corpus has none.
        part: section of the corpus, such as "improvised" or "scripted"; "" if it has none.
        text: transcript; "" if there is none.
        start_s: where the utterance begins in the file.
        end_s: where it ends in the file; None at the file's end.
    """

    path: Path
    corpus: str
    speaker: str
    emotion: str
    session: str = ""
    part: str = ""
    text: str = ""
    start_s: float = 0.0
    end_s: float | None = None


def audio_files(folder: Path) -> list[Path]:
    """Audio files below ``folder``, sorted by path; hidden and ``._`` files are left out."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
