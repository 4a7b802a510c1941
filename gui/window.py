"""The main window: the choices above three pages, one timer, one dialog for errors."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QMainWindow,
    QPlainTextEdit,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from gui.calibrate import CalibratePage
from gui.choices.row import Choices
from gui.live.page import LivePage
from gui.parts.forms import TextLabel
from gui.recordings.page import RecordingsPage
from gui.settings import Settings
from gui.theme import DARK, LIGHT, Theme, palette, system_theme
from ser_stream import __version__
from ser_stream.errors import SerStreamError

FRAME_MS = 33
THEMES = {"system": "As the &system", "light": "&Light", "dark": "&Dark"}
ABOUT = f"""<h3>ser-stream {__version__}</h3>
<p>What a voice sounds like while it speaks. It judges how speech sounds, not what a person feels:
actors taught it, it is wrong often, and more so for voices, languages and rooms unlike theirs.</p>
<p>Use it on your own voice or with the consent of everybody who is heard. Do not use it to judge
people: not in hiring, teaching, policing, medicine, or to watch anybody.</p>
<p>Nothing leaves this machine, and nothing is recorded unless you ask.</p>"""


class ErrorDialog(QDialog):
    """The one place where errors are shown: not modal, with details that can be copied."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("ser-stream: something went wrong")
        self.setModal(False)
        self.message = TextLabel("error")
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setAccessibleName("details")
        self.details.setMinimumHeight(90)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.copy_button = buttons.addButton(
            "&Copy details", QDialogButtonBox.ButtonRole.ActionRole
        )
        self.copy_button.clicked.connect(self.copy_details)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.message)
        layout.addWidget(self.details, 1)
        layout.addWidget(buttons)
        self.resize(460, 240)

    def show_error(self, error: BaseException) -> None:
        """Show ``error`` below those that the user has not closed yet."""
        known = isinstance(error, SerStreamError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        lines = traceback.format_exception(error) if not known else [f"{type(error).__name__}\n"]
        details = f"ser-stream {__version__}\n{text}\n{''.join(lines)}"
        if self.isVisible():
            text = f"{self.message.text()}\n\n{text}"
            details = f"{self.details.toPlainText()}\n{details}"
        self.message.setText(text)
        self.details.setPlainText(details)
        self.show()

    def copy_details(self) -> None:
        """Put the details on the clipboard."""
        QGuiApplication.clipboard().setText(self.details.toPlainText())


class MainWindow(QMainWindow):
    """The whole window.

    Args:
        settings: what it remembers; the user's own without.
        model: a model file, in place of the one that was used last.
        clock: a timer ticks its pages; tests and benchmarks may tick themselves.
    """

    def __init__(
        self, settings: Settings | None = None, model: Path | None = None, clock: bool = True
    ) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.setWindowTitle("ser-stream")
        self.errors = ErrorDialog(self)
        self.choices = Choices(self.settings, self.report, self._is_listening)
        self.live = LivePage(self.choices, self.settings, self.report)
        self.calibrate = CalibratePage(self.choices, self.report, self._let_go)
        self.recordings: RecordingsPage | None = None
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.live, "&Live")
        self.tabs.addTab(self.calibrate, "Cali&brate")
        self._recordings_place = QWidget()
        self._recordings_layout = QVBoxLayout(self._recordings_place)
        self._recordings_layout.setContentsMargins(0, 0, 0, 0)
        self.tabs.addTab(self._recordings_place, "Recordin&gs")
        middle = QWidget()
        layout = QVBoxLayout(middle)
        layout.addWidget(self.choices)
        layout.addWidget(self.tabs, 1)
        self.setCentralWidget(middle)
        self.setMinimumSize(620, 440)
        self._make_menu()
        self._theme = DARK
        self.set_theme(self.settings.text("theme", "system"))
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_changed)
        if not self.restoreGeometry(self.settings.state("geometry")):
            self.resize(1000, 760)
        self._waiting_paths: list[Path] = []
        self.choices.bundle_changed.connect(self._take_bundle)
        self.choices.profile_changed.connect(self._take_profile)
        self.choices.words.changed.connect(self._take_profile)
        self.choices.speaker.changed.connect(self._take_profile)
        kept = self.settings.text("model")
        self.choices.load_model(model or (Path(kept) if kept else None))
        self.choices.look_for_devices()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.tick)
        if clock:
            self._timer.start(FRAME_MS)

    # Pages

    def tick(self) -> None:
        """Let the visible page draw what is new."""
        self.choices.tick()
        self.live.tick()
        if self.tabs.currentWidget() is self.calibrate or self.calibrate.is_listening:
            self.calibrate.tick()
        if self.recordings is not None:
            self.recordings.tick()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Show recordings, as soon as the model is read."""
        self.tabs.setCurrentWidget(self._recordings_place)
        if self.recordings is None:
            self._waiting_paths = list(paths)
        else:
            self.recordings.open_paths(paths)

    def _take_bundle(self) -> None:
        bundle = self.choices.bundle
        if bundle is None:
            return
        if self.recordings is None:
            page = RecordingsPage(bundle, self.settings, self.report)
            page.set_theme(self._theme)
            self._recordings_layout.addWidget(page)
            self.recordings = page
        self._take_profile()
        if self._waiting_paths:
            self.recordings.open_paths(self._waiting_paths)
            self._waiting_paths = []

    def _take_profile(self) -> None:
        listening = self.choices.listening
        if self.recordings is not None and listening is not None:
            self.recordings.set_listening(listening, self.choices.words.for_recordings)

    def _is_listening(self) -> bool:
        return self.live.is_listening or self.calibrate.is_listening

    def _let_go(self) -> bool:
        self.live.stop()
        return not self.live.is_listening

    # Errors, theme, menu

    def report(self, error: BaseException) -> None:
        """Show an error."""
        self.errors.show_error(error)

    def set_theme(self, name: str) -> None:
        """Use the theme ``name``: "system", "light" or "dark"."""
        self.settings.keep("theme", name)
        self._theme = {"light": LIGHT, "dark": DARK}.get(name) or system_theme()
        self._theme_actions[name if name in THEMES else "system"].setChecked(True)
        self._apply(self._theme)

    def _apply(self, theme: Theme) -> None:
        QApplication.setPalette(palette(theme))
        self.live.set_theme(theme)
        self.calibrate.set_theme(theme)
        if self.recordings is not None:
            self.recordings.set_theme(theme)

    def _system_changed(self) -> None:
        if self.settings.text("theme", "system") == "system":
            self.set_theme("system")

    def _make_menu(self) -> None:
        menu = self.menuBar()
        file = menu.addMenu("&File")
        for text, shortcut, slot in (
            ("&Open a recording...", QKeySequence.StandardKey.Open, self._open_file),
            ("Open a &folder...", QKeySequence("Ctrl+Shift+O"), self._open_folder),
            ("&Quit", QKeySequence("Ctrl+Q"), self.close),
        ):
            action = QAction(text, self)
            action.setShortcut(shortcut)
            action.triggered.connect(slot)
            file.addAction(action)
        view = menu.addMenu("&View")
        for i in range(self.tabs.count()):
            action = QAction(self.tabs.tabText(i), self)
            action.setShortcut(QKeySequence(f"Ctrl+{i + 1}"))
            action.triggered.connect(lambda _=False, i=i: self.tabs.setCurrentIndex(i))
            view.addAction(action)
        view.addSeparator()
        group = QActionGroup(self)
        self._theme_actions: dict[str, QAction] = {}
        for name, text in THEMES.items():
            action = QAction(text, self)
            action.setCheckable(True)
            action.triggered.connect(lambda _=False, name=name: self.set_theme(name))
            group.addAction(action)
            view.addAction(action)
            self._theme_actions[name] = action
        about = QAction("&About and limits", self)
        about.setShortcut("F1")
        about.triggered.connect(self._show_about)
        menu.addMenu("&Help").addAction(about)

    def _open_file(self) -> None:
        self.tabs.setCurrentWidget(self._recordings_place)
        if self.recordings is not None:
            self.recordings.open_file()

    def _open_folder(self) -> None:
        self.tabs.setCurrentWidget(self._recordings_place)
        if self.recordings is not None:
            self.recordings.open_folder()

    def _show_about(self) -> None:
        dialog = QDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("About ser-stream")
        text = QLabel(ABOUT)
        text.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.close)
        layout = QVBoxLayout(dialog)
        layout.addWidget(text)
        layout.addWidget(buttons)
        dialog.resize(440, 300)
        dialog.show()

    def leave(self) -> None:
        """Close the window and end the application, whatever dialog is open."""
        self.close()
        QApplication.quit()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 Qt's name
        self._timer.stop()
        self.live.shut_down()
        self.calibrate.shut_down()
        if self.recordings is not None:
            self.recordings.shut_down()
        self.settings.keep("geometry", self.saveGeometry())
        self.settings.save()
        self.errors.close()
        super().closeEvent(event)
