"""Run cases in this process, one line of JSON each; started by `pool`."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from random import Random

from .kinds import FuzzKind, NotFiniteError, load_kind, message_fault

# Documented folders, below the home.
ALLOWED = (".cache/ser-stream/", ".config/ser-stream/")
MEMORY_LIMIT = 1 << 30  # bytes that a case may need
# Address space beyond this is refused, so that the machine stays usable.
SPACE_LIMIT = 4 << 30
KEPT_DETAIL = 6000


def files_below(folders: Iterable[Path]) -> set[Path]:
    """All files and links below ``folders``."""
    return {
        Path(top, name)
        for folder in folders
        for top, folders_there, files in os.walk(folder)
        for name in (*files, *(f for f in folders_there if os.path.islink(os.path.join(top, f))))
    }


def strays(root: Path, before: set[Path], outputs: frozenset[str]) -> list[str]:
    """New files below ``root`` that are in none of the documented places."""
    found = []
    for path in files_below((root / "home", root / "tmp", root / "work")) - before:
        if path.parent == root / "work" / "case" and path.name in outputs:
            continue
        where = path.relative_to(root).as_posix()
        below_home = where.removeprefix("home/")
        if not below_home.startswith(ALLOWED) or ".part" in path.name:
            found.append(where)
    return sorted(found)


def run_case(kind: FuzzKind, path: Path) -> tuple[str, str]:
    """Outcome and details of the check of a file."""
    from ser_stream.errors import SerStreamError

    try:
        refused = kind.check(path)
    except SerStreamError as error:
        refused = str(error)
    except Exception as error:
        outcome = {NotFiniteError: "nan", MemoryError: "memory"}.get(type(error), "traceback")
        return outcome, traceback.format_exc()
    if refused is None:
        return "fine", ""
    if (fault := message_fault(refused)) is not None:
        return "message", fault
    return "error", refused


def serve(root: Path, limit_s: float) -> None:
    """Answer requests, each a line of JSON with ``kind`` and ``seed`` or ``file``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints does not disturb the answers.
    os.dup2(2, 1)
    faulthandler.enable()
    # Says where it stood before the signal ends the process.
    faulthandler.register(signal.SIGPROF, chain=True)
    case = root / "work" / "case"
    kinds: dict[str, FuzzKind] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["kind"]
        if name not in kinds:
            kinds[name] = load_kind(name, root / "valid")
            _limit_memory()
        kind = kinds[name]
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        if "file" in request:
            suffix, data = Path(request["file"]).suffix, Path(request["file"]).read_bytes()
        else:
            suffix, data = kind.make(Random(f"{name}:{request['seed']}"))
        path = case / f"case{suffix}"
        path.write_bytes(data)
        kind.place(path)
        before = files_below((root / "home", root / "tmp", root / "work"))
        peak = _peak()
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        outcome, detail = run_case(kind, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - began
        grown = _peak() - peak
        if found := strays(root, before, kind.outputs):
            outcome, detail = "stray", "\n".join(found)
        if grown > MEMORY_LIMIT:
            outcome, detail = "memory", f"{grown >> 20} MiB more"
        answer = {
            "outcome": outcome,
            "detail": detail[-KEPT_DETAIL:],
            "seconds": seconds,
            "memory": _peak(),
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _peak() -> int:
    """Largest resident size so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + SPACE_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    os.chdir(Path(sys.argv[1]) / "work")
    serve(Path(sys.argv[1]), float(sys.argv[2]))
