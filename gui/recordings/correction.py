"""Controls to correct a recording: begin and end of a span, label, speaker."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from gui.parts.forms import add_labelled, tip

LEAST_SPAN_S = 0.01


class ElidedLabel(QLabel):
    """A line that is cut off with an ellipsis, so that it never makes a window wider.

    Args:
        mode: where it is cut.
        parent: Qt's.
    """

    def __init__(
        self,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._mode = mode
        self._whole = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(40)
        self.setTextFormat(Qt.TextFormat.PlainText)

    @property
    def whole(self) -> str:
        """The line before it is cut."""
        return self._whole

    def show_text(self, text: str, colour: QColor | None = None) -> None:
        """Show ``text`` in ``colour``, in that of other text without."""
        self._whole = text
        self.setToolTip(tip(text))
        self.setAccessibleName(text)
        self.setPalette(QPalette())
        if colour is not None:
            palette = self.palette()
            palette.setColor(QPalette.ColorRole.WindowText, colour)
            self.setPalette(palette)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 Qt's name
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        metrics = self.fontMetrics()
        self.setText(metrics.elidedText(self._whole, self._mode, max(0, self.width() - 2)))


class SpanFields(QWidget):
    """Begin and end of a span in seconds; the whole recording at first.

    Signals:
        edited: the user changed them.
    """

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.start, self.end = _seconds("begin of the span"), _seconds("end of the span")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for text, field in (("F&rom", self.start), ("&to", self.end)):
            add_labelled(row, text, field)
        self.start.valueChanged.connect(self._start_edited)
        self.end.valueChanged.connect(self._end_edited)
        self.set_duration(0.0)

    @property
    def span_s(self) -> tuple[float, float]:
        """Begin and end, s."""
        return self.start.value(), self.end.value()

    @property
    def whole(self) -> bool:
        """Whether the span is all of the recording."""
        return self.start.value() <= 0.0 and self.end.value() >= self.end.maximum()

    def set_duration(self, duration_s: float) -> None:
        """Set the length of another recording; the span is all of it."""
        for field in (self.start, self.end):
            with QSignalBlocker(field):
                field.setRange(0.0, duration_s)
        self.set_span(0.0, duration_s)

    def set_span(self, start_s: float, end_s: float) -> None:
        """Show a span; `edited` is not emitted."""
        for field, value in ((self.start, start_s), (self.end, end_s)):
            with QSignalBlocker(field):
                field.setValue(value)

    def _start_edited(self, value: float) -> None:
        if self.end.value() < value + LEAST_SPAN_S:
            self.set_span(min(value, self.end.maximum() - LEAST_SPAN_S), value + LEAST_SPAN_S)
        self.edited.emit()

    def _end_edited(self, value: float) -> None:
        if self.start.value() > value - LEAST_SPAN_S:
            self.set_span(value - LEAST_SPAN_S, max(value, LEAST_SPAN_S))
        self.edited.emit()


class CorrectionBar(QWidget):
    """Label, speaker, and the button that keeps them.

    Signals:
        kept: the button was pressed.
        manifest_asked: another file is to be chosen.
    """

    kept = Signal()
    manifest_asked = Signal()

    def __init__(self, labels: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QComboBox()
        self.label.setEditable(True)
        self.label.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.label.setMinimumContentsLength(6)
        self.label.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.label.setAccessibleName("the right label")
        self.speaker = QLineEdit()
        self.speaker.setMinimumWidth(50)
        self.speaker.setMaximumWidth(200)
        self.speaker.setPlaceholderText("name")
        self.speaker.setAccessibleName("who speaks")
        self.button = QPushButton("&Keep")
        self.button.setToolTip("write this span, its label and its speaker into the manifest")
        self.manifest = QPushButton("Ma&nifest...")
        self.manifest.setToolTip("choose the file that corrections are kept in")
        self.status = ElidedLabel()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for text, field in (("It &is", self.label), ("b&y", self.speaker)):
            add_labelled(row, text, field)
            # Dropped files go to the page.
            field.setAcceptDrops(False)
        edit = self.label.lineEdit()
        if edit is not None:
            edit.setAcceptDrops(False)
        row.addWidget(self.button)
        row.addWidget(self.manifest)
        row.addWidget(self.status, 1)
        self.speaker.returnPressed.connect(self.kept)
        self.button.clicked.connect(self.kept)
        self.manifest.clicked.connect(self.manifest_asked)
        self.set_labels(labels)

    def set_labels(self, labels: Sequence[str]) -> None:
        """Another model's classes; others may be typed."""
        self.label.clear()
        self.label.addItems(list(labels))
        self.label.setCurrentText("")

    def show_label(self, label: str | None) -> None:
        """Begin with ``label``."""
        self.label.setCurrentText(label or "")


def _seconds(name: str) -> QDoubleSpinBox:
    field = QDoubleSpinBox()
    field.setDecimals(2)
    field.setSingleStep(0.1)
    field.setSuffix(" s")
    field.setAccelerated(True)
    field.setKeyboardTracking(False)
    field.setMinimumWidth(70)
    field.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    field.setAccessibleName(name)
    return field
