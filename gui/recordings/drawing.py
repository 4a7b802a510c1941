"""What is drawn of a recording between two times: bands, the sound's outline, and the beliefs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QWidget

from gui.live.history import Stretch
from gui.recordings.envelope import Envelope
from ser_stream.types import Float32, Float64


class Shade(pg.GraphicsObject):
    """Upright bands behind a plot, as rectangles: filling the outline of many takes long."""

    def __init__(self) -> None:
        super().__init__()
        self._bands: list[QRectF] = []
        self._colour = QColor()

    def set_colour(self, colour: QColor) -> None:
        """Paint in ``colour`` from now on."""
        self._colour = colour
        self.update()

    def show_spans(self, spans: Float64) -> None:
        """Show bands from begin to end, (n, 2)."""
        self.prepareGeometryChange()
        self._bands = [QRectF(start, -2.0, end - start, 4.0) for start, end in spans.tolist()]
        self.update()

    def boundingRect(self) -> QRectF:  # noqa: N802 Qt's name
        if not self._bands:
            return QRectF()
        return self._bands[0].united(self._bands[-1])

    def paint(self, painter: QPainter, option: Any, widget: QWidget | None = None) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colour)
        painter.drawRects(self._bands)


def visible_spans(spans: Float64, start_s: float, end_s: float) -> Float64:
    """Those of the spans (n, 2) in s that reach into a stretch."""
    return spans[(spans[:, 1] > start_s) & (spans[:, 0] < end_s)]


def columns(
    envelope: Envelope, start_s: float, end_s: float, pixels: int, least: float
) -> tuple[Float64, Float32]:
    """Times in s, float64 (2 n,), and samples, float32 (2 n,), of n upright lines, one a pixel.

    Each line goes from one point to the next, and is at least ``least`` high, so that silence can
    be seen. Lines are drawn a hundred times faster than an outline is filled.
    """
    times, low, high = envelope.view(start_s, end_s, pixels)
    if 1 < len(times) < pixels:
        fine = np.linspace(times[0], times[-1], pixels + 1)
        low, high = (np.interp(fine, times, side).astype(np.float32) for side in (low, high))
        times = fine
    short = np.maximum(0.0, least - (high - low)).astype(np.float32) / 2
    ends = np.column_stack([low - short, high + short]).astype(np.float32)
    return np.repeat(times, 2), ends.ravel()


def visible_beliefs(
    stretch: Stretch, index: int, start_s: float, end_s: float, points: int
) -> tuple[Float64, Float32]:
    """Times in s, float64 (n,), and beliefs in class ``index``, float32 (n,), between two times.

    More than ``points`` of them are averaged in groups.
    """
    first, last = np.searchsorted(stretch.end_s, (start_s, end_s))
    first, last = max(0, int(first) - 1), min(len(stretch), int(last) + 1)
    group = -(-(last - first) // points)
    if group <= 1:
        return stretch.end_s[first:last], stretch.belief[first:last, index]
    # The same groups wherever the picture begins, so that panning does not make it flicker.
    first = first // group * group
    belief = stretch.belief[first:last, index]
    starts = np.arange(0, len(belief), group)
    known = np.isfinite(belief)
    counts = np.add.reduceat(known.astype(np.float32), starts)
    sums = np.add.reduceat(np.where(known, belief, np.float32(0.0)), starts)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    sizes = np.diff(np.append(starts, len(belief)))
    return np.add.reduceat(stretch.end_s[first:last], starts) / sizes, means
