"""The terminal meter: draws the newest snapshot at its own pace and never holds up the stream."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from ser_stream.labels import emotions_of
from ser_stream.printable import printable
from ser_stream.profiles import PASSAGE
from ser_stream.scoring.sinks import Timeline
from ser_stream.scoring.wording import confidence, said, verdict, word_trouble
from ser_stream.types import Snapshot, State

MIN_WIDTH, MAX_WIDTH = 40, 200
STRIP_S = 60
LEVEL_RANGE_DB = 60.0
PLAIN_WORDS = 40
DIM = Style(dim=True)
BOLD = Style(bold=True)
REVERSE = Style(reverse=True)


@lru_cache(maxsize=8)
def class_marks(labels: tuple[str, ...]) -> dict[str, tuple[str, Style]]:
    """Letter and colour of each class: either identifies it."""
    emotions = emotions_of(labels)
    return {n: (e.letter, Style(color=e.terminal)) for n, e in zip(labels, emotions, strict=True)}


@dataclass(frozen=True, slots=True)
class MeterView:
    """All that one drawing of the meter shows."""

    title: str
    labels: tuple[str, ...]
    snapshot: Snapshot
    strip: Sequence[str | None]
    hint: str = "q quits"


class Meter:
    """Lay out a `MeterView` for any width from 40 to 200 columns.

    Ten lines and one per class, and one more where words are recognised.
    """

    def __init__(self, view: MeterView) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(MIN_WIDTH, min(MAX_WIDTH, options.max_width))
        for line in self.lines(width, ascii_only=options.ascii_only):
            yield from line
            yield Segment.line()

    def lines(self, width: int, ascii_only: bool = False) -> Iterator[list[Segment]]:
        """Yield the lines, each at most ``width`` cells."""
        view, snapshot = self.view, self.view.snapshot
        name = max(9, *(len(label) for label in view.labels)) + 1
        value = 10
        bar = width - name - value
        marks = class_marks(view.labels)

        title = view.title[: width - len(view.hint) - 1]
        space = " " * (width - len(title) - len(view.hint))
        yield [Segment(title, BOLD), Segment(space), Segment(view.hint, DIM)]
        yield []
        share = 1.0 + max(-LEVEL_RANGE_DB, min(0.0, snapshot.level_dbfs)) / LEVEL_RANGE_DB
        hot = Style(color="red" if snapshot.level_dbfs > -3.0 else "green")
        yield [
            Segment("input".ljust(name)),
            *_bar(share, bar, hot, ascii_only),
            *_right(f"{snapshot.level_dbfs:.0f} dBFS", value),
        ]
        yield [Segment("voice".ljust(name)), *self._voice()]
        yield []
        prediction = snapshot.prediction
        smoothed = None if prediction is None else prediction.smoothed
        for i, label in enumerate(view.labels):
            p = 0.0 if smoothed is None else float(smoothed[i])
            number = "" if smoothed is None else f"{p:.0%}"
            yield [
                Segment(label.ljust(name)),
                *_bar(p, bar, marks[label][1], ascii_only),
                *_right(number, value),
            ]
        yield []
        yield self._verdict(name, marks)
        yield []
        columns = width - name
        # Rounded up, so that the last column is the newest second whatever the width.
        n = len(view.strip)
        cells = [view.strip[-(-(c + 1) * n // columns) - 1] for c in range(columns)]
        yield [Segment(f"last {STRIP_S} s".ljust(name)), *_strip(cells, marks)]
        health = snapshot.health
        if health.recognizer is not None:
            yield [Segment("words".ljust(name)), *_words(snapshot, width - name)]
        latency = "--" if health.latency_s is None else f"{1000 * health.latency_s:.0f} ms"
        text = (
            f"latency {latency}, lost {health.lost_samples} samples, "
            f"load {health.real_time_factor:.1%}"
        )
        lost = Style(color="red") if health.lost_samples or health.overflows else DIM
        yield [Segment(text[:width], lost)]

    def _voice(self) -> list[Segment]:
        now = self.view.snapshot.speech_now
        if now is None:
            return [Segment("gate off", DIM)]
        if now:
            return [Segment("speech", Style(color="green", bold=True))]
        return [Segment("no speech", DIM)]

    def _verdict(self, name: int, marks: dict[str, tuple[str, Style]]) -> list[Segment]:
        snapshot = self.view.snapshot
        prediction = snapshot.prediction
        head = Segment("sounds".ljust(name))
        if prediction is None:
            return [head, Segment(f"warming up, {snapshot.warm_up_s:.1f} s to go", DIM)]
        if prediction.label is not None:
            p = confidence(prediction) or 0.0
            style = marks[prediction.label][1] + BOLD
            return [head, Segment(f"{prediction.label.upper()}  {p:.0%}", style)]
        return [head, Segment(verdict(prediction, self.view.labels), DIM)]


def _right(text: str, width: int) -> list[Segment]:
    # Space of its own: some renderers of exported pictures drop it from the start of a text.
    return [Segment(" " * (width - len(text))), Segment(text)]


def _bar(share: float, width: int, style: Style, ascii_only: bool) -> list[Segment]:
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    if ascii_only:
        return [Segment("#" * full, style), Segment("-" * (width - full), DIM)]
    text = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return [Segment(text, style), Segment("─" * (width - len(text)), DIM)]


def _strip(cells: Sequence[str | None], marks: dict[str, tuple[str, Style]]) -> Iterator[Segment]:
    for cell, run in groupby(cells):
        n = len(list(run))
        if cell is None:
            yield Segment(" " * n)
        elif cell in marks:
            letter, style = marks[cell]
            yield Segment(letter * n, style + REVERSE)
        elif cell == State.UNSURE:
            yield Segment("?" * n, DIM)
        else:
            yield Segment("." * n, DIM)


def _words(snapshot: Snapshot, width: int) -> list[Segment]:
    """The newest words that fit, or why there are no more."""
    trouble = word_trouble(snapshot)
    if trouble is not None:
        return [Segment(printable(trouble)[:width], Style(color="red"))]
    return [Segment(_newest(snapshot, width))]


def _newest(snapshot: Snapshot, width: int) -> str:
    """The newest words, as many as ``width`` cells hold."""
    text = ""
    for word in reversed(snapshot.words):
        longer = f"{printable(word.text)} {text}".rstrip()
        if cell_len(longer) > width:
            break
        text = longer
    return text


def plain_line(view: MeterView) -> str:
    """One line of text for where there is no terminal, or no colour is wanted."""
    snapshot = view.snapshot
    prediction = snapshot.prediction
    smoothed = None if prediction is None else prediction.smoothed
    text = said(None) if prediction is None else verdict(prediction, view.labels)
    bars = (
        ""
        if smoothed is None
        else "  ".join(
            f"{label} {float(p):.2f}" for label, p in zip(view.labels, smoothed, strict=True)
        )
    )
    return (
        f"{snapshot.position_s:8.1f} s  {snapshot.level_dbfs:4.0f} dBFS  "
        f"{text:<28}  {bars}{_plain_words(snapshot)}"
    ).rstrip()


def _plain_words(snapshot: Snapshot) -> str:
    if snapshot.health.recognizer is None:
        return ""
    trouble = word_trouble(snapshot)
    return f"  ({printable(trouble)})" if trouble else f"  {_newest(snapshot, PLAIN_WORDS)!r}"


def summary_lines(timeline: Timeline, position_s: float) -> list[str]:
    """Time per emotion and state over the whole stream, the most first."""
    totals = timeline.totals_s()
    whole = sum(totals.values())
    lines = [f"heard {position_s:.1f} s"]
    for name, seconds in totals.items():
        lines.append(f"  {name:<12} {seconds:7.1f} s  {seconds / whole:5.0%}")
    return lines


class CalibrationView:
    """What a person sees who reads a text for a profile."""

    def __init__(
        self, speech_s: float, wanted_s: float, level_dbfs: float, advice: str | None
    ) -> None:
        self.speech_s = speech_s
        self.wanted_s = wanted_s
        self.level_dbfs = level_dbfs
        self.advice = advice

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(MIN_WIDTH, min(100, options.max_width))
        yield Segment("Read aloud, in your everyday voice, until the bar is full:", BOLD)
        yield Segment.line()
        yield Segment.line()
        for line in textwrap.wrap(PASSAGE, width):
            yield Segment(line)
            yield Segment.line()
        yield Segment.line()
        share = min(1.0, self.speech_s / self.wanted_s)
        level = 1.0 + max(-LEVEL_RANGE_DB, min(0.0, self.level_dbfs)) / LEVEL_RANGE_DB
        rows = (
            ("speech", share, f"{self.speech_s:.0f} of {self.wanted_s:g} s", Style(color="green")),
            ("level", level, f"{self.level_dbfs:.0f} dBFS", Style(color="cyan")),
        )
        for name, value, number, style in rows:
            yield Segment(name.ljust(8))
            yield from _bar(value, width - 8 - 12, style, options.ascii_only)
            yield from _right(number, 12)
            yield Segment.line()
        yield Segment(self.advice or "", Style(color="yellow"))
        yield Segment.line()
