"""Keys pressed in a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Self, TextIO


class Keys:
    """Notice a pressed ``q`` without echo.

    Does nothing where ``stdin`` is no terminal, or one whose keys are for another process: touching
    it would stop a process that runs in the background.

    Args:
        stdin: what is typed on; None for nothing.
    """

    def __init__(self, stdin: TextIO | None) -> None:
        self.quit = threading.Event()
        self._fd = stdin.fileno() if stdin is not None and stdin.isatty() else -1
        self._done = threading.Event()
        self._restore: list[object] | None = None
        self.watching = False

    def __enter__(self) -> Self:
        if self._fd < 0:
            return self
        if sys.platform == "win32":
            self._begin(self._watch_windows)
            return self
        if self._in_foreground():
            import termios
            import tty

            self._restore = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
            self._begin(self._watch)
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        # A shell that got its terminal back meanwhile has set it as it likes.
        if self._restore is not None and self._in_foreground():
            import termios

            # A terminal that was closed needs nothing.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._restore)  # type: ignore[arg-type]

    def _begin(self, watch: Callable[[], None]) -> None:
        self.watching = True
        threading.Thread(target=watch, name="keys", daemon=True).start()

    def _in_foreground(self) -> bool:
        """Whether what is typed is for this process."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            # A terminal that controls no processes stops none.
            return True

    def _watch(self) -> None:
        import select

        while not self._done.is_set():
            try:
                ready, _, _ = select.select([self._fd], [], [], 0.5)
                if not ready:
                    continue
                if not self._in_foreground():
                    # A process that was sent to the background leaves the keys to its shell.
                    self._done.wait(0.5)
                    continue
                typed = os.read(self._fd, 16)
            except OSError:
                typed = b""
            if not typed or b"q" in typed.lower():
                self.quit.set()
                return

    def _watch_windows(self) -> None:
        import msvcrt

        while not self._done.wait(0.1):
            while msvcrt.kbhit():  # type: ignore[attr-defined]
                if msvcrt.getwch().lower() == "q":  # type: ignore[attr-defined]
                    self.quit.set()
                    return
