"""A kind whose files name the fault that its check then has: for tests of the harness."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from random import Random

from ser_stream.errors import SerStreamError

from .kinds import FuzzKind, require_finite


class Fuzz(FuzzKind):
    """Does what the file says."""

    outputs = frozenset({"documented"})

    def make(self, rng: Random) -> tuple[str, bytes]:
        return ".fault", b"fine"

    def check(self, path: Path) -> str | None:
        fault = path.read_text()
        if fault == "error":
            raise SerStreamError("x.wav: not audio")
        if fault == "message":
            raise SerStreamError("two\nlines")
        if fault == "traceback":
            raise ValueError(fault)
        if fault == "nan":
            require_finite({"a": [1.0, float("nan")]}, "row")
        elif fault == "hang":
            while True:
                pass
        elif fault == "wait":
            threading.Event().wait()
        elif fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(60.0)
        elif fault == "stray":
            (Path.home() / ".cache" / "somebody").mkdir(parents=True)
            (Path.home() / ".cache" / "somebody" / "id").touch()
        elif fault == "memory":
            bytearray(5 << 30)
        else:
            path.with_name("documented").touch()
        return None
