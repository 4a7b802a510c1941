"""The recogniser of words, and the vectors with which a model reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QFileDialog, QWidget

from gui.choices.file import FileChoice, Kind, Wanted
from gui.choices.recognizer import POCKETSPHINX, is_installed
from gui.parts.forms import combo
from gui.parts.forms import tip as as_tip
from gui.settings import Settings
from ser_stream.models.bundle import ModelBundle
from ser_stream.words.reader import WordReader, open_reader

OFF = "Off"
FOLDER = "Folder..."
MOST_FOLDERS = 8
ABOUT_POCKETSPHINX = "US English, light, often wrong; it runs on this machine"
ABOUT_FOLDER = "a streaming transducer for sherpa-onnx; it runs on this machine"


def _wanted(bundle: ModelBundle) -> Wanted | None:
    words = bundle.meta.words
    return None if words is None else Wanted(words.vectors, words.digest)


VECTORS: Kind[WordReader | None] = Kind(
    "vectors",
    "word vectors",
    "Word vectors...",
    "Vectors (*.txt *.vec);;All files (*)",
    _wanted,
    open_reader,
    "; the first time it takes a while",
)


class WordChoices(FileChoice[WordReader | None]):
    """Choose the recogniser of words, and the word vectors of a model that reads them.

    Args:
        settings: where the choices are kept.
        report: called with what is wrong with a file.

    Attributes:
        box: the recognisers; it belongs where the other choices are.
        value: the vectors for the model; None where it reads no words, or they are not there (yet).
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(VECTORS, settings, report, parent)
        self.ask_for_folder: Callable[[], Path | None] = self._ask_for_folder
        self.box = combo("words")
        self.box.setToolTip("Who listens for words; nobody does unless you ask")
        self._fill()
        self.box.activated.connect(self._chose)

    @property
    def recognizer(self) -> str:
        """The recogniser, see `ser_stream.words.recognizers.make_asr`; empty for none."""
        return self.box.currentData()

    @property
    def for_recordings(self) -> str:
        """Who writes down what recordings say; empty where nobody does, or the model reads none."""
        return "" if self.value is None else self.recognizer

    # The recogniser

    def _fill(self) -> None:
        box = self.box
        box.clear()
        box.addItem(OFF, "")
        self._add(POCKETSPHINX, POCKETSPHINX, ABOUT_POCKETSPHINX, POCKETSPHINX)
        for folder in self._folders():
            self._add(Path(folder).name, folder, f"{folder}: {ABOUT_FOLDER}", "sherpa_onnx")
        self._add(FOLDER, FOLDER, ABOUT_FOLDER, "sherpa_onnx")
        chosen = box.findData(self._settings.text("words"))
        model = box.model()
        there = chosen > 0 and model.flags(model.index(chosen, 0)) & Qt.ItemFlag.ItemIsEnabled
        box.setCurrentIndex(chosen if there else 0)

    def _add(self, text: str, data: str, tip: str, package: str) -> None:
        """Add a choice that needs ``package``; without it the choice is disabled and says why."""
        box = self.box
        box.addItem(text, data)
        row = box.count() - 1
        model = box.model()
        if not is_installed(package) and isinstance(model, QStandardItemModel):
            model.item(row).setEnabled(False)
            tip = f"needs a package that is not installed: pip install {package.replace('_', '-')}"
        box.setItemData(row, as_tip(tip), Qt.ItemDataRole.ToolTipRole)
        box.setItemData(row, tip, Qt.ItemDataRole.AccessibleDescriptionRole)

    def _folders(self) -> list[str]:
        return list(filter(None, self._settings.text("word folders").split("\n")))

    def _chose(self) -> None:
        chosen = self.box.currentData()
        if chosen == FOLDER:
            folder = self.ask_for_folder()
            if folder is None:
                self._fill()
                return
            chosen = str(folder)
            known = [chosen, *(f for f in self._folders() if f != chosen)][:MOST_FOLDERS]
            self._settings.keep("word folders", "\n".join(known))
        if chosen != self._settings.text("words"):
            self._settings.keep("words", chosen)
            self._fill()
            self.changed.emit()
        else:
            self._fill()

    def _ask_for_folder(self) -> Path | None:
        name = QFileDialog.getExistingDirectory(self, "A streaming transducer for sherpa-onnx")
        return Path(name) if name else None
