"""One process at a time in a folder that a command fills."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from filelock import FileLock, Timeout

from ser_stream.errors import ConfigError
from ser_stream.files import os_reason, write_text

LOCK = ".lock"
OWNER = ".owner.json"


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Make ``folder`` if need be and hold it for this process while the body runs.

    The system itself holds the lock and frees it however the process ends; the lock's file stays.
    A second file names the process for others.

    Raises:
        ConfigError: another process is there, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"{folder}: in use by {_owner(folder)}; wait for its end, or name another --output"
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write ({os_reason(error)})") from error
    try:
        owner = {
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "pid": os.getpid(),
            "host": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_text(folder / OWNER, json.dumps(owner) + "\n")
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def end_with_parent() -> None:
    """End this process, a worker, when the one that started it ends.

    Else the workers of a killed process would continue in a folder that is no longer locked.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("not a worker")

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        told = f"`{owner['command']}`, process {owner['pid']} on {owner['host']}"
        told += f" since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        # Another user's, or not written yet.
        return "another process"
    return " ".join(told.split())
