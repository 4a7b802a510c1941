"""Many recordings: their scores in a table that grows while they are scored, to be exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QVBoxLayout, QWidget

from gui.jobs import Writes
from gui.parts.forms import narrow_button, row_of
from gui.parts.job_bar import JobBar
from gui.recordings.analysis import BatchScoring
from gui.recordings.correction import ElidedLabel
from gui.recordings.dialogs import Dialogs, as_table
from gui.recordings.score_table import ScoreTable
from gui.recordings.scores import write_scores
from gui.theme import DARK, Theme


class ScoreList(QWidget):
    """A table of scores, how far it is, and its export.

    Args:
        dialogs: asks where the table is to be written.
        writes: writes it.
        report: called with errors that the user has to know of.
        parent: Qt's.
    """

    def __init__(
        self,
        dialogs: Dialogs,
        writes: Writes,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._dialogs, self._writes, self._report = dialogs, writes, report
        self._theme = DARK
        self._batch: BatchScoring | None = None
        self.table = ScoreTable()
        self.progress = JobBar("all recordings")
        self.count = ElidedLabel()
        self.export = narrow_button("E&xport CSV...", "write the table into a file")
        head = row_of(self.count, self.progress, self.export)
        head.setStretch(0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(head)
        column.addWidget(self.table, 1)
        self.export.clicked.connect(self._ask_export)

    def set_theme(self, theme: Theme) -> None:
        """Write in the colours of ``theme`` from now on."""
        self._theme = theme

    def score(self, batch: BatchScoring, folder: Path | None) -> None:
        """Score ``batch`` in place of what is in the table; files are named from ``folder`` on."""
        self._batch = batch
        self.table.scores.clear(folder)
        self.progress.start(batch.run)
        self._show_count()

    def tick(self) -> None:
        """Show the scores that have come since the last call."""
        # Before the scores: what is there when the job is over was there before.
        over = self.progress.take()
        new = [] if self._batch is None else self._batch.take()
        self.table.scores.add(new)
        if new or over is not None:
            cancelled = over is not None and over.result is None
            self._show_count(" (cancelled)" if cancelled else "")
        if over is not None and over.error is not None:
            self._report(over.error)

    def _show_count(self, note: str = "") -> None:
        scores = self.table.scores.scores
        bad = sum(score.error is not None for score in scores)
        text = f"{len(scores)} recording{'' if len(scores) == 1 else 's'}"
        self.count.show_text(f"{text}, {bad} with errors{note}" if bad else text + note)
        self.export.setEnabled(bool(scores))

    def _ask_export(self) -> None:
        batch, chosen = self._batch, self._dialogs.choose_export()
        if batch is None or chosen is None:
            return
        path, scores = as_table(chosen), self.table.in_order()

        def then(rows: int) -> None:
            self.count.show_text(f"{rows} rows written into {path.name}", self._theme.good)

        self._writes.start(lambda: write_scores(path, scores, batch.labels), then)
