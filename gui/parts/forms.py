"""Fields and their labels."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QComboBox, QLabel, QWidget


def text_label(name: str) -> QLabel:
    """A label called ``name`` that wraps, for text that may quote files: tags show as they are."""
    label = QLabel()
    label.setAccessibleName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


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
    """A box called ``name`` that gives way where there is little room."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(4)
    return box
