"""A file that a model was trained with and that stays outside of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from gui.jobs import Job
from gui.parts.forms import TextLabel
from gui.settings import Settings
from ser_stream.models.bundle import ModelBundle

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model says about its file: the name, and the digest where it is known."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of files.

    Attributes:
        key: under which the settings keep them.
        title: what such a file is called, in the middle of a sentence.
        button: of the button that asks for one.
        files: Qt's filter for the dialog.
        wanted: what a model wants; None for models that take none.
        read: reads one for a model, on a thread of its own; raises what is wrong with it.
        patience: what to say while it is read, after its name.
    """

    key: str
    title: str
    button: str
    files: str
    wanted: Callable[[ModelBundle], Wanted | None]
    read: Callable[[ModelBundle, Path], T]
    patience: str = ""


class FileChoice(QWidget, Generic[T]):
    """Choose a file of one kind for the model; shown for models that want one only.

    It is read in the background; `tick` takes it. Models that want the same file share the choice.

    Args:
        kind: of the file.
        settings: where the choices are kept, by what the model wants.
        report: called with what is wrong with a file.

    Attributes:
        value: what was read; None where the model wants none, or it is not there (yet).
    """

    changed = Signal()

    def __init__(
        self,
        kind: Kind[T],
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._kind, self._settings, self._report = kind, settings, report
        self._bundle: ModelBundle | None = None
        self.value: T | None = None
        # The file of the value, or of the one that is being read.
        self._path = Path()
        self._job: Job[T] | None = None
        self.ask_for_file: Callable[[], Path | None] = self._ask_for_file
        self.note = TextLabel(f"which {kind.title}")
        self.button = QPushButton(kind.button)
        self.button.setToolTip(f"Choose the {kind.title} that the model was trained with")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.note, 1)
        row.addWidget(self.button)
        self.hide()
        self.button.clicked.connect(self._choose)

    def take_model(self, bundle: ModelBundle) -> None:
        """Read the file that was chosen for a model like ``bundle``, if it wants one."""
        self._bundle, self.value, self._job = bundle, None, None
        wanted = self._wanted
        self.setVisible(wanted is not None)
        if wanted is None:
            return
        self._tell()
        if name := self._settings.text(self._key(bundle, wanted)):
            self._read(bundle, Path(name))

    def tick(self) -> None:
        """Take the file that was read."""
        job, bundle, wanted = self._job, self._bundle, self._wanted
        if job is None or not job.done or bundle is None or wanted is None:
            return
        self._job = None
        if job.error is not None:
            self._tell()
            self._report(job.error)
            return
        self.value = job.result
        self._settings.keep(self._key(bundle, wanted), str(self._path))
        self._tell()
        self.changed.emit()

    @property
    def _wanted(self) -> Wanted | None:
        return None if self._bundle is None else self._kind.wanted(self._bundle)

    def _key(self, bundle: ModelBundle, wanted: Wanted) -> str:
        return f"{self._kind.key} {wanted.digest or wanted.name or bundle.meta.name}"

    def _read(self, bundle: ModelBundle, path: Path) -> None:
        self._path = path
        self._job = Job(lambda control: self._kind.read(bundle, path))
        self._say(f"Reading {path.name}{self._kind.patience}")

    def _choose(self) -> None:
        path = self.ask_for_file()
        if path is not None and self._bundle is not None:
            self._read(self._bundle, path)

    def _ask_for_file(self) -> Path | None:
        wanted = self._wanted
        name = wanted.name if wanted is not None else ""
        chosen, _ = QFileDialog.getOpenFileName(
            self, f"Open {name or self._kind.title}", "", self._kind.files
        )
        return Path(chosen) if chosen else None

    def _tell(self) -> None:
        wanted, title = self._wanted, self._kind.title
        name = (wanted.name if wanted is not None else "") or "of its training"
        has = f"{title[:1].upper()}{title[1:]}: {name}"
        self._say(f"This model wants the {title} {name}" if self.value is None else has)

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.button.setAccessibleDescription(text)
