"""How a live command ends: by signals, by kill, by readers that leave, by full disks.

Each test waits until the files or the output show that the stream runs, and then acts.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.sound_readers import read_by_all

RATE_HZ = 16000
COMMAND = [sys.executable, "-m", "ser_stream.cli"]
VIEWS = ("meter", "plain", "jsonl")
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Reached only where something hangs.
LONG_S = 60.0


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


class Live:
    """``ser-stream demo`` in real time, on a terminal of its own or with its output in files."""

    def __init__(self, folder: Path, view: str, *options: object, suffix: str = ".wav") -> None:
        self.rows, self.sound = folder / "talk.csv", folder / f"talk{suffix}"
        self.out, self.err = folder / "out", folder / "err"
        self._leader = -1
        command = [*COMMAND, "demo", "--record", self.rows, "--record-audio", self.sound]
        command += [str(option) for option in options]
        if view == "jsonl":
            command.append("--jsonl")
        self.out.touch()
        with contextlib.ExitStack() as files:
            env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
            if view == "meter":
                self._leader, stdout = pty.openpty()
                files.callback(os.close, stdout)
                os.set_blocking(self._leader, False)
                command = controlled_by(stdout, command)
                env |= {"TERM": "xterm-256color"}
            else:
                stdout = files.enter_context(self.out.open("wb")).fileno()
            stderr = files.enter_context(self.err.open("wb"))
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                start_new_session=True, env=env,
            )  # fmt: skip

    def drain(self) -> None:
        """Take what the terminal shows, so that it never blocks."""
        if self._leader >= 0:
            with contextlib.suppress(OSError), self.out.open("ab") as out:
                while data := os.read(self._leader, 65536):
                    out.write(data)

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._leader)
        self._leader = -1

    def runs(self) -> bool:
        """Whether there are rows and sound in the files."""
        self.drain()
        assert self.process.poll() is None, self.told
        return (
            self.rows.exists()
            and self.rows.read_bytes().count(b"\n") > 3
            and soundfile.info(self.sound).frames > RATE_HZ
        )

    def ended(self) -> bool:
        self.drain()
        return self.process.poll() is not None

    def end(self) -> int:
        """Wait for the end; the exit code."""
        until(self.ended)
        self.drain()
        return self.process.returncode

    @property
    def told(self) -> str:
        """What it wrote to its output and to its errors."""
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._leader >= 0:
            os.close(self._leader)


def controlled_by(terminal: int, command: Sequence[object]) -> list[object]:
    """``command`` in a session of its own whose terminal is ``terminal``."""
    # Whoever leads a session gets the first terminal that it opens.
    return ["sh", "-c", 'exec "$@" < ' + os.ttyname(terminal), "sh", *command]


@pytest.fixture(autouse=True)
def _signals_come() -> Iterator[None]:
    """Also where a shell has Ctrl-C ignored for what it runs in the background."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Starts `Live`s, each in a folder of its own."""
    begun: list[Live] = []

    def started(*arguments: object, **more: str) -> Live:
        folder = tmp_path / str(len(begun))
        folder.mkdir()
        begun.append(Live(folder, *arguments, **more))  # pyright: ignore[reportArgumentType]
        return begun[-1]

    yield started
    for live in begun:
        live.close()


def whole(live: Live, played: np.ndarray, least_s: float = 1.0) -> None:
    """Both files are complete: all samples and rows up to one moment, and nothing cut off."""
    samples = read_by_all(live.sound, RATE_HZ)
    assert len(samples) >= least_s * RATE_HZ
    np.testing.assert_array_equal(samples / np.float32(32768), played[: len(samples)])
    text = live.rows.read_text()
    assert text.endswith("\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert all(None not in row.values() and None not in row for row in rows)
    # The last row's window ends less than an update, 0.1 s, before the sound does.
    assert 0.0 <= len(samples) / RATE_HZ - float(rows[-1]["end_s"]) < 0.15


def test_signals_end_every_view_with_complete_files(start, speech):
    runs = [(start(view), number) for view in VIEWS for number in END_SIGNALS]
    for live, number in runs:
        until(live.runs)
        live.process.send_signal(number)
    for live, _ in runs:
        assert live.end() == 0, live.told
        assert "Traceback" not in live.told
        assert "Fatal" not in live.told
        assert "heard " in live.told
        whole(live, speech)


@pytest.mark.slow
def test_signals_that_come_again_and_again_lose_nothing(start, speech):
    runs = [start(view) for view in VIEWS]
    for live in runs:
        until(live.runs)
    while [live for live in runs if not live.ended()]:
        for live in runs:
            for number in END_SIGNALS:
                live.process.send_signal(number)
        time.sleep(0.001)
    for live in runs:
        assert "Traceback" not in live.told
        assert "Fatal" not in live.told
        assert "heard " in live.told
        whole(live, speech)


def test_a_device_that_does_not_close_is_left_by_a_second_signal(tmp_path, speech):
    hangs = (
        "import time; from ser_stream.cli import main; "
        "from ser_stream.audio.sources import PacedSource; "
        "PacedSource.__exit__ = lambda *_: time.sleep(1000); main()"
    )
    sound = tmp_path / "talk.wav"
    process = subprocess.Popen(
        [sys.executable, "-c", hangs, "demo", "--record-audio", sound], stdout=subprocess.PIPE
    )
    with process:
        until(lambda: sound.exists() and soundfile.info(sound).frames > RATE_HZ)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"heard "):
            assert process.poll() is None

        def leave() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        until(leave)
    assert process.returncode == -signal.SIGINT
    samples = read_by_all(sound, RATE_HZ)
    np.testing.assert_array_equal(samples / np.float32(32768), speech[: len(samples)])


def test_a_terminal_that_is_closed_ends_the_meter_with_complete_files(start, speech):
    live = start("meter")
    until(live.runs)
    live.hang_up()
    assert live.end() == 0
    whole(live, speech)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_after_a_kill_less_than_a_second_is_missing(start, speech, suffix):
    live = start("jsonl", suffix=suffix)

    def shown() -> float:
        lines = live.out.read_bytes().split(b"\n")[:-1]
        return json.loads(lines[-1])["end_s"] if lines else 0.0

    until(lambda: shown() > 3.0)
    heard_s = shown()
    live.process.kill()
    live.process.wait()
    samples = read_by_all(live.sound, RATE_HZ)
    assert len(samples) > (heard_s - 1.0) * RATE_HZ
    np.testing.assert_array_equal(samples / np.float32(32768), speech[: len(samples)])
    text = live.rows.read_text()
    assert text.endswith("\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert all(None not in row.values() and None not in row for row in rows)
    assert float(rows[-1]["end_s"]) > heard_s - 1.0


def test_a_reader_that_leaves_ends_with_complete_files(tmp_path, speech):
    rows, sound = tmp_path / "talk.csv", tmp_path / "talk.wav"
    process = subprocess.Popen(
        [*COMMAND, "demo", "--jsonl", "--record", rows, "--record-audio", sound],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"start_s": 0.0')
        process.stdout.close()
        told = process.stderr.read().decode()
        assert process.wait(LONG_S) == 1
    assert "Traceback" not in told
    assert "Broken" not in told
    samples = read_by_all(sound, RATE_HZ)
    assert len(samples) > 2 * RATE_HZ
    np.testing.assert_array_equal(samples / np.float32(32768), speech[: len(samples)])
    assert rows.read_text().endswith("\n")


@pytest.mark.parametrize(
    ("name", "most"), [("talk.wav", 299_520), ("talk.flac", 99_840), ("talk.jsonl", 10_240)]
)
def test_a_disk_that_is_full_ends_the_recording_and_not_the_meter(tmp_path, speech, name, most):
    option = "--record" if name.endswith("jsonl") else "--record-audio"
    limited = ["sh", "-c", f'ulimit -f {most // 512}; exec "$@"', "sh", *COMMAND]
    result = subprocess.run(
        [*limited, "demo", "--fast", option, tmp_path / name],
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path / name}: cannot write (File too large); nothing more is recorded\n"
    )
    assert "heard 33." in result.stdout
    if option == "--record":
        text = (tmp_path / name).read_text()
        assert text.endswith("}\n")
        assert most - 600 < len(text) <= most
        assert all(json.loads(line)["state"] for line in text.splitlines())
    else:
        samples = read_by_all(tmp_path / name, RATE_HZ)
        np.testing.assert_array_equal(samples / np.float32(32768), speech[: len(samples)])
        # A block of the source at most, and FLAC's frame.
        assert len(samples) > (most / 2 - 600 if name.endswith("wav") else 2 * RATE_HZ)


def test_a_file_that_exists_is_numbered_and_that_is_said(tmp_path):
    (tmp_path / "talk.wav").write_text("an older one")
    files = ["--record", tmp_path / "talk.jsonl", "--record-audio", tmp_path / "talk.wav"]
    short = [*COMMAND, "demo", "--fast", "--duration", "1"]
    result = subprocess.run(
        [*short, *files], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert result.returncode == 0
    assert result.stderr == "".join(
        f"note: {tmp_path / 'talk'}{suffix} exists, recording to {tmp_path / 'talk-2'}{suffix}; "
        "see --overwrite\n"
        for suffix in (".jsonl", ".wav")
    )
    assert (tmp_path / "talk.wav").read_text() == "an older one"
    assert soundfile.info(tmp_path / "talk-2.wav").frames == RATE_HZ
    result = subprocess.run(
        [*short, *files, "--overwrite"], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert soundfile.info(tmp_path / "talk.wav").frames == RATE_HZ


def test_a_wav_that_becomes_rf64_is_told(tmp_path):
    # Four gigabytes are half a second here.
    small = (
        "from ser_stream.audio import sound_writer; from ser_stream.cli import main; "
        "sound_writer.MOST_RIFF_BYTES = 16000; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", small, "demo", "--duration", "2", "--record-audio",
         tmp_path / "talk.wav"],
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == (
        f"note: {tmp_path / 'talk.wav'} is beyond 4 GB, so it is an RF64 file now\n"
    )
    assert soundfile.info(tmp_path / "talk.wav").format == "RF64"


@pytest.mark.parametrize(
    "options",
    [
        ["--duration", "inf"], ["--duration", "nan"], ["--duration", "-inf"],
        ["--duration", "1e308"], ["--hop", "nan"], ["--hop", "1e308"], ["--smoothing", "nan"],
        ["--smoothing", "inf"], ["--smoothing", "1e9"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_numbers_that_make_no_sense_are_one_line(tmp_path, options):
    result = subprocess.run(
        [*COMMAND, "demo", "--record", tmp_path / "talk.csv", *options],
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e308", "1"])
def test_a_reading_of_senseless_length_is_one_line(seconds):
    result = subprocess.run(
        [*COMMAND, "calibrate", "--profile", "ann", "--seconds", seconds],
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: --seconds must be from 5 to 600, got ")
    assert result.stderr.count("\n") == 1


@pytest.mark.microphone
def test_signals_end_a_reading_without_a_profile(tmp_path, virtual_microphone):
    for number in END_SIGNALS:
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            controlled_by(follower, [*COMMAND, "calibrate", "--profile", "ann"]),
            stdout=follower, stderr=follower, start_new_session=True,
            env={**os.environ, "SER_STREAM_CONFIG": str(tmp_path), "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(follower)
        shown = b""
        signalled = False
        with contextlib.suppress(OSError):  # the terminal ends with its last process
            while data := os.read(leader, 65536):
                shown += data
                if not signalled and b"dBFS" in shown:
                    signalled = True
                    process.send_signal(number)
        os.close(leader)
        assert process.wait(LONG_S) == 128 + number
        text = shown.decode()
        assert "Traceback" not in text
        # The cursor is shown again.
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
        assert not list(tmp_path.rglob("*.json"))


# A shell with job control: runs its arguments in the background of its terminal, says how that
# ends, and takes an argument "q" for what is to be typed meanwhile.
SHELL = """
import os, signal, sys, termios, fcntl
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(child, os.WUNTRACED)
if os.WIFSTOPPED(status):
    os.kill(child, signal.SIGKILL)
    print("stopped by", signal.Signals(os.WSTOPSIG(status)).name)
else:
    print("ended with", os.waitstatus_to_exitcode(status))
"""


def on_terminal(command: list[str]) -> str:
    """What a process shows that leads a session on a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    shown = b""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        ready, _, _ = select.select([leader], [], [], 1.0)
        try:
            shown += os.read(leader, 65536) if ready else b""
        except OSError:
            break
    os.close(leader)
    process.wait(LONG_S)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("options", [["--jsonl"], []], ids=["jsonl", "plain"])
def test_it_runs_in_the_background_of_a_terminal(tmp_path, options):
    out = tmp_path / "out"
    command = " ".join([*COMMAND, "demo", "--duration", "1", *options])
    shell = [sys.executable, "-c", SHELL, "/bin/sh", "-c", f"exec {command} > {out}"]
    assert "ended with 0" in on_terminal(shell)


def test_in_the_json_view_keys_are_not_taken():
    """What is typed there is for the program that reads the lines, or for nobody."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        controlled_by(follower, [*COMMAND, "demo", "--jsonl", "--duration", "3"]),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        os.write(leader, b"q\n")
        rows = process.stdout.readlines()
    assert json.loads(rows[-1])["end_s"] > 2.3
    assert os.read(follower, 16) == b"q\n"
    os.close(leader)
    os.close(follower)


# The window, which records as soon as it can.
WINDOW = """
import sys
from pathlib import Path
from gui import app, window
from gui.live.record_controls import RecordControls

folder = Path(sys.argv[1])
RecordControls.folder = folder
tick = window.MainWindow.tick

def recording(self):
    tick(self)
    if self.live.record.button.isEnabled():
        self.live.record.audio_box.setChecked(True)
        self.live.record.button.setChecked(True)

window.MainWindow.tick = recording
sys.argv = ["ser-gui", "--demo"]
app.main()
"""


def test_signals_end_the_window_with_complete_files(tmp_path, speech):
    runs: dict[int, tuple[subprocess.Popen, Path]] = {}
    try:
        for number in END_SIGNALS:
            folder = tmp_path / str(int(number))
            folder.mkdir()
            command = [sys.executable, "-c", WINDOW, str(folder)]
            env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
            env["SER_STREAM_CONFIG"] = str(tmp_path / "config")
            process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            runs[number] = process, folder
        for process, folder in runs.values():

            def records(folder: Path = folder, process: subprocess.Popen = process) -> bool:
                assert process.poll() is None
                rows = list(folder.glob("*.csv"))
                return bool(rows) and rows[0].read_bytes().count(b"\n") > 3

            until(records)
        for number, (process, _) in runs.items():
            process.send_signal(number)
            process.send_signal(number)
        for number, (process, folder) in runs.items():
            told, _ = process.communicate(timeout=LONG_S)
            # The second signal comes while the window closes, or after all is written.
            assert process.returncode in (0, -number), told
            assert "Traceback" not in told
            (rows,), (sound,) = folder.glob("*.csv"), folder.glob("*.wav")
            assert rows.stem == sound.stem
            samples = read_by_all(sound, RATE_HZ) / np.float32(32768)
            assert len(samples) > 2 * RATE_HZ
            assert samples.tobytes() in speech.tobytes()
            assert rows.read_text().endswith("\n")
    finally:
        for process, _ in runs.values():
            if process.poll() is None:
                process.kill()
            process.communicate()
