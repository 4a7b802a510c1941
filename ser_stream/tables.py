"""CSV tables: written so that a spreadsheet runs nothing, read with errors that name the line."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ser_stream.errors import SerStreamError
from ser_stream.files import name_from_utf8, os_reason
from ser_stream.printable import excerpt

BOM = "\ufeff"
# What a spreadsheet takes for a formula, or for the beginning of one, by a cell's first character.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def guarded(text: str) -> str:
    """A text cell as it is written: behind an apostrophe where a spreadsheet would run it."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_line(cells: Iterable[Any], end: str = "\n") -> str:
    """One row as CSV; text is `guarded`."""
    out = io.StringIO(newline="")
    # Before Python 3.13 a line's end is quoted in a cell only if rows end by it.
    csv.writer(out, lineterminator="\r\n").writerow(
        [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return out.getvalue().removesuffix("\r\n") + end


def utf8_text(path: Path, error: type[SerStreamError], keep_bom: bool = False) -> str:
    """Text of a file, without a byte order mark unless it is to be kept.

    Raises:
        SerStreamError: an ``error``: it cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8" if keep_bom else "utf-8-sig")
    except OSError as reason:
        raise error(f"{path}: cannot read ({os_reason(reason)})") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path}: not UTF-8 (byte {reason.start}); save it as UTF-8") from reason
    # UTF-16 without a byte order mark is valid UTF-8, full of these.
    if "\0" in text:
        raise error(f"{path}: not UTF-8 (holds zero bytes); save it as UTF-8")
    return text


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        first: its first line in the file, counted from 1.
        last: its last line; a quoted cell may span lines.
        cells: by column, unguarded; "" where the row has fewer.
    """

    first: int
    last: int
    cells: dict[str, str]


def table_rows(
    path: Path,
    required: Sequence[str],
    error: type[SerStreamError],
    synonyms: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """First line and cells of every row of a file, see `parsed_table`."""
    _, rows = parsed_table(path, utf8_text(path, error), required, error, synonyms)
    yield from ((row.first, row.cells) for row in rows)


def parsed_table(
    path: Path,
    text: str,
    required: Sequence[str],
    error: type[SerStreamError],
    synonyms: Mapping[str, str] | None = None,
) -> tuple[list[str], Iterator[Row]]:
    """Columns and rows of a table; blank lines are passed over.

    Args:
        path: the table, for errors.
        text: of the table; its first row names the columns, in any case and order.
        required: columns that it must have.
        error: what is raised.
        synonyms: other names of columns, for tables that do not have the name itself.

    Raises:
        SerStreamError: an ``error``: not a table, a column that is missing or comes twice, or a row
            with too many cells; the message has its line.
    """
    rows = _raw_rows(path, text.removeprefix(BOM), error)
    header = next(rows, None)
    if header is None:
        raise error(f"{path}: empty")
    columns = _columns(path, header[2], required, error, synonyms or {})
    return columns, (_row(path, columns, *row, error) for row in rows)


def _raw_rows(
    path: Path, text: str, error: type[SerStreamError]
) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and cells of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield first, reader.line_num, cells
            first = reader.line_num + 1
    except csv.Error as reason:
        raise error(f"{path}, line {first}: {reason}") from reason


def _row(
    path: Path,
    columns: list[str],
    first: int,
    last: int,
    cells: list[str],
    error: type[SerStreamError],
) -> Row:
    if len(cells) > len(columns):
        raise error(
            f"{path}, line {first}: {len(cells)} cells for {len(columns)} columns; "
            "put quotes around a cell that holds a comma"
        )
    filled = zip_longest(columns, cells, fillvalue="")
    return Row(first, last, {column: unguarded(cell.strip()) for column, cell in filled})


def file_in_table(folder: Path, cell: str) -> Path | None:
    """The file that a cell names, relative to its table's ``folder`` or absolute; None without.

    A name with bytes that are not UTF-8 may be written as `ser_stream.files.utf8_name` has it.
    """
    for name in (cell, name_from_utf8(cell)):
        found = folder / name
        # `Path.is_file` raises for a text that is too long to be a path.
        if cell and os.path.isfile(found):
            return found
    return None


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
