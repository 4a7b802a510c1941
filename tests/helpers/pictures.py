"""What widgets look like."""

from __future__ import annotations

from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QWidget


def picture(widget: QWidget) -> QImage:
    """What ``widget`` looks like."""
    return widget.grab().toImage()


def count(image: QImage, colour: QColor) -> int:
    """Pixels of ``colour``."""
    wanted = colour.rgb()
    return sum(
        image.pixel(x, y) == wanted for x in range(image.width()) for y in range(image.height())
    )
