"""Scores of many recordings as a table that sorts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from gui.parts.forms import tip
from gui.recordings.time_axis import clock_text
from ser_stream.scoring.recordings import FileScore

COLUMNS = ("File", "Label", "Confidence", "Duration", "Error")
FILE, LABEL, CONFIDENCE, DURATION, ERROR = range(len(COLUMNS))
SORT_ROLE = Qt.ItemDataRole.UserRole
AnyIndex = QModelIndex | QPersistentModelIndex
NOWHERE = QModelIndex()


class ScoreModel(QAbstractTableModel):
    """One row per recording; rows are only ever added, or all taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[FileScore] = []
        self._folder: Path | None = None

    def clear(self, folder: Path | None) -> None:
        """Remove all rows; the next ones show their paths relative to ``folder``."""
        self.beginResetModel()
        self.scores, self._folder = [], folder
        self.endResetModel()

    def add(self, scores: Sequence[FileScore]) -> None:
        """Add rows at the end."""
        if scores:
            n = len(self.scores)
            self.beginInsertRows(NOWHERE, n, n + len(scores) - 1)
            self.scores.extend(scores)
            self.endInsertRows()

    def rowCount(self, parent: AnyIndex = NOWHERE) -> int:  # noqa: N802 Qt's name
        return 0 if parent.isValid() else len(self.scores)

    def columnCount(self, parent: AnyIndex = NOWHERE) -> int:  # noqa: N802 Qt's name
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        score, column = self.scores[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(score, column)
        if role == SORT_ROLE:
            return self._order(score, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(score.error if column == ERROR and score.error else str(score.path))
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (CONFIDENCE, DURATION):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, score: FileScore, column: int) -> str:
        if column == FILE:
            folder = self._folder
            inside = folder is not None and score.path.is_relative_to(folder)
            return str(score.path.relative_to(folder)) if inside and folder else score.path.name
        if column == LABEL:
            return score.label or str(score.state or "")
        if column == CONFIDENCE:
            p = score.posterior
            return "" if p is None else f"{100 * float(p.max()):.0f} %"
        if column == DURATION:
            return "" if score.duration_s is None else clock_text(score.duration_s, 1)
        return score.error or ""

    def _order(self, score: FileScore, column: int) -> str | float:
        if column == CONFIDENCE:
            return -math.inf if score.posterior is None else float(score.posterior.max())
        if column == DURATION:
            return -math.inf if score.duration_s is None else score.duration_s
        return self._text(score, column).casefold()


class ScoreTable(QTableView):
    """The table; a double click or Enter opens a row.

    Signals:
        opened: the path of a row's recording.
    """

    opened = Signal(Path)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scores = ScoreModel()
        self.sorted = QSortFilterProxyModel(self)
        self.sorted.setSourceModel(self.scores)
        self.sorted.setSortRole(SORT_ROLE)
        self.setModel(self.sorted)
        self.setSortingEnabled(True)
        # In the order of arrival, until the user sorts.
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        letter = self.fontMetrics().averageCharWidth()
        for column, letters in ((FILE, 28), (LABEL, 12), (CONFIDENCE, 13), (DURATION, 11)):
            header.resizeSection(column, letters * letter)
        self.setMinimumSize(120, 60)
        self.setAccessibleName("scores of the recordings")
        self.doubleClicked.connect(self._open)

    def in_order(self) -> list[FileScore]:
        """The scores in the order that is shown."""
        rows = range(self.sorted.rowCount())
        places = (self.sorted.mapToSource(self.sorted.index(row, 0)).row() for row in rows)
        return [self.scores.scores[place] for place in places]

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 Qt's name
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            self.opened.emit(self.scores.scores[self.sorted.mapToSource(index).row()].path)
