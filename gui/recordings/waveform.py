"""A recording on one time axis: its sound above the beliefs, to zoom, to play and to select in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from gui.live.history import Stretch
from gui.live.timeline import AXIS_WIDTH
from gui.parts.curves import BeliefCurves, colour_axes
from gui.recordings.analysis import merged
from gui.recordings.drawing import Shade, columns, visible_beliefs, visible_spans
from gui.recordings.envelope import Envelope
from gui.recordings.time_axis import TimeAxis, TimeBox
from gui.theme import DARK, Theme
from ser_stream.types import Float64

# The least that can be seen of a recording, s.
LEAST_S = 0.25
ZOOM = 1.5
STEP_S = 1.0
# The axis of no recording.
EMPTY_S = 60.0
# Beliefs that are closer are averaged: more could not be seen, and would be slow to draw.
PIXELS_PER_POINT = 6
MOST_POINTS = 240
# In a plot that is lower than this the legend would hide the curves.
LEGEND_PIXELS = 60
LEGEND_ROOM = 30


class RecordingPlot(QWidget):
    """The sound's envelope above the beliefs, with a cursor and a span.

    Keys: space plays and stops, left and right move the cursor by a second, home and end to the
    ends, + and - zoom, 0 shows all.

    Args:
        labels: the model's classes.

    Signals:
        pointed: a time that was clicked at, s.
        stepped: where the keys move the cursor, s.
        toggled: space was pressed.
        selected: begin and end of a span that was drawn, s.
    """

    pointed = Signal(float)
    stepped = Signal(float)
    toggled = Signal()
    selected = Signal(float, float)

    def __init__(self, labels: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._envelope: Envelope | None = None
        self._stretch: Stretch | None = None
        self._duration_s = 0.0
        self._cursor_s = 0.0
        self._theme = DARK
        self._view = pg.GraphicsView()
        # Keys go to this widget, and dropped files to the page.
        self._view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._view.setAcceptDrops(False)
        self._view.viewport().setAcceptDrops(False)
        self._view.setMinimumSize(120, 90)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        plots: Any = pg.GraphicsLayout()
        plots.setContentsMargins(4, 4, 8, 2)
        plots.setSpacing(2)
        self._view.setCentralItem(plots)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self._view)
        # Any: PlotItem gets many of its methods only when it is made.
        self.sound: Any = self._add_plot(plots, 0)
        self.beliefs: Any = self._add_plot(plots, 1)
        self.beliefs.setXLink(self.sound)
        self.sound.getAxis("bottom").setStyle(showValues=False)
        self.sound.getAxis("left").setTicks([[(0.0, "sound")]])
        self._speech: Float64 = np.zeros((0, 2))
        self._shades = [Shade(), Shade()]
        self._wave = pg.PlotCurveItem(connect="pairs", antialias=False)
        self._span: Any = pg.LinearRegionItem(movable=True)
        self._span.setZValue(10)
        self._span.hide()
        self._span.sigRegionChanged.connect(self._span_moved)
        # Any: what the value of a line is depends on its angle.
        self._cursors: list[Any] = [pg.InfiniteLine(0.0, angle=90) for _ in range(2)]
        for plot, shade, cursor in zip(
            (self.sound, self.beliefs), self._shades, self._cursors, strict=True
        ):
            plot.addItem(shade, ignoreBounds=True)
            cursor.setZValue(20)
            plot.addItem(cursor, ignoreBounds=True)
        for item in (self._wave, self._span):
            self.sound.addItem(item)
        self.curves = BeliefCurves(self.beliefs, offset=(4, 1))
        self.sound.vb.sigXRangeChanged.connect(self._draw)
        self.sound.vb.sigResized.connect(self._draw)
        self.beliefs.vb.sigResized.connect(self._make_room)
        self._make_room()
        self.set_labels(labels)
        self.set_theme(DARK)
        self.clear()
        self.setAccessibleName("the recording: its sound, and the belief in each class")

    def _add_plot(self, plots: Any, row: int) -> Any:
        plot: Any = plots.addPlot(
            row=row,
            col=0,
            viewBox=TimeBox(self._point, self._select),
            axisItems={"bottom": TimeAxis("bottom")},
        )
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.getAxis("left").setWidth(AXIS_WIDTH)
        plots.layout.setRowStretchFactor(row, 4 + row)
        plots.layout.setRowPreferredHeight(row, 100)
        return plot

    def set_labels(self, labels: Sequence[str]) -> None:
        """Another model's classes; the beliefs are gone."""
        self._stretch = None
        self.curves.set_labels(labels, self._theme)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self._theme = theme
        self._view.setBackground(theme.background)
        colour_axes((self.sound, self.beliefs), theme)
        for shade in self._shades:
            shade.set_colour(theme.speech)
        self._wave.setPen(theme.faint)
        for cursor in self._cursors:
            cursor.setPen(pg.mkPen(theme.warning, width=2))
        span = QColor(theme.good)
        span.setAlpha(60)
        self._span.setBrush(span)
        span.setAlpha(110)
        self._span.setHoverBrush(span)
        for line in self._span.lines:
            line.setPen(pg.mkPen(theme.good, width=2))
            line.setHoverPen(pg.mkPen(theme.text, width=3))
        self.curves.set_theme(theme)
        self.update()

    @property
    def duration_s(self) -> float:
        """Length of what is shown, s; 0 without."""
        return self._duration_s

    @property
    def visible_s(self) -> tuple[float, float]:
        """Begin and end of what can be seen, s."""
        (start, end), _ = self.sound.vb.viewRange()
        return float(start), float(end)

    @property
    def cursor_s(self) -> float:
        """Where the cursor is, s."""
        return self._cursor_s

    @property
    def span_s(self) -> tuple[float, float] | None:
        """Begin and end of the span, s; None if there is none."""
        if not self._span.isVisible():
            return None
        start, end = self._span.getRegion()
        return float(start), float(end)

    def clear(self) -> None:
        """Show nothing."""
        self.show_sound(None)
        self.show_beliefs(None, np.zeros((0, 2)))

    def show_sound(self, envelope: Envelope | None) -> None:
        """Show a recording from its beginning to its end, without beliefs as yet."""
        self._envelope = envelope
        self._duration_s = 0.0 if envelope is None else envelope.duration_s
        end = self._duration_s or EMPTY_S
        for cursor in self._cursors:
            cursor.setVisible(envelope is not None)
        self.select(None)
        # A new limit must not cut the range of the recording before.
        for plot in (self.sound, self.beliefs):
            plot.vb.setLimits(xMin=None, xMax=None, minXRange=None, maxXRange=None)
            plot.vb.setLimits(xMin=0.0, xMax=end, minXRange=min(LEAST_S, end), maxXRange=end)
        reach = 1.0 if envelope is None else max(0.02, envelope.peak)
        self.sound.setYRange(-reach, reach, padding=0.05)
        self.set_cursor(0.0)
        self.show_all()
        self._draw()

    def show_beliefs(self, stretch: Stretch | None, speech: Float64) -> None:
        """Show the beliefs of a recording, and begin and end of speech in s, (n, 2)."""
        self._stretch = stretch
        self._speech = speech
        self._draw()

    def set_cursor(self, at_s: float) -> None:
        """Move the cursor, and what is seen with it where it would leave the picture."""
        self._cursor_s = float(np.clip(at_s, 0.0, self._duration_s))
        start, end = self.visible_s
        # A move of less than half a pixel must not repaint everything.
        if abs(self._cursors[0].value() - self._cursor_s) >= 0.4 * (end - start) / self._pixels:
            for cursor in self._cursors:
                cursor.setValue(self._cursor_s)
        if not start <= self._cursor_s <= end:
            width = end - start
            begin = np.clip(self._cursor_s - 0.1 * width, 0.0, max(0.0, self._duration_s - width))
            self.sound.setXRange(begin, begin + width, padding=0)

    def select(self, span_s: tuple[float, float] | None) -> None:
        """Show a span, or none; `selected` is not emitted."""
        self._span.setVisible(span_s is not None)
        if span_s is not None:
            blocked = self._span.blockSignals(True)
            self._span.setBounds((0.0, self._duration_s))
            self._span.setRegion(span_s)
            self._span.blockSignals(blocked)

    def zoom(self, factor: float) -> None:
        """Show ``factor`` times less, about the cursor if it is seen, else about the middle."""
        start, end = self.visible_s
        about = self._cursor_s if start <= self._cursor_s <= end else 0.5 * (start + end)
        width = max(min(LEAST_S, self._duration_s), (end - start) / factor)
        begin = np.clip(
            about - (about - start) / (end - start) * width, 0.0, max(0.0, self._duration_s - width)
        )
        self.sound.setXRange(begin, min(begin + width, self._duration_s or EMPTY_S), padding=0)

    def show_all(self) -> None:
        """Show the recording from end to end."""
        self.sound.setXRange(0.0, self._duration_s or EMPTY_S, padding=0)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 Qt's name
        if not self.press(event):
            super().keyPressEvent(event)

    def press(self, event: QKeyEvent) -> bool:
        """Handle a key; return whether it is one of this widget's."""
        command = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
        if not self._duration_s or event.modifiers() & command:
            return False
        key = Qt.Key
        actions: dict[int, Callable[[], None]] = {
            key.Key_Space: self.toggled.emit,
            key.Key_Left: lambda: self._step(self._cursor_s - STEP_S),
            key.Key_Right: lambda: self._step(self._cursor_s + STEP_S),
            key.Key_Home: lambda: self._step(0.0),
            key.Key_End: lambda: self._step(self._duration_s),
            key.Key_Plus: lambda: self.zoom(ZOOM),
            key.Key_Equal: lambda: self.zoom(ZOOM),
            key.Key_Minus: lambda: self.zoom(1 / ZOOM),
            key.Key_0: self.show_all,
        }
        action = actions.get(event.key())
        if action is not None:
            action()
        return action is not None

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 Qt's name
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 Qt's name
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 Qt's name
        painter = QPainter(self)
        role = QPalette.ColorRole.Highlight if self.hasFocus() else QPalette.ColorRole.Mid
        painter.setPen(QPen(self.palette().color(role), 2 if self.hasFocus() else 1))
        painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    def _step(self, at_s: float) -> None:
        self.stepped.emit(float(np.clip(at_s, 0.0, self._duration_s)))

    def _point(self, at_s: float) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self._duration_s:
            self.pointed.emit(float(np.clip(at_s, 0.0, self._duration_s)))

    def _select(self, start_s: float, end_s: float) -> None:
        if self._duration_s:
            span = (max(0.0, start_s), min(self._duration_s, end_s))
            self.select(span)
            self.selected.emit(*span)

    def _span_moved(self) -> None:
        start, end = self._span.getRegion()
        self.selected.emit(float(start), float(end))

    @property
    def _pixels(self) -> int:
        return max(100, int(self.sound.vb.width()))

    def _make_room(self) -> None:
        """Leave room for the legend above the beliefs, where there is any."""
        height = max(1.0, float(self.beliefs.vb.height()))
        seen = height >= LEGEND_PIXELS
        self.curves.legend.setVisible(seen)
        top = height / (height - LEGEND_ROOM) if seen else 1.0
        self.beliefs.setYRange(0.0, top, padding=0.02)

    def _draw(self) -> None:
        """Draw what can be seen of the recording, and no more."""
        start, end = self.visible_s
        pixels = self._pixels
        if self._envelope is None:
            self._wave.setData([], [])
        else:
            reach = max(0.02, self._envelope.peak)
            self._wave.setData(*columns(self._envelope, start, end, pixels, reach / 150))
        spans = merged(visible_spans(self._speech, start, end), (end - start) / pixels)
        for shade in self._shades:
            shade.show_spans(spans)
        points = min(MOST_POINTS, pixels // PIXELS_PER_POINT)
        for i, curve in enumerate(self.curves.items):
            if self._stretch is None or len(self._stretch) == 0:
                curve.setData([], [])
            else:
                curve.setData(*visible_beliefs(self._stretch, i, start, end, points))
