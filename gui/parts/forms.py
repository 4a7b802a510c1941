"""Fields and their labels."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)


class TextLabel(QLabel):
    """A label called ``name`` that wraps, for text that may quote files: tags show as they are."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)


def tip(text: str) -> str:
    """``text`` for a tool tip, which would take some of it for HTML."""
    return f"<qt>{escape(text)}</qt>" if "<" in text else text


def add_labelled(row: QBoxLayout, text: str, field: QWidget, stretch: int = 0) -> None:
    """Add ``field`` to ``row`` behind a label whose key leads to it."""
    label = QLabel(text)
    label.setBuddy(field)
    row.addWidget(label)
    row.addWidget(field, stretch)


def combo(name: str) -> QComboBox:
    """A box called ``name`` that shrinks where there is little room."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(4)
    return box


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """``widgets`` beside each other, without margins."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return row


def narrow_button(text: str, tip: str, name: str = "") -> QPushButton:
    """A button as wide as its text, narrower than styles make them, for small screens."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(name or text.replace("&", "").rstrip("."))
    width = button.fontMetrics().horizontalAdvance(text.replace("&", "")) + 26
    button.setFixedWidth(max(32, width))
    return button


def command_button(text: str, tip: str, shortcut: str = "") -> QPushButton:
    """A button with a tool tip that screen readers say too, and a key."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleDescription(tip)
    if shortcut:
        button.setShortcut(shortcut)
    button.setMinimumWidth(60)
    button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return button
