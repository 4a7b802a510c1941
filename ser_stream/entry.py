"""How a command of this project ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ser_stream.errors import SerStreamError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def run_command(app: Callable[[], object]) -> None:
    """Run a command; an error becomes one line on stderr and exit code 1.

    That is for errors of ours and for what the system refuses, such as space or permission; a bug
    keeps its traceback.
    """
    try:
        app()
    except SerStreamError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_ERROR)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror or error}\n")
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
