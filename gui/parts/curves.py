"""Beliefs as curves over time, the same in every plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pyqtgraph as pg

from gui.theme import Theme, class_colours, class_dashes
from ser_stream.types import Float32, Float64


class BeliefCurves:
    """One curve per class in ``plot``, with a legend that needs no colour vision.

    Args:
        plot: a pyqtgraph PlotItem.
        offset: of the legend from the plot's corner, pixels.

    Attributes:
        items: the curves, in the order of the classes.
    """

    def __init__(self, plot: Any, offset: tuple[int, int]) -> None:
        self._plot = plot
        self.items: list[pg.PlotDataItem] = []
        self.legend = plot.addLegend(offset=offset, colCount=8, labelTextSize="9pt")
        plot.getAxis("left").setTicks([[(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")]])

    def set_labels(self, labels: Sequence[str], theme: Theme) -> None:
        """Another model's classes."""
        self.legend.clear()
        for curve in self.items:
            self._plot.removeItem(curve)
        # The legend takes HTML.
        self.items = [
            self._plot.plot(
                pen=pg.mkPen(colour, width=2, style=dash), name=escape(label), connect="finite"
            )
            for label, colour, dash in zip(
                labels, class_colours(labels), class_dashes(labels), strict=True
            )
        ]
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Write the legend in the colours of ``theme``."""
        self.legend.setLabelTextColor(theme.text)
        for _, label in self.legend.items:
            # Its colour is taken up with the next text.
            label.setText(label.text)

    def show(self, times_s: Float64, belief: Float32) -> None:
        """Draw beliefs (n, classes) at ``times_s`` (n,); NaN are gaps."""
        for i, curve in enumerate(self.items):
            curve.setData(times_s, belief[:, i])


def colour_axes(plots: Sequence[Any], theme: Theme) -> None:
    """Draw the axes of ``plots`` in the colours of ``theme``."""
    for plot in plots:
        for name in ("left", "bottom"):
            axis = plot.getAxis(name)
            axis.setPen(theme.grid)
            axis.setTextPen(theme.faint)
