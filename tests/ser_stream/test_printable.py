"""Text from outside on a terminal, in a table and in a window."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from ser_stream.cli import app
from ser_stream.cli.terminal import Meter, MeterView, plain_line
from ser_stream.errors import SerStreamError
from ser_stream.printable import one_line, printable
from ser_stream.scoring import manifest
from ser_stream.scoring.formats import Csv, JsonLines
from ser_stream.tables import guarded, table_rows, unguarded
from ser_stream.types import Health, Snapshot, Word
from tests.helpers.edited_bundle import edited

STEERING = "\x1b[31mred\u202e\x9b1m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("happy", "happy"),
        ("Ärger, 怒り, غضب, 😀, क्‍ष, C:\\new", "Ärger, 怒り, غضب, 😀, क्‍ष, C:\\new"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("\x07\x7f\x00", "\\x07\\x7f\\x00"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\u202etxt.wav", "a\\u202etxt.wav"),
        ("\u2028\u2029\u2066\u2069\u200f", "\\u2028\\u2029\\u2066\\u2069\\u200f"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff.wav", "\\xff.wav"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_steers_is_escaped(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_it_is_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


def test_a_message_is_cut():
    assert one_line("x" * 2000 + "\n") == "x" * 1000 + "..."
    assert one_line("a\nb") == "a\\nb"


# On a terminal.


def test_info_shows_names_as_they_are_written(tmp_path):
    data = [{"corpus": STEERING, "licence": "a\nb", "credit": "c"}]
    path = edited(tmp_path, name=STEERING, training_data=data, licence=STEERING)
    result = CliRunner().invoke(app, ["info", str(path)])
    assert result.exit_code == 0, result.output
    assert not any(c in result.output for c in "\x1b\x9b\u202e")
    assert "\\x1b[31mred\\u202e" in result.output
    assert "trained on   \\x1b[31mred\\u202e\\x9b1m (a\\nb): c" in result.output
    as_json = CliRunner().invoke(app, ["info", "--json", str(path)])
    assert as_json.output.isascii()
    assert json.loads(as_json.output)["name"] == STEERING


def test_an_error_is_one_line_whatever_the_file_is_called(tmp_path):
    name = "a\nb\x1b[31m[red].wav"
    (tmp_path / name).write_text("no audio")
    for arguments in (["info", name], ["score", name], ["score", "--profile", "x\x1by", name]):
        done = subprocess.run(
            [sys.executable, "-m", "ser_stream.cli", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert "\x1b" not in line
        if "--profile" not in arguments:
            assert "a\\nb\\x1b[31m[red].wav" in line


def view(word: str, trouble: str = "running") -> MeterView:
    health = Health(recognizer=trouble)
    words = (Word(word, 0.0, 1.0),)
    snapshot = Snapshot(position_s=3.0, health=health, words=words)
    return MeterView("title", ("angry", "happy"), snapshot, [None] * 60)


@pytest.mark.parametrize("shown", [view(STEERING), view("x", f"failed: {STEERING}")])
def test_the_meter_escapes_words_and_troubles(shown):
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(Meter(shown))
    console.print(plain_line(shown), markup=False, highlight=False)
    text = console.file.getvalue()
    assert "red" in text
    assert not any(c in text for c in "\x1b\x9b\u202e")


def test_rows_on_a_terminal_are_escaped_and_in_a_file_they_are_not():
    leader, follower = pty.openpty()
    row = {"path": f"{STEERING}.wav", "confidence": -0.5}
    with os.fdopen(follower, "w") as stream:
        for writer in (Csv, JsonLines):
            writer(stream).write(row)
        shown = os.read(leader, 4096).decode()
    os.close(leader)
    assert not any(c in shown for c in "\x1b\x9b\u202e")
    file = io.StringIO()
    JsonLines(file).write(row)
    assert json.loads(file.getvalue()) == row


# In a spreadsheet.


@pytest.mark.parametrize("text", ["=1+1", "+49", "-", "@me", "\t=1", "\r=1", "'=1", "''-x"])
def test_text_that_a_spreadsheet_would_run_is_guarded(text):
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@given(st.text(max_size=8))
def test_the_guard_is_taken_off_again(text):
    cell = guarded(text)
    assert unguarded(cell) == text
    assert cell[:1] not in tuple("=+-@\t\r\n")


def test_plain_text_is_left_as_it_is():
    for text in ("", "a", "'s", "'tis", "a=b", "/home/a.wav", "..", "\u2212"):
        assert guarded(text) == text
        assert unguarded(text) == text


def test_a_table_is_guarded_and_read_back(tmp_path):
    path = tmp_path / "table.csv"
    rows = [
        {"path": "=HYPERLINK(1).wav", "text": "-", "share": -0.25},
        {"path": "a.wav", "text": "@home", "share": None},
    ]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = Csv(stream)
        for row in rows:
            writer.write(row)
    with path.open(encoding="utf-8", newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert cells[0] == {"path": "'=HYPERLINK(1).wav", "text": "'-", "share": "-0.25"}
    read = [row for _, row in table_rows(path, ["path"], SerStreamError)]
    assert [r["path"] for r in read] == [r["path"] for r in rows]
    assert [r["text"] for r in read] == [r["text"] for r in rows]
    assert read[0]["share"] == "-0.25"


def test_a_manifest_is_guarded_and_read_back(tmp_path):
    training = pytest.importorskip("training.data.corpora.manifest")
    clips = tmp_path / "=clips"
    clips.mkdir()
    for name in ("-a.wav", "b.wav"):
        (clips / name).touch()
        clip = manifest.Clip(clips / name, "happy", "@Ann")
        assert manifest.keep(tmp_path / "m.csv", clip) == (1 if name == "-a.wav" else 2)
        # Again: the same row.
        assert manifest.keep(tmp_path / "m.csv", clip) == (1 if name == "-a.wav" else 2)
    text = (tmp_path / "m.csv").read_text()
    assert "'=clips/-a.wav" in text
    assert "'@Ann" in text
    found = training.read(tmp_path / "m.csv")
    assert [u.path for u in found] == [clips / "-a.wav", clips / "b.wav"]


# In a window.


def test_the_window_shows_tags_as_they_are(qtbot):
    from PySide6.QtCore import Qt

    from gui.parts.forms import TextLabel, tip
    from gui.window import ErrorDialog

    assert TextLabel("x").textFormat() == Qt.TextFormat.PlainText
    assert tip("a.wav") == "a.wav"
    assert tip("<b>a</b>.wav") == "<qt>&lt;b&gt;a&lt;/b&gt;.wav</qt>"
    dialog = ErrorDialog()
    qtbot.addWidget(dialog)
    dialog.show_error(SerStreamError("<b>a</b>.wav: no audio"))
    assert dialog.message.text() == "<b>a</b>.wav: no audio"
    assert dialog.message.textFormat() == Qt.TextFormat.PlainText
