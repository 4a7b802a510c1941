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
    """

    path: Path
    corpus: str
    speaker: str
    emotion: str


def audio_files(folder: Path) -> list[Path]:
    """Audio files below ``folder``, sorted by path; hidden and ``._`` files are left out."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
