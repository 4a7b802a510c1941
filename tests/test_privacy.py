"""Nothing leaves the machine, and nothing is written outside the documented folders."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from tests.helpers.places import ROOT
from tests.helpers.toy_corpus import make_toy_corpus

VARIABLE = "ORT_DISABLE_TELEMETRY"
# Of the caller's environment nothing else is passed on: telemetry is silent where CI is set, too.
PASSED_ON = ("PATH", "LANG", "PULSE_RUNTIME_PATH", "PULSE_SERVER", "XDG_RUNTIME_DIR")

# Sockets to programs on this machine that a command needs, by the end of their path.
LOCAL_SOCKETS = {
    r"(/native|/pipewire-0)$": "the sound server",
    r"/jack\w*$": "JACK, another sound server, for which PortAudio looks",
    r"/\.X11-unix/X\d+$": "the display",
    r"/run/nscd/socket$": "the C library's table of users, for the user's name",
}
# Files that belong to none of the project's folders.
SYSTEM_FILES = {
    r"^/dev/(null|tty|snd/.*|dri/.*)$": "devices",
    r"^/dev/shm/(jack|pulse-shm)[^/]*(/.*)?$": "memory shared with a sound server",
    r"^/dev/shm/sem\.[^/]+$": "semaphores between the processes of one command",
    r"^(HOME/\.config/pulse|PULSE)(/.*)?$": "the PulseAudio client: its cookie and its socket",
    r"^HOME/\.cache/(fontconfig|mesa_shader_cache\w*)(/.*)?$": "the system's fonts and graphics",
    r"^TMP/[^/]+$": "temporary files",
}
OUR_FOLDERS = ("OUT", "HOME/.cache/ser-stream", "HOME/.config/ser-stream")
# Calls that make, change, move or delete files, besides those that open one.
WRITING = (
    "creat mkdir mkdirat mknod mknodat rename renameat renameat2 link linkat symlink symlinkat "
    "truncate unlink unlinkat rmdir"
)


@dataclass(frozen=True)
class Watched:
    """What a command did, read from a trace of strace."""

    sockets: list[str]
    written: list[str]


class NetworkWatch:
    """Runs commands under strace in a fresh home.

    Attributes:
        home: the home folder.
        out: where commands are asked to write.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.out, self.tmp = (folder / name for name in ("home", "out", "tmp"))
        for made in (self.home, self.out, self.tmp):
            made.mkdir()
        self.trace = folder / "trace"
        if (asoundrc := Path.home() / ".asoundrc").is_file():
            shutil.copy(asoundrc, self.home)

    def start(self, *command: object, **variables: str) -> subprocess.Popen[str]:
        """Start a command of this environment's Python."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "QT_QPA_PLATFORM": "offscreen",
            # Must not help.
            VARIABLE: "0",
            **variables,
        }
        named = environment.keys() & {"PULSE_SERVER", "PULSE_RUNTIME_PATH"}
        if not named and shutil.which("pactl"):
            # Clients find the sound server by a link in the home, which is a fresh one here.
            told = subprocess.run(["pactl", "info"], capture_output=True, text=True, check=False)
            if server := re.search(r"^Server String: (.+)$", told.stdout, re.MULTILINE):
                environment["PULSE_SERVER"] = server[1]
        calls = f"trace=%network,open,openat,{','.join(WRITING.split())}"
        return subprocess.Popen(
            ["strace", "-f", "-y", "--seccomp-bpf", "-s", "4096", "-o", self.trace, "-e", calls,
             sys.executable, *map(str, command)],
            env=environment, cwd=self.out, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *command: object, **variables: str) -> Watched:
        """Run a command to its end."""
        process = self.start(*command, **variables)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        return self.seen()

    def seen(self) -> Watched:
        """What the trace holds that is not allowed."""
        sockets, written = [], []
        for name, arguments, failed in calls_of(self.trace.read_text(errors="replace")):
            if name in ("socket", "socketpair"):
                if not arguments.startswith("AF_UNIX"):
                    sockets.append(f"{name}({arguments})")
            elif name in ("connect", "bind"):
                path = re.search(r'sun_path=@?"([^"]*)"', arguments)
                if path is None or not allowed(path[1], LOCAL_SOCKETS):
                    sockets.append(f"{name}({arguments})")
            elif not failed and name in ("open", "openat", *WRITING.split()):
                if name.startswith("open") and not re.search(
                    r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)", arguments
                ):
                    continue
                paths = list(self.paths_of(arguments))
                if "link" in name and not name.startswith("unlink"):
                    # What a link leads to stays as it is.
                    paths = paths[-1:]
                written += [
                    path
                    for path in paths
                    if not path.startswith(tuple(f"{f}/" for f in OUR_FOLDERS))
                    and path not in PARENTS
                    and not allowed(path, SYSTEM_FILES)
                ]
        return Watched(sockets, written)

    def paths_of(self, arguments: str) -> Iterator[str]:
        """Paths among the arguments of a call, the known folders by their names here."""
        places = {self.home: "HOME", self.out: "OUT", self.tmp: "TMP"}
        if pulse := os.environ.get("PULSE_RUNTIME_PATH"):
            places[Path(pulse)] = "PULSE"
        # A folder that the call names by its descriptor, which -y resolves, and the path itself.
        for folder, given in re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"', arguments):
            path = os.path.normpath(Path(folder or self.out) / given)
            for place, name in places.items():
                if Path(path).is_relative_to(place):
                    path = str(Path(name) / Path(path).relative_to(place))
            yield path


# Folders above those of the project, which it makes where there are none.
PARENTS = ("HOME/.cache", "HOME/.config", *OUR_FOLDERS)


def allowed(path: str, patterns: dict[str, str]) -> bool:
    return any(re.search(pattern, path) for pattern in patterns)


def calls_of(trace: str) -> Iterator[tuple[str, str, bool]]:
    """Name, arguments and failure of each call in a trace.

    A call that another process interrupts is printed in two parts; one whose end is missing counts
    as done.
    """
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        number, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[number] = rest.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = begun.pop(number, "") + resumed[1]
        if call := re.match(r"(\w+)\((.*)\)\s+= (\S+)", rest):
            yield call[1], call[2], call[3] == "-1"
    for rest in begun.values():
        name, _, arguments = rest.partition("(")
        yield name, arguments, False


@pytest.fixture
def watch(tmp_path: Path) -> NetworkWatch:
    """Commands in a fresh home under strace; skipped where nothing can be traced."""
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"strace cannot trace here: {tried.stderr.strip()}")
    return NetworkWatch(tmp_path)


CLEAN = Watched([], [])
MEDDLER = """
import os, pathlib, socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
os.mkdir(os.path.expanduser("~/.cache"))
pathlib.Path("~/.cache/id").expanduser().touch()
folder = os.open(os.path.expanduser("~"), os.O_RDONLY)
os.close(os.open("queue", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
os.rename(os.path.expanduser("~/.cache/id"), "/tmp/../tmp/id-of-a-test")
os.unlink("/tmp/id-of-a-test")
pathlib.Path("asked-for").touch()
"""


@pytest.mark.strace
def test_the_watch_tells_of_sockets_and_files(watch):
    seen = watch.run("-c", MEDDLER)
    assert [s.partition("(")[0] for s in seen.sockets] == ["socket", "connect"]
    assert "AF_INET" in seen.sockets[0]
    moved = ["HOME/.cache/id", "/tmp/id-of-a-test"]
    assert seen.written == ["HOME/.cache/id", "HOME/queue", *moved, moved[1]]


@pytest.mark.strace
def test_without_the_variable_onnx_runtime_is_caught(watch):
    # Else a version whose telemetry works in another way would pass unseen.
    version = subprocess.run(
        [sys.executable, "-c", "import onnxruntime; print(onnxruntime.__version__)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if tuple(map(int, version.split(".")[:2])) < (1, 29):
        pytest.skip(f"ONNX Runtime {version.strip()} has no telemetry on Linux")
    seen = watch.run("-c", "import onnxruntime")
    assert any("deviceid" in path for path in seen.written), seen


@pytest.mark.strace
def test_demo_score_and_words(watch, speech):
    pytest.importorskip("pocketsphinx")
    soundfile.write(watch.out / "talk.wav", speech[:32000], 16000)
    commands = [
        ["demo", "--fast", "--duration", "3"],
        ["score", "talk.wav", "-o", "scores.csv"],
        ["transcribe", "talk.wav", "--asr", "pocketsphinx", "-o", "words.csv"],
    ]
    assert watch.run("-c", IN_ONE.format(main="ser_stream.cli", commands=commands)) == CLEAN
    assert {p.name for p in watch.out.iterdir()} == {"talk.wav", "scores.csv", "words.csv"}
    assert not (watch.home / ".cache").exists()


@pytest.mark.strace
@pytest.mark.microphone
def test_live_with_recordings_and_a_profile(watch, virtual_microphone):
    commands = [
        ["--device", "pulse", "--duration", "3", "--jsonl", "--record", "talk.csv",
         "--record-audio", "talk.wav"],
        ["devices"],
        ["doctor"],
    ]  # fmt: skip
    assert watch.run("-c", IN_ONE.format(main="ser_stream.cli", commands=commands)) == CLEAN
    assert {p.name for p in watch.out.iterdir()} == {"talk.csv", "talk.wav"}


@pytest.mark.strace
def test_window(watch):
    pytest.importorskip("PySide6")
    process = watch.start("-m", "gui.app", "--demo")
    try:
        deadline = time.monotonic() + 300
        while not (watch.trace.exists() and "default.onnx" in watch.trace.read_text()):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # No test of time: whatever comes in these seconds is watched as well.
        time.sleep(3)
    finally:
        # strace itself ignores it.
        os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert watch.seen() == CLEAN
    assert (watch.home / ".config" / "ser-stream" / "window.ini").is_file()


# Several commands one after another, so that the libraries are imported once.
IN_ONE = """
import sys
from {main} import main
for command in {commands!r}:
    sys.argv = ["command", *command]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""

TINY = """
name = "tiny"
labels = ["angry", "happy", "neutral", "sad"]
model = "head_fusion"
model_params = { n_head = 2, n_size = 16, n_layers = 2 }
frontend = "mfcc"
frontend_params = { hop_length = 512 }
window_frames = 40
window_hop_frames = 20
[windows]
draw = "crops"
[train]
epochs = 1
batch_size = 16
lr = 2e-3
[protocols.strict]
folds = { kind = "speaker", n_folds = 3, validation = 0.2 }
"""


@pytest.mark.slow
@pytest.mark.strace
def test_training_and_export(watch):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    make_toy_corpus(watch.out / "toy", takes=1)
    (watch.out / "tiny.toml").write_text(TINY)
    train = ["run", "tiny.toml", "--corpus", "crema-d=toy", "--fold", "0", "-o", "run"]
    train += ["--device", "cpu"]
    program = IN_ONE.format(main="training.cli", commands=[train])
    program += IN_ONE.format(main="export.cli", commands=[["run", "-o", "model.onnx"]])
    assert watch.run("-c", program) == CLEAN
    assert (watch.out / "model.onnx").is_file()
    assert [p.name for p in (watch.home / ".cache").iterdir()] == ["ser-stream"]


# Without strace


def python(program: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("before", ["", "0", "1"])
def test_importing_the_package_switches_telemetry_off(before):
    program = "import os, sys, ser_stream; print('onnxruntime' in sys.modules, os.environ[{!r}])"
    assert python(program.format(VARIABLE), **{VARIABLE: before}).split() == ["False", "1"]


NOTICED = """
import importlib, importlib.abc, os, sys
class Notice(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "onnxruntime":
            print("found", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Notice())
importlib.import_module({module!r})
import onnxruntime
"""


@pytest.mark.parametrize(
    "module", ["ser_stream", "ser_stream.cli", "gui", "gui.app", "training", "export", "export.cli"]
)
def test_no_entry_point_imports_onnx_runtime_before(module):
    told = python(NOTICED.format(module=module), **{VARIABLE: "0"})
    assert told.splitlines() == ["found 1"]
