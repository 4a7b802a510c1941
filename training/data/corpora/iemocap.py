"""IEMOCAP (Busso et al., Language Resources and Evaluation 42(4), 2008), the full release.

Labels are in ``Session1/dialog/EmoEvaluation/Ses01F_impro04.txt``, transcripts in
``Session1/dialog/transcriptions/Ses01F_impro04.txt``, audio in
``Session1/sentences/wav/Ses01F_impro04/Ses01F_impro04_M000.wav``. The speaker of a turn is its
session and the gender letter of the *last* part of its name: this one is spoken by Ses01M.

The label is what most evaluators heard; "undecided" is where they did not agree. It is licensed for
research by agreement: who uses it brings a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_stream.files import os_reason
from ser_stream.printable import excerpt
from training.data.corpora.base import AUDIO_SUFFIXES, CorpusError, Utterance

EMOTIONS = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
    "fea": "fear",
    "sur": "surprised",
    "dis": "disgust",
    "oth": "other",
    "xxx": "undecided",
}
PARTS = {"impro": "improvised", "script": "scripted"}

RELEASE = "IEMOCAP_full_release"
RECORD = re.compile(
    r"\[\s*(?P<start>\d+(\.\d+)?)\s*-\s*(?P<end>\d+(\.\d+)?)\s*\]\s+"
    r"(?P<name>\S+)\s+(?P<label>\S+)\s+\[(?P<vad>[^\]]*)\]\s*"
)
# Ses01F_impro04_M000, Ses01F_script02_1_F003, Ses05M_impro05a_M000
NAME = re.compile(
    rf"(?P<session>Ses\d\d)[FM]_(?P<kind>{'|'.join(PARTS)})\d\d[a-z]?(?:_[0-9A-Za-z]+){{0,2}}"
    r"_(?P<gender>[FM])\d+"
)
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """One labelled record of an EmoEvaluation file.

    Attributes:
        name: of the turn.
        label: three letters, a key of `EMOTIONS`.
        start_s: where it begins in the dialogue.
        end_s: where it ends in the dialogue.
        vad: valence, activation and dominance, 1 to 5; None where the record does not give three
            numbers.
    """

    name: str
    label: str
    start_s: float
    end_s: float
    vad: tuple[float, float, float] | None

    @property
    def dialogue(self) -> str:
        return self.name.rpartition("_")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition("_")[2]


def read(folder: Path) -> list[Utterance]:
    """Read every labelled turn of the sessions in ``folder``, sorted by path.

    ``folder`` is IEMOCAP_full_release or its parent. A copy may hold some of the five sessions
    only, but a session is whole: a labelled turn without its audio is an error, because results on
    part of a session compare with nothing. A turn without a transcript has the text "".

    Raises:
        CorpusError: no session, a record that cannot be read, a turn that is labelled twice, or
            labelled turns without audio.
    """
    root = next(
        (r for r in (folder, folder / RELEASE) if any(r.glob("Session[1-9]"))),
        None,
    )
    if root is None:
        raise CorpusError(
            f"iemocap: {folder} holds no Session1 to Session5; give the folder {RELEASE}"
        )
    utterances: list[Utterance] = []
    missing: list[str] = []
    seen: set[str] = set()
    for session in sorted(p for p in root.glob("Session[1-9]") if p.is_dir()):
        evaluations = session / "dialog" / "EmoEvaluation"
        labels = _text_files(evaluations)
        if not labels:
            raise CorpusError(f"iemocap: no labels in {evaluations}")
        texts = read_transcripts(_text_files(session / "dialog" / "transcriptions"))
        audio = _Audio(session / "sentences" / "wav")
        for path in labels:
            for turn in read_turns(path):
                name = NAME.fullmatch(turn.name)
                if name is None or len(turn.name) > LONGEST_NAME:
                    raise CorpusError(
                        f"{path}: {excerpt(turn.name)} is not named as this corpus names its turns"
                    )
                if turn.name in seen:
                    raise CorpusError(f"{path}: {turn.name} is labelled a second time")
                seen.add(turn.name)
                file = audio.find(turn)
                if file is None:
                    missing.append(turn.name)
                else:
                    utterances.append(_utterance(turn, name, file, texts.get(turn.name, "")))
    if missing:
        raise CorpusError(
            f"iemocap: {len(missing)} labelled turns have no audio, first {missing[0]}; "
            f"is {root} a whole copy?"
        )
    return sorted(utterances, key=lambda u: u.path)


def read_turns(path: Path) -> list[Turn]:
    """Read the records of one EmoEvaluation file, without the evaluators' lines below each.

    A record is a line that begins with ``[``, so neither the header, which ends in ``]``, nor an
    evaluator's line without values can be taken for one. Turns of nobody in particular (``XX``)
    are left out.

    Raises:
        CorpusError: a record that is not ``[start - end] name label [v, a, d]``.
    """
    turns = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.startswith("["):
            continue
        match = RECORD.fullmatch(line)
        if match is None or match["label"] not in EMOTIONS:
            raise CorpusError(
                f"{path}, line {number}: not a labelled turn: {excerpt(line.strip())}"
            )
        turn = Turn(
            match["name"],
            match["label"],
            float(match["start"]),
            float(match["end"]),
            _vad(match["vad"]),
        )
        if "XX" not in turn.last:
            turns.append(turn)
    return turns


def read_transcripts(paths: Iterable[Path]) -> dict[str, str]:
    """Text by turn; ``[LAUGHTER]`` and its like stay in it, stray and ``XX`` lines do not."""
    texts: dict[str, str] = {}
    for path in paths:
        for line in _lines(path):
            head, separator, text = line.partition("]:")
            name = head.split(maxsplit=1)[0] if head.strip() else ""
            if line.startswith("Ses") and separator and "XX" not in name.rpartition("_")[2]:
                texts.setdefault(name, text.strip())
    return texts


def _utterance(turn: Turn, name: re.Match[str], file: Path, text: str) -> Utterance:
    session = f"iemocap/{name['session']}"
    return Utterance(
        file,
        "iemocap",
        session + name["gender"],
        EMOTIONS[turn.label],
        session,
        PARTS[name["kind"]],
        text,
    )


class _Audio:
    """Finds the audio of turns; every dialogue's folder is listed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, dict[str, Path]] = {}

    def find(self, turn: Turn) -> Path | None:
        if turn.dialogue not in self._files:
            folder = self._folder / turn.dialogue
            # A "._" file has its own stem, so it is never looked up.
            self._files[turn.dialogue] = {
                p.stem: p
                for p in (sorted(folder.iterdir()) if folder.is_dir() else ())
                if p.suffix.lower() in AUDIO_SUFFIXES
            }
        return self._files[turn.dialogue].get(turn.name)


def _text_files(folder: Path) -> list[Path]:
    # Not below: Attribute, Categorical and Self-evaluation hold single evaluators' files.
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("*.txt") if not p.name.startswith(".") and p.is_file())


def _lines(path: Path) -> list[str]:
    try:
        # A stray byte in a transcript is no reason to refuse a corpus.
        return path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        raise CorpusError(f"{path}: cannot read ({os_reason(error)})") from error


def _vad(text: str) -> tuple[float, float, float] | None:
    try:
        valence, activation, dominance = (float(value) for value in text.split(","))
    except ValueError:
        return None
    return valence, activation, dominance
