"""The page of recordings in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton, QWidget

from gui.recordings.page import RecordingsPage
from gui.recordings.player import Player
from gui.settings import Settings
from tests.helpers.fake_output import FakeOutput

SOON_MS = 60_000


class OpenedPage:
    """A page with what it plays through and the errors it told."""

    def __init__(self, qtbot, bundle, folder: Path) -> None:
        self.qtbot = qtbot
        self.settings = Settings(folder / "window.ini")
        self.output = FakeOutput()
        self.errors: list[Exception] = []
        self.player = Player(self.output)
        self.page = RecordingsPage(bundle, self.settings, self.errors.append, player=self.player)
        self.page.resize(640, 480)
        qtbot.addWidget(self.page)
        self.page.show()

    def until(self, condition: Callable[[], bool]) -> None:
        def ticked() -> bool:
            self.page.tick()
            return bool(condition())

        self.qtbot.waitUntil(ticked, timeout=SOON_MS)

    def open(self, path: Path) -> RecordingsPage:
        self.page.open_paths([path])
        self.until(lambda: self.page.progress.job is None)
        return self.page

    def open_all(self, *paths: Path) -> RecordingsPage:
        self.page.open_paths(paths)
        self.until(lambda: self.page.list.progress.job is None)
        return self.page

    def press(self, key: Qt.Key, widget: QWidget | None = None) -> None:
        self.qtbot.keyClick(widget or self.page.viewer.plot, key)

    def click(self, button: QAbstractButton) -> None:
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))

    def cell(self, row: int, column: int) -> str:
        return self.page.list.table.sorted.index(row, column).data()

    def column(self, column: int) -> list[str]:
        return [self.cell(row, column) for row in range(self.page.list.table.sorted.rowCount())]
