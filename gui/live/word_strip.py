"""The words of the last minute below the sound in which they were said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter, QStaticText
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from gui.parts.views import Painted
from ser_stream.types import Word

TEXT_PX = 12
LEAST_ROWS, MOST_ROWS = 2, 6
# A stroke over the time that the word took, above the words.
MARK_PX = 3
GAP_PX = 5
# In less room than this no part of a word is readable.
LEAST_PX = 32
# A word that has stayed the same for this long is drawn as one that will stay.
FIRM_S = 1.0
# The tool tip shows words that were said within this long of where it points.
NEAR_S = 1.5
# The accessible description holds the words of this long.
NEWEST_S = 5.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A word and where it is drawn.

    Attributes:
        word: in the time of the strip, s.
        since_s: when it was first shown like this.
        row: from the top; None where there is no room for it.
        right: its right edge, pixels after the strip's time 0, which never moves...
        width: ...and how far it reaches to the left.
        shown: the text, or as much as there is room for.
        text: the same, laid out.
    """

    word: Word
    since_s: float
    row: int | None = None
    right: float = 0.0
    width: float = 0.0
    shown: str = ""
    text: QStaticText | None = None


class WordStrip(Painted):
    """Words on a time axis, each ending where it ended, on as many rows as there is room for.

    A word keeps its place while time goes on: only words that are new or have changed are laid out.
    One that no row has room for is cut short or left to its mark; the pointer's tip has it whole.

    Args:
        seconds: width of the axis, whose end is now.
        axis: where the axis begins and ends, pixels from the left.
    """

    def __init__(
        self,
        seconds: float,
        axis: Callable[[], tuple[float, float]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._seconds, self._axis = seconds, axis
        self._now_s = 0.0
        self._words: list[Word] = []
        self._seen: dict[Word, float] = {}
        self._placed: list[Placed] = []
        self._grid: tuple[float, int] = (0.0, 0)
        self._metrics = QFontMetricsF(self.font_of(TEXT_PX))
        self.setMinimumHeight(self._height(LEAST_ROWS))
        self.setMaximumHeight(self._height(MOST_ROWS))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("words of the last minute")

    def show_words(self, words: Sequence[Word], origin_s: float, now_s: float) -> None:
        """Show the words of a stream that began at ``origin_s``, up to ``now_s``.

        Args:
            words: in seconds of the stream, the oldest first. They take the place of those that the
                stream had before; those of earlier streams stay.
            origin_s: in the time of the strip.
            now_s: likewise.
        """
        oldest_s = now_s - self._seconds
        moved = [Word(w.text, w.start_s + origin_s, w.end_s + origin_s) for w in words]
        before = [w for w in self._words if w.start_s < origin_s]
        shown = [w for w in (*before, *moved) if w.end_s > oldest_s]
        if shown != self._words:
            self._words = shown
            self._seen = {w: self._seen.get(w, now_s) for w in shown}
            newest = self.words_between(now_s - NEWEST_S, now_s + NEWEST_S)
            if newest != self.accessibleDescription():
                self.setAccessibleDescription(newest)
        elif now_s == self._now_s:
            return
        self._now_s = now_s
        self.update()

    def clear(self) -> None:
        """Remove all words."""
        self._words, self._seen = [], {}
        self.update()

    @property
    def placed(self) -> list[Placed]:
        """The words and their places, the oldest first."""
        self._arrange()
        return self._placed

    @property
    def row_px(self) -> float:
        """Height of a row, pixels."""
        return self._metrics.height()

    def is_firm(self, placed: Placed) -> bool:
        """Whether a word has stayed the same for a while."""
        return self._now_s - placed.since_s >= FIRM_S

    def x_of(self, time_s: float) -> float:
        """Where a time is, pixels from the left."""
        return self._axis()[1] + (time_s - self._now_s) * self._px_per_s()

    def words_between(self, start_s: float, end_s: float) -> str:
        """The words that touch [start_s, end_s), in the time of the strip."""
        return " ".join(w.text for w in self._words if w.end_s > start_s and w.start_s < end_s)

    def sizeHint(self) -> QSize:  # noqa: N802 Qt's name
        return QSize(320, self._height(4))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            at_s = self._now_s + (event.pos().x() - self._axis()[1]) / self._px_per_s()
            text = self.words_between(at_s - NEAR_S, at_s + NEAR_S)
            # Tool tips take HTML.
            QToolTip.showText(event.globalPos(), f"<qt>{escape(text)}</qt>" if text else "", self)
            return True
        return super().event(event)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        left, right = self._axis()
        painter.setFont(self.font_of(TEXT_PX))
        painter.setPen(self.theme.faint)
        beside = QRectF(0.0, MARK_PX, left - 4.0, self.row_px)
        painter.drawText(
            beside, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, "words"
        )
        painter.setClipRect(QRectF(left, 0.0, right - left, area.height()))
        # All move by whole pixels and together: letters keep their shape.
        px_per_s = self._px_per_s()
        zero = round(right - self._now_s * px_per_s)
        for p in self.placed:
            start, end = zero + p.word.start_s * px_per_s, zero + p.word.end_s * px_per_s
            colour = self.theme.text if self.is_firm(p) else self.theme.faint
            painter.fillRect(QRectF(start, 0.0, max(1.0, end - start - 1.0), MARK_PX - 1), colour)
            if p.row is not None and p.text is not None:
                painter.setPen(colour)
                at = QPointF(zero + round(p.right - p.width), MARK_PX + p.row * self.row_px)
                painter.drawStaticText(at, p.text)

    def _px_per_s(self) -> float:
        left, right = self._axis()
        return max(right - left, 1.0) / self._seconds

    def _height(self, rows: int) -> int:
        return MARK_PX + round(rows * self._metrics.height() + 0.5)

    def _arrange(self) -> None:
        """Lay out what is new; what was there before it keeps its place."""
        rows = max(1, int((self.height() - MARK_PX) / self.row_px))
        grid = (self._px_per_s(), rows)
        old = self._placed if grid == self._grid else []
        self._grid = grid
        first = self._words[0] if self._words else None
        while old and old[0].word != first:
            old = old[1:]
        same = 0
        for placed, word in zip(old, self._words, strict=False):
            if placed.word != word:
                break
            same += 1
        self._placed = old[:same]
        if same == len(self._words):
            return
        ends = [-float("inf")] * rows
        for placed in self._placed:
            if placed.row is not None:
                ends[placed.row] = placed.right
        for word in self._words[same:]:
            placed = self._place(word, ends)
            if placed.row is not None:
                ends[placed.row] = placed.right
            self._placed.append(placed)

    def _place(self, word: Word, ends: Sequence[float]) -> Placed:
        """Put a word into the first row that has room, or into the one that has most."""
        right = word.end_s * self._grid[0]
        shown, width = word.text, self._metrics.horizontalAdvance(word.text)
        made = Placed(word, self._seen[word], right=right)
        row = next((i for i, end in enumerate(ends) if end + GAP_PX <= right - width), None)
        if row is None:
            row = min(range(len(ends)), key=lambda i: ends[i])
            room = right - GAP_PX - ends[row]
            if room < LEAST_PX:
                return made
            shown = self._metrics.elidedText(word.text, Qt.TextElideMode.ElideRight, room)
            width = self._metrics.horizontalAdvance(shown)
        text = QStaticText(shown)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setPerformanceHint(QStaticText.PerformanceHint.AggressiveCaching)
        text.prepare(font=self.font_of(TEXT_PX))
        return replace(made, row=row, width=width, shown=shown, text=text)
