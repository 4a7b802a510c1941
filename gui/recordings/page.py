"""The page of recordings: one to look into and to correct, many in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QLabel, QPushButton, QSplitter, QVBoxLayout, QWidget

from gui.jobs import Writes
from gui.parts.forms import row_of
from gui.parts.job_bar import JobBar
from gui.recordings.analysis import Analysis, AnalysisResult, BatchScoring
from gui.recordings.correction import ElidedLabel
from gui.recordings.dialogs import Dialogs
from gui.recordings.player import Player
from gui.recordings.score_list import ScoreList
from gui.recordings.scores import summary_of
from gui.recordings.viewer import RecordingViewer
from gui.settings import Settings
from gui.theme import DARK, Theme, class_colours
from ser_stream.errors import AudioError
from ser_stream.models.bundle import ModelBundle
from ser_stream.stream.listening import Listening

HINT = "Open a recording, or drop files or folders here"
# From this width on the table is beside the recording, below it under.
WIDE = 1000
# What is being written when the window closes is written first.
FINISH_S = 10.0
DEVICE_CLOSES_S = 1.0


class RecordingsPage(QWidget):
    """Score recordings, draw and play them, correct labels and keep the corrections.

    Args:
        bundle: the model.
        settings: remembers the folder, the speaker and the manifest.
        report: called with errors that the user has to know of.
        parent: Qt's.
        player: plays through the system's default output without.

    Attributes:
        viewer: the recording that is open.
        list: the scores of many; hidden until there are any.
        dialogs: asks for files.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
        player: Player | None = None,
    ) -> None:
        super().__init__(parent)
        self._listening = Listening(bundle)
        self._recognizer = ""
        self._settings = settings
        self._report = report
        self._theme = DARK
        self._analysis: Analysis | None = None
        self._drawn = False
        self._note = ""
        self._result: AnalysisResult | None = None
        self._writes = Writes(report)
        self.dialogs = Dialogs(self, settings)

        self.file_button = QPushButton("&Open files...")
        self.folder_button = QPushButton("Open &a folder...")
        self.swatch = QLabel()
        self.swatch.setFixedWidth(8)
        self.swatch.setAutoFillBackground(True)
        self.summary = ElidedLabel(Qt.TextElideMode.ElideRight)
        font = self.summary.font()
        font.setPointSizeF(1.3 * font.pointSizeF())
        font.setBold(True)
        self.summary.setFont(font)
        self.progress = JobBar("this recording")
        self.viewer = RecordingViewer(
            bundle.meta.labels, player or Player(), settings, self.dialogs, self._writes, report
        )
        self.list = ScoreList(self.dialogs, self._writes, report)
        self.list.hide()
        self._lay_out()
        self.file_button.clicked.connect(self.open_file)
        self.folder_button.clicked.connect(self.open_folder)
        self.list.table.opened.connect(self._open_file)
        self.setAcceptDrops(True)
        self.setAccessibleName("recordings")
        self._show_summary()

    def _lay_out(self) -> None:
        top = row_of(self.swatch, self.summary, self.progress, self.file_button, self.folder_button)
        top.setStretch(1, 1)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.viewer)
        self.splitter.addWidget(self.list)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 2)
        # The minimum must not depend on the present orientation: a window could not be made
        # narrow enough for the other one.
        self.splitter.setMinimumWidth(self.viewer.minimumSizeHint().width())
        page = QVBoxLayout(self)
        page.setContentsMargins(8, 8, 8, 8)
        page.addLayout(top)
        page.addWidget(self.splitter, 1)

    # What the main window calls

    def set_listening(self, listening: Listening, recognizer: str = "") -> None:
        """Use other choices from now on; the recording is scored again.

        Args:
            listening: the model and what was chosen beside it.
            recognizer: see `Analysis`.
        """
        if (listening, recognizer) == (self._listening, self._recognizer):
            return
        self._listening, self._recognizer = listening, recognizer
        self.viewer.set_labels(listening.bundle.meta.labels)
        if self._analysis is not None:
            self._open_file(self._analysis.path)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self._theme = theme
        self.viewer.set_theme(theme)
        self.list.set_theme(theme)
        self._show_summary()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open one file, or score several and those in folders."""
        if len(paths) == 1 and not paths[0].is_dir():
            self._open_file(paths[0])
        elif paths:
            self._open_batch(paths)

    def open_file(self) -> None:
        """Ask for files and open them."""
        if paths := self.dialogs.choose_files():
            self._settings.keep("recordings.folder", str(paths[0].parent))
            self.open_paths(paths)

    def open_folder(self) -> None:
        """Ask for a folder and score what is in it."""
        if (folder := self.dialogs.choose_folder()) is not None:
            self._settings.keep("recordings.folder", str(folder))
            self.open_paths([folder])

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has been done and shown."""
        jobs = (self.progress.job, self.list.progress.job)
        return jobs == (None, None) and self._writes.idle

    @property
    def result(self) -> AnalysisResult | None:
        """What the model made of the recording that is open; None before it is scored."""
        return self._result

    def tick(self) -> None:
        """Show what the jobs have done since the last call."""
        self._tick_recording()
        self.list.tick()
        self.viewer.tick()
        self._writes.tick()

    def shut_down(self) -> None:
        """Stop playing and end all work; what is being written is written first."""
        self.viewer.stop()
        bars = (self.progress, self.list.progress)
        for bar in bars:
            bar.cancel_all()
        for bar in bars:
            bar.wait(FINISH_S)
        self._writes.wait(FINISH_S)
        self.viewer.wait(DEVICE_CLOSES_S)

    # One recording

    def _open_file(self, path: Path) -> None:
        self._analysis = Analysis(path, self._listening, self._recognizer)
        self._drawn, self._result, self._note = False, None, "listening..."
        self.viewer.clear()
        self.progress.start(self._analysis.run)
        self._show_summary()

    def _tick_recording(self) -> None:
        # Before the envelope: what is there when the job is over was there before.
        over, analysis = self.progress.take(), self._analysis
        if analysis is None:
            return
        if not self._drawn and analysis.envelope is not None:
            self._drawn = True
            self.viewer.show_sound(analysis.path, analysis.envelope)
        if over is None:
            return
        result = self._result = over.result
        self._note = "cancelled" if over.error is None else str(over.error)
        self._show_summary()
        if over.error is not None:
            self._report(over.error)
        if result is not None:
            self.viewer.show_result(result)
            if result.score.error is not None:
                self._report(AudioError(f"{analysis.path}: {result.score.error}"))

    def _show_summary(self) -> None:
        colour: QColor | None = None
        if self._analysis is None:
            self.summary.show_text(HINT, self._theme.faint)
        elif self._result is None:
            name = self._analysis.path.name
            self.summary.show_text(f"{name}: {self._note}", self._theme.faint)
        else:
            score, labels = self._result.score, self._analysis.listening.bundle.meta.labels
            self.summary.show_text(
                summary_of(score, labels), None if score.error is None else self._theme.warning
            )
            if score.label is not None:
                colour = class_colours(labels)[labels.index(score.label)]
        palette = QPalette(self.palette())
        if colour is not None:
            palette.setColor(QPalette.ColorRole.Window, colour)
        self.swatch.setPalette(palette)
        self.swatch.setVisible(colour is not None)

    # Many recordings

    def _open_batch(self, paths: Sequence[Path]) -> None:
        batch = BatchScoring(paths, self._listening, self._recognizer)
        self.list.score(batch, paths[0] if len(paths) == 1 else None)
        if self.list.isHidden():
            self.list.show()
            height = self.splitter.height()
            self.splitter.setSizes([3 * height // 5, 2 * height // 5])

    # Qt's

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 Qt's name
        if not self.viewer.plot.press(event):
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 Qt's name
        super().resizeEvent(event)
        wide = event.size().width() >= WIDE
        beside = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if self.splitter.orientation() != beside:
            self.splitter.setOrientation(beside)
            # A table needs width more than height.
            self.splitter.setSizes([600, 400])

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 Qt's name
        if _paths_of(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 Qt's name
        if paths := _paths_of(event):
            event.acceptProposedAction()
            self.open_paths(paths)


def _paths_of(event: QDropEvent) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
