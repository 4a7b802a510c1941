"""A widget as a picture in a file."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QFile, QIODevice, QPoint, QRectF
from PySide6.QtGui import QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget


def save_picture(view: QWidget, path: Path) -> None:
    """Draw ``view`` into a .png, or into a .svg that stays sharp at any size.

    Raises:
        OSError: it cannot be written.
    """
    if path.suffix.lower() == ".svg":
        file = QFile(str(path))
        if not file.open(QIODevice.OpenModeFlag.WriteOnly):
            raise OSError(f"{path}: {file.errorString()}")
        generator = QSvgGenerator()
        generator.setOutputDevice(file)
        generator.setSize(view.size())
        generator.setViewBox(QRectF(0, 0, view.width(), view.height()))
        painter = QPainter(generator)
        view.render(painter, QPoint(0, 0))
        painter.end()
        file.close()
    elif not view.grab().save(str(path)):
        raise OSError(f"{path}: cannot write; name a .png or a .svg file")
