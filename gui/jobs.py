"""Work off the window's thread: one function, its progress, and its result, to be polled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 the user asked for it
    """Ends the work of a job that was cancelled."""


class JobControl:
    """What the work of a job is given: it reports its progress, and ends when cancelled."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._share = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the work is to end as soon as it can."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Ask the work to end."""
        self._cancel.set()

    def progress(self, share: float) -> None:
        """Report the share that is done, 0 to 1.

        Raises:
            Cancelled: the work is to end.
        """
        if self.cancelled:
            raise Cancelled
        self._share = min(1.0, max(0.0, share))


class Job(Generic[T]):
    """One function on a daemon thread, started at once; a view polls its state.

    Args:
        work: what is done; it may raise anything, `Cancelled` where it ends early.
        name: of the thread.
    """

    def __init__(self, work: Callable[[JobControl], T], name: str = "job") -> None:
        self._work = work
        self._control = JobControl()
        self._result: T | None = None
        self._error: Exception | None = None
        self._over = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether the work has ended: done, failed or cancelled."""
        return self._over.is_set()

    @property
    def result(self) -> T | None:
        """What the work returned; None before its end, after an error and where it was cut off."""
        return self._result

    @property
    def error(self) -> Exception | None:
        """What the work raised; being cancelled is no error."""
        return self._error

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""
        return self._control._share

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._control.cancelled

    def cancel(self) -> None:
        """Ask the work to end; it does at its next report of progress."""
        self._control.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        return self._over.wait(timeout_s)

    def _run(self) -> None:
        try:
            self._result = self._work(self._control)
        except Cancelled:
            pass
        except Exception as error:  # every error must reach the view
            self._error = error
        finally:
            self._over.set()


class Writes:
    """Jobs that write files, with what is shown of each result; none is cancelled.

    Args:
        report: called with what they raise.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._pending: list[tuple[Job[int], Callable[[int], None]]] = []

    @property
    def idle(self) -> bool:
        """Whether all results have been shown."""
        return not self._pending

    def start(self, write: Callable[[], int], then: Callable[[int], None]) -> None:
        """Start ``write`` after those before it; `tick` hands what it returns to ``then``."""
        before = self._pending[-1][0] if self._pending else None

        def work(control: JobControl) -> int:
            # Two at once would each write the file as it was before.
            if before is not None:
                before.wait()
            return write()

        self._pending.append((Job(work, "write"), then))

    def tick(self) -> None:
        """Show the results that have come."""
        for job, then in [entry for entry in self._pending if entry[0].done]:
            self._pending.remove((job, then))
            if job.error is not None:
                self._report(job.error)
            elif job.result is not None:
                then(job.result)

    def wait(self, timeout_s: float) -> None:
        """Wait until everything is written, up to ``timeout_s`` for each file."""
        for job, _ in self._pending:
            job.wait(timeout_s)
