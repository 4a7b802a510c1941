"""The registry of formats of tables, and what a new one takes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
from typer.testing import CliRunner

from ser_stream.cli import app
from ser_stream.errors import SerStreamError
from ser_stream.scoring.formats import (
    FORMATS,
    Format,
    RowWriter,
    format_of,
    named_formats,
    row_writer_of,
)
from ser_stream.scoring.recorder import Recorder, Recording
from ser_stream.types import AudioBlock, Prediction, Snapshot, State

ROWS = [{"path": "a,b.wav", "uar": 0.5, "error": None}, {"path": "gêné", "uar": -1, "error": "x"}]


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_what_is_written_by_row_is_what_a_file_holds(tmp_path, suffix):
    path = tmp_path / f"table{suffix.upper()}"
    with format_of(path).open(path) as writer:
        for row in ROWS:
            writer.write(row)
    stream = io.StringIO()
    by_row = row_writer_of(path)(stream)
    for number, row in enumerate(ROWS, start=1):
        by_row.write(row)
        # What stdout and a recording need: nothing waits in the writer.
        assert stream.getvalue().count("\n") == number + (suffix == ".csv")
    assert path.read_text(encoding="utf-8") == stream.getvalue()


def test_both_formats_are_read_back():
    lines, cells = io.StringIO(), io.StringIO()
    for stream, suffix in ((lines, ".jsonl"), (cells, ".csv")):
        writer = row_writer_of(Path(f"x{suffix}"))(stream)
        for row in ROWS:
            writer.write(row)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == ROWS
    assert list(csv.DictReader(io.StringIO(cells.getvalue()))) == [
        {k: "" if v is None else str(v) for k, v in row.items()} for row in ROWS
    ]


def test_a_name_with_a_carriage_return_stays_in_its_row():
    stream = io.StringIO(newline="")
    writer = row_writer_of(Path("x.csv"))(stream)
    rows = [{"path": "a\rb.wav", "error": "c\nd"}, {"path": "e\r\nf", "error": ""}]
    for row in rows:
        writer.write(row)
    assert list(csv.DictReader(io.StringIO(stream.getvalue(), newline=""))) == rows


class Markdown:
    """A table whose columns are as wide as their widest cell: nothing can be written before."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        if not self.rows:
            self.rows.append(list(row))
        self.rows.append([str(value) for value in row.values()])

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[RowWriter]:
        table = cls()
        yield table
        widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
        lines = [
            " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in table.rows
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Said:
    """One line per row: what was said when."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        self._stream.write(f"{row['end_s']} {row['label']}\n")


@contextmanager
def said_file(path: Path) -> Iterator[RowWriter]:
    with path.open("w", encoding="utf-8") as stream:
        yield Said(stream)


@pytest.fixture
def toys(monkeypatch) -> None:
    for row in (
        Format(suffix=".md", name="Markdown", open=Markdown.open, by_row=None),
        Format(suffix=".said", name="What was said", open=said_file, by_row=Said),
    ):
        monkeypatch.setitem(FORMATS, row.suffix, row)


def test_recordings_are_scored_in_a_new_format(toys, tmp_path, demo_path):
    table = tmp_path / "scores.md"
    result = CliRunner().invoke(app, ["score", str(demo_path), "--windows", "-o", str(table)])
    assert result.exit_code == 0, result.output
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("path ")
    assert len(lines) > 10
    assert len({len(line) for line in lines}) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.md"]


def test_a_stream_is_recorded_in_a_format_that_is_written_by_row(toys, tmp_path):
    with pytest.raises(SerStreamError, match=r"x\.md: name a \.jsonl or a \.csv or a \.said file"):
        Recording(tmp_path / "x.md")
    recorder = Recorder(("angry", "sad"), 16000)
    recorder.begin(Recording(tmp_path / "x.said"), 16000)
    recorder.hear(AudioBlock(np.zeros(16000, np.float32), 0))
    belief = np.float32([0.9, 0.1])
    recorder.write(
        Prediction(0, 16000, State.EMOTION, "angry", belief, belief, belief, 1.0), Snapshot()
    )
    recorder.close()
    assert (tmp_path / "x.said").read_text() == "1.0 angry\n"


def test_the_window_offers_and_writes_a_new_format(toys, tmp_path):
    scores = pytest.importorskip("gui.recordings.scores")
    assert list(named_formats().values()) == ["CSV", "JSON lines", "Markdown", "What was said"]
    assert list(named_formats([".jsonl", ".csv"])) == [".csv", ".jsonl"]

    class Score:
        def row(self, labels: tuple[str, ...]) -> dict[str, Any]:
            return {"path": "a.wav", "label": labels[0]}

    assert scores.write_scores(tmp_path / "scores.md", [Score()], ("angry",)) == 1
    assert (tmp_path / "scores.md").read_text() == "path  | label\na.wav | angry\n"


def test_an_unknown_name_is_told_with_those_that_are_known(toys, tmp_path):
    with pytest.raises(SerStreamError) as caught:
        format_of(tmp_path / "x.xlsx")
    assert str(caught.value) == (
        f"{tmp_path / 'x.xlsx'}: name a .jsonl or a .csv or a .md or a .said file"
    )


def test_a_format_says_all_that_is_asked_of_it():
    told = {field.name: getattr(FORMATS[".csv"], field.name) for field in fields(Format)}
    for name in told:
        with pytest.raises(TypeError, match=name):
            Format(**{k: v for k, v in told.items() if k != name})
