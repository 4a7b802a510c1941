"""The page of recordings: one to look into and to correct, many in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from gui.jobs import Job, JobControl
from gui.recordings.analysis import Analysis, Batch, Heard
from gui.recordings.correction import CorrectionBar, ElidedLabel, SpanFields
from gui.recordings.manifest import Clip, keep
from gui.recordings.player import Player
from gui.recordings.score_table import ScoreTable
from gui.recordings.scores import summary_of, write_scores
from gui.recordings.sound import FileSound
from gui.recordings.waveform import ZOOM, RecordingPlot, clock_text
from gui.settings import Settings
from gui.theme import DARK, Theme, class_colours
from ser_stream.errors import AudioError
from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.formats import named_formats
from ser_stream.stream.listening import Listening

HINT = "Open a recording, or drop files or folders here"
# From this width on the table is beside the recording, below it under.
WIDE = 1000
# Closer to an end than this, playing starts over.
AT_END_S = 0.05
# What is being written when the window closes is written first.
FINISH_S = 10.0


class Progress(QWidget):
    """How far a job is, and the button that cancels it; there only while it works."""

    def __init__(self, what: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setMinimumWidth(60)
        self.bar.setMaximumWidth(160)
        self.bar.setAccessibleName(f"progress: {what}")
        self.button = QPushButton("Cancel")
        self.button.setAccessibleName(f"cancel: {what}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar)
        row.addWidget(self.button)
        self.hide()

    def show_job(self, job: Job[Any] | None) -> None:
        """Show how far ``job`` is; nothing once it is over."""
        working = job is not None and not job.done
        if job is not None and working:
            self.bar.setValue(round(1000 * job.progress))
            self.button.setEnabled(not job.cancelled)
        self.setVisible(working)


class RecordingsPage(QWidget):
    """Score recordings, look and listen into them, correct labels and keep the corrections.

    Args:
        bundle: the model.
        settings: remembers the folder, the speaker and the manifest.
        report: is told of what goes wrong.
        parent: Qt's.
        player: plays through the system's default output without.
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
        self._player = Player() if player is None else player
        self._played = False
        self._analysis: Analysis | None = None
        self._drawn = False
        self._note = ""
        self._heard: Heard | None = None
        self._job: Job[Heard] | None = None
        self._batch: Batch | None = None
        self._batch_job: Job[int] | None = None
        self._writing: list[tuple[Job[int], Callable[[int], None]]] = []
        self._started: list[Job[Any]] = []

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
        self.progress = Progress("this recording")
        self.plot = RecordingPlot(bundle.meta.labels)
        self.play_button = _button("&Play", "play from the cursor (space)")
        self.zoom_out = _button("\N{MINUS SIGN}", "show more (-)", "zoom out")
        self.zoom_in = _button("+", "show less (+)", "zoom in")
        self.zoom_all = _button("All", "show the whole recording (0)")
        self.place = ElidedLabel()
        self.select_box = QCheckBox("&Select")
        self.select_box.setToolTip("select a span (or drag with shift held down)")
        self.fields = SpanFields()
        self.correction = CorrectionBar(bundle.meta.labels)
        self.correction.speaker.setText(settings.text("recordings.speaker"))
        self.table = ScoreTable()
        self.batch_progress = Progress("all recordings")
        self.count = ElidedLabel()
        self.export = _button("E&xport CSV...", "write the table into a file")
        self._lay_out()
        self._connect()
        self.setAcceptDrops(True)
        self.setAccessibleName("recordings")
        self._show_manifest()
        self._show_nothing()

    def _lay_out(self) -> None:
        top = _row(self.swatch, self.summary, self.progress, self.file_button, self.folder_button)
        top.setStretch(1, 1)
        tools = _row(
            self.play_button, self.zoom_out, self.zoom_in, self.zoom_all, self.place,
            self.select_box, self.fields,
        )  # fmt: skip
        tools.setStretch(4, 1)
        self._viewer = QWidget()
        column = QVBoxLayout(self._viewer)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot, 1)
        column.addLayout(tools)
        column.addWidget(self.correction)
        self._list = QWidget()
        below = QVBoxLayout(self._list)
        below.setContentsMargins(0, 0, 0, 0)
        head = _row(self.count, self.batch_progress, self.export)
        head.setStretch(0, 1)
        below.addLayout(head)
        below.addWidget(self.table, 1)
        self._list.hide()
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self._viewer)
        self.splitter.addWidget(self._list)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 2)
        # Whatever is beside what now: a window must not be kept wide by an arrangement that it
        # would give up when narrow.
        self.splitter.setMinimumWidth(self._viewer.minimumSizeHint().width())
        page = QVBoxLayout(self)
        page.setContentsMargins(8, 8, 8, 8)
        page.addLayout(top)
        page.addWidget(self.splitter, 1)

    def _connect(self) -> None:
        self.file_button.clicked.connect(self.open_file)
        self.folder_button.clicked.connect(self.open_folder)
        self.progress.button.clicked.connect(self._cancel)
        self.batch_progress.button.clicked.connect(self._cancel_batch)
        self.plot.pointed.connect(self.play_from)
        self.plot.stepped.connect(self._move)
        self.plot.toggled.connect(self.toggle_play)
        self.plot.selected.connect(self._span_drawn)
        self.play_button.clicked.connect(self.toggle_play)
        self.zoom_in.clicked.connect(lambda: self.plot.zoom(ZOOM))
        self.zoom_out.clicked.connect(lambda: self.plot.zoom(1 / ZOOM))
        self.zoom_all.clicked.connect(self.plot.show_all)
        self.select_box.toggled.connect(self._select_toggled)
        self.fields.edited.connect(self._span_typed)
        self.correction.kept.connect(self.keep_clip)
        self.correction.manifest_asked.connect(self._ask_manifest)
        self.table.opened.connect(self._open_file)
        self.export.clicked.connect(self._ask_export)

    # What the main window calls.

    def set_listening(self, listening: Listening, recognizer: str = "") -> None:
        """Listen with other choices from now on; the recording is heard again.

        Args:
            listening: the model and what was chosen beside it.
            recognizer: see `Analysis`.
        """
        if (listening, recognizer) == (self._listening, self._recognizer):
            return
        self._listening, self._recognizer = listening, recognizer
        labels = listening.bundle.meta.labels
        self.plot.set_labels(labels)
        self.correction.set_labels(labels)
        if self._analysis is not None:
            self._open_file(self._analysis.path)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self._theme = theme
        self.plot.set_theme(theme)
        self._show_summary()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open one file, or score several and those in folders."""
        if len(paths) == 1 and not paths[0].is_dir():
            self._open_file(paths[0])
        elif paths:
            self._open_batch(paths)

    def open_file(self) -> None:
        """Ask for files and open them."""
        if paths := self.choose_files():
            self._settings.keep("recordings.folder", str(paths[0].parent))
            self.open_paths(paths)

    def open_folder(self) -> None:
        """Ask for a folder and score what is in it."""
        if (folder := self.choose_folder()) is not None:
            self._settings.keep("recordings.folder", str(folder))
            self.open_paths([folder])

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has been done and shown."""
        return self._job is None and self._batch_job is None and not self._writing

    def tick(self) -> None:
        """Show what the jobs have done since the last call."""
        self._tick_recording()
        self._tick_batch()
        self._tick_player()
        for job, then in [entry for entry in self._writing if entry[0].done]:
            self._writing.remove((job, then))
            if job.error is not None:
                self._report(job.error)
            elif job.result is not None:
                then(job.result)

    def shut_down(self) -> None:
        """Fall silent and end all work; what is being written is written first."""
        self._player.stop()
        for job in self._started:
            job.cancel()
        for job in [*self._started, *(job for job, _ in self._writing)]:
            job.wait(FINISH_S)
        self._player.wait(1.0)

    # Dialogs, one method each.

    def choose_files(self) -> list[Path]:
        """Ask for files; none where the user changed their mind."""
        names, _ = QFileDialog.getOpenFileNames(self, "Open recordings", self._folder)
        return [Path(name) for name in names]

    def choose_folder(self) -> Path | None:
        """Ask for a folder."""
        name = QFileDialog.getExistingDirectory(self, "Open a folder", self._folder)
        return Path(name) if name else None

    def choose_export(self) -> Path | None:
        """Ask where the table is to be written."""
        start = str(Path(self._folder) / "scores.csv")
        kinds = {f"{name} (*{suffix})": suffix for suffix, name in named_formats().items()}
        name, kind = QFileDialog.getSaveFileName(self, "Export", start, ";;".join(kinds))
        if not name:
            return None
        return Path(name) if Path(name).suffix else Path(name).with_suffix(kinds[kind])

    def choose_manifest(self) -> Path | None:
        """Ask for the file that corrections are kept in; one that exists is added to."""
        start = self._settings.text("recordings.manifest")
        name, _ = QFileDialog.getSaveFileName(
            self,
            "Keep corrections in",
            start or str(Path(self._folder) / "manifest.csv"),
            "CSV (*.csv)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        return Path(name) if name else None

    @property
    def _folder(self) -> str:
        return self._settings.text("recordings.folder", str(Path.home()))

    # One recording.

    def _open_file(self, path: Path) -> None:
        self._player.stop()
        self._cancel()
        self._analysis = Analysis(path, self._listening, self._recognizer)
        self._drawn, self._heard, self._note = False, None, "listening..."
        self._show_nothing()
        self._job = self._start(Job(self._analysis.run, "recording"))
        self.progress.show_job(self._job)
        self._show_summary()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _tick_recording(self) -> None:
        job, analysis = self._job, self._analysis
        if job is None or analysis is None:
            return
        # Read first: what is there when the job is over was there before.
        over = job.done
        if not self._drawn and analysis.envelope is not None:
            self._drawn = True
            self.plot.show_sound(analysis.envelope)
            self.fields.set_duration(analysis.envelope.duration_s)
            self._enable(True)
            if self.isVisible():
                self.plot.setFocus(Qt.FocusReason.OtherFocusReason)
        self.progress.show_job(job)
        if over:
            self._job = None
            self._take_heard(job, analysis)

    def _take_heard(self, job: Job[Heard], analysis: Analysis) -> None:
        heard = self._heard = job.result
        self.progress.show_job(None)
        if heard is not None:
            self.plot.show_beliefs(heard.stretch, heard.speech)
            self.correction.show_label(heard.score.label)
            if heard.score.error is not None:
                self._report(AudioError(f"{analysis.path}: {heard.score.error}"))
        self._note = "cancelled" if job.error is None else str(job.error)
        self._show_summary()
        if job.error is not None:
            self._report(job.error)

    def _show_nothing(self) -> None:
        self.plot.clear()
        self.fields.set_duration(0.0)
        self.correction.show_label(None)
        self._untoggle()
        self._enable(False)
        self._show_summary()

    def _enable(self, yes: bool) -> None:
        for widget in (
            self.play_button, self.zoom_in, self.zoom_out, self.zoom_all, self.select_box,
            self.fields, self.correction.button,
        ):  # fmt: skip
            widget.setEnabled(yes)
        self._show_place()

    def _show_summary(self) -> None:
        colour: QColor | None = None
        if self._analysis is None:
            self.summary.show_text(HINT, self._theme.faint)
        elif self._heard is None:
            name = self._analysis.path.name
            self.summary.show_text(f"{name}: {self._note}", self._theme.faint)
        else:
            score, labels = self._heard.score, self._analysis.listening.bundle.meta.labels
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

    # Playing.

    def play_from(self, at_s: float) -> None:
        """Play from a time in s: to the end of the span inside it, else to the recording's end."""
        if self._analysis is None or not self.plot.duration_s:
            return
        span = self.plot.span_s
        end = span[1] if span is not None and span[0] <= at_s < span[1] else None
        path = self._analysis.path
        self._player.play(lambda: FileSound(path), at_s, end)
        self._move_cursor(at_s)
        self._show_playing()

    def toggle_play(self) -> None:
        """Stop, or play the span if there is one, else from the cursor."""
        if self._player.playing:
            self._player.stop()
            self._show_playing()
            return
        at, span = self.plot.cursor_s, self.plot.span_s
        if span is not None and not span[0] <= at < span[1] - AT_END_S:
            at = span[0]
        elif at > self.plot.duration_s - AT_END_S:
            at = 0.0
        self.play_from(at)

    def _move(self, at_s: float) -> None:
        if self._player.playing:
            self.play_from(at_s)
        else:
            self._move_cursor(at_s)

    def _move_cursor(self, at_s: float) -> None:
        self.plot.set_cursor(at_s)
        self._show_place()

    def _tick_player(self) -> None:
        at = self._player.position_s
        if self._played and at is not None:
            self._move_cursor(at)
        error = self._player.take_error()
        self._show_playing()
        if error is not None:
            self._report(error)

    def _show_playing(self) -> None:
        if self._player.playing != self._played:
            self._played = self._player.playing
            self.play_button.setText("Sto&p" if self._played else "&Play")

    def _show_place(self) -> None:
        if not self.plot.duration_s:
            self.place.show_text("")
            return
        now, end = clock_text(self.plot.cursor_s, 1), clock_text(self.plot.duration_s, 1)
        self.place.show_text(f"{now} / {end}")

    # The span.

    def _span_drawn(self, start_s: float, end_s: float) -> None:
        self.fields.set_span(start_s, end_s)
        self._untoggle(False)

    def _span_typed(self) -> None:
        self.plot.select(None if self.fields.whole else self.fields.span_s)
        self._untoggle(self.fields.whole)

    def _select_toggled(self, on: bool) -> None:
        if not on:
            self.plot.select(None)
            self.fields.set_span(0.0, self.plot.duration_s)
            return
        start, end = self.plot.visible_s
        quarter = 0.25 * (end - start)
        self.fields.set_span(start + quarter, end - quarter)
        self.plot.select(self.fields.span_s)

    def _untoggle(self, off: bool = True) -> None:
        blocked = self.select_box.blockSignals(True)
        self.select_box.setChecked(not off)
        self.select_box.blockSignals(blocked)

    # Keeping corrections.

    def _ask_manifest(self) -> None:
        if (path := self.choose_manifest()) is not None:
            path = path if path.suffix else path.with_suffix(".csv")
            self._settings.keep("recordings.manifest", str(path))
            self._show_manifest()

    def _show_manifest(self) -> None:
        name = self._settings.text("recordings.manifest")
        self.correction.status.show_text(f"in {Path(name).name}" if name else "")

    def keep_clip(self) -> None:
        """Write the span with its label and speaker into the manifest, which is asked for once."""
        if self._analysis is None or not self.correction.button.isEnabled():
            return
        speaker = self.correction.speaker.text().strip()
        whole = self.fields.whole
        start, end = (0.0, None) if whole else self.fields.span_s
        clip = Clip(
            self._analysis.path, self.correction.label.currentText().strip(), speaker, start, end
        )
        if clip.emotion and speaker and not self._settings.text("recordings.manifest"):
            self._ask_manifest()
        name = self._settings.text("recordings.manifest")
        if clip.emotion and speaker and not name:
            return
        self._settings.keep("recordings.speaker", speaker)
        before = self._writing[-1][0] if self._writing else None

        def work(control: JobControl) -> int:
            # Two at once would each write the file as it was before.
            if before is not None:
                before.wait()
            return keep(Path(name), clip)

        where = "all of it" if whole else f"{start:.2f} to {end:.2f} s"

        def then(clips: int) -> None:
            self.correction.status.show_text(
                f"kept: {clip.emotion}, {where}, in {Path(name).name} ({clips})", self._theme.good
            )

        self._writing.append((Job(work, "keep"), then))

    # Many recordings.

    def _open_batch(self, paths: Sequence[Path]) -> None:
        self._cancel_batch()
        self._batch = Batch(paths, self._listening, self._recognizer)
        self.table.scores.clear(paths[0] if len(paths) == 1 else None)
        self._batch_job = self._start(Job(self._batch.run, "recordings"))
        self.batch_progress.show_job(self._batch_job)
        if self._list.isHidden():
            self._list.show()
            height = self.splitter.height()
            self.splitter.setSizes([3 * height // 5, 2 * height // 5])
        self._show_count()

    def _cancel_batch(self) -> None:
        if self._batch_job is not None:
            self._batch_job.cancel()

    def _tick_batch(self) -> None:
        job, batch = self._batch_job, self._batch
        if job is None or batch is None:
            return
        # Read first: what is there when the job is over was there before.
        over = job.done
        new = batch.take()
        self.table.scores.add(new)
        self.batch_progress.show_job(job)
        if new or over:
            self._show_count(" (cancelled)" if over and job.result is None else "")
        if over:
            self._batch_job = None
            if job.error is not None:
                self._report(job.error)

    def _show_count(self, note: str = "") -> None:
        scores = self.table.scores.scores
        bad = sum(score.error is not None for score in scores)
        text = f"{len(scores)} recording{'' if len(scores) == 1 else 's'}"
        self.count.show_text(f"{text}, {bad} with errors{note}" if bad else text + note)
        self.export.setEnabled(bool(scores))

    def _ask_export(self) -> None:
        batch, path = self._batch, self.choose_export()
        if batch is None or path is None:
            return
        path = path if path.suffix else path.with_suffix(".csv")
        scores = self.table.in_order()

        def work(control: JobControl) -> int:
            return write_scores(path, scores, batch.labels)

        def then(rows: int) -> None:
            self.count.show_text(f"{rows} rows written into {path.name}", self._theme.good)

        self._writing.append((Job(work, "export"), then))

    # Qt's.

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 Qt's name
        if not self.plot.press(event):
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

    def _start(self, job: Job[Any]) -> Job[Any]:
        self._started = [old for old in self._started if not old.done] + [job]
        return job


def _paths_of(event: QDropEvent) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return row


def _button(text: str, tip: str, name: str = "") -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(name or text.replace("&", "").rstrip("."))
    # Narrower than styles make buttons, for the sake of small screens.
    width = button.fontMetrics().horizontalAdvance(text.replace("&", "")) + 26
    button.setFixedWidth(max(32, width))
    return button
