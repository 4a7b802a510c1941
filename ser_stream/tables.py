"""CSV tables that people write: with errors that name the line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason
from ser_stream.printable import excerpt

# What a spreadsheet takes for a formula, or for the beginning of one, by a cell's first character.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def guarded(text: str) -> str:
    """A text cell as it is written: behind an apostrophe where a spreadsheet would run it."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def utf8_text(path: Path, error: type[SerStreamError]) -> str:
    """Text of a file, without a byte order mark.

    Raises:
        SerStreamError: an ``error``: it cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as reason:
        raise error(f"{path}: cannot read ({os_reason(reason)})") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path}: not UTF-8 (byte {reason.start}); save it as UTF-8") from reason
    # UTF-16 without a byte order mark is valid UTF-8, full of these.
    if "\0" in text:
        raise error(f"{path}: not UTF-8 (holds zero bytes); save it as UTF-8")
    return text


def table_rows(
    path: Path,
    required: Sequence[str],
    error: type[SerStreamError],
    synonyms: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every row, unguarded; blank lines are passed over.

    Args:
        path: the table; its first row names the columns, in any case and order.
        required: columns that it must have.
        error: what is raised.
        synonyms: other names of columns, for tables that do not have the name itself.

    Raises:
        SerStreamError: an ``error``: not a table, a column that is missing or comes twice, or a row
            with too many cells, told by its line.
    """
    reader = csv.reader(io.StringIO(utf8_text(path, error), newline=""), strict=True)
    columns: list[str] = []
    number = 1
    try:
        for cells in reader:
            # A quoted cell may span lines: a row's number is that of its first.
            start, number = number, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(path, cells, required, error, synonyms or {})
            elif len(cells) > len(columns):
                raise error(
                    f"{path}, line {start}: {len(cells)} cells for {len(columns)} columns; "
                    "put quotes around a cell that holds a comma"
                )
            else:
                filled = zip_longest(columns, cells, fillvalue="")
                yield start, {column: unguarded(cell.strip()) for column, cell in filled}
    except csv.Error as reason:
        raise error(f"{path}, line {number}: {reason}") from reason
    if not columns:
        raise error(f"{path}: empty")


def _columns(
    path: Path,
    cells: list[str],
    required: Sequence[str],
    error: type[SerStreamError],
    synonyms: Mapping[str, str],
) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    # A synonym is a further column where the name itself is there.
    columns = [n if synonyms.get(n, n) in names else synonyms.get(n, n) for n in names]
    if missing := [column for column in required if column not in columns]:
        raise error(
            f"{path}: no column {', '.join(missing)}; its columns: {excerpt(', '.join(names), 200)}"
        )
    if twice := sorted({c for c in columns if c and columns.count(c) > 1}):
        raise error(f"{path}: columns that come twice: {excerpt(', '.join(twice), 200)}")
    return columns
