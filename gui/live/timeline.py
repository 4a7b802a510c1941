"""The last minute on one time axis: posteriors, where speech was, the sound, and its words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QVBoxLayout, QWidget

from gui.live.history import STATES, Stretch
from gui.live.spectrogram import COLUMN_S, SPECTROGRAM
from gui.live.word_strip import WordStrip
from gui.parts.curves import BeliefCurves, colour_axes
from gui.theme import DARK, Theme
from ser_stream.types import Float32, State

AXIS_WIDTH = 46
# What is this much softer than the loudest sound in view is drawn as silence, dB.
SPECTRUM_RANGE_DB = 70.0
# The loudest in view counts as this loud at least, so that a quiet room's hiss stays dark.
SPECTRUM_LEAST_DB = -10.0


class TimelinePlot(QWidget):
    """Beliefs over time above the log-mel spectrogram; both share the axis, whose end is now.

    Args:
        labels: classes.
        seconds: width of the axis.

    Attributes:
        words: below both, on the same axis; hidden while no recogniser runs.
    """

    def __init__(
        self, labels: Sequence[str], seconds: float = 60.0, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.seconds = seconds
        self._view = pg.GraphicsView()
        plots: Any = pg.GraphicsLayout()
        self._view.setCentralItem(plots)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.words = WordStrip(seconds, self._axis)
        self.words.hide()
        layout.addWidget(self._view, 4)
        layout.addWidget(self.words, 1)
        # Any: PlotItem gets many of its methods only when it is made.
        self.beliefs: Any = plots.addPlot(row=0, col=0)
        self.sound: Any = plots.addPlot(row=1, col=0)
        plots.layout.setRowStretchFactor(0, 3)
        plots.layout.setRowStretchFactor(1, 2)
        for plot in (self.beliefs, self.sound):
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.setMouseEnabled(x=False, y=False)
            plot.getAxis("left").setWidth(AXIS_WIDTH)
        self.sound.setXLink(self.beliefs)
        self.beliefs.setYRange(0.0, 1.0, padding=0.02)
        self.beliefs.getAxis("bottom").setStyle(showValues=False)
        self.sound.setYRange(0, SPECTROGRAM.n_mels, padding=0)
        self.sound.getAxis("left").setTicks([_band_ticks()])
        self.beliefs.setXRange(-seconds, 0.0, padding=0)
        steps = np.linspace(-seconds, 0.0, 7)
        ticks = [(float(t), f"{t:.0f} s" if t else "now") for t in steps]
        for plot in (self.beliefs, self.sound):
            plot.getAxis("bottom").setTicks([ticks])
            plot.getAxis("bottom").setStyle(hideOverlappingLabels=False)
        plots.setContentsMargins(0, 5, 14, 0)
        self._speech = pg.PlotCurveItem(fillLevel=0.0, pen=None, stepMode="left")
        self.beliefs.addItem(self._speech)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setColorMap("magma")
        self.sound.addItem(self._image)
        self._theme = DARK
        self.curves = BeliefCurves(self.beliefs, offset=(8, 4))
        self.set_labels(labels)
        self.setAccessibleName("the last minute: belief in each class, speech, and the sound")

    def set_labels(self, labels: Sequence[str]) -> None:
        """Another model's classes."""
        self.curves.set_labels(labels, self._theme)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self._theme = theme
        self._view.setBackground(theme.background)
        colour_axes((self.beliefs, self.sound), theme)
        self._speech.setBrush(theme.speech)
        self.curves.set_theme(theme)
        self.words.set_theme(theme)

    def _axis(self) -> tuple[float, float]:
        # The scene is as large as its view, pixel by pixel.
        area = self.sound.getViewBox().sceneBoundingRect()
        return area.left(), area.right()

    def show_stretch(self, stretch: Stretch, columns: tuple[float, Float32], now_s: float) -> None:
        """Draw ``stretch``, and (begin in s, columns) of a spectrogram, up to ``now_s``."""
        ago_s = stretch.end_s - now_s
        self.curves.show(ago_s, stretch.belief)
        judged = np.isfinite(stretch.speech)
        speech = np.where(judged & (stretch.state != STATES.index(State.NO_SPEECH)), 1.0, 0.0)
        self._speech.setData(np.append(ago_s, 0.0), np.append(speech, 0.0))
        begin, spectrum = columns
        self._image.setVisible(len(spectrum) > 0)
        if len(spectrum):
            known = spectrum[np.isfinite(spectrum[:, 0])]
            loudest = max(SPECTRUM_LEAST_DB, float(known.max()) if len(known) else -math.inf)
            self._image.setImage(
                spectrum.T, autoLevels=False, levels=(loudest - SPECTRUM_RANGE_DB, loudest)
            )
            width_s = len(spectrum) * COLUMN_S
            self._image.setRect(QRectF(begin - now_s, 0, width_s, SPECTROGRAM.n_mels))


def _band_ticks() -> list[tuple[float, str]]:
    from ser_stream.features.mel import hz_to_mel

    low, high = (float(hz_to_mel(f)) for f in (SPECTROGRAM.f_min_hz, SPECTROGRAM.f_max_hz))
    # A band's place is where its triangle peaks.
    steps = (SPECTROGRAM.n_mels + 1) / (high - low)
    return [
        ((float(hz_to_mel(1000.0 * khz)) - low) * steps - 0.5, f"{khz:g} k") for khz in (1.0, 4.0)
    ]
