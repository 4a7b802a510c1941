"""`score` as a shell sees it: whole tables, counts, and the terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console
from typer.testing import CliRunner

from ser_stream.cli import app
from ser_stream.cli.table import Batch, progress_on
from ser_stream.scoring.formats import JsonLines
from ser_stream.words.recognizers import AsrError

RATE_HZ = 16000
COMMAND = [sys.executable, "-m", "ser_stream.cli", "score"]
HANG_S = 120.0


def score(*arguments: object, env: dict[str, str] | None = None, **more: object):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, timeout=HANG_S, check=False, env={**os.environ, **(env or {})}, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, speech: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, speech[RATE_HZ : 3 * RATE_HZ], RATE_HZ)
    return path


def copies(folder: Path, clip: Path, *names: bytes) -> Path:
    for name in names:
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(clip.read_bytes())
    return folder


def until_it_reads(process: subprocess.Popen) -> None:
    """Wait until standard input, which is never all there, is read: more than a pipe holds."""
    assert process.stdin is not None
    process.stdin.write(bytes(1 << 20))
    process.stdin.flush()


def wait_for(what: Callable[[], object]) -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < HANG_S, "nothing happened"
        time.sleep(0.01)


def test_the_last_line_counts_what_was_scored_and_what_was_passed_over(tmp_path, clip):
    copies(tmp_path, clip, b"a.wav", b"b.WAV", b".hidden.wav")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "film.mp4").write_bytes(b"no audio that libsndfile reads")
    result = score(tmp_path)
    assert result.returncode == 3
    assert result.stderr.decode().splitlines()[-1] == (
        "scored 2 files, 1 failed; passed over: 1 not audio, 1 hidden, 1 link to a folder"
    )
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / "x.npy").touch()
    result = score(nothing)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode() == (
        f"error: no audio below {nothing}; passed over: 1 not audio\n"
    )


def test_files_are_scored_as_often_and_in_the_order_as_they_are_named(tmp_path, clip):
    copies(tmp_path, clip, b"b.wav", b"a.wav")
    named = [tmp_path / "b.wav", tmp_path / "a.wav", tmp_path / "b.wav"]
    result = score(*named, "--jsonl")
    assert result.returncode == 0
    assert result.stderr == b"scored 3 files, 0 failed\n"
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == list(
        map(str, named)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_data_is_utf_8_whatever_the_locale_is_and_the_name(tmp_path, clip, env, form):
    folder = tmp_path / "talks"
    folder.mkdir()
    copies(folder, clip, b"caf\xe9.wav", "größe.wav".encode(), b"\xfcmpty.wav")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xfcmpty.wav"))).write_bytes(b"")
    out = tmp_path / f"out.{form}"
    shown = score(folder, *(["--jsonl"] if form == "jsonl" else []), env=env)
    written = score(folder, "-o", out, env=env)
    assert shown.returncode == written.returncode == 3
    assert b"Traceback" not in shown.stderr + written.stderr
    assert out.read_bytes() == shown.stdout
    text = shown.stdout.decode("utf-8")
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    names = {row["path"].rpartition("/")[2]: row["error"] or "" for row in rows}
    assert names == {"caf\\xe9.wav": "", "größe.wav": "", "\\xfcmpty.wav": "empty file"}


def test_a_recording_on_standard_input(clip):
    with clip.open("rb") as file:
        result = score("-", clip, "--jsonl", stdin=file)
    assert result.returncode == 0
    piped, named = (json.loads(line) for line in result.stdout.splitlines())
    assert piped["path"] == "-"
    assert piped | {"path": str(clip)} == named
    result = score("-", input=b"words, no sound")
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: -: not audio")


def test_a_table_appears_once_all_is_done(tmp_path, clip):
    out = tmp_path / "out.csv"
    out.write_text("a table of yesterday")
    process = subprocess.Popen(
        [*COMMAND, clip, "-", "-o", out], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    # It waits for standard input when the first row is written.
    wait_for(lambda: any(p.stat().st_size > 0 for p in tmp_path.glob(".out.*.csv")))
    assert out.read_text() == "a table of yesterday"
    process.stdin.write(clip.read_bytes())
    _, told = process.communicate(timeout=HANG_S)
    assert (process.returncode, told) == (0, b"scored 2 files, 0 failed\n")
    assert len(list(csv.DictReader(io.StringIO(out.read_text())))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize(
    ("number", "code", "earlier"),
    [(signal.SIGINT, 130, True), (signal.SIGINT, 130, False), (signal.SIGTERM, 143, True)],
)
def test_a_signal_keeps_the_rows_under_another_name(tmp_path, clip, number, code, earlier):
    out, partial = tmp_path / "out.csv", tmp_path / "out.partial.csv"
    if earlier:
        out.write_text("a table of yesterday")
    process = subprocess.Popen(
        [*COMMAND, clip, "-", clip, "-o", out], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until_it_reads(process)
    process.send_signal(number)
    told = process.communicate(timeout=HANG_S)[1].decode()
    assert process.returncode == code
    state = "as it was" if earlier else "not written"
    assert told == (
        f"interrupted: scored 1 of 3 files, kept in {partial}; {out} is {state}; "
        "the same command begins anew\n"
    )
    assert len(list(csv.DictReader(io.StringIO(partial.read_text())))) == 1
    assert out.exists() == earlier
    assert {p.name for p in tmp_path.iterdir()} <= {"out.csv", "out.partial.csv"}


def test_ctrl_c_with_rows_on_standard_output(clip):
    process = subprocess.Popen(
        [*COMMAND, clip, "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    header, row = process.stdout.readline(), process.stdout.readline()
    assert header.startswith(b"path,")
    assert row.startswith(os.fsencode(clip))
    until_it_reads(process)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=HANG_S)[1].decode()
    assert process.returncode == 130
    assert told == "interrupted: scored 1 of 2 files; the same command begins anew\n"


def test_a_table_that_cannot_be_written_is_told_before_anything_is_scored(tmp_path, clip):
    for out, reason in (
        (tmp_path / "no" / "x.csv", f"there is no folder {tmp_path / 'no'}"),
        (tmp_path / "x.xlsx", "name a .jsonl or a .csv file"),
    ):
        # Standard input would be waited for.
        process = subprocess.Popen(
            [*COMMAND, "-", "-o", out], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        assert reason in process.stderr.readline().decode()
        assert process.wait(HANG_S) == 1
        process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_what_a_recogniser_cannot_transcribe_is_counted_and_the_rest_is_written(
    tmp_path, clip, monkeypatch
):
    from ser_stream.scoring import words as batch
    from ser_stream.words import recognizers as asr
    from ser_stream.words.transcripts import Transcript

    copies(tmp_path, clip, b"a.wav", b"b.wav", b"c.wav")
    raised = {"a.wav": AsrError("the recogniser failed"), "b.wav": MemoryError()}

    def recognize(path: Path, recognizer: object) -> Transcript:
        if path.name in raised:
            raise raised[path.name]
        return Transcript((), timed=True)

    monkeypatch.setattr(batch, "recognize", recognize)
    monkeypatch.setattr(asr, "make_asr", lambda name, whole: None)
    out = tmp_path / "words.csv"
    result = CliRunner().invoke(app, ["transcribe", str(tmp_path), "-o", str(out)])
    assert result.exit_code == 3
    assert "transcribed 1 file, 2 failed" in result.output
    (row,) = csv.DictReader(io.StringIO(out.read_text()))
    assert (row["path"], row["text"]) == (str((tmp_path / "c.wav").resolve()), "")


def on_terminal(*arguments: object, rows_too: bool) -> tuple[str, str]:
    """What a terminal shows that stderr goes to, and what goes to stdout where that is a pipe."""
    leader, follower = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=follower, stdout=follower if rows_too else subprocess.PIPE, stderr=follower, env=env,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # all that wrote to the terminal have ended
            break
    os.close(leader)
    rows = process.stdout.read() if process.stdout is not None else b""
    process.communicate(timeout=HANG_S)
    return shown.decode(), rows.decode()


def test_rows_on_a_terminal_have_no_bar_among_them(tmp_path, clip):
    copies(tmp_path, clip, b"a.wav", b"b.wav")
    (tmp_path / "bad.wav").touch()
    shown, _ = on_terminal(tmp_path, rows_too=True)
    assert "\x1b" not in shown
    lines = shown.replace("\r\n", "\n").splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "path", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"),
        f"error: {tmp_path / 'bad.wav'}: empty file", str(tmp_path / "bad.wav"),
        "scored 2 files",
    ]  # fmt: skip


def test_a_bar_that_is_drawn_at_every_file():
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    files = [Path("a [red].wav"), Path("a talk with a name that is longer than the room.wav")]
    with progress_on(screen) as bar:
        batch = Batch("scored", files, JsonLines(io.StringIO()), bar)
        for path in batch:
            batch.progress(0.5)
            bar.refresh()
            if path is files[0]:
                batch.fail(path, "no [bold]good[/]")
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.file.getvalue())  # pyright: ignore
    assert "a [red].wav                 " in text
    assert "error: a [red].wav: no [bold]good[/]\n" in text
    assert "a talk with a name that is … " in text
    assert "1/2 1 failed" in text
    assert (batch.done, batch.failed, batch.total) == (2, 1, 2)


@pytest.mark.parametrize("to_file", [False, True])
def test_a_bar_names_the_file_and_counts_failures(tmp_path, clip, to_file):
    folder = tmp_path / "talks"
    folder.mkdir()
    copies(folder, clip, b"a.wav", b"b.wav")
    (folder / "a bad one.wav").touch()
    out = tmp_path / "out.csv"
    shown, rows = on_terminal(folder, *(["-o", out] if to_file else []), rows_too=to_file)
    table = out.read_text() if to_file else rows
    assert len(list(csv.DictReader(io.StringIO(table)))) == 3
    assert "\x1b" not in table
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert re.search(r"b\.wav +━+ 3/3 1 failed 0:00:00", plain)
    # The error has a line of its own, and the bar is gone in the end.
    assert re.search(
        rf"(^|\r|\n)error: {re.escape(str(folder))}/a bad one.wav: empty file\r?\n", plain
    )
    assert shown.endswith("scored 2 files, 1 failed\r\n")
