"""A user's own recordings: a CSV file with one row per clip.

Columns, in any order: ``path`` (relative to the CSV's folder, or absolute), ``emotion`` (or
``label``), ``speaker``; and where wanted ``session``, ``part``, ``text``, ``start_s``, ``end_s``.
Further columns are ignored. Emotions stay as they are written; the words of a recipe's labels are
those to use.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from ser_stream.labels import canonical
from ser_stream.printable import excerpt
from ser_stream.tables import table_rows
from training.data.corpora.base import CorpusError, Utterance

FILE = "manifest.csv"
REQUIRED = ("path", "emotion", "speaker")
SYNONYMS = {"label": "emotion"}


def read(path: Path) -> list[Utterance]:
    """Read the CSV file ``path``, or the one ``manifest.csv`` in or below a folder.

    Rows keep their order. Audio is only looked up, not opened.

    Raises:
        CorpusError: no or several files, not UTF-8, a missing column, no rows, or a row that cannot
            be used; with the number of its line in the file.
    """
    file = _only_file(path) if path.is_dir() else path
    utterances: list[Utterance] = []
    first_line: dict[tuple[Path, float], int] = {}
    for number, row in table_rows(file, REQUIRED, CorpusError, SYNONYMS):
        where = f"{file}, line {number}"
        utterance = _utterance(row, file.parent, where)
        key = (utterance.path.resolve(), utterance.start_s)
        if key in first_line:
            raise CorpusError(f"{where}: the same clip as in line {first_line[key]}")
        first_line[key] = number
        utterances.append(utterance)
    if not utterances:
        raise CorpusError(f"{file}: no clips, only a header")
    return utterances


def _only_file(folder: Path) -> Path:
    found = sorted(folder.rglob(FILE))
    if len(found) != 1:
        raise CorpusError(
            f"manifest: {folder} holds {len(found)} files {FILE}, want one; name the file itself"
        )
    return found[0]


def _utterance(row: dict[str, str], folder: Path, where: str) -> Utterance:
    for column in REQUIRED:
        if not row[column]:
            raise CorpusError(f"{where}: no {column}")
    audio = folder / row["path"]
    # `Path.is_file` raises for a text that is too long to be a path.
    if not os.path.isfile(audio):
        raise CorpusError(f"{where}: no audio file {excerpt(str(audio), 200)}")
    start_s = _seconds(row, "start_s", where) or 0.0
    end_s = _seconds(row, "end_s", where)
    if end_s is not None and end_s <= start_s:
        raise CorpusError(f"{where}: ends at {end_s} s, before or where it starts ({start_s} s)")
    session = row.get("session", "")
    return Utterance(
        audio,
        "manifest",
        f"manifest/{row['speaker']}",
        canonical(row["emotion"]),
        f"manifest/{session}" if session else "",
        row.get("part", ""),
        row.get("text", ""),
        start_s,
        end_s,
    )


def _seconds(row: dict[str, str], column: str, where: str) -> float | None:
    cell = row.get(column, "")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise CorpusError(
            f"{where}: {column} is {excerpt(cell)}, want seconds from the file's start"
        )
    return value
