"""Record a stream: the button, whether with sound, in which format, and into which folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from PySide6.QtCore import QStandardPaths
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QCheckBox, QFileDialog, QMenu, QWidget

from gui.live.stream import LiveStream
from gui.parts.forms import command_button
from gui.settings import Settings
from ser_stream.errors import SerStreamError
from ser_stream.scoring.formats import by_row, named_formats
from ser_stream.scoring.recorder import Recording


class RecordControls:
    """Writes the rows of a stream, and its sound if asked to, into new files of a folder.

    Args:
        settings: remembers the folder and the format.
        report: called with errors that the user has to know of.
        parent: the widget that they belong to.

    Attributes:
        widgets: the controls in their order, for the row of a page.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget,
    ) -> None:
        self._settings, self._report, self._parent = settings, report, parent
        self._stream: LiveStream | None = None
        self.ask_for_folder: Callable[[Path], Path | None] = self._ask_for_folder
        self.button = command_button("&Record", "Write every update to a file (Ctrl+R)", "Ctrl+R")
        self.button.setCheckable(True)
        self.audio_box = QCheckBox("with so&und")
        self.audio_box.setToolTip("Record what is heard too; nothing is recorded unless you ask")
        self.options_button = command_button("&Options", "How and where recordings are written")
        self.options_button.setMenu(self._make_options())
        self.widgets = (self.button, self.audio_box, self.options_button)
        self.button.toggled.connect(self._record)

    def _make_options(self) -> QMenu:
        menu = QMenu(self._parent)
        group = QActionGroup(menu)
        self.format_actions: dict[str, QAction] = {}
        for dotted, name in named_formats(by_row()).items():
            suffix = dotted.removeprefix(".")
            action = menu.addAction(f"&{name}")
            action.setCheckable(True)
            action.setChecked(self._settings.text("rows", "csv") == suffix)
            action.triggered.connect(lambda _=False, s=suffix: self._settings.keep("rows", s))
            group.addAction(action)
            self.format_actions[suffix] = action
        menu.addSeparator()
        self.folder_action = menu.addAction("&Folder...")
        self.folder_action.triggered.connect(self._choose_folder)
        return menu

    @property
    def folder(self) -> Path:
        """Where recordings go."""
        kept = self._settings.text("folder")
        if kept:
            return Path(kept)
        place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
        return Path(place or Path.home()) / "ser-stream"

    def show_stream(self, stream: LiveStream | None, ready: bool) -> None:
        """Record ``stream`` from now on, which can be recorded if it is ``ready``."""
        self._stream = stream
        self.button.setEnabled(ready)
        recording = stream is not None and stream.recorder.recording is not None
        self.audio_box.setEnabled(not recording)
        if self.button.isChecked() and not recording:
            self.button.setChecked(False)

    def _record(self, on: bool) -> None:
        stream = self._stream
        if stream is None or not on:
            if stream is not None:
                stream.recorder.end()
            return
        name = datetime.now().strftime("%Y-%m-%d %H.%M.%S")
        sound = self.folder / f"{name}.wav" if self.audio_box.isChecked() else None
        rows = self.folder / f"{name}.{self._settings.text('rows', 'csv')}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stream.record(Recording(rows, sound))
        except (SerStreamError, OSError) as error:
            self.button.setChecked(False)
            self._report(error)

    def _choose_folder(self) -> None:
        folder = self.ask_for_folder(self.folder)
        if folder is not None:
            self._settings.keep("folder", str(folder))

    def _ask_for_folder(self, now: Path) -> Path | None:
        name = QFileDialog.getExistingDirectory(self._parent, "Where recordings go", str(now))
        return Path(name) if name else None
