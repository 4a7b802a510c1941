"""The formats of tables: one row of a registry each, by the suffix of their files."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from ser_stream.errors import SerStreamError
from ser_stream.files import utf8_name
from ser_stream.printable import printable
from ser_stream.tables import csv_line

T = TypeVar("T")


class RowWriter(Protocol):
    """Takes the rows of one table; all have the same columns."""

    def write(self, row: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One row of the registry.

    Attributes:
        suffix: of its files, in lower case.
        name: what dialogs and menus call it.
        open: gives the writer of a file that exists and is empty. The file is whole at the end, so
            a format may keep the rows until then.
        by_row: gives a writer that has every row in the stream when `RowWriter.write` returns, for
            stdout and for recordings; None for a format that cannot.
    """

    suffix: str
    name: str
    open: Callable[[Path], AbstractContextManager[RowWriter]]
    by_row: Callable[[TextIO], RowWriter] | None


class _TextRows(ABC):
    """Rows as text, each flushed at once, so that nothing written is lost.

    They are UTF-8, whatever encoding the locale gives to stdout.
    """

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
        self._stream = stream
        # A terminal obeys some characters; programs and files get them as they are.
        self._text = printable if stream.isatty() else utf8_name

    def write(self, row: Mapping[str, Any]) -> None:
        r"""Write one row; bytes of a file's name that are not UTF-8 are written as ``\xe4``."""
        self._put({k: self._text(v) if isinstance(v, str) else v for k, v in row.items()})
        self._stream.flush()

    @abstractmethod
    def _put(self, row: dict[str, Any]) -> None:
        """Write a row whose text the stream can hold."""


class JsonLines(_TextRows):
    """One JSON object per row."""

    def _put(self, row: dict[str, Any]) -> None:
        self._stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


class Csv(_TextRows):
    """Cells with commas between them; the first row's keys become the header.

    Text that a spreadsheet would run is written as `ser_stream.tables.guarded` has it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._columns: list[str] | None = None

    def _put(self, row: dict[str, Any]) -> None:
        if self._columns is None:
            self._columns = list(row)
            self._stream.write(csv_line(self._columns))
        self._stream.write(csv_line(row[column] for column in self._columns))


@contextmanager
def _text_file(writer: Callable[[TextIO], RowWriter], path: Path) -> Iterator[RowWriter]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        yield writer(stream)


FORMATS: dict[str, Format] = {
    row.suffix: row
    for row in (
        Format(
            suffix=".jsonl", name="JSON lines", open=partial(_text_file, JsonLines),
            by_row=JsonLines,
        ),
        Format(suffix=".csv", name="CSV", open=partial(_text_file, Csv), by_row=Csv),
    )
}  # fmt: skip


def format_of(path: Path) -> Format:
    """The format of a table, by its name.

    Raises:
        SerStreamError: there is none of this suffix.
    """
    return _named(path, FORMATS)


def row_writer_of(path: Path) -> Callable[[TextIO], RowWriter]:
    """What writes a table row by row, by the table's name.

    Raises:
        SerStreamError: no format of this suffix can.
    """
    return _named(path, by_row())


def by_row() -> dict[str, Callable[[TextIO], RowWriter]]:
    """Writers of those formats that are written row by row, by suffix."""
    return {f.suffix: f.by_row for f in FORMATS.values() if f.by_row is not None}


def named_formats(suffixes: Iterable[str] | None = None) -> dict[str, str]:
    """Names of the formats of ``suffixes``, or of all, by suffix and in the names' order."""
    found = FORMATS.values() if suffixes is None else [FORMATS[suffix] for suffix in suffixes]
    return {f.suffix: f.name for f in sorted(found, key=lambda f: f.name)}


def _named(path: Path, known: Mapping[str, T]) -> T:
    found = known.get(path.suffix.lower())
    if found is None:
        raise SerStreamError(f"{path}: name a {' or a '.join(known)} file")
    return found
