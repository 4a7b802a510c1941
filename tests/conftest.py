"""Fixtures that many tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from ser_stream.entry import END_SIGNALS
from ser_stream.models.bundle import ModelBundle
from ser_stream.words.reader import WordReader, open_reader
from tests.helpers.places import SHARED
from tests.helpers.reading_bundle import write_reading_bundle, write_vectors

# Windows of tests need no display; those that do are marked.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# A busy machine must not fail a law.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

RATE_HZ = 16000
# Groups of which two tests at a time would disturb each other.
OUTSIDE = ("microphone", "display")
GROUPS = ("microphone", "corpus", "display", "strace")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features of tests are not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SER_STREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Handlers that a command leaves until its process ends are not left to other tests.

    Processes that are forked inherit them, and one that handles SIGTERM may never end.
    """
    before = {number: signal.getsignal(number) for number in END_SIGNALS}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The clip that ships with the package."""
    return Path(str(resources.files("ser_stream") / "demo" / "demo.flac"))


@pytest.fixture(scope="session")
def speech(demo_path: Path) -> np.ndarray:
    """Its samples: 33 s of synthesised speech with pauses, 16 kHz."""
    samples, rate = soundfile.read(demo_path, dtype="float32")
    assert rate == RATE_HZ
    return samples


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    """The shipped model."""
    return ModelBundle.load()


@pytest.fixture(scope="session")
def reading_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that reads words, ``reading.onnx``, and its ``vectors.txt``."""
    top = tmp_path_factory.mktemp("reading")
    write_reading_bundle(top / "reading.onnx", write_vectors(top / "vectors.txt"))
    return top


@pytest.fixture(scope="session")
def reading(reading_folder: Path) -> ModelBundle:
    """The model that reads words."""
    return ModelBundle.load(reading_folder / "reading.onnx")


@pytest.fixture(scope="session")
def reader(reading_folder: Path, reading: ModelBundle) -> WordReader:
    """Its word vectors."""
    found = open_reader(reading, reading_folder / "vectors.txt")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of corpora beside the checkout; the test is skipped without it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}")
    return folder


@pytest.fixture
def virtual_microphone() -> str:
    """The PulseAudio sink of scripts/virtual-mic.sh; skipped where it does not run."""
    if shutil.which("pactl") is None:
        pytest.skip("no PulseAudio")
    sinks = subprocess.run(
        ["pactl", "list", "short", "sinks"], capture_output=True, text=True, check=False
    )
    if "ser_mic" not in sinks.stdout:
        pytest.skip("no virtual microphone; start it: scripts/virtual-mic.sh start")
    return "ser_mic"


@pytest.fixture(scope="session")
def display() -> str:
    """An X display; the test is skipped without one."""
    name = os.environ.get("DISPLAY")
    if not name:
        pytest.skip("no display; start one: Xvfb :97 &, DISPLAY=:97")
    return name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skipped-group",
        action="store_true",
        help=f"fail if every test of a group ({', '.join(GROUPS)}) was skipped",
    )
    parser.addoption(
        "--slow",
        action="store_true",
        help="run tests marked slow as well; those named on the command line always run",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow; let one process run all tests of a file or of `OUTSIDE`."""
    named = [argument.split("[")[0] for argument in config.args if "::" in argument]
    if not config.getoption("--slow"):
        slow = [
            item
            for item in items
            if item.get_closest_marker("slow") and not item.nodeid.startswith(tuple(named))
        ]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    for item in items:
        outside = any(item.get_closest_marker(group) for group in OUTSIDE)
        item.add_marker(pytest.mark.xdist_group("outside" if outside else str(item.path)))


def pytest_configure(config: pytest.Config) -> None:
    # What nohup, or a shell without job control, lets this process ignore would be ignored by the
    # commands under test too; a handler is not passed on to them.
    for number in END_SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    # The processes report to one that runs no test: it alone can tell.
    if config.getoption("--no-skipped-group") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkippedGroups(), "skipped-groups")


class SkippedGroups:
    """Fail a run in which a whole group of tests was skipped."""

    def __init__(self) -> None:
        self._ran = dict.fromkeys(GROUPS, False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            self._ran |= {group: True for group in GROUPS if group in report.keywords}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not all(self._ran.values()) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for group in (g for g, ran in self._ran.items() if not ran):
            terminalreporter.write_line(f"no test of the group {group!r} ran", red=True)
