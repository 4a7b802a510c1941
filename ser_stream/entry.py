"""How a command of this project ends."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from ser_stream import __version__
from ser_stream.errors import CommandLineError, SerStreamError
from ser_stream.files import os_reason
from ser_stream.printable import echo

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
# Ctrl-C, what systems and programs send, and what a terminal or a session sends that is closed.
END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def run_command(app: Callable[[], object]) -> None:
    """Run a command; an error becomes one line on stderr and exit code 1, or 2 for wrong usage.

    That is for errors of ours and for what the system refuses, such as space or permission; a bug
    keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks is no reason to stop, as it is none on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except SerStreamError as error:
        echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, CommandLineError) else EXIT_ERROR)
    except BrokenPipeError:
        drop_output()
        sys.exit(EXIT_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        echo(f"error: {where}{os_reason(error)}", err=True)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def version_option(command: str) -> Any:
    """The option ``--version`` of ``command``: it prints the version and leaves."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{command} {__version__}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show it and exit.")


def drop_output() -> None:
    """Write stdout to nowhere from now on, because its reader has ended.

    Otherwise the interpreter tries again at its end, and complains.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def on_end_signals(
    act: Callable[[int], object], signals: Sequence[signal.Signals] = END_SIGNALS
) -> None:
    """Call ``act`` with the number of every signal that asks the process to end.

    It runs on the main thread, wherever that is, so it must take no lock that the main thread may
    hold. What the parent process had ignored stays ignored: ``nohup`` does that with SIGHUP, and a
    shell with SIGINT for what it starts in the background.
    """
    for number in signals:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: act(number))


def exit_on_end_signals() -> None:
    """Leave by SystemExit where a signal would end the process without any cleaning up.

    The exit code is that of a shell, 128 and the signal's number; Ctrl-C stays KeyboardInterrupt.
    """
    on_end_signals(lambda number: sys.exit(128 + number), END_SIGNALS[1:])


def end_by_signals() -> None:
    """Let signals end the process at once, because nothing is left that they could spoil."""
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
