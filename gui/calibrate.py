"""The page on which the user reads a text aloud, which makes a profile of their voice."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from gui.choices.row import Choices
from gui.parts.forms import TextLabel
from gui.parts.views import LevelBar
from gui.theme import Theme
from ser_stream.audio.level import level_dbfs
from ser_stream.errors import AudioError, SerStreamError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import check_profiles
from ser_stream.profiles import (
    PASSAGE,
    WANTED_S,
    ProfileRecorder,
    forget,
    list_known,
    list_voices,
    profile_path,
    today,
    unlearn,
)
from ser_stream.types import AudioSource

# A calibration fails after this many times the speech that it needs.
PATIENCE = 4.0


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """How far a calibration is.

    Attributes:
        heard_s: audio so far, seconds.
        speech_s: speech so far, seconds.
        level_dbfs: of the newest block.
        advice: what is wrong with the level, if anything is.
    """

    heard_s: float = 0.0
    speech_s: float = 0.0
    level_dbfs: float = -120.0
    advice: str | None = None


class Calibration:
    """Take neutral speech on a thread of its own until there is enough, and save a profile.

    Args:
        open_source: makes the source, on the thread; it may raise.
        bundle: the model that the profile is for.
        name: of the profile.
        wanted_s: speech that is enough, seconds.
    """

    def __init__(
        self,
        open_source: Callable[[], AudioSource],
        bundle: ModelBundle,
        name: str,
        wanted_s: float = WANTED_S,
    ) -> None:
        check_profiles(bundle)
        self.path = profile_path(name)
        self.name = name
        self.wanted_s = wanted_s
        self.progress = CalibrationProgress()
        self.error: Exception | None = None
        self.saved = False
        self._open_source, self._bundle = open_source, bundle
        self._stop = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="calibration", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether it has ended: saved, failed or cancelled."""
        return self._ended.is_set()

    def cancel(self, timeout_s: float = 0.0) -> None:
        """End it without a profile."""
        self._stop.set()
        self._ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            with self._open_source() as source:
                recorder = self._listen(source)
            if not self._stop.is_set():
                recorder.finish(self.name, today()).save(self.path)
                self.saved = True
        except (SerStreamError, OSError) as error:
            self.error = error
        finally:
            self._ended.set()

    def _listen(self, source: AudioSource) -> ProfileRecorder:
        recorder = ProfileRecorder(self._bundle)
        for block in recorder.listen(source):
            if self._stop.is_set():
                break
            self.progress = CalibrationProgress(
                recorder.heard_s,
                recorder.speech_s,
                level_dbfs(block.samples),
                recorder.advice(),
            )
            if recorder.speech_s >= self.wanted_s:
                break
            if recorder.heard_s >= PATIENCE * self.wanted_s:
                raise AudioError(
                    f"only {recorder.speech_s:.0f} s of speech in {recorder.heard_s:.0f} s: read "
                    "on without long pauses, and check the microphone"
                )
        return recorder


class CalibratePage(QWidget):
    """Make, choose and delete profiles.

    Args:
        choices: the microphone and the model; a new profile is chosen there.
        report: called with errors that the user has to know of.
        before: called before the microphone is opened, as the live page must let go of it first;
            returns whether it has.
    """

    def __init__(
        self,
        choices: Choices,
        report: Callable[[Exception], None],
        before: Callable[[], bool] = lambda: True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._choices, self._report, self._before = choices, report, before
        self._calibration: Calibration | None = None
        self._waits_for: str | None = None

        intro = QLabel(
            "A profile tells the meter what your neutral voice sounds like. Give it a name, press "
            "Start, and read the text aloud in your everyday voice until the bar is full. Only "
            "statistics are kept, no sound."
        )
        intro.setWordWrap(True)
        self.passage = QLabel(PASSAGE)
        self.passage.setWordWrap(True)
        self.passage.setAccessibleName("text to read aloud")
        font = self.passage.font()
        font.setPointSizeF(1.25 * font.pointSizeF())
        self.passage.setFont(font)
        self.name_field = QLineEdit()
        self.name_field.setAccessibleName("name of the profile")
        self.name_field.setPlaceholderText("your name")
        self.name_field.setMaxLength(64)
        name = QLabel("&Name")
        name.setBuddy(self.name_field)
        self.start_button = QPushButton("St&art reading")
        self.cancel_button = QPushButton("&Cancel")
        self.bar = QProgressBar()
        self.bar.setAccessibleName("speech so far")
        self.bar.setRange(0, 1000)
        self.bar.setFormat("")
        self.level = LevelBar()
        self.result = TextLabel("result")
        self.list = QListWidget()
        self.list.setAccessibleName("profiles")
        known = QLabel("&Profiles")
        known.setBuddy(self.list)
        self.use_button = QPushButton("&Use")
        self.use_button.setToolTip("Listen with this profile")
        self.unlearn_button = QPushButton("Unlea&rn")
        self.unlearn_button.setToolTip("Take back what was learnt of this voice last")
        self.delete_button = QPushButton("Dele&te")
        self.delete_button.setToolTip("Delete the profile that is marked; press twice")
        self._lay_out(intro, name, known)

        self.start_button.clicked.connect(self.start)
        self.name_field.returnPressed.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        self.use_button.clicked.connect(self._use)
        self.list.itemActivated.connect(self._use)
        self.unlearn_button.clicked.connect(self._unlearn)
        self.delete_button.clicked.connect(self._delete)
        self.list.currentRowChanged.connect(self._marked)
        self.fill()
        self._enable()

    def _lay_out(self, intro: QLabel, name: QLabel, known: QLabel) -> None:
        row = QHBoxLayout()
        for widget, stretch in (
            (name, 0), (self.name_field, 1), (self.start_button, 0), (self.cancel_button, 0),
        ):  # fmt: skip
            row.addWidget(widget, stretch)
        left = QVBoxLayout()
        left.setSpacing(14)
        left.addWidget(intro)
        left.addLayout(row)
        left.addWidget(self.passage)
        left.addWidget(self.bar)
        left.addWidget(self.level)
        left.addWidget(self.result)
        left.addStretch(1)
        right = QVBoxLayout()
        right.addWidget(known)
        right.addWidget(self.list, 1)
        right.addWidget(self.use_button)
        right.addWidget(self._choices.learn_box)
        right.addWidget(self.unlearn_button)
        right.addWidget(self.delete_button)
        whole = QGridLayout(self)
        whole.addLayout(left, 0, 0)
        whole.addLayout(right, 0, 1)
        whole.setColumnStretch(0, 3)
        whole.setColumnStretch(1, 1)

    @property
    def is_listening(self) -> bool:
        """Whether a calibration runs, or is about to."""
        return self._waits_for is not None or (
            self._calibration is not None and not self._calibration.done
        )

    def start(self) -> None:
        """Begin a calibration for the profile whose name is in the field."""
        name = self.name_field.text().strip()
        bundle = self._choices.bundle
        if self.is_listening or bundle is None:
            return
        try:
            check_profiles(bundle)
            profile_path(name)
        except SerStreamError as error:
            self.result.setText(str(error))
            return
        self._waits_for = name
        self.result.setText("")
        self.tick()

    def cancel(self) -> None:
        """End the calibration without a profile."""
        self._waits_for = None
        if self._calibration is not None:
            self._calibration.cancel()
            self.result.setText("cancelled; nothing was kept")
            self._calibration = None
        self._enable()

    def shut_down(self) -> None:
        """End the calibration and wait for it."""
        if self._calibration is not None:
            self._calibration.cancel(timeout_s=5.0)

    def fill(self) -> None:
        """List the profiles anew."""
        self.list.clear()
        self.list.addItems(list_known())
        self._marked()

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self.level.set_theme(theme)

    def tick(self) -> None:
        """Draw how far the calibration is, and take its result."""
        bundle = self._choices.bundle
        if self._waits_for is not None and bundle is not None and self._before():
            source = self._choices.open_source()
            self._calibration = Calibration(source, bundle, self._waits_for)
            self._waits_for = None
            self._enable()
        running = self._calibration
        if running is None:
            return
        p = running.progress
        self.bar.setValue(round(1000 * min(1.0, p.speech_s / running.wanted_s)))
        self.bar.setFormat(f"{math.floor(p.speech_s)} of {running.wanted_s:g} s of speech")
        self.level.show_level(p.level_dbfs, p.heard_s)
        if not running.done:
            self.result.setText(p.advice or "")
            return
        self._calibration = None
        if running.saved:
            self.result.setText(
                f"Done: {running.name} is known from {p.speech_s:.0f} s of speech, and chosen."
            )
            self._choices.fill_profiles(choose=running.name)
            self.fill()
        else:
            self.result.setText(f"No profile was made: {running.error}")
        self._enable()

    def _enable(self) -> None:
        self.start_button.setEnabled(not self.is_listening)
        self.name_field.setEnabled(not self.is_listening)
        self.cancel_button.setEnabled(self.is_listening)

    def _marked(self) -> None:
        item = self.list.currentItem()
        marked = item is not None
        self.unlearn_button.setEnabled(item is not None and item.text() in list_voices())
        self.use_button.setEnabled(marked)
        self.delete_button.setEnabled(marked)
        self.delete_button.setText("Dele&te")

    def _use(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self._choices.fill_profiles(choose=item.text())

    def _unlearn(self) -> None:
        item = self.list.currentItem()
        if item is None:
            return
        name = item.text()
        try:
            left = unlearn(name)
        except SerStreamError as error:
            self._report(error)
            return
        self.result.setText(f"{name}: {'as it was before' if left else 'nothing learnt is left'}")
        self.fill()
        if self._choices.profile_box.currentData() == name:
            self._choices.fill_profiles(choose=name if name in list_known() else "")

    def _delete(self) -> None:
        item = self.list.currentItem()
        if item is None:
            return
        # The second press is the answer to "really?": no dialog is needed.
        if not self.delete_button.text().startswith("Really"):
            self.delete_button.setText("Really dele&te?")
            return
        name = item.text()
        try:
            forget(name)
        except SerStreamError as error:
            self._report(error)
        self.fill()
        gone = self._choices.profile_box.currentData() == name
        self._choices.fill_profiles(choose="" if gone else None)
