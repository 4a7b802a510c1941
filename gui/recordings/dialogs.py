"""What the page of recordings asks the user for: files to open and files to write."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from gui.settings import Settings
from ser_stream.scoring.formats import named_formats
from ser_stream.scoring.manifest import FILE


class Dialogs:
    """The file dialogs, one method each; None or an empty list where the user cancelled.

    Args:
        parent: the widget that they belong to.
        settings: remembers the folder of recordings and the manifest.
    """

    def __init__(self, parent: QWidget, settings: Settings) -> None:
        self._parent, self._settings = parent, settings

    def choose_files(self) -> list[Path]:
        """Ask for recordings."""
        names, _ = QFileDialog.getOpenFileNames(self._parent, "Open recordings", self._folder)
        return [Path(name) for name in names]

    def choose_folder(self) -> Path | None:
        """Ask for a folder of recordings."""
        name = QFileDialog.getExistingDirectory(self._parent, "Open a folder", self._folder)
        return Path(name) if name else None

    def choose_export(self) -> Path | None:
        """Ask where the table is to be written."""
        start = str(Path(self._folder) / "scores.csv")
        kinds = {f"{name} (*{suffix})": suffix for suffix, name in named_formats().items()}
        name, kind = QFileDialog.getSaveFileName(self._parent, "Export", start, ";;".join(kinds))
        if not name:
            return None
        return Path(name) if Path(name).suffix else Path(name).with_suffix(kinds[kind])

    def choose_manifest(self) -> Path | None:
        """Ask for the file that corrections are kept in; one that exists is added to."""
        start = self._settings.text("recordings.manifest")
        name, _ = QFileDialog.getSaveFileName(
            self._parent,
            "Keep corrections in",
            start or str(Path(self._folder) / FILE),
            "CSV (*.csv)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        return Path(name) if name else None

    @property
    def _folder(self) -> str:
        return self._settings.text("recordings.folder", str(Path.home()))


def as_table(path: Path) -> Path:
    """``path``, as a .csv where its name has no ending."""
    return path if path.suffix else path.with_suffix(".csv")
