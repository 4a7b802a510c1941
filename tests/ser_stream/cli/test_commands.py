"""What is typed: misplaced options, files in the place of commands, versions, completion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from ser_stream import __version__

HANG_S = 120.0
MODULES = {
    "ser-stream": "ser_stream.cli",
    "ser-train": "training.cli",
    "ser-export": "export.cli",
    "ser-gui": "gui.app",
}


def run(
    *arguments: object, module: str = "ser_stream.cli", **more: object
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True, timeout=HANG_S, check=False, **{"text": True, **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "x.onnx", "score", "a.wav"], "write ser-stream score --model ..."),
        (["--no-gate", "demo"], "write ser-stream demo --no-gate ..."),
        (["-d", "usb", "score", "a.wav"], "--device is the live meter's: score has no such option"),
        (["--jsonl", "--rate", "8000", "info"], "--rate is the live meter's"),
        (["--model", "x.onnx", "gui"], "write ser-stream gui --model ..."),
        (["talk.wav"], "to score a recording: ser-stream score talk.wav; to choose a microphone"),
        (["my talk.wav", "--windows"], "ser-stream score 'my talk.wav'"),
        (["--device", "-"], "give their rate with --rate"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(arguments, told):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_a_folder_in_the_place_of_a_command(tmp_path):
    (tmp_path / "talks").mkdir()
    result = run("talks", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert result.returncode == 2
    assert "ser-stream score talks" in result.stderr
    # What is no path gets the usual answer.
    assert "Did you mean" in run("scroe").stderr


@pytest.mark.parametrize("command", list(MODULES))
def test_versions_need_no_heavy_imports(command):
    heavy = ("torch", "onnxruntime" if command != "ser-train" else "torchaudio", "PySide6", "onnx")
    program = (
        f"import sys, runpy\nsys.argv = ['{command}', '--version']\n"
        f"try:\n    runpy.run_module('{MODULES[command]}', run_name='__main__')\n"
        f"finally:\n    print([m for m in {heavy} if m in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{command} {__version__}\n[]\n"


@pytest.mark.parametrize(
    ("command", "typed", "offered"),
    [
        ("ser-stream", "sc", ["score"]),
        ("ser-stream", "score --win", ["--windows"]),
        ("ser-train", "repr", ["reproduce"]),
        ("ser-export", "--al", ["--all"]),
        ("ser-gui", "--dem", ["--demo"]),
    ],
)
def test_shells_complete_commands_and_options(tmp_path, command, typed, offered):
    program = f"import sys\nsys.argv = ['{command}']\nfrom {MODULES[command]} import main\nmain()\n"
    words = f"{command} {typed}"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=HANG_S, check=False,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            f"_{command.upper().replace('-', '_')}_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )  # fmt: skip
    assert result.stdout.split() == offered, result.stderr
    assert list(tmp_path.iterdir()) == []


def pcm(samples: np.ndarray) -> bytes:
    return (samples * (1 << 15)).astype("<i2").tobytes()


def test_raw_sound_on_standard_input_is_what_a_file_of_it_is(tmp_path, speech):
    sound = (speech[:80_000] * (1 << 15)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    live = run("--device", "-", "--rate", 16000, "--jsonl", input=sound.tobytes() + b"\1",
               text=False)  # fmt: skip
    assert live.returncode == 0, live.stderr
    assert b"heard 5.0 s" in live.stderr
    batch = run("score", tmp_path / "a.wav", "--windows", "--hop", "0.1", "--jsonl")
    a, b = (
        [json.loads(line) for line in text.splitlines()] for text in (live.stdout, batch.stdout)
    )
    assert len(a) == len(b) > 20
    for x, y in zip(a, b, strict=True):
        assert (x["start_s"], x["state"], x["label"]) == (y["start_s"], y["state"], y["label"])
        assert x["latency_ms"] is not None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no sound came on standard input"),
        (b"RIFF$\0\0\0WAVEfmt ", "standard input is a sound file, not raw sound"),
    ],
)
def test_what_is_no_raw_sound_is_told(data, told):
    result = run("--device", "-", "--rate", 16000, "--jsonl", input=data, text=False)
    assert (result.returncode, result.stdout) == (1, b"")
    assert told in result.stderr.decode()


def test_a_pipe_that_is_silent_ends_by_ctrl_c(speech):
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_stream.cli", "--device", "-", "--rate", "16000", "--jsonl"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pcm(speech[: 3 * 16000]))
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"{")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert b"heard " in told
    assert b"Traceback" not in told
