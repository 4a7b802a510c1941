"""A job that the user can follow and cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from gui.jobs import Job, JobControl


class JobBar(QWidget):
    """Runs one job at a time: how far it is, and the button that cancels it; hidden when idle.

    Args:
        what: the work, for names that screen readers say.
        parent: Qt's.
    """

    def __init__(self, what: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self._job: Job[Any] | None = None
        self._started: list[Job[Any]] = []
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setMinimumWidth(60)
        self.bar.setMaximumWidth(160)
        self.bar.setAccessibleName(f"progress: {what}")
        self.button = QPushButton("Cancel")
        self.button.setAccessibleName(f"cancel: {what}")
        self.button.clicked.connect(self.cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar)
        row.addWidget(self.button)
        self.hide()

    @property
    def job(self) -> Job[Any] | None:
        """The job whose result has not been taken yet."""
        return self._job

    def start(self, work: Callable[[JobControl], Any]) -> None:
        """Start ``work`` in place of the job that runs, which is cancelled."""
        self.cancel()
        self._job = Job(work, self._what)
        self._started = [old for old in self._started if not old.done] + [self._job]
        self._show(self._job)

    def cancel(self) -> None:
        """Ask the job to end."""
        if self._job is not None:
            self._job.cancel()

    def take(self) -> Job[Any] | None:
        """Show how far the job is; return it, once, when it has ended."""
        job = self._job
        if job is None:
            return None
        over = job.done
        self._show(None if over else job)
        if not over:
            return None
        self._job = None
        return job

    def cancel_all(self) -> None:
        """Ask every job that still runs to end, replaced ones too."""
        for job in self._started:
            job.cancel()

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of every job, up to ``timeout_s`` for each."""
        for job in self._started:
            job.wait(timeout_s)

    def _show(self, job: Job[Any] | None) -> None:
        if job is not None:
            self.bar.setValue(round(1000 * job.progress))
            self.button.setEnabled(not job.cancelled)
        self.setVisible(job is not None)
