"""Worker processes, and what became of the cases that they were given."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.helpers.places import ROOT

LIMIT_S = 5.0  # processor time of a case
# Wall time after which a case that needs no processor time waits for something.
STUCK_S = 60.0
# Loading a kind is not a case: torch alone takes seconds on a busy machine.
START_S = 120.0
BAD = ("traceback", "message", "hang", "nan", "crash", "stray", "memory")
OUTCOMES = ("fine", "error", *BAD)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    Attributes:
        outcome: one of `OUTCOMES`.
        detail: the error, the traceback, or the stray files.
        seconds: of processor time.
        memory: largest resident size of the worker so far, bytes.
        kept: a copy of the file, where the outcome is bad.
    """

    outcome: str
    detail: str
    seconds: float
    memory: int
    kept: Path | None = None

    @property
    def bad(self) -> bool:
        return self.outcome in BAD


class Worker:
    """A process that runs cases, and is started anew when one has ended it.

    Args:
        keep: folder for the files of bad cases; made if need be.
        limit_s: processor time that a case may take.
    """

    def __init__(self, keep: Path, limit_s: float = LIMIT_S) -> None:
        self._keep = keep
        self._limit_s = limit_s
        self._process: subprocess.Popen[str] | None = None
        self._known: set[str] = set()
        self._root = Path(tempfile.mkdtemp(prefix="ser-stream-fuzz-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()
        shutil.rmtree(self._root)

    def run(self, kind: str, seed: int | None = None, file: Path | None = None) -> Result:
        """Run the case ``seed`` of ``kind``, or one whose file was kept."""
        process = self._started()
        request = {"kind": kind} | ({"seed": seed} if file is None else {"file": str(file)})
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = self._line(process, STUCK_S if kind in self._known else START_S)
        self._known.add(kind)
        if line:
            result = Result(**json.loads(line))
            if result.outcome == "memory":
                self._stop()
        else:
            result = self._ended(process)
        if not result.bad:
            return result
        kept = self._keep_case(kind, seed, result)
        return Result(result.outcome, result.detail, result.seconds, result.memory, kept)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None:
            return self._process
        shutil.rmtree(self._root)
        for name in ("home", "tmp", "work", "valid"):
            (self._root / name).mkdir(parents=True)
        own = {"HOME": str(self._root / "home"), "TMPDIR": str(self._root / "tmp")}
        paths = [str(ROOT)]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "SER_STREAM_"))
        }
        environment = kept | own | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
        with (self._root / "stderr").open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", str(self._root), str(self._limit_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=environment,
            )
        self._known.clear()
        return self._process

    def _line(self, process: subprocess.Popen[str], timeout_s: float) -> str:
        """The answer; "" where the process ended or was ended because it waited for ever."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(timeout_s):
                return process.stdout.readline()
        process.kill()
        return ""

    def _ended(self, process: subprocess.Popen[str]) -> Result:
        self._stop()
        code = process.returncode
        said = (self._root / "stderr").read_text("utf-8", "replace")[-6000:]
        if -code in (signal.SIGPROF, signal.SIGKILL):
            return Result("hang", said, self._limit_s, 0)
        return Result("crash", f"exit code {code}\n{said}", 0.0, 0)

    def _keep_case(self, kind: str, seed: int | None, result: Result) -> Path | None:
        for file in (self._root / "work" / "case").glob("case*"):
            self._keep.mkdir(parents=True, exist_ok=True)
            name = f"{kind}-{'replayed' if seed is None else seed}"
            kept = Path(shutil.copyfile(file, self._keep / f"{name}{file.suffix}"))
            (self._keep / f"{name}.why").write_text(f"{result.outcome}\n{result.detail}\n", "utf-8")
            return kept
        return None

    def _stop(self) -> None:
        """End the process: it does so when nobody asks any more."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        # A request that nobody took.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STUCK_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
