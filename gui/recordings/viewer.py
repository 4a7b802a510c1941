"""One recording to inspect, to play, and to correct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from gui.jobs import Writes
from gui.parts.forms import narrow_button, row_of
from gui.recordings.analysis import AnalysisResult
from gui.recordings.correction import CorrectionBar, ElidedLabel, SpanFields
from gui.recordings.dialogs import Dialogs
from gui.recordings.envelope import Envelope
from gui.recordings.keeper import ClipKeeper
from gui.recordings.player import Player
from gui.recordings.sound import FileSound
from gui.recordings.time_axis import clock_text
from gui.recordings.waveform import ZOOM, RecordingPlot
from gui.settings import Settings
from gui.theme import Theme

# Closer to an end than this, playing starts over.
AT_END_S = 0.05


class RecordingViewer(QWidget):
    """The plot of a recording above the controls to play it, to select a span and to keep it.

    Args:
        labels: the model's classes.
        player: plays it.
        settings: remembers the speaker and the manifest.
        dialogs: asks for the manifest.
        writes: writes it.
        report: called with errors that the user has to know of.
        parent: Qt's.
    """

    def __init__(
        self,
        labels: Sequence[str],
        player: Player,
        settings: Settings,
        dialogs: Dialogs,
        writes: Writes,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._player, self._report = player, report
        self._path: Path | None = None
        self._played = False
        self.plot = RecordingPlot(labels)
        self.play_button = narrow_button("&Play", "play from the cursor (space)")
        self.zoom_out = narrow_button("\N{MINUS SIGN}", "show more (-)", "zoom out")
        self.zoom_in = narrow_button("+", "show less (+)", "zoom in")
        self.zoom_all = narrow_button("All", "show the whole recording (0)")
        self.place = ElidedLabel()
        self.select_box = QCheckBox("&Select")
        self.select_box.setToolTip("select a span (or drag with shift held down)")
        self.fields = SpanFields()
        self.correction = CorrectionBar(labels)
        self._keeper = ClipKeeper(self.correction, self.fields, settings, dialogs, writes)
        tools = row_of(
            self.play_button, self.zoom_out, self.zoom_in, self.zoom_all, self.place,
            self.select_box, self.fields,
        )  # fmt: skip
        tools.setStretch(4, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot, 1)
        column.addLayout(tools)
        column.addWidget(self.correction)
        self._connect()
        self.clear()

    def _connect(self) -> None:
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

    def set_labels(self, labels: Sequence[str]) -> None:
        """Another model's classes."""
        self.plot.set_labels(labels)
        self.correction.set_labels(labels)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self.plot.set_theme(theme)
        self._keeper.set_theme(theme)

    # What is shown

    def clear(self) -> None:
        """Show nothing, and stop playing."""
        self.stop()
        self._path = None
        self.plot.clear()
        self.fields.set_duration(0.0)
        self.correction.show_label(None)
        self._check_select(False)
        self._enable(False)

    def show_sound(self, path: Path, envelope: Envelope) -> None:
        """Show the recording at ``path``, without beliefs as yet."""
        self._path = path
        self.plot.show_sound(envelope)
        self.fields.set_duration(envelope.duration_s)
        self._enable(True)
        if self.isVisible():
            self.plot.setFocus(Qt.FocusReason.OtherFocusReason)

    def show_result(self, result: AnalysisResult) -> None:
        """Show what the model made of the recording."""
        self.plot.show_beliefs(result.stretch, result.speech)
        self.correction.show_label(result.score.label)

    def _enable(self, yes: bool) -> None:
        for widget in (
            self.play_button, self.zoom_in, self.zoom_out, self.zoom_all, self.select_box,
            self.fields, self.correction.button,
        ):  # fmt: skip
            widget.setEnabled(yes)
        self._show_place()

    def _show_place(self) -> None:
        if not self.plot.duration_s:
            self.place.show_text("")
            return
        now, end = clock_text(self.plot.cursor_s, 1), clock_text(self.plot.duration_s, 1)
        self.place.show_text(f"{now} / {end}")

    # Playing

    @property
    def playing(self) -> bool:
        """Whether the recording plays, or is about to."""
        return self._player.playing

    def play_from(self, at_s: float) -> None:
        """Play from a time in s: to the end of the span inside it, else to the recording's end."""
        path = self._path
        if path is None or not self.plot.duration_s:
            return
        span = self.plot.span_s
        end = span[1] if span is not None and span[0] <= at_s < span[1] else None
        self._player.play(lambda: FileSound(path), at_s, end)
        self._move_cursor(at_s)
        self._show_playing()

    def toggle_play(self) -> None:
        """Stop, or play the span if there is one, else from the cursor."""
        if self._player.playing:
            self.stop()
            self._show_playing()
            return
        at, span = self.plot.cursor_s, self.plot.span_s
        if span is not None and not span[0] <= at < span[1] - AT_END_S:
            at = span[0]
        elif at > self.plot.duration_s - AT_END_S:
            at = 0.0
        self.play_from(at)

    def tick(self) -> None:
        """Show where the player is, and report its error."""
        at = self._player.position_s
        if self._played and at is not None:
            self._move_cursor(at)
        error = self._player.take_error()
        self._show_playing()
        if error is not None:
            self._report(error)

    def stop(self) -> None:
        """Stop playing."""
        self._player.stop()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the output device is closed; return whether it is."""
        return self._player.wait(timeout_s)

    def _move(self, at_s: float) -> None:
        if self._player.playing:
            self.play_from(at_s)
        else:
            self._move_cursor(at_s)

    def _move_cursor(self, at_s: float) -> None:
        self.plot.set_cursor(at_s)
        self._show_place()

    def _show_playing(self) -> None:
        if self._player.playing != self._played:
            self._played = self._player.playing
            self.play_button.setText("Sto&p" if self._played else "&Play")

    # The span

    def keep_clip(self) -> None:
        """Write the span with its label and speaker into the manifest."""
        if self._path is not None:
            self._keeper.keep(self._path)

    def _span_drawn(self, start_s: float, end_s: float) -> None:
        self.fields.set_span(start_s, end_s)
        self._check_select(True)

    def _span_typed(self) -> None:
        self.plot.select(None if self.fields.whole else self.fields.span_s)
        self._check_select(not self.fields.whole)

    def _select_toggled(self, on: bool) -> None:
        if not on:
            self.plot.select(None)
            self.fields.set_span(0.0, self.plot.duration_s)
            return
        start, end = self.plot.visible_s
        quarter = 0.25 * (end - start)
        self.fields.set_span(start + quarter, end - quarter)
        self.plot.select(self.fields.span_s)

    def _check_select(self, on: bool) -> None:
        with QSignalBlocker(self.select_box):
            self.select_box.setChecked(on)
