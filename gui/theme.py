"""Colours and marks, light and dark; classes differ by more than colour.

Colours and dashes of classes are those of `ser_stream.labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette

from ser_stream.labels import emotions_of

PEN_STYLES = {
    "solid": Qt.PenStyle.SolidLine,
    "dash": Qt.PenStyle.DashLine,
    "dot": Qt.PenStyle.DotLine,
    "dash-dot": Qt.PenStyle.DashDotLine,
    "dash-dot-dot": Qt.PenStyle.DashDotDotLine,
}


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of what is not in the palette of the system."""

    dark: bool
    background: QColor
    text: QColor
    faint: QColor
    grid: QColor
    speech: QColor
    warning: QColor
    good: QColor


DARK = Theme(
    True,
    QColor("#1b1d21"), QColor("#f0f0f0"), QColor("#9aa0a8"), QColor("#3a3e45"),
    QColor(255, 255, 255, 22), QColor("#ff6b5e"), QColor("#4cc38a"),
)  # fmt: skip
LIGHT = Theme(
    False,
    QColor("#ffffff"), QColor("#16181c"), QColor("#5c636b"), QColor("#d5d9de"),
    QColor(0, 0, 0, 18), QColor("#b3261e"), QColor("#1b7f4d"),
)  # fmt: skip


def system_theme() -> Theme:
    """The theme that fits the system's colour scheme, or its palette where there is no scheme."""
    hints = QGuiApplication.styleHints()
    scheme = hints.colorScheme() if hints is not None else Qt.ColorScheme.Unknown
    if scheme == Qt.ColorScheme.Unknown:
        window = QGuiApplication.palette().color(QPalette.ColorRole.Window)
        return DARK if window.lightness() < 128 else LIGHT
    return DARK if scheme == Qt.ColorScheme.Dark else LIGHT


def palette(theme: Theme) -> QPalette:
    """The palette of all standard widgets in ``theme``."""
    raised = theme.background.lighter(135) if theme.dark else QColor("#f1f3f5")
    accent = QColor("#3d8bd4" if theme.dark else "#1f6fb8")
    roles = {
        QPalette.ColorRole.Window: theme.background,
        QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: QColor("#2a2d33") if theme.dark else theme.background,
        QPalette.ColorRole.AlternateBase: raised,
        QPalette.ColorRole.Text: theme.text,
        QPalette.ColorRole.Button: raised,
        QPalette.ColorRole.ButtonText: theme.text,
        QPalette.ColorRole.ToolTipBase: raised,
        QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.faint,
        QPalette.ColorRole.Highlight: accent,
        QPalette.ColorRole.HighlightedText: QColor("#ffffff"),
        QPalette.ColorRole.Link: accent,
        QPalette.ColorRole.BrightText: theme.warning,
    }
    made = QPalette()
    for role, colour in roles.items():
        made.setColor(role, colour)
    for role in (
        QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText,
    ):  # fmt: skip
        made.setColor(QPalette.ColorGroup.Disabled, role, theme.faint)
    return made


def class_colours(labels: Sequence[str]) -> list[QColor]:
    """A colour for each class."""
    return [QColor(emotion.colour) for emotion in emotions_of(labels)]


def class_dashes(labels: Sequence[str]) -> list[Qt.PenStyle]:
    """A dash pattern for each class."""
    return [PEN_STYLES[emotion.dash] for emotion in emotions_of(labels)]


def readable_on(colour: QColor) -> QColor:
    """Black or white, whichever can be read on ``colour`` (WCAG 2.2, relative luminance)."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    r, g, b = (linear(v) for v in (colour.redF(), colour.greenF(), colour.blueF()))
    luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return QColor("#000000") if luminance > 0.179 else QColor("#ffffff")
