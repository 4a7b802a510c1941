"""Manifests: read for training, and corrected by the window."""

from __future__ import annotations

from pathlib import Path
from random import Random

from ser_stream.errors import SerStreamError
from ser_stream.scoring.manifest import Clip, keep
from training.data.corpora import read_corpus

from .kinds import FuzzKind, require, require_finite
from .transcripts import odd_table

COLUMNS = ("path", "emotion", "speaker", "session", "text", "start_s", "end_s")
RECORDINGS = ("talk.wav", "other.wav", "a folder/third.flac")


class Fuzz(FuzzKind):
    """CSV files as ``--corpus manifest=`` reads them and the window writes them."""

    def place(self, path: Path) -> None:
        for name in RECORDINGS:
            audio = path.parent / name
            audio.parent.mkdir(exist_ok=True)
            audio.touch()

    def make(self, rng: Random) -> tuple[str, bytes]:
        columns = COLUMNS if rng.random() < 0.7 else ("path", "label", "speaker", "start_s")
        return ".csv", odd_table(rng, columns, RECORDINGS)

    def check(self, path: Path) -> str | None:
        before = 0
        refused = None
        try:
            utterances = read_corpus("manifest", path)
            before = len(utterances)
            spans = [(u.start_s, 0.0 if u.end_s is None else u.end_s) for u in utterances]
            require_finite(spans, "times")
        except SerStreamError as error:
            refused = str(error)
        content = path.read_bytes()
        clip = Clip(path.parent / "talk.wav", "happy", "Ann", 100.0)
        try:
            keep(path, clip)
        except SerStreamError:
            require(path.read_bytes() == content, "a refused clip leaves the file as it was")
            raise
        if refused is None:
            after = read_corpus("manifest", path)
            require(len(after) == before + 1, "a clip more")
            require(after[-1].emotion == "happy" and after[-1].start_s == 100.0, "the new clip")
        return refused
