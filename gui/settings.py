"""What the window remembers: one INI file beside the user's profiles."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from ser_stream.files import config_folder


class Settings:
    """Text and states by name, kept from one start to the next.

    Args:
        path: the file; the user's own without.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = config_folder() / "window.ini" if path is None else path
        self._store = QSettings(str(self.path), QSettings.Format.IniFormat)

    def text(self, name: str, default: str = "") -> str:
        """What was kept under ``name``."""
        value = self._store.value(name, default)
        return value if isinstance(value, str) else default

    def flag(self, name: str, default: bool) -> bool:
        """The same for yes and no."""
        return self.text(name, "yes" if default else "no") == "yes"

    def state(self, name: str) -> QByteArray:
        """The same for a widget's state; empty if there is none."""
        value = self._store.value(name)
        return value if isinstance(value, QByteArray) else QByteArray()

    def keep(self, name: str, value: str | bool | QByteArray) -> None:
        """Remember ``value`` under ``name``."""
        if isinstance(value, bool):
            value = "yes" if value else "no"
        self._store.setValue(name, value)

    def save(self) -> None:
        """Write the file now; a place that cannot be written is no reason to stop."""
        self._store.sync()
