"""The live page: what the voice sounds like now, and what it was in the last minute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from gui.choices.row import Choices
from gui.live.figures import Figures
from gui.live.history import History
from gui.live.record_controls import RecordControls
from gui.live.spectrogram import COLUMN_S, Spectrogram
from gui.live.stream import LiveStream, Status, StreamState
from gui.live.texts import START_HINT, describe, words_note
from gui.live.timeline import TimelinePlot
from gui.parts.forms import TextLabel, command_button
from gui.parts.picture import save_picture
from gui.parts.views import AffectPlane, ClassBars, Headline, LevelBar
from gui.settings import Settings
from gui.theme import Theme, class_colours
from ser_stream.types import Prediction

TRAIL_S = 4.0
# The trail is drawn from this many points at most.
TRAIL_POINTS = 40
EMPTY_S = 60.0


class LivePage(QWidget):
    """Start, pause and stop a stream; draw its newest state; record it.

    Args:
        choices: what is listened to.
        settings: the folder of recordings is kept there.
        report: called with errors that the user has to know of.
    """

    def __init__(
        self,
        choices: Choices,
        settings: Settings,
        report: Callable[[Exception], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._choices, self._report = choices, report
        self._stream: LiveStream | None = None
        self._learnt_of: LiveStream | None = None
        self._history: History | None = None
        self._spectrogram: Spectrogram | None = None
        self._wanted = False
        self._goes_on = False
        self._reported: Exception | None = None
        self._shown: tuple[Prediction | None, StreamState] | None = None
        self._drawn_s = 0.0
        self.ask_for_picture: Callable[[Path], Path | None] = self._ask_for_picture

        labels: Sequence[str] = ("",)
        self.headline = Headline()
        self.bars = ClassBars(labels)
        self.level = LevelBar()
        self.plane = AffectPlane()
        self.timeline = TimelinePlot(labels, EMPTY_S)
        self.figures = Figures()
        self.note = TextLabel("what is wrong with the words")
        self.note.hide()
        self.start_button = command_button("&Start", "Listen (Ctrl+Space)", "Ctrl+Space")
        self.pause_button = command_button("&Pause", "Hear nothing for a while (Ctrl+P)", "Ctrl+P")
        self.pause_button.setCheckable(True)
        self.stop_button = command_button("S&top", "Stop listening (Ctrl+.)", "Ctrl+.")
        self.record = RecordControls(settings, report, self)
        self.picture_button = command_button("P&icture...", "Save the timeline (Ctrl+S)", "Ctrl+S")
        self._lay_out()
        self.start_button.clicked.connect(self.start)
        self.pause_button.toggled.connect(self._pause)
        self.stop_button.clicked.connect(self.stop)
        self.picture_button.clicked.connect(self._save_picture)
        choices.device_changed.connect(self._start_again)
        choices.profile_changed.connect(self._start_again)
        choices.learning_changed.connect(self._take_learning)
        choices.words.changed.connect(self._start_again)
        choices.speaker.changed.connect(self._start_again)
        choices.bundle_changed.connect(self._take_bundle)
        self._enable(None)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.start_button, self.pause_button, self.stop_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        for widget in (*self.record.widgets, self.picture_button):
            buttons.addWidget(widget)
        now = QGridLayout()
        now.addWidget(self.headline, 0, 0)
        now.addWidget(self.bars, 1, 0)
        now.addWidget(self.level, 2, 0)
        now.addWidget(self.plane, 0, 1, 3, 1)
        now.setRowStretch(0, 4)
        now.setRowStretch(1, 5)
        now.setColumnStretch(0, 5)
        now.setColumnStretch(1, 2)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(9, 6, 9, 4)
        whole.addLayout(buttons)
        whole.addLayout(now, 3)
        whole.addWidget(self.timeline, 4)
        whole.addWidget(self.note)
        whole.addWidget(self.figures)

    # The stream

    @property
    def stream(self) -> LiveStream | None:
        """The stream that runs, or ran last."""
        return self._stream

    @property
    def is_listening(self) -> bool:
        """Whether a source is open or about to be."""
        return self._stream is not None and self._stream.status.running

    def start(self) -> None:
        """Listen, as soon as the model is read and an earlier stream has ended."""
        self._wanted = True
        self.tick()

    def stop(self) -> None:
        """Stop listening; the next start begins a new history."""
        self._wanted = self._goes_on = False
        if self._stream is not None:
            self._stream.ask_to_stop()

    def shut_down(self) -> None:
        """Stop and wait for the end."""
        self.stop()
        if self._stream is not None:
            self._stream.stop()

    def _start_again(self) -> None:
        """Listen to what is chosen now, in the same history."""
        if self.is_listening:
            self._wanted = self._goes_on = True
            if self._stream is not None:
                self._stream.ask_to_stop()

    def _take_bundle(self) -> None:
        bundle = self._choices.bundle
        if bundle is None:
            return
        labels = bundle.meta.labels
        self.bars.set_labels(labels)
        self.timeline.set_labels(labels)
        self._start_again()
        # Another model's classes do not go on in the same curves.
        self._goes_on = False

    def _begin(self) -> None:
        listening, old = self._choices.listening, self._stream
        if listening is None or self.is_listening or self._choices.waits:
            return
        if old is not None:
            self._report_errors(old, old.status)
        origin_s = 0.0
        if self._goes_on and old is not None and self._history is not None:
            origin_s = math.ceil(old.now_s / COLUMN_S) * COLUMN_S
            # Its words stay, also those that came while another page was seen.
            self._show_words(old, old.status)
        else:
            self.timeline.words.clear()
            meta = listening.bundle.meta
            self._history = History(meta.labels, meta.sample_rate_hz)
            self._spectrogram = Spectrogram(meta.sample_rate_hz, EMPTY_S)
        self._wanted = self._goes_on = False
        self._stream = LiveStream(
            self._choices.open_source(), listening, self._history, self._spectrogram, origin_s
        )
        self._stream.learns = self._choices.learns
        self.pause_button.setChecked(False)
        self._stream.start()

    def _take_learning(self) -> None:
        if self._stream is not None:
            self._stream.learns = self._choices.learns

    def _pause(self, paused: bool) -> None:
        self.pause_button.setText("&Go on" if paused else "&Pause")
        if self._stream is not None:
            if paused:
                self._stream.pause()
            else:
                self._stream.resume()

    # The picture

    def _save_picture(self) -> None:
        name = datetime.now().strftime("%Y-%m-%d %H.%M.%S.png")
        path = self.ask_for_picture(self.record.folder / name)
        if path is not None:
            try:
                save_picture(self.timeline, path)
            except OSError as error:
                self._report(error)

    def _ask_for_picture(self, proposal: Path) -> Path | None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the timeline", str(proposal), "Pictures (*.png *.svg)"
        )
        return Path(name) if name else None

    # Drawing

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        for view in (self.headline, self.bars, self.level, self.plane, self.timeline):
            view.set_theme(theme)
        self._shown = None

    def tick(self) -> None:
        """Draw what is new."""
        old = self._stream
        if old is not None and old.learnt is not None and old is not self._learnt_of:
            # Before the next stream, which begins with it.
            self._learnt_of = old
            self._choices.take_learnt()
        if self._wanted and not self.is_listening:
            self._begin()
        stream = self._stream
        if stream is None:
            self._enable(None)
            waits = self._choices.bundle is None
            text = "reading the model" if waits else START_HINT
            self.headline.show_label("starting" if waits else "stopped", text, None)
            return
        status = stream.status
        self._report_errors(stream, status)
        if not self.isVisible():
            # Errors are reported on every page; the rest is drawn only while it is visible.
            return
        self._enable(status)
        labels = stream.listening.bundle.meta.labels
        text, detail, label = describe(
            status, labels, stream.source_name or self._choices.source_name
        )
        colour = None if label is None else class_colours(labels)[labels.index(label)]
        self.headline.show_label(text, detail, colour)
        snapshot = status.snapshot
        listening = status.state is StreamState.LISTENING
        self.level.show_level(snapshot.level_dbfs if listening else -120.0, snapshot.position_s)
        prediction = snapshot.prediction
        # By identity: predictions hold arrays, which do not compare to one truth.
        shown = self._shown
        if shown is None or shown[0] is not prediction or shown[1] is not status.state:
            self._shown = (prediction, status.state)
            self.bars.show_belief(
                None if prediction is None or not listening else prediction.smoothed
            )
            now_s = stream.now_s
            stretch = stream.history.since(now_s - self.timeline.seconds)
            trail = stretch.end_s > now_s - TRAIL_S
            valence, arousal = stretch.valence[trail], stretch.arousal[trail]
            self.plane.show_trail(valence[-TRAIL_POINTS:], arousal[-TRAIL_POINTS:])
            columns = stream.spectrogram.since(now_s - self.timeline.seconds)
            self.timeline.show_stretch(stretch, columns, now_s)
            self._drawn_s = now_s
        self._show_words(stream, status)
        self.figures.show_stream(stream, status)

    def _show_words(self, stream: LiveStream, status: Status) -> None:
        snapshot, listens = status.snapshot, stream.listens_for_words
        self.timeline.words.setVisible(listens)
        # They move with the timeline, and come when they come.
        self.timeline.words.show_words(snapshot.words, stream.origin_s, self._drawn_s)
        reads, reader = stream.listening.bundle.meta.words is not None, stream.listening.reader
        note = words_note(snapshot, listens, reads, reader) if status.running else ""
        if note != self.note.text():
            self.note.setText(note)
            self.note.setVisible(bool(note))

    def _enable(self, status: Status | None) -> None:
        running = status is not None and status.running
        opened = running and status is not None and status.state is not StreamState.STARTING
        self.start_button.setEnabled(not running and not self._wanted)
        self.pause_button.setEnabled(opened)
        self.stop_button.setEnabled(running)
        self.record.show_stream(self._stream, opened)

    def _report_errors(self, stream: LiveStream, status: Status) -> None:
        error = stream.recorder.take_error()
        if error is not None:
            self._report(error)
        if status.error is not None and status.error is not self._reported:
            self._reported = status.error
            self._report(status.error)
