"""``ser-gui``: the meter in a window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Annotated

# The matrices of a frame are small: threads would spin for nothing. Read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from ser_stream.entry import end_by_signals, on_end_signals, run_command, version_option
from ser_stream.errors import SerStreamError

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def gui(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="Recordings to show.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Part of a microphone's name.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model file; the one used last without.")
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Listen at once.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Listen at once to a clip that ships with the package.")
    ] = False,
    version: Annotated[bool, version_option("ser-gui")] = False,
) -> None:
    """What a voice sounds like while it speaks, in a window."""
    try:
        from PySide6.QtCore import QTimer
        from PySide6.QtWidgets import QApplication

        from gui.window import MainWindow
    except ImportError as error:
        raise SerStreamError(
            f"the window needs PySide6 and pyqtgraph ({error}): pip install 'ser-stream[gui]'"
        ) from error

    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setApplicationName("ser-stream")
    application.setStyle("Fusion")
    window = MainWindow(model=model)
    _show_bugs(window.report)
    # Queued, because a signal interrupts whatever the window does; a dialog that is open ends too.
    on_end_signals(lambda number: QTimer.singleShot(0, window.leave))
    if paths:
        window.open_paths(paths)
    window.show()
    if demo:
        window.choices.choose_demo()
    elif device is not None:
        window.choices.want_device(device)
    if start or demo:
        window.live.start()
    application.exec()
    end_by_signals()


def _show_bugs(report: Callable[[BaseException], None]) -> None:
    """Show errors that no slot has caught; the window stays open."""

    def show(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, where)
        if isinstance(error, Exception):
            report(error)

    sys.excepthook = show


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
