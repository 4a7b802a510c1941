"""Who listens for words, and with which vectors a model reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from gui.choices.recognizer import POCKETSPHINX, is_installed
from gui.jobs import Job
from gui.parts.forms import TextLabel, combo
from gui.parts.forms import tip as as_tip
from gui.settings import Settings
from ser_stream.models.bundle import ModelBundle
from ser_stream.words.reader import WordReader, open_reader

OFF = "Off"
FOLDER = "Folder..."
MOST_FOLDERS = 8
ABOUT_POCKETSPHINX = "US English, light, often wrong; it runs on this machine"
ABOUT_FOLDER = "a streaming transducer for sherpa-onnx; it runs on this machine"


class WordChoices(QWidget):
    """Choose who listens for words, and the word vectors of a model that reads them.

    The vectors are read in the background; `tick` takes them. Shown is a row about them, for models
    that read words only.

    Args:
        settings: where the choices are kept, vectors by what the model wants.
        report: told what is wrong with a file.

    Attributes:
        box: who listens; it belongs where the other choices are.
    """

    changed = Signal()

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._settings, self._report = settings, report
        self._bundle: ModelBundle | None = None
        self._reader: WordReader | None = None
        # The file of the reader, or of the one that is being made.
        self._path = Path()
        self._job: Job[WordReader | None] | None = None
        self.ask_for_folder: Callable[[], Path | None] = self._ask_for_folder
        self.ask_for_vectors: Callable[[], Path | None] = self._ask_for_vectors

        self.box = combo("words")
        self.box.setToolTip("Who listens for words; nobody does unless you ask")
        self.note = TextLabel("which word vectors")
        self.button = QPushButton("Word vectors...")
        self.button.setToolTip("Choose the file of word vectors that the model was trained with")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.note, 1)
        row.addWidget(self.button)
        self.hide()
        self._fill()
        self.box.activated.connect(self._chose)
        self.button.clicked.connect(self._choose_vectors)

    @property
    def recognizer(self) -> str:
        """Who listens, see `ser_stream.words.recognizers.make_asr`; empty for nobody."""
        return self.box.currentData()

    @property
    def reader(self) -> WordReader | None:
        """The vectors for the model; None where it reads no words, or they are not there (yet)."""
        return self._reader

    @property
    def for_recordings(self) -> str:
        """Who writes down what recordings say; empty where nobody does, or the model reads none."""
        return "" if self.reader is None else self.recognizer

    # Who listens

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
        """Add a choice that needs ``package``; it says so and cannot be taken without."""
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

    # Vectors

    def take_model(self, bundle: ModelBundle) -> None:
        """Read the vectors that were chosen for a model like ``bundle``, if it reads words."""
        self._bundle, self._reader, self._job = bundle, None, None
        self.setVisible(bundle.meta.words is not None)
        self._tell()
        name = self._settings.text(self._key(bundle))
        if bundle.meta.words is not None and name:
            self._read(bundle, Path(name))

    def _read(self, bundle: ModelBundle, path: Path) -> None:
        self._path = path
        self._job = Job(lambda control: open_reader(bundle, path))
        self._say(f"Reading {path.name}; the first time it takes a while")

    def _choose_vectors(self) -> None:
        path = self.ask_for_vectors()
        if path is not None and self._bundle is not None:
            self._read(self._bundle, path)

    def _ask_for_vectors(self) -> Path | None:
        words = None if self._bundle is None else self._bundle.meta.words
        wanted = words.vectors if words is not None and words.vectors else "word vectors"
        name, _ = QFileDialog.getOpenFileName(
            self, f"Open {wanted}", "", "Vectors (*.txt *.vec);;All files (*)"
        )
        return Path(name) if name else None

    @staticmethod
    def _key(bundle: ModelBundle) -> str:
        """Under which name the vectors are kept: models of the same vectors share it."""
        words = bundle.meta.words
        told = "" if words is None else words.digest or words.vectors
        return f"vectors {told or bundle.meta.name}"

    def tick(self) -> None:
        """Take the vectors that were read."""
        job, bundle = self._job, self._bundle
        if job is None or not job.done or bundle is None:
            return
        self._job = None
        if job.error is not None:
            self._tell()
            self._report(job.error)
            return
        self._reader = job.result
        self._settings.keep(self._key(bundle), str(self._path))
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        words = None if self._bundle is None else self._bundle.meta.words
        wanted = (words.vectors if words is not None else "") or "those of its training"
        have = "This model wants the word vectors" if self._reader is None else "Word vectors:"
        self._say(f"{have} {wanted}")

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.button.setAccessibleDescription(text)
