"""The commands as a shell sees them: output, errors of one line, exit codes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.commands import one_line, ser_stream

RATE_HZ = 16000
LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, speech: np.ndarray) -> Path:
    """Three good files and five bad ones."""
    top = tmp_path_factory.mktemp("folder")
    (top / "sub").mkdir()
    soundfile.write(top / "a.wav", speech[RATE_HZ : 5 * RATE_HZ], RATE_HZ)
    soundfile.write(top / "sub" / "b.flac", speech[6 * RATE_HZ : 9 * RATE_HZ], RATE_HZ)
    soundfile.write(top / "silence.wav", np.zeros(3 * RATE_HZ), RATE_HZ)
    soundfile.write(top / "short.wav", speech[RATE_HZ : RATE_HZ + 4800], RATE_HZ)
    nan = speech[: 3 * RATE_HZ].copy()
    nan[:] = np.nan
    soundfile.write(top / "nan.wav", nan, RATE_HZ, subtype="FLOAT")
    whole = (top / "a.wav").read_bytes()
    (top / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (top / "empty.wav").touch()
    (top / "words.wav").write_text("only words here\n" * 10)
    return top


BAD = {
    "cut.wav": "truncated",
    "empty.wav": "empty file",
    "nan.wav": "NaN",
    "short.wav": "too short: 0.30 s",
    "words.wav": "not audio",
}


def test_a_folder_is_scored_and_its_bad_files_become_rows(folder):
    result = ser_stream("score", folder)
    assert result.returncode == 3
    rows = {Path(r["path"]).name: r for r in csv.DictReader(io.StringIO(result.stdout))}
    assert set(rows) == {"a.wav", "b.flac", "silence.wav", *BAD}
    header = result.stdout.splitlines()[0].split(",")
    assert header == ["path", "duration_s", "windows", "state", "label", "confidence", *LABELS,
                      "derived_valence", "derived_arousal", "transcript", "speaker", "profile",
                      "error"]  # fmt: skip
    for name, message in BAD.items():
        assert message in rows[name]["error"]
        assert rows[name]["state"] == rows[name]["label"] == rows[name]["angry"] == ""
    for name in ("a.wav", "b.flac"):
        row = rows[name]
        assert row["error"] == ""
        assert sum(float(row[label]) for label in LABELS) == pytest.approx(1.0, abs=1e-3)
        assert float(row["confidence"]) == max(float(row[label]) for label in LABELS)
    assert rows["silence.wav"]["state"] == "no speech"
    *errors, counts = result.stderr.splitlines()
    assert len(errors) == len(BAD)
    assert counts == f"scored 3 files, {len(BAD)} failed"


def test_json_lines_windows_and_output_files(folder, tmp_path, bundle):
    good = [folder / "a.wav", folder / "silence.wav"]
    out = tmp_path / "windows.jsonl"
    assert ser_stream("score", *good, "--windows", "--hop", "0.1", "-o", out).returncode == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    a = [r for r in rows if r["path"].endswith("a.wav")]
    assert len(a) == (4 * RATE_HZ - bundle.window_samples) // 1536 + 1
    assert [r["start_s"] for r in a[:2]] == [0.0, 0.096]
    assert {r["state"] for r in rows if r["path"].endswith("silence.wav")} == {"no speech"}
    spoken = next(r for r in a if r["state"] != "no speech")
    assert sum(spoken[f"smoothed_{label}"] for label in LABELS) == pytest.approx(1.0, abs=1e-3)

    stdout = ser_stream("score", *good, "--jsonl").stdout.splitlines()
    assert [json.loads(line)["path"] for line in stdout] == [str(p) for p in good]


def test_without_the_gate_silence_is_judged_too(folder):
    row = json.loads(ser_stream("score", folder / "silence.wav", "--jsonl", "--no-gate").stdout)
    assert row["windows"] == 3
    assert row["confidence"] is not None


@pytest.mark.parametrize(("name", "message"), list(BAD.items()))
def test_one_bad_file_is_one_line_and_a_row(folder, name, message):
    result = ser_stream("score", folder / name)
    one_line(result, 1, message)
    assert message in result.stdout


def test_bad_paths_and_models(folder, tmp_path, bundle):
    one_line(ser_stream("score", folder / "missing.wav"), 1, "no such file")
    earlier = tmp_path / "earlier.csv"
    earlier.write_text("a table of yesterday")
    one_line(ser_stream("score", tmp_path, "-o", earlier), 1, "no audio below")
    assert earlier.read_text() == "a table of yesterday"
    good = folder / "a.wav"
    one_line(ser_stream("score", good, "-o", tmp_path / "no" / "x.csv"), 1, "cannot write")
    one_line(ser_stream("score", good, "-o", tmp_path / "x.xlsx"), 1, ".csv")
    one_line(ser_stream("score", good, "--model", tmp_path / "x.onnx"), 1, "no such model file")
    (tmp_path / "text.onnx").write_text("words")
    one_line(ser_stream("score", good, "--model", tmp_path / "text.onnx"), 1, "not a model")
    one_line(ser_stream("info", tmp_path / "text.onnx"), 1, "not a model")
    one_line(ser_stream("demo", "--hop", "-1"), 1, "hop_s")
    one_line(ser_stream("demo", "--duration", "0"), 1, "--duration")
    one_line(ser_stream("demo", "--record", tmp_path / "no" / "x.csv"), 1, "cannot write")
    one_line(ser_stream("demo", "--record-audio", tmp_path / "x.mp3"), 1, "name a .wav or a .flac")
    one_line(ser_stream("demo", "--smoothing", "-2"), 1, "--smoothing")
    assert ser_stream("demo", "--nonsense").returncode == 2
    assert ser_stream("--rate", "0").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(folder):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "ser_stream.cli", "score", str(folder / "a.wav")],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_is_no_error_to_talk_about(folder):
    command = f"{sys.executable} -m ser_stream.cli score {folder} --windows 2>/dev/null | head -1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.startswith("path,start_s")
    assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_ends_a_stream_quietly():
    command = f"{sys.executable} -m ser_stream.cli demo --fast --jsonl | head -1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert json.loads(result.stdout)["start_s"] == 0.0
    assert "Traceback" not in result.stderr
    assert "Broken" not in result.stderr


def test_the_demo_streams_and_records(tmp_path, demo_path):
    record, sound = tmp_path / "demo.csv", tmp_path / "demo.wav"
    result = ser_stream("demo", "--fast", "--jsonl", "--record", record, "--record-audio", sound)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) > 300
    assert [r["end_s"] for r in rows] == sorted(r["end_s"] for r in rows)
    states = {r["state"] for r in rows}
    assert {"emotion", "no speech"} <= states
    assert "heard 33." in result.stderr
    recorded = list(csv.DictReader(io.StringIO(record.read_text())))
    assert [float(r["end_s"]) for r in recorded] == [r["end_s"] for r in rows]
    assert {r["latency_ms"] for r in recorded} == {""}
    heard, played = (soundfile.read(p, dtype="float32") for p in (sound, demo_path))
    assert heard[1] == played[1]
    np.testing.assert_allclose(heard[0], played[0], atol=1e-4)


def test_the_demo_and_score_agree(demo_path):
    live = ser_stream("demo", "--fast", "--jsonl", "--duration", "12")
    batch = ser_stream("score", demo_path, "--windows", "--hop", "0.1", "--jsonl")
    a = [json.loads(line) for line in live.stdout.splitlines()]
    b = [json.loads(line) for line in batch.stdout.splitlines()][: len(a)]
    assert len(a) > 90
    for x, y in zip(a, b, strict=True):
        assert all(x[k] == pytest.approx(y[k], abs=1e-4) for k in ("start_s", "end_s", "speech"))
        assert (x["state"], x["label"]) == (y["state"], y["label"])


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_plain_mode_has_no_escape_codes(env):
    result = ser_stream("demo", "--duration", "5", env=env)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "listening: ser-stream  demo.flac  16 kHz"
    assert any("dBFS" in line for line in lines)
    assert any(line.startswith("heard 5.0 s") for line in lines)


# The cursor goes up a line; a meter that has done so this often has had speech for some seconds.
UP, DRAWN = b"\x1b[1A", 450
HANG_S = 120.0


def terminal(*arguments: str, keys: bytes = b"", sig: int | None = None):
    """Run on a pseudo-terminal, type or signal once it draws; return output and exit code."""
    leader, follower = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_stream.cli", *arguments],
        stdin=follower, stdout=follower, stderr=follower, env=env, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    written = b""
    acted = False
    began = time.monotonic()
    os.set_blocking(leader, False)
    while process.poll() is None and time.monotonic() - began < HANG_S:
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            written += os.read(leader, 65536)
        if not acted and written.count(UP) > DRAWN:
            acted = True
            if keys:
                os.write(leader, keys)
            if sig is not None:
                process.send_signal(sig)
    with contextlib.suppress(OSError):
        written += os.read(leader, 65536)
    os.close(leader)
    assert process.poll() is not None, "still running"
    return written.decode(errors="replace"), process.returncode


@pytest.mark.parametrize(
    "how", [{"keys": b"q"}, {"sig": signal.SIGINT}, {"sig": signal.SIGTERM}], ids=str
)
def test_the_meter_draws_in_place_and_ends_with_a_summary(how):
    text, code = terminal("demo", **how)
    assert code == 0
    assert "Traceback" not in text
    for word in ("angry", "sounds", "last 60 s", "dBFS"):
        assert word in text
    # Drawn over and over in place, and never by clearing the screen, which would flicker.
    assert text.count(UP.decode()) > DRAWN
    assert "\x1b[2J" not in text
    assert "heard " in text
    assert text.rstrip().endswith("%")
    # The cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_info_and_doctor():
    info = ser_stream("info")
    assert info.returncode == 0
    for word in ("angry, happy, neutral, sad", "CREMA-D", "ODbL", "UAR", "temperature", "gate "):
        assert word in info.stdout
    table = json.loads(ser_stream("info", "--json").stdout)
    assert table["labels"] == LABELS
    doctor = ser_stream("doctor")
    assert doctor.returncode == 0
    for word in ("ser-stream", "python", "onnxruntime", "providers", "portaudio", "test run"):
        assert word in doctor.stdout


def test_version_and_help():
    from ser_stream import __version__

    assert ser_stream("--version").stdout == f"ser-stream {__version__}\n"
    text = ser_stream("--help", env={"COLUMNS": "100", "TERM": "dumb"}).stdout
    for word in ("--device", "--jsonl", "--record", "score", "demo", "doctor", "devices", "info"):
        assert word in text
