"""Small painted views of the newest snapshot. They draw what they are given and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.theme import DARK, Theme, class_colours
from ser_stream.types import Float32

LEVEL_RANGE_DB = 60.0
# Louder than this, a peak is about to be cut off, and the warning stays for a while.
CLIP_DBFS = -3.0
CLIP_HOLD_S = 2.0


class Painted(QWidget):
    """A widget that paints itself from scratch in the colours of a theme."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = DARK

    def set_theme(self, theme: Theme) -> None:
        """Paint in the colours of ``theme`` from now on."""
        self.theme = theme
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.draw(painter, QRectF(self.rect()))
        painter.end()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Paint into ``area``."""
        raise NotImplementedError

    def font_of(self, pixels: float, bold: bool = False) -> QFont:
        """The widget's font at a height of ``pixels``."""
        font = QFont(self.font())
        font.setPixelSize(max(8, round(pixels)))
        font.setBold(bold)
        return font


class Headline(Painted):
    """What the voice sounds like, in large letters, and how sure that is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._detail = "", ""
        self._colour: QColor | None = None
        self.setMinimumSize(160, 52)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("what the voice sounds like")

    @property
    def text(self) -> str:
        """What is shown."""
        return self._text

    @property
    def detail(self) -> str:
        """The smaller line below."""
        return self._detail

    def show_label(self, text: str, detail: str, colour: QColor | None) -> None:
        """Show a class in its ``colour``, or a state, which has None."""
        if (text, detail, colour) == (self._text, self._detail, self._colour):
            return
        if text != self._text:
            self.setAccessibleDescription(f"{text} {detail}".strip())
        self._text, self._detail, self._colour = text, detail, colour
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 Qt's name
        return QSize(320, 84)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        height = area.height()
        font = self.font_of(0.52 * height, bold=True)
        wide = QFontMetricsF(font).horizontalAdvance(self._text or " ")
        if wide > 0.92 * area.width():
            font = self.font_of(0.52 * height * 0.92 * area.width() / wide, bold=True)
        painter.setFont(font)
        line = QRectF(area.left(), area.top() + 0.06 * height, area.width(), 0.62 * height)
        if self._colour is not None:
            # A stroke of the class's colour; the word itself stays as readable as text is.
            painter.fillRect(
                QRectF(area.left(), line.top() + 4, 6, line.height() - 8), self._colour
            )
            line.setLeft(line.left() + 16)
        painter.setPen(self.theme.text if self._colour is not None else self.theme.faint)
        painter.drawText(
            line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._text
        )
        painter.setFont(self.font_of(0.17 * height))
        painter.setPen(self.theme.faint)
        below = QRectF(line.left(), line.bottom(), area.right() - line.left(), 0.26 * height)
        painter.drawText(
            below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, self._detail
        )


class ClassBars(Painted):
    """One bar per class: how far the last seconds support it."""

    def __init__(self, labels: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._labels = tuple(labels)
        self._belief: Float32 | None = None
        self.setMinimumSize(160, 15 * len(self._labels))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("belief in each class")

    @property
    def belief(self) -> Float32 | None:
        """What is shown, (classes,)."""
        return self._belief

    def show_belief(self, belief: Float32 | None) -> None:
        """Show the belief (classes,); None empties the bars."""
        self._belief = belief
        self.update()

    def set_labels(self, labels: Sequence[str]) -> None:
        """Another model's classes."""
        self._labels, self._belief = tuple(labels), None
        self.setMinimumHeight(15 * len(self._labels))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 Qt's name
        return QSize(320, 22 * len(self._labels))

    def draw(self, painter: QPainter, area: QRectF) -> None:
        step = area.height() / max(1, len(self._labels))
        font = self.font_of(min(max(0.6 * step, 10.0), 18.0))
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        name = max(metrics.horizontalAdvance(label) for label in self._labels) + 10
        number = metrics.horizontalAdvance("100 %") + 8
        for i, (label, colour) in enumerate(
            zip(self._labels, class_colours(self._labels), strict=True)
        ):
            row = QRectF(area.left(), area.top() + i * step, area.width(), step)
            painter.setPen(self.theme.text)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(
                QRectF(row.left(), row.top(), name, step),
                middle | Qt.AlignmentFlag.AlignLeft,
                label,
            )
            bar = QRectF(
                row.left() + name, row.top() + 0.2 * step, row.width() - name - number, 0.6 * step
            )
            painter.fillRect(bar, self.theme.grid)
            if self._belief is None:
                continue
            share = float(np.clip(self._belief[i], 0.0, 1.0))
            painter.fillRect(
                QRectF(bar.left(), bar.top(), share * bar.width(), bar.height()), colour
            )
            painter.drawText(
                QRectF(bar.right(), row.top(), number, step),
                middle | Qt.AlignmentFlag.AlignRight,
                f"{100 * share:.0f} %",
            )


class LevelBar(Painted):
    """The input's level, and a warning where it is about to be cut off."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._level_dbfs = -120.0
        self._clipped_s = -np.inf
        self._now_s = 0.0
        self.setMinimumSize(120, 18)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("input level")

    @property
    def clipping(self) -> bool:
        """Whether the warning is shown."""
        return self._now_s - self._clipped_s < CLIP_HOLD_S

    def show_level(self, level_dbfs: float, now_s: float) -> None:
        """Show a root mean square level at the stream's time ``now_s``."""
        self._now_s = now_s
        if level_dbfs > CLIP_DBFS:
            self._clipped_s = now_s
        self._level_dbfs = level_dbfs
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 Qt's name
        return QSize(320, 20)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        painter.setFont(self.font_of(min(0.7 * area.height(), 14.0)))
        metrics = QFontMetricsF(painter.font())
        number = metrics.horizontalAdvance("-60 dBFS") + 8
        painter.setPen(self.theme.text)
        name = metrics.horizontalAdvance("neutral") + 10
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, "input")
        bar = QRectF(
            area.left() + name, area.top() + 4, area.width() - number - name, area.height() - 8
        )
        painter.fillRect(bar, self.theme.grid)
        share = float(np.clip(1.0 + self._level_dbfs / LEVEL_RANGE_DB, 0.0, 1.0))
        colour = self.theme.warning if self.clipping else self.theme.good
        painter.fillRect(QRectF(bar.left(), bar.top(), share * bar.width(), bar.height()), colour)
        painter.setPen(self.theme.warning if self.clipping else self.theme.faint)
        text = f"{max(self._level_dbfs, -99.0):.0f} dBFS"
        painter.drawText(
            QRectF(bar.right(), area.top(), number, area.height()),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight,
            "too loud" if self.clipping else text,
        )


class AffectPlane(Painted):
    """Valence and arousal, derived from the belief, with a trail that fades."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._trail = np.zeros((0, 2), dtype=np.float32)
        self.setMinimumSize(110, 110)
        self.setAccessibleName("derived valence and arousal")

    def show_trail(self, valence: Float32, arousal: Float32) -> None:
        """Show points (n,), the newest last, in [-1, 1]; NaN are left out."""
        points = np.column_stack([valence, arousal])
        self._trail = points[np.isfinite(points).all(axis=1)]
        self.update()

    @property
    def points(self) -> Float32:
        """What is shown, (n, 2)."""
        return self._trail

    def sizeHint(self) -> QSize:  # noqa: N802 Qt's name
        return QSize(170, 150)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        size = min(area.width(), area.height()) - 4
        square = QRectF(0, 0, size, size)
        square.moveCenter(area.center())
        middle = square.center()
        painter.setPen(QPen(self.theme.grid, 1))
        painter.drawEllipse(square)
        painter.drawLine(QPointF(square.left(), middle.y()), QPointF(square.right(), middle.y()))
        painter.drawLine(QPointF(middle.x(), square.top()), QPointF(middle.x(), square.bottom()))
        painter.setFont(self.font_of(min(0.065 * size, 13.0)))
        painter.setPen(self.theme.faint)
        centre = Qt.AlignmentFlag.AlignHCenter
        painter.drawText(square, centre | Qt.AlignmentFlag.AlignTop, "excited")
        painter.drawText(square, centre | Qt.AlignmentFlag.AlignBottom, "calm")
        left = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(square.adjusted(3, -10, 0, -10), left, "unpleasant")
        right = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        painter.drawText(square.adjusted(0, -10, -3, -10), right, "pleasant")
        n = len(self._trail)
        painter.setPen(Qt.PenStyle.NoPen)
        for k, (x, y) in enumerate(self._trail.tolist()):
            newest = k == n - 1
            colour = QColor(self.theme.text)
            colour.setAlphaF(1.0 if newest else 0.45 * (k + 1) / n)
            painter.setBrush(QBrush(colour))
            radius = 0.035 * size if newest else 0.015 * size
            at = QPointF(middle.x() + 0.5 * size * x, middle.y() - 0.5 * size * y)
            painter.drawEllipse(at, radius, radius)
