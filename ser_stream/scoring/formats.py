"""Tables of rows: CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ser_stream.errors import SerStreamError
from ser_stream.files import utf8_name
from ser_stream.printable import printable
from ser_stream.tables import guarded


def is_jsonl(path: Path) -> bool:
    """Whether a table is JSON lines, by its name, or CSV.

    Raises:
        SerStreamError: it is named as neither.
    """
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".csv"):
        raise SerStreamError(f"{path}: name a .jsonl or a .csv file")
    return suffix == ".jsonl"


class RowWriter:
    """Write rows as CSV or JSON lines, each flushed at once, so that nothing written is lost.

    They are UTF-8, whatever encoding the locale gives to stdout.
    """

    def __init__(self, stream: TextIO, jsonl: bool) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
        self._stream = stream
        self._jsonl = jsonl
        # A terminal obeys some characters; programs and files get them as they are.
        self._text = printable if stream.isatty() else utf8_name
        self._csv: csv.DictWriter[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        r"""Write one row; the first one's keys become a CSV's header.

        Bytes of a file's name that are not UTF-8 are written as ``\xe4``, and text that a
        spreadsheet would run as `ser_stream.tables.guarded` has it.
        """
        row = {k: self._text(v) if isinstance(v, str) else v for k, v in row.items()}
        if self._jsonl:
            self._stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            if self._csv is None:
                self._csv = csv.DictWriter(self._stream, list(row), lineterminator="\n")
                self._csv.writeheader()
            self._csv.writerow({k: guarded(v) if isinstance(v, str) else v for k, v in row.items()})
        self._stream.flush()
