"""Labelled clips as rows of a CSV file, which the window writes and training reads.

Columns, in any order: ``path`` (relative to the CSV's folder, or absolute), ``emotion`` (or
``label``), ``speaker``; and where wanted ``session``, ``part``, ``text``, ``start_s``, ``end_s``.
Further columns are ignored, and kept. Emotions stay as they are written, but for the names and
synonyms of `ser_stream.labels`.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason, write_text
from ser_stream.labels import canonical
from ser_stream.printable import excerpt
from ser_stream.tables import BOM, Row, csv_line, file_in_table, parsed_table, table_rows, utf8_text

FILE = "manifest.csv"
REQUIRED = ("path", "emotion", "speaker")
SPAN = ("start_s", "end_s")
OPTIONAL = ("session", "part", "text")
# Of a new file.
COLUMNS = (*REQUIRED, *SPAN)
SYNONYMS = {"label": "emotion"}
# Times are written in whole milliseconds.
DECIMALS = 3


class ManifestError(SerStreamError):
    """A manifest that cannot be read or written, or a clip that it cannot hold."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a recording and what it is.

    Attributes:
        path: the recording.
        emotion: its label.
        speaker: who speaks.
        start_s: where it begins, s.
        end_s: where it ends; None for the recording's end.
        session: when or with whom it was recorded; "" if it is not given.
        part: section of the recordings; "" if it is not given.
        text: what is said; "" if it is not given.
    """

    path: Path
    emotion: str
    speaker: str
    start_s: float = 0.0
    end_s: float | None = None
    session: str = ""
    part: str = ""
    text: str = ""

    @property
    def key(self) -> tuple[Path, float]:
        """What no two clips of a manifest share: the recording, and where they begin in it."""
        # `Path.resolve` raises for a link to itself.
        return Path(os.path.realpath(self.path)), self.start_s


def read_clips(manifest: Path) -> Iterator[Clip]:
    """Clips of a manifest in the order of its rows; audio is looked up, not opened.

    Raises:
        ManifestError: not UTF-8, a missing column, or a row that cannot be used; with the number of
            its line in the file.
    """
    lines: dict[tuple[Path, float], int] = {}
    for number, row in table_rows(manifest, REQUIRED, ManifestError, SYNONYMS):
        where = f"{manifest}, line {number}"
        clip = _clip(row, manifest.parent, where)
        if clip.key in lines:
            raise ManifestError(f"{where}: the same clip as in line {lines[clip.key]}")
        lines[clip.key] = number
        yield clip


def keep(manifest: Path, clip: Clip) -> int:
    """Write ``clip`` into ``manifest``, which is made if need be; return its number of clips.

    The file is replaced as a whole, so that a crash loses no row; its columns, other rows and ends
    of lines stay. A clip of the same recording from the same second on is replaced.

    Raises:
        ManifestError: the clip cannot be told, or the file cannot be read, is no such table, lacks
            a necessary column, or cannot be written.
    """
    file = manifest.resolve()
    cells = _cells(clip, file.parent)
    # A link to nothing and a folder that is not there are reported when the file is written.
    text = utf8_text(file, ManifestError, keep_bom=True) if os.path.exists(file) else ""
    if not text.strip(f"{BOM} \t\r\n"):
        text = csv_line(COLUMNS)
    needed = [c for c in cells if c in REQUIRED or cells[c]]
    columns, found = parsed_table(file, text, needed, ManifestError, SYNONYMS)
    rows = list(found)
    # csv counts \r\n, \n and \r as ends of lines, str.splitlines also others.
    lines = io.StringIO(text, newline="").readlines()
    end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    wanted = _key(cells, file.parent)
    same = next((row for row in rows if _key(row.cells, file.parent) == wanted), None)
    if same is None:
        if not lines[-1].endswith(("\n", "\r")):
            lines[-1] += end
        same = Row(len(lines) + 1, len(lines), {})
        rows.append(same)
    known = {**same.cells, **cells}
    lines[same.first - 1 : same.last] = [csv_line([known.get(c, "") for c in columns], end)]
    try:
        write_text(file, "".join(lines))
    except OSError as error:
        raise ManifestError(f"{file}: cannot write ({os_reason(error)})") from error
    return len(rows)


def _cells(clip: Clip, folder: Path) -> dict[str, str]:
    """Cells by column, for a manifest in ``folder``.

    Raises:
        ManifestError: a cell is empty or cannot be written in UTF-8, or the clip is empty.
    """
    if not clip.emotion.strip():
        raise ManifestError("which emotion is it? Choose or type a label")
    if not clip.speaker.strip():
        raise ManifestError("who speaks? Type a name for the speaker")
    start, end = _told(clip.start_s), "" if clip.end_s is None else _told(clip.end_s)
    if end and float(end) <= float(start):
        raise ManifestError(f"a clip from {start} s to {end} s holds nothing")
    path = clip.path.resolve()
    # Relative, so that the folder can be moved as a whole.
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    if name != name.strip():
        name = path.as_posix()
    if name != name.strip() or not _holds(name):
        raise ManifestError(f"{path}: rename the file; no table can hold this name")
    told = {column: getattr(clip, column).strip() for column in ("emotion", "speaker", *OPTIONAL)}
    for column, cell in told.items():
        if not _holds(cell):
            raise ManifestError(f"{column} {excerpt(cell)}: no table can hold this text")
    cells = {"path": name, **told, "start_s": start if float(start) or end else "", "end_s": end}
    return {column: cell for column, cell in cells.items() if cell or column not in OPTIONAL}


def _clip(row: dict[str, str], folder: Path, where: str) -> Clip:
    for column in REQUIRED:
        if not row[column]:
            raise ManifestError(f"{where}: no {column}")
    audio = file_in_table(folder, row["path"])
    if audio is None:
        told = excerpt(str(folder / row["path"]), 200)
        raise ManifestError(f"{where}: no audio file {told}")
    start_s = _seconds(row, "start_s", where) or 0.0
    end_s = _seconds(row, "end_s", where)
    if end_s is not None and end_s <= start_s:
        raise ManifestError(f"{where}: ends at {end_s} s, before or where it starts ({start_s} s)")
    others = {column: row.get(column, "") for column in OPTIONAL}
    return Clip(audio, canonical(row["emotion"]), row["speaker"], start_s, end_s, **others)


def _seconds(row: dict[str, str], column: str, where: str) -> float | None:
    cell = row.get(column, "")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise ManifestError(
            f"{where}: {column} is {excerpt(cell)}, want seconds from the file's start"
        )
    return value


def _key(cells: dict[str, str], folder: Path) -> tuple[Path, float]:
    """`Clip.key` of a row, which may be one that cannot be used."""
    try:
        start = float(cells.get("start_s", "") or 0.0)
    except ValueError:
        start = math.nan
    return Clip(folder / cells["path"], "", "", start).key


def _told(seconds: float) -> str:
    return f"{seconds:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _holds(text: str) -> bool:
    """Whether a table of UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
