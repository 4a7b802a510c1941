"""The commands as a shell runs them."""

from __future__ import annotations

import os
import subprocess
import sys


def ser_stream(*arguments: object, env: dict[str, str] | None = None, **more: object):
    """Run ``ser-stream`` with ``arguments``; its result, with output and errors as text."""
    return subprocess.run(
        [sys.executable, "-m", "ser_stream.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **(env or {})}, **more,
    )  # fmt: skip


def one_line(result: subprocess.CompletedProcess, code: int, message: str) -> None:
    """Assert that a command failed with exit code ``code`` and one line that has ``message``."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
