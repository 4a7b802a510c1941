"""Fields and their labels."""

from __future__ import annotations

from PySide6.QtWidgets import QBoxLayout, QComboBox, QLabel, QWidget


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
