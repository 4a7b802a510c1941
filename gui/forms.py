"""Fields with their labels."""

from __future__ import annotations

from PySide6.QtWidgets import QBoxLayout, QLabel, QWidget


def add_labelled(row: QBoxLayout, text: str, field: QWidget, stretch: int = 0) -> None:
    """Add ``field`` to ``row`` behind a label whose key leads to it."""
    label = QLabel(text)
    label.setBuddy(field)
    row.addWidget(label)
    row.addWidget(field, stretch)
