"""Corrected clips as rows of a CSV file, as ``ser-train --corpus manifest=FILE.csv`` reads it.

Columns: ``path`` (relative to the CSV's folder, or absolute), ``emotion``, ``speaker``,
``start_s``, ``end_s``. A file with other columns besides, or in another order, is written by its
own header. The file is replaced as a whole, so that a crash loses no row.
"""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason, write_text
from ser_stream.printable import excerpt
from ser_stream.tables import guarded, unguarded

COLUMNS = ("path", "emotion", "speaker", "start_s", "end_s")
# What the reader takes for a column's name.
SYNONYMS = {"label": "emotion"}
# Times in the file are in whole milliseconds.
DECIMALS = 3


class ManifestError(SerStreamError):
    """A manifest that cannot be read or written, or a clip that it cannot hold."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a recording and what it is.

    Attributes:
        path: the recording.
        emotion: the right label.
        speaker: who speaks.
        start_s: where it begins, s.
        end_s: where it ends; None for the recording's end.
    """

    path: Path
    emotion: str
    speaker: str
    start_s: float = 0.0
    end_s: float | None = None

    def cells(self, folder: Path) -> dict[str, str]:
        """Cells by column, for a manifest in ``folder``.

        Raises:
            ManifestError: a cell is empty or cannot be told in the file, or the clip is empty.
        """
        if not self.emotion.strip():
            raise ManifestError("which emotion is it? Choose or type a label")
        if not self.speaker.strip():
            raise ManifestError("who speaks? Type a name for the speaker")
        start, end = _told(self.start_s), "" if self.end_s is None else _told(self.end_s)
        if end and float(end) <= float(start):
            raise ManifestError(f"a clip from {start} s to {end} s holds nothing")
        path = self.path.resolve()
        # Relative, so that the folder can be moved as a whole.
        name = (
            path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
        )
        if name != name.strip():
            name = path.as_posix()
        if name != name.strip() or not _unicode(name):
            raise ManifestError(f"{path}: rename the file; no table can hold this name")
        return {
            "path": name,
            "emotion": self.emotion.strip(),
            "speaker": self.speaker.strip(),
            "start_s": start if float(start) or end else "",
            "end_s": end,
        }


def keep(manifest: Path, clip: Clip) -> int:
    """Write ``clip`` into ``manifest``, which is made if need be; return its number of clips.

    A clip of the same recording from the same second on is replaced: the reader refuses both.

    Raises:
        ManifestError: the clip cannot be told, or the file cannot be read, is no such table, lacks
            a necessary column, or cannot be written.
    """
    file = manifest.resolve()
    cells = clip.cells(file.parent)
    text = _read(file)
    rows = _Rows(file, text) if text.strip("\ufeff \t\r\n") else _Rows(file, _line(list(COLUMNS)))
    needed = ["path", "emotion", "speaker"]
    needed += [column for column in ("start_s", "end_s") if cells[column]]
    if missing := [column for column in needed if column not in rows.columns]:
        raise ManifestError(
            f"{manifest}: no column {', '.join(missing)}; "
            f"its columns: {excerpt(', '.join(rows.columns), 200)}"
        )
    count = rows.put(cells)
    try:
        write_text(file, rows.text)
    except OSError as error:
        raise ManifestError(f"{file}: cannot write ({os_reason(error)})") from error
    return count


class _Rows:
    """The text of a manifest: its header, and which lines each row takes."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        # csv counts \r\n, \n and \r as ends of lines, str.splitlines also others.
        self._lines = io.StringIO(text, newline="").readlines()
        self._end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
        self.columns: list[str] = []
        self._rows: list[tuple[int, int, dict[str, str]]] = []
        reader = csv.reader(self._lines, strict=True)
        first = 0
        try:
            for cells in reader:
                begin, first = first, reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if not self.columns:
                    names = [cell.strip("\ufeff \t").lower() for cell in cells]
                    self.columns = [_column(name, names) for name in names]
                else:
                    known = zip(self.columns, cells, strict=False)
                    row = {column: unguarded(cell.strip()) for column, cell in known}
                    self._rows.append((begin, first, row))
        except csv.Error as error:
            raise ManifestError(f"{file}, line {first + 1}: {error}") from error

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def put(self, cells: dict[str, str]) -> int:
        """Add a row, or put it in the place of the one of the same clip; the number of rows."""
        wanted = self._key(cells)
        same = [(begin, end, row) for begin, end, row in self._rows if self._key(row) == wanted]
        if same:
            begin, end, row = same[0]
            self._lines[begin:end] = [self._line({**row, **cells})]
            return len(self._rows)
        if self._lines and not self._lines[-1].endswith(("\n", "\r")):
            self._lines[-1] += self._end
        self._lines.append(self._line(cells))
        return len(self._rows) + 1

    def _line(self, cells: dict[str, str]) -> str:
        return _line([cells.get(column, "") for column in self.columns], self._end)

    def _key(self, row: dict[str, str]) -> tuple[Path, float]:
        try:
            start = float(row.get("start_s", "") or 0.0)
        except ValueError:
            start = math.nan
        # `Path.resolve` raises for a link to itself.
        return Path(os.path.realpath(self._file.parent / row.get("path", ""))), start


def _column(name: str, names: list[str]) -> str:
    other = SYNONYMS.get(name, name)
    return name if other in names else other


def _line(cells: list[str], end: str = "\n") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerow([guarded(cell) for cell in cells])
    return out.getvalue()


def _told(seconds: float) -> str:
    return f"{seconds:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(file: Path) -> str:
    try:
        data = file.read_bytes()
        # UTF-16 without a byte order mark is valid UTF-8, full of zero bytes.
        if b"\0" not in data:
            return data.decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        pass
    except OSError as error:
        raise ManifestError(f"{file}: cannot read ({os_reason(error)})") from error
    raise ManifestError(f"{file}: not UTF-8; save it as UTF-8")
