"""A user's own recordings: a CSV file with one row per clip.

Columns, in any order: ``path`` (relative to the CSV's folder, or absolute), ``emotion`` (or
``label``), ``speaker``; and where wanted ``session``, ``part``, ``text``, ``start_s``, ``end_s``.
Further columns are ignored. Emotions stay as they are written; the words of a recipe's labels are
those to use.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from training.corpora.base import CorpusError, Utterance

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
    for number, row in _rows(file):
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


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every row; blank lines are passed over."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{file}: cannot read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    number = 1
    try:
        for cells in lines:
            # A quoted cell may span lines: a row's number is that of its first.
            start, number = number, lines.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _columns(cells, file)
            elif len(cells) > len(columns):
                raise CorpusError(
                    f"{file}, line {start}: {len(cells)} cells for {len(columns)} columns; "
                    "put quotes around a cell that holds a comma"
                )
            else:
                filled = zip_longest(columns, cells, fillvalue="")
                yield start, {column: cell.strip() for column, cell in filled}
    except csv.Error as error:
        raise CorpusError(f"{file}, line {number}: {error}") from error
    if columns is None:
        raise CorpusError(f"{file}: empty")


def _columns(cells: list[str], file: Path) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    # "label" is a further column where there is an "emotion".
    columns = [n if n in SYNONYMS and SYNONYMS[n] in names else SYNONYMS.get(n, n) for n in names]
    if missing := [c for c in REQUIRED if c not in columns]:
        raise CorpusError(
            f"{file}: no column {', '.join(missing)}; its columns: {', '.join(names)}"
        )
    if twice := sorted({c for c in columns if c and columns.count(c) > 1}):
        raise CorpusError(f"{file}: columns that come twice: {', '.join(twice)}")
    return columns


def _utterance(row: dict[str, str], folder: Path, where: str) -> Utterance:
    for column in REQUIRED:
        if not row[column]:
            raise CorpusError(f"{where}: no {column}")
    audio = folder / row["path"]
    if not audio.is_file():
        raise CorpusError(f"{where}: no audio file {audio}")
    start_s = _seconds(row, "start_s", where) or 0.0
    end_s = _seconds(row, "end_s", where)
    if end_s is not None and end_s <= start_s:
        raise CorpusError(f"{where}: ends at {end_s} s, before or where it starts ({start_s} s)")
    session = row.get("session", "")
    return Utterance(
        audio,
        "manifest",
        f"manifest/{row['speaker']}",
        row["emotion"],
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
        raise CorpusError(f"{where}: {column} is {cell!r}, want seconds from the file's start")
    return value
