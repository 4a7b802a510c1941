"""The time axis of a recording: its ticks as a clock shows them, and the mouse along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt

STEPS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
TICK_PIXELS = 70


def clock_text(seconds: float, decimals: int = 0) -> str:
    """Seconds as m:ss or h:mm:ss."""
    ticks = round(max(0.0, seconds) * 10**decimals)
    whole, rest = divmod(ticks, 10**decimals)
    minutes, s = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
    return f"{text}.{rest:0{decimals}}" if decimals else text


class TimeAxis(pg.AxisItem):
    """Times as a clock shows them, at steps that fit clocks."""

    def tickSpacing(  # noqa: N802 pyqtgraph's name
        self,
        minVal: float,  # noqa: N803
        maxVal: float,  # noqa: N803
        size: float,
    ) -> list[tuple[float, float]]:
        least = (maxVal - minVal) * TICK_PIXELS / max(1.0, size)
        return [(next((s for s in STEPS_S if s >= least), STEPS_S[-1]), 0.0)]

    def tickStrings(  # noqa: N802 pyqtgraph's name
        self, values: Sequence[float], scale: float, spacing: float
    ) -> list[str]:
        decimals = 0 if spacing >= 1 else 1 if spacing >= 0.1 else 2
        return [clock_text(v, decimals) for v in values]


class TimeBox(pg.ViewBox):
    """Wheel zooms and dragging pans along time alone; shift-drag selects, a click points."""

    def __init__(
        self, point: Callable[[float], None], select: Callable[[float, float], None]
    ) -> None:
        super().__init__(enableMenu=False)
        self._point, self._select = point, select
        self.setMouseEnabled(x=True, y=False)

    def mouseClickEvent(self, ev: Any) -> None:  # noqa: N802 pyqtgraph's name
        if ev.button() == Qt.MouseButton.LeftButton:
            ev.accept()
            self._point(self._time(ev.scenePos()))

    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:  # noqa: N802
        if ev.button() != Qt.MouseButton.LeftButton:
            ev.ignore()
        elif ev.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            ev.accept()
            a, b = self._time(ev.buttonDownScenePos()), self._time(ev.scenePos())
            self._select(min(a, b), max(a, b))
        else:
            super().mouseDragEvent(ev, axis=axis)

    def _time(self, place: Any) -> float:
        return float(self.mapSceneToView(QPointF(place)).x())
