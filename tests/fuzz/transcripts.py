"""Tables of transcripts, and the recording that they are about, scored by a model that reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from random import Random

import soundfile

from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.words import Transcripts
from ser_stream.stream.engine import Engine
from ser_stream.words.reader import WordReader
from ser_stream.words.transcripts import Transcript, read_transcripts_csv
from ser_stream.words.vectors import WordVectors
from tests.helpers.reading_bundle import write_reading_bundle, write_vectors

from .audio import scored, speech
from .kinds import FuzzKind, require, require_finite
from .mutations import ODD_TEXTS, damaged, encoded, odd_number, odd_words, with_line_ends

COLUMNS = ("path", "text", "start_s", "end_s")
RECORDINGS = ("talk.wav", "other.wav")


class Reading(FuzzKind):
    """Has a recording, and scores it with a model that reads words."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        vectors = write_vectors(folder / "vectors.txt")
        write_reading_bundle(folder / "reading.onnx", vectors)
        bundle = ModelBundle.load(folder / "reading.onnx")
        assert bundle.meta.words is not None
        words = WordVectors.open(vectors, folder / "cache")
        self._engine = Engine(bundle, reader=WordReader(bundle.meta.words, words))
        soundfile.write(folder / "talk.wav", speech()[32000:64000], 16000)

    def score(self, audio: Path, transcripts: Transcripts) -> str | None:
        """Score a recording with its words."""
        return scored(audio, self._engine, transcripts=transcripts)


class Fuzz(Reading):
    """CSV files as ``score --transcripts`` reads them."""

    def place(self, path: Path) -> None:
        for name in RECORDINGS:
            path.with_name(name).hardlink_to(self.folder / "talk.wav")

    def make(self, rng: Random) -> tuple[str, bytes]:
        return ".csv", odd_table(rng, COLUMNS, RECORDINGS)

    def check(self, path: Path) -> str | None:
        table = read_transcripts_csv(path)
        require({p.name for p in table} <= set(RECORDINGS), "only recordings that exist")
        for transcript in table.values():
            check_transcript(transcript)
        return self.score(path.with_name(RECORDINGS[0]), Transcripts(table))


def check_transcript(transcript: Transcript) -> None:
    """Words in order, with times that can be used."""
    starts = [word.start_s for word in transcript.words]
    require(starts == sorted(starts), "words in order")
    if transcript.timed:
        require_finite([(w.start_s, w.end_s) for w in transcript.words], "times")
    require(all(0 <= w.start_s <= w.end_s for w in transcript.words), "words end after they begin")
    require(len(transcript.words_between(0.0, float("inf"))) == len(transcript.words), "all words")


def odd_table(rng: Random, columns: Sequence[str], recordings: Sequence[str]) -> bytes:
    """A CSV file, good or damaged: odd cells, quotes, encodings, line ends."""
    names = list(columns)
    if rng.random() < 0.5:
        rng.shuffle(names)
    if rng.random() < 0.1:
        names[rng.randrange(len(names))] = rng.choice(ODD_TEXTS)
    if rng.random() < 0.2:
        names.append(rng.choice((*columns, "note", "", *ODD_TEXTS)))
    strange = rng.choice((0.0, 0.0, 0.02, 0.2))
    rows = [[_cell(name, rng, recordings, strange) for name in names] for _ in range(_count(rng))]
    if rng.random() < 0.1 and rows:
        rows[-1] = rows[-1][:1] if rng.random() < 0.5 else rows[-1] * 2
    if rng.random() < 0.1:
        names = [rng.choice((str.upper, str.title))(name) for name in names]
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
    delimiter = "," if rng.random() < 0.95 else rng.choice(";\t|")
    lines = []
    for cells in ([] if rng.random() < 0.03 else [names]) + rows:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="").writerow(cells)
        lines.append(out.getvalue())
    data = encoded(with_line_ends(lines, rng), rng)
    return damaged(data, rng, data) if rng.random() < 0.25 else data


def _count(rng: Random) -> int:
    return rng.choice((0, 1, 2, 2, 5, 20, 300))


def _cell(name: str, rng: Random, recordings: Sequence[str], strange: float) -> str:
    if rng.random() < strange:
        return rng.choice(ODD_TEXTS)
    if name == "path":
        return rng.choice(recordings)
    if name.endswith("_s"):
        if rng.random() < strange:
            return odd_number(rng)
        # Ascending from start to end, so that most rows can be used.
        return f"{rng.uniform(0, 2) + 3 * (name == 'end_s'):.3f}"
    if name == "text":
        return odd_words(rng)
    return rng.choice(("ann", "bob", "sad", "angry"))
