"""Corpus folders: IEMOCAP's label and transcript files, and names of clips of the others."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from ser_stream.errors import SerStreamError
from training.data.corpora import CORPORA, read_corpus

from .kinds import FuzzKind, require_finite
from .mutations import ODD_TEXTS, damaged, encoded, odd_number, odd_words, with_line_ends

DIALOGUE = "Ses01F_impro01"
NAMES = (
    "1001_DFA_ANG_XX",
    "03a01Fa",
    "03-01-05-01-02-01-01",
    "SK0_happiness_15",
    f"{DIALOGUE}_F000",
)


class Fuzz(FuzzKind):
    """One text: lines of labels and of a transcript, and names of clips."""

    def make(self, rng: Random) -> tuple[str, bytes]:
        strange = rng.choice((0.0, 0.05, 0.3))
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for turn in range(rng.choice((0, 1, 3, 10))):
            name = f"{DIALOGUE}_{rng.choice('FM')}{turn:03d}"
            name = rng.choice((*ODD_TEXTS, *NAMES)) if rng.random() < strange else name
            a, b = (odd_number(rng) if rng.random() < strange else f"{turn + i}.5" for i in (0, 1))
            label = rng.choice(ODD_TEXTS) if rng.random() < strange else rng.choice(("ang", "xxx"))
            vad = ", ".join(odd_number(rng) for _ in range(3))
            lines.append(f"[{a} - {b}]\t{name}\t{label}\t[{vad}]")
            lines.append(f"{name} [{a}-{b}]: {odd_words(rng)}")
            lines.append("C-E1:\tAnger;\t()")
        data = encoded(with_line_ends(lines, rng), rng)
        return ".txt", damaged(data, rng, data) if rng.random() < 0.4 else data

    def check(self, path: Path) -> str | None:
        session = path.parent / "tree" / "Session1"
        labels = session / "dialog" / "EmoEvaluation" / f"{DIALOGUE}.txt"
        texts = session / "dialog" / "transcriptions" / f"{DIALOGUE}.txt"
        wavs = session / "sentences" / "wav" / DIALOGUE
        for folder in (labels.parent, texts.parent, wavs):
            folder.mkdir(parents=True)
        shutil.copyfile(path, labels)
        shutil.copyfile(path, texts)
        for turn in range(10):
            for speaker in "FM":
                (wavs / f"{DIALOGUE}_{speaker}{turn:03d}.wav").touch()
        refused = None
        try:
            for name in sorted(n for n, corpus in CORPORA.items() if not corpus.takes_file):
                try:
                    utterances = read_corpus(name, path.parent / "tree")
                except SerStreamError as error:
                    refused = str(error) if name == "iemocap" else refused
                else:
                    require_finite([u.start_s for u in utterances], "times")
        finally:
            shutil.rmtree(path.parent / "tree")
        return refused
