"""Microphone, model, profile and recogniser: the row of choices above every page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from gui.choices.file import FileChoice
from gui.choices.recognizer import listen_for_words
from gui.choices.speaker import EMBEDDER
from gui.choices.words import WordChoices
from gui.jobs import Job
from gui.parts.forms import add_labelled, combo, tip
from gui.settings import Settings
from ser_stream.audio.devices import Device, list_devices
from ser_stream.audio.microphone import BLOCK_S, Microphone
from ser_stream.audio.sound_file import FileSource, demo_path
from ser_stream.audio.sources import PacedSource
from ser_stream.errors import DeviceError, SerStreamError
from ser_stream.models.bundle import ModelBundle, default_model_path
from ser_stream.models.profile import Profile
from ser_stream.profiles import list_known, load_known
from ser_stream.stream.listening import Listening
from ser_stream.typed import typed
from ser_stream.types import AudioSource

DEFAULT_INPUT = "Default microphone"
DEMO = "Demo clip (no microphone)"
NO_PROFILE = "No profile"
SHIPPED = "Shipped model"
OPEN_MODEL = "Open a model..."
# Looking for devices from another process takes a second at most, unless something is broken.
LISTING_TIMEOUT_S = 20.0


def demo_source() -> AudioSource:
    """The clip that ships with the package, in real time."""
    return PacedSource(FileSource(demo_path(), BLOCK_S))


def present_devices(listening: bool) -> list[Device]:
    """List input devices as they are now, also while one is open (``listening``).

    PortAudio cannot look again without ending its streams, so then another process does.

    Raises:
        DeviceError: PortAudio is missing or does not answer.
    """
    if not listening:
        return list_devices(fresh=True)
    command = [sys.executable, "-m", "ser_stream.cli", "devices", "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LISTING_TIMEOUT_S, check=True
        )
        return [typed(row, Device) for row in json.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        raise DeviceError(f"cannot look for microphones: {error}") from error


class Choices(QWidget):
    """Choose a microphone by its name, a model, a profile, the recogniser of words, and files.

    The tick `learn_box` has no room here: the page of profiles shows it.

    Looking for devices and reading a model happen in the background; `tick` takes what they found.
    """

    device_changed = Signal()
    bundle_changed = Signal()
    profile_changed = Signal()
    learning_changed = Signal()

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Exception], None],
        is_listening: Callable[[], bool] = lambda: False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._settings, self._report, self._is_listening = settings, report, is_listening
        self._devices: list[Device] = []
        self._wanted_name: str | None = None
        self._listing: Job[list[Device]] | None = None
        self._loading: Job[ModelBundle] | None = None
        # Without any model the shipped one is tried, once.
        self._fell_back = False
        self._bundle: ModelBundle | None = None
        self._profile: Profile | None = None
        self._voice: Profile | None = None
        # The chosen voice, for which `learn_box` was ticked or not.
        self._ticked_for: str | None = None
        self.ask_for_model: Callable[[], Path | None] = self._ask_for_model

        self.device_box = combo("microphone")
        self.model_box = combo("model")
        self.profile_box = combo("profile")
        self.learn_box = QCheckBox("Learn the ch&osen voice")
        self.learn_box.setToolTip(
            "When the stream ends, keep what was heard of this voice, as statistics; "
            "the next stream begins with it"
        )
        self.learn_box.setAccessibleName("learn the voice of the profile")
        self.words = WordChoices(settings, report)
        self.speaker = FileChoice(EMBEDDER, settings, report)
        self.refresh = QToolButton()
        self.refresh.setText("⟳")
        self.refresh.setToolTip("Look for microphones again (F5)")
        self.refresh.setAccessibleName("look for microphones again")
        self.refresh.setShortcut("F5")
        row = QHBoxLayout()
        for text, box, stretch in (
            ("&Microphone", self.device_box, 3),
            ("Mo&del", self.model_box, 2),
            ("Profil&e", self.profile_box, 2),
            ("&Words", self.words.box, 2),
        ):
            add_labelled(row, text, box, stretch)
            if box is self.device_box:
                row.addWidget(self.refresh)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(row)
        whole.addWidget(self.words)
        whole.addWidget(self.speaker)

        self._fill_devices()
        self._fill_models()
        self.fill_profiles()
        self._take_profile()
        self.device_box.activated.connect(self._chose_device)
        self.model_box.activated.connect(self._chose_model)
        self.profile_box.activated.connect(self._chose_profile)
        self.learn_box.toggled.connect(self.learning_changed)
        self.refresh.clicked.connect(self.look_for_devices)

    # What is chosen

    @property
    def device(self) -> Device | None:
        """The chosen device; None for the default one and for the demo clip."""
        chosen = self.device_box.currentData()
        return chosen if isinstance(chosen, Device) else None

    @property
    def source_name(self) -> str:
        """What the chosen source is called here."""
        return self.device_box.currentText()

    @property
    def waits(self) -> bool:
        """Whether a device that was asked for by name is still looked for."""
        return self._wanted_name is not None

    def open_source(self) -> Callable[[], AudioSource]:
        """What opens the chosen source; a lost device is waited for as long as it takes."""
        if self.device_box.currentData() == DEMO:
            return demo_source
        device = self.device
        return lambda: Microphone(device, reopen_s=float("inf"))

    @property
    def bundle(self) -> ModelBundle | None:
        """The model; None until it is read."""
        return self._bundle

    @property
    def profile(self) -> Profile | None:
        """The chosen profile."""
        return self._profile

    @property
    def learns(self) -> str | None:
        """Name of the voice that the stream is to learn; None if it is to learn nothing."""
        return self._ticked_for if self.learn_box.isChecked() else None

    @property
    def listening(self) -> Listening | None:
        """All that is chosen but the source; None until the model is read."""
        if self._bundle is None:
            return None
        name = self.words.recognizer
        return Listening(
            self._bundle,
            profile=self._profile,
            voice=self._voice,
            reader=self.words.value,
            embedder=self.speaker.value,
            open_words=(lambda rate: listen_for_words(name, rate)) if name else None,
        )

    # Devices

    def look_for_devices(self) -> None:
        """List the devices anew in the background."""
        if self._listing is None:
            listening = self._is_listening()
            self.refresh.setEnabled(False)
            self._listing = Job(lambda control: present_devices(listening))

    def choose_demo(self) -> None:
        """Choose the clip that ships with the package."""
        self.device_box.setCurrentIndex(self.device_box.findData(DEMO))
        self._chose_device()

    def want_device(self, text: str) -> None:
        """Choose the first device whose name contains ``text``, once they are listed."""
        self._wanted_name = text
        self.look_for_devices()

    def _choose_wanted(self) -> None:
        text, self._wanted_name = self._wanted_name, None
        if text is None:
            return
        for i in range(self.device_box.count()):
            device = self.device_box.itemData(i)
            if isinstance(device, Device) and text.casefold() in device.name.casefold():
                self.device_box.setCurrentIndex(i)
                self._chose_device()
                return
        self._report(DeviceError(f"no input device {text!r}"))

    def _fill_devices(self) -> None:
        wanted = (self._settings.text("device"), self._settings.text("host api"))
        box = self.device_box
        box.clear()
        box.addItem(DEFAULT_INPUT, None)
        names = [d.name for d in self._devices]
        for device in self._devices:
            twice = names.count(device.name) > 1
            box.addItem(f"{device.name} ({device.host_api})" if twice else device.name, device)
            if (device.name, device.host_api) == wanted:
                box.setCurrentIndex(box.count() - 1)
        box.addItem(DEMO, DEMO)
        if wanted[0] == DEMO:
            box.setCurrentIndex(box.count() - 1)
        elif wanted[0] and box.currentIndex() == 0:
            # Still wanted when it is back: opening it reports that it is not there.
            box.insertItem(1, f"{wanted[0]} (not there)", Device(-1, *wanted, 1, 0, False))
            box.setCurrentIndex(1)

    def _chose_device(self) -> None:
        chosen = self.device_box.currentData()
        known = isinstance(chosen, Device)
        name = chosen.name if known else DEMO if chosen == DEMO else ""
        api = chosen.host_api if known else ""
        if (name, api) != (self._settings.text("device"), self._settings.text("host api")):
            self._settings.keep("device", name)
            self._settings.keep("host api", api)
            self.device_changed.emit()

    # Model

    def load_model(self, path: Path | None) -> None:
        """Read a model in the background; None is the shipped one."""
        self.model_box.setEnabled(False)
        self._loading = Job(lambda control: ModelBundle.load(path))

    def _fill_models(self) -> None:
        box, current = self.model_box, self._settings.text("model")
        box.clear()
        box.addItem(SHIPPED, "")
        for path in filter(None, self._settings.text("models").split("\n")):
            box.addItem(Path(path).stem, path)
            box.setItemData(box.count() - 1, tip(path), 3)  # Qt.ToolTipRole
        box.addItem(OPEN_MODEL, OPEN_MODEL)
        box.setCurrentIndex(max(0, box.findData(current)))

    def _chose_model(self) -> None:
        chosen = self.model_box.currentData()
        path = self.ask_for_model() if chosen == OPEN_MODEL else Path(chosen) if chosen else None
        if path is None and chosen == OPEN_MODEL:
            self._fill_models()
        else:
            self.load_model(path)

    def _ask_for_model(self) -> Path | None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a model", "", "Models (*.onnx)")
        return Path(name) if name else None

    def _loaded(self, bundle: ModelBundle) -> None:
        shipped = bundle.path == default_model_path()
        path = "" if shipped else str(bundle.path)
        known = list(filter(None, self._settings.text("models").split("\n")))
        if path:
            known = [path, *(p for p in known if p != path)][:8]
            self._settings.keep("models", "\n".join(known))
        self._settings.keep("model", path)
        self._bundle = bundle
        self._fill_models()
        self._take_profile()
        self.words.take_model(bundle)
        self.speaker.take_model(bundle)
        self.bundle_changed.emit()

    # Profile

    def fill_profiles(self, choose: str | None = None) -> None:
        """List the profiles anew, and choose one."""
        if choose is not None:
            self._settings.keep("profile", choose)
        box, current = self.profile_box, self._settings.text("profile")
        box.clear()
        box.addItem(NO_PROFILE, "")
        for name in list_known():
            box.addItem(name, name)
        box.setCurrentIndex(max(0, box.findData(current)))
        if choose is not None:
            self._take_profile()
            self.profile_changed.emit()

    def _chose_profile(self) -> None:
        self._settings.keep("profile", self.profile_box.currentData())
        self._take_profile()
        self.profile_changed.emit()

    def take_learnt(self) -> None:
        """Go by what was learnt since, from the next stream on."""
        self._take_profile()

    def _take_profile(self) -> None:
        self._profile = self._voice = None
        name = self.profile_box.currentData()
        if name and self._bundle is not None:
            try:
                self._profile, self._voice = load_known(name, self._bundle)
            except SerStreamError as error:
                self.profile_box.setCurrentIndex(0)
                self._report(error)
        name = self.profile_box.currentData() or None
        self.learn_box.setEnabled(name is not None)
        if name != self._ticked_for:
            # Learning is asked for anew with every voice; the stream that runs keeps its own.
            self._ticked_for = name
            with QSignalBlocker(self.learn_box):
                self.learn_box.setChecked(False)

    def tick(self) -> None:
        """Take what the background has found."""
        self.words.tick()
        self.speaker.tick()
        listing, loading = self._listing, self._loading
        if listing is not None and listing.done:
            self._listing = None
            self.refresh.setEnabled(True)
            if listing.error is not None:
                self._report(listing.error)
            else:
                self._devices = listing.result or []
                self._fill_devices()
                self._choose_wanted()
        if loading is not None and loading.done:
            self._loading = None
            self.model_box.setEnabled(True)
            if loading.error is not None:
                self._fill_models()
                self._report(loading.error)
                if self._bundle is None and not self._fell_back:
                    self._fell_back = True
                    self.load_model(None)
            elif loading.result is not None:
                self._loaded(loading.result)
