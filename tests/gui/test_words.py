"""Words in the window: under the sound, among the choices, and when they fail."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyqtgraph import GraphicsView
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QAbstractButton, QComboBox, QFileDialog, QLabel, QToolTip

from gui.choices import recognizer
from gui.choices.recognizer import LateAsr, listen_for_words
from gui.choices.words import FOLDER, OFF, WordChoices
from gui.jobs import JobControl
from gui.live.texts import words_note
from gui.live.timeline import TimelinePlot
from gui.live.word_strip import FIRM_S, GAP_PX, MARK_PX, WordStrip
from gui.recordings import analysis
from gui.recordings.analysis import Analysis, BatchScoring
from gui.theme import LIGHT, palette
from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.recordings import FileScore
from ser_stream.scoring.wording import LATE_S
from ser_stream.stream.listening import Listening
from ser_stream.types import Float32, Health, Snapshot, Word
from ser_stream.words.reader import WordReader
from ser_stream.words.recognizers import AsrError
from tests.helpers.fake_asr import FakeAsr
from tests.helpers.opened_page import OpenedPage
from tests.helpers.opened_window import RATE_HZ, OpenedWindow
from tests.helpers.pictures import count, picture


class ScriptedAsr(FakeAsr):
    """Knows what is said when; waits for ``gate`` if there is one."""

    name = "scripted"

    def __init__(
        self,
        script: Sequence[Word],
        fails_at_s: float = np.inf,
        gate: threading.Event | None = None,
    ) -> None:
        self._script, self._gate = list(script), gate
        super().__init__(fails_at_s)

    def accept(self, samples: Float32) -> None:
        if self._gate is not None:
            self._gate.wait(120)
        super().accept(samples)

    def words(self) -> list[Word]:
        return [w for w in self._script if w.end_s <= self.heard / RATE_HZ]


TEXTS = ("what", "a", "lovely", "day", "it", "is")
SCRIPT = [Word(text, i + 0.3, i + 0.7) for i, text in enumerate(TEXTS)]


@pytest.fixture
def hears(monkeypatch, opened: OpenedWindow):
    """Choose a recogniser that a test makes."""

    def choose(asr: ScriptedAsr) -> None:
        monkeypatch.setattr(recognizer, "make_asr", lambda choice: asr)
        pick(opened.window.choices.words, "pocketsphinx")

    return choose


@pytest.fixture
def installed(monkeypatch):
    """Both packages are there, whatever is installed."""
    monkeypatch.setattr("gui.choices.words.is_installed", lambda package: True)


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


def pick(choices: WordChoices, data: str) -> None:
    choices.box.setCurrentIndex(choices.box.findData(data))
    choices.box.activated.emit(choices.box.currentIndex())


def said(strip: WordStrip) -> list[str]:
    return [p.word.text for p in strip.placed]


# The strip


@pytest.fixture
def timeline(qtbot) -> TimelinePlot:
    made = TimelinePlot(("angry", "happy"))
    qtbot.addWidget(made)
    # The background is the window's; another test may have left it dark.
    made.setPalette(palette(LIGHT))
    made.set_theme(LIGHT)
    made.words.show()
    made.resize(900, 400)
    made.show()
    qtbot.waitExposed(made)
    return made


def test_words_stand_on_the_axis_of_the_sound(timeline):
    strip = timeline.words
    strip.show_words([Word("early", 2.0, 4.0), Word("late", 50.0, 51.0)], 0.0, 60.0)
    box = timeline.sound.getViewBox()
    for at_s in (0.0, 4.0, 51.0, 60.0):
        x = box.mapViewToScene(QPointF(at_s - 60.0, 0.0)).x()
        assert strip.x_of(at_s) == pytest.approx(x, abs=0.5)
    early, late = strip.placed
    assert early.row == late.row == 0
    # Both end where their words ended.
    assert late.right - early.right == pytest.approx(strip.x_of(51.0) - strip.x_of(4.0))
    image = picture(strip)
    drawn = [
        image.pixelColor(x, 1).lightness() < 150
        for x in range(round(strip.x_of(0.0)), image.width())
    ]
    marks = np.flatnonzero(drawn) + round(strip.x_of(0.0))
    spoken = [(strip.x_of(2.0), strip.x_of(4.0)), (strip.x_of(50.0), strip.x_of(51.0))]
    assert all(any(a - 2 <= x <= b + 1 for a, b in spoken) for x in marks)
    assert len(marks) == pytest.approx(sum(b - a for a, b in spoken), abs=6)


def test_many_words_neither_overlap_nor_leave_the_strip(timeline):
    strip = timeline.words
    rng = np.random.default_rng(0)
    texts = ["a", "word", "something", "extraordinarily", "well"]
    starts = np.cumsum(rng.uniform(0.15, 0.6, 150))
    words = [Word(texts[i % 5], float(s), float(s) + 0.14) for i, s in enumerate(starts)]
    strip.show_words(words, 0.0, words[-1].end_s + 0.2)
    rows: dict[int, list[tuple[float, float]]] = {}
    for p in strip.placed:
        if p.row is None:
            assert p.shown == ""
            continue
        assert p.shown == p.word.text or p.shown.endswith("…")
        assert (p.row + 1) * strip.row_px + MARK_PX <= strip.height() + 1
        rows.setdefault(p.row, []).append((p.right - p.width, p.right))
    assert len(rows) > 1
    for spans in rows.values():
        for (_, end), (begin, _) in itertools.pairwise(spans):
            assert begin - end >= GAP_PX - 0.01
    shown = [p for p in strip.placed if p.shown == p.word.text]
    assert len(shown) > 60


def test_a_word_keeps_its_place_while_time_goes_on_and_others_change(timeline):
    strip = timeline.words
    words = [Word(f"word{i}", 0.4 * i, 0.4 * i + 0.3) for i in range(60)]
    strip.show_words(words, 0.0, 24.0)
    before = strip.placed
    # The newest changes, another comes: the others are not laid out anew.
    changed = [*words[:-1], Word("changed", 23.6, 23.9), Word("new", 24.0, 24.4)]
    strip.show_words(changed, 0.0, 24.5)
    after = strip.placed
    assert [p.word.text for p in after[-2:]] == ["changed", "new"]
    assert len(after) == 61
    for old, new in zip(before[:-1], after, strict=False):
        assert old is new
    # The oldest leave the axis.
    strip.show_words(changed[10:], 0.0, 66.0)
    assert [id(p) for p in strip.placed] == [id(p) for p in after if p.word.end_s > 6.0]
    # Of another width or height all are placed anew.
    timeline.resize(500, 400)
    assert strip.placed[0] is not after[-len(strip.placed)]


def test_a_word_that_may_still_change_is_fainter(timeline):
    strip = timeline.words
    strip.show_words([Word("first", 50.0, 50.4)], 0.0, 60.0)
    fresh = count(picture(strip), LIGHT.text)
    strip.show_words([Word("first", 50.0, 50.4)], 0.0, 60.0 + FIRM_S)
    (first,) = strip.placed
    assert strip.is_firm(first)
    assert count(picture(strip), LIGHT.text) > fresh == 0
    strip.show_words([Word("worst", 50.0, 50.5)], 0.0, 61.2)
    assert not strip.is_firm(strip.placed[0])


def test_words_of_earlier_streams_stay(timeline):
    strip = timeline.words
    strip.show_words([Word("one", 1.0, 1.5), Word("two", 2.0, 2.5)], 0.0, 4.0)
    strip.show_words((), 4.0, 4.0)
    assert said(strip) == ["one", "two"]
    strip.show_words([Word("three", 1.0, 1.5)], 4.0, 6.0)
    assert said(strip) == ["one", "two", "three"]
    assert strip.placed[-1].word.end_s == 5.5
    # A recogniser may take back what it has said.
    strip.show_words((), 4.0, 7.0)
    assert said(strip) == ["one", "two"]
    strip.clear()
    assert said(strip) == []


def test_what_has_no_room_is_told_by_the_tip_and_to_screen_readers(timeline, monkeypatch):
    strip = timeline.words
    told = []
    monkeypatch.setattr(QToolTip, "showText", lambda at, text, widget: told.append(text))
    texts = ["incomprehensibilities", "of", "<unk>", "don't", "AT&T"] * 4
    words = [Word(text, 40 + 0.1 * i, 40.09 + 0.1 * i) for i, text in enumerate(texts)]
    strip.show_words([Word("far", 10.0, 10.2), *words], 0.0, 42.5)
    assert any(p.row is None for p in strip.placed)
    at = QPoint(round(strip.x_of(41.0)), 5)
    event = QHelpEvent(QHelpEvent.Type.ToolTip, at, strip.mapToGlobal(at))
    assert strip.event(event)
    assert told[0].count("incomprehensibilities") == 4
    assert "&lt;unk&gt;" in told[0]
    assert "AT&amp;T" in told[0]
    assert "far" not in told[0]
    at = QPoint(round(strip.x_of(25.0)), 5)
    strip.event(QHelpEvent(QHelpEvent.Type.ToolTip, at, strip.mapToGlobal(at)))
    assert told[1] == ""
    assert strip.accessibleName() == "words of the last minute"
    assert strip.accessibleDescription() == " ".join(texts)


def test_drawing_a_full_strip_costs_little(timeline):
    strip = timeline.words
    words = [Word(f"word{i}", 0.35 * i, 0.35 * i + 0.3) for i in range(170)]
    strip.show_words(words, 0.0, 60.0)
    strip.grab()
    laid_out = strip.placed
    times = []
    for k in range(30):
        began = time.process_time()
        strip.show_words(words, 0.0, 60.0 + 0.1 * k)
        strip.grab()
        times.append(time.process_time() - began)
    assert strip.placed[0] in laid_out
    # A frame has 33 ms for everything.
    assert np.median(times) < 0.015


# The live page


def test_words_come_under_the_timeline(opened, hears, speech):
    live, strip = opened.window.live, opened.window.live.timeline.words
    opened.start(3.0, speech)
    opened.until(lambda: live.stream.status.snapshot.prediction is not None)
    assert not strip.isVisible()
    live.stop_button.click()
    opened.until(lambda: opened.headline == "stopped")
    hears(ScriptedAsr(SCRIPT))
    source = opened.start(3.0, speech)
    opened.until(lambda: said(strip) == ["what", "a", "lovely"])
    assert strip.isVisible()
    assert strip.y() >= live.timeline.findChild(GraphicsView).geometry().bottom()
    assert not live.note.isVisible()
    # With another microphone they go on behind those that were there.
    opened.window.choices.device_box.setCurrentIndex(2)
    opened.window.choices.device_box.activated.emit(2)
    opened.until(lambda: len(opened.sources) == 3)
    assert source.left
    opened.sources[2].feed(speech[: 3 * RATE_HZ])
    opened.until(lambda: said(strip) == ["what", "a", "lovely"] * 2)
    assert [round(p.word.start_s - 0.3, 1) % 1 for p in strip.placed[:3]] == [0.0] * 3
    assert strip.placed[3].word.start_s >= live.stream.origin_s >= 2.9
    # A new start is a new minute, and Off is no strip.
    live.stop_button.click()
    opened.until(lambda: opened.headline == "stopped")
    pick(opened.window.choices.words, "")
    opened.start(0.0)
    opened.until(lambda: not strip.isVisible())
    assert said(strip) == []


def test_a_recogniser_that_fails_is_told_without_a_dialog(opened, hears, speech):
    live = opened.window.live
    hears(ScriptedAsr(SCRIPT, fails_at_s=3.5))
    source = opened.start(3.0, speech)
    opened.until(lambda: said(live.timeline.words) == ["what", "a", "lovely"])
    assert live.note.text() == ""
    source.feed(speech[3 * RATE_HZ : 7 * RATE_HZ])
    opened.until(live.note.isVisible)
    assert live.note.text() == ("by sound alone: pocketsphinx failed: the model file is gone")
    opened.until(lambda: opened.position_s >= 6.9)
    assert opened.headline in ("angry", "happy", "neutral", "sad", "unsure")
    assert said(live.timeline.words) == ["what", "a", "lovely"]
    assert not opened.window.errors.isVisible()
    live.stop_button.click()
    opened.until(lambda: not live.note.isVisible())


def test_a_recogniser_that_does_not_load_is_told_likewise(opened, monkeypatch, speech):
    def missing(choice: str) -> ScriptedAsr:
        raise AsrError(f"{choice}: no encoder*.onnx")

    monkeypatch.setattr(recognizer, "make_asr", missing)
    pick(opened.window.choices.words, "pocketsphinx")
    opened.start(3.0, speech)
    opened.until(opened.window.live.note.isVisible)
    assert "pocketsphinx failed: pocketsphinx: no encoder*.onnx" in opened.window.live.note.text()
    assert opened.window.live.is_listening
    assert not opened.window.errors.isVisible()


def test_a_recogniser_that_is_late_is_told(opened, hears, speech):
    gate = threading.Event()
    hears(ScriptedAsr(SCRIPT, gate=gate))
    opened.start(4.0, speech)
    note = opened.window.live.note
    opened.until(lambda: note.text() == "words come 4 s late")
    gate.set()
    source = opened.sources[-1]
    source.feed(speech[:RATE_HZ])
    opened.until(lambda: len(said(opened.window.live.timeline.words)) >= 4)
    source.feed(speech[:RATE_HZ])
    opened.until(lambda: note.text() == "")


def running(lag_s: float = 0.0) -> Health:
    return Health(recognizer="running", recognizer_lag_s=lag_s)


@pytest.mark.parametrize(
    ("health", "listens", "reads", "has_reader", "told"),
    [
        (Health(), False, False, False, ""),
        (running(), True, False, False, ""),
        (running(LATE_S - 0.1), True, True, True, ""),
        (running(3.4), True, True, True, "3 s late"),
        (Health(recognizer="it broke"), True, True, False, "by sound alone: it broke"),
        (Health(), False, True, True, "nobody listens"),
        (running(), True, True, False, "lacks its word vectors"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_words_is_a_note(health, listens, reads, has_reader, told, reader):
    note = words_note(Snapshot(health=health), listens, reads, reader if has_reader else None)
    assert (told in note) if told else note == ""


# Choices


def entries(choices: WordChoices) -> dict[str, tuple[bool, str]]:
    """What can be chosen: whether it may be taken, and its tip."""
    box, model = choices.box, choices.box.model()
    return {
        box.itemText(i): (
            bool(model.flags(model.index(i, 0)) & Qt.ItemFlag.ItemIsEnabled),
            box.itemData(i, Qt.ItemDataRole.ToolTipRole) or "",
        )
        for i in range(box.count())
    }


def test_nobody_listens_unless_asked(qtbot, settings):
    choices = WordChoices(settings, unexpected)
    qtbot.addWidget(choices)
    assert choices.box.currentText() == OFF
    assert choices.recognizer == ""
    assert choices.value is None


def test_a_recogniser_is_chosen_and_remembered(qtbot, settings, tmp_path, installed):
    choices = WordChoices(settings, unexpected)
    qtbot.addWidget(choices)
    choices.ask_for_folder = lambda: None
    pick(choices, FOLDER)
    assert choices.recognizer == ""
    with qtbot.waitSignal(choices.changed):
        pick(choices, "pocketsphinx")
    with qtbot.assertNotEmitted(choices.changed):
        pick(choices, "pocketsphinx")
    english = tmp_path / "english"
    choices.ask_for_folder = lambda: english
    with qtbot.waitSignal(choices.changed):
        pick(choices, FOLDER)
    assert choices.recognizer == str(english)
    assert choices.box.currentText() == "english"
    again = WordChoices(settings, unexpected)
    qtbot.addWidget(again)
    assert again.recognizer == str(english)
    assert list(entries(again)) == [OFF, "pocketsphinx", "english", FOLDER]
    assert str(english) in entries(again)["english"][1]
    pick(again, "")
    assert again.recognizer == ""
    # It can still be chosen.
    assert "english" in entries(again)


def test_a_missing_package_is_told_and_cannot_be_chosen(qtbot, settings, monkeypatch):
    settings.keep("words", "pocketsphinx")
    settings.keep("word folders", "/models/english")
    for package in ("pocketsphinx", "sherpa_onnx"):
        monkeypatch.setitem(sys.modules, package, None)
    choices = WordChoices(settings, unexpected)
    qtbot.addWidget(choices)
    there = entries(choices)
    assert there[OFF][0]
    for text, package in (
        ("pocketsphinx", "pocketsphinx"), ("english", "sherpa-onnx"), (FOLDER, "sherpa-onnx"),
    ):  # fmt: skip
        able, tip = there[text]
        assert not able
        assert tip == f"needs a package that is not installed: pip install {package}"
    assert choices.recognizer == ""
    # Keys pass over it; once it is installed it is what was chosen before.
    qtbot.keyClick(choices.box, Qt.Key.Key_Down)
    assert choices.recognizer == ""
    assert settings.text("words") == "pocketsphinx"


def test_the_dialogs_ask_for_a_folder_and_for_the_file_that_the_model_wants(
    qtbot, settings, monkeypatch, reading_folder, tmp_path
):  # fmt: skip
    choices = WordChoices(settings, unexpected)
    qtbot.addWidget(choices)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path))
    assert choices.ask_for_folder() == tmp_path
    choices.take_model(ModelBundle.load(reading_folder / "reading.onnx"))
    asked = []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: asked.append(a) or ("", ""))
    assert choices.ask_for_file() is None
    assert asked[0][1] == "Open vectors.txt"


def test_vectors_are_chosen_checked_and_remembered(
    qtbot, settings, reading_folder, bundle, tmp_path
):
    errors: list[Exception] = []
    reading = ModelBundle.load(reading_folder / "reading.onnx")
    choices = WordChoices(settings, errors.append)
    qtbot.addWidget(choices)

    def ticked(true) -> None:
        def tick() -> bool:
            choices.tick()
            return bool(true())

        qtbot.waitUntil(tick, timeout=120_000)

    choices.take_model(bundle)
    assert choices.isHidden()
    choices.take_model(reading)
    assert not choices.isHidden()
    assert choices.note.text() == "This model wants the word vectors vectors.txt"
    assert choices.button.accessibleDescription() == choices.note.text()
    other = tmp_path / "other.txt"
    other.write_text("one 0 0 0 1\n")
    choices.ask_for_file = lambda: other
    choices.button.click()
    assert choices.note.text().startswith("Reading other.txt")
    ticked(lambda: errors)
    assert isinstance(errors[0], ConfigError)
    assert "not the word vectors" in str(errors[0])
    assert choices.value is None
    assert choices.note.text() == "This model wants the word vectors vectors.txt"
    choices.ask_for_file = lambda: reading_folder / "vectors.txt"
    with qtbot.waitSignal(choices.changed):
        choices.button.click()
        ticked(lambda: choices.value)
    assert choices.note.text() == "Word vectors: vectors.txt"
    # A wrong file does not take the right one away.
    choices.ask_for_file = lambda: other
    choices.button.click()
    ticked(lambda: len(errors) == 2)
    assert choices.value is not None
    assert choices.note.text() == "Word vectors: vectors.txt"
    choices.ask_for_file = lambda: None
    choices.button.click()
    again = WordChoices(settings, errors.append)
    qtbot.addWidget(again)
    again.take_model(reading)
    qtbot.waitUntil(lambda: (again.tick(), again.value)[1] is not None, timeout=120_000)
    # Another model's vectors are another choice.
    again.take_model(bundle)
    assert again.value is None
    assert len(errors) == 2


def test_a_model_that_reads_words_reads_them_live(opened, hears, speech, reading_folder):
    window, words = opened.window, opened.window.choices.words
    window.choices.load_model(reading_folder / "reading.onnx")
    opened.until(lambda: window.choices.bundle.meta.words is not None)
    assert words.isVisible()
    opened.start(3.0, speech)
    note = window.live.note
    opened.until(lambda: "nobody listens" in note.text())
    lovely = [Word("lovely", i + 0.3, i + 0.7) for i in range(9)]
    hears(ScriptedAsr(lovely))
    opened.until(lambda: len(opened.sources) == 2)
    opened.until(lambda: "lacks its word vectors" in note.text())
    words.ask_for_file = lambda: reading_folder / "vectors.txt"
    words.button.click()
    # With the vectors the stream begins anew, in the same minute.
    opened.until(lambda: len(opened.sources) == 3)
    opened.until(lambda: note.text() == "")
    source = opened.sources[2]
    for second in range(6):
        # A window has the words that are known when it is full.
        source.feed(speech[second * RATE_HZ :][:RATE_HZ])
        n = second + 1
        opened.until(lambda n=n: len(window.live.stream.status.snapshot.words) >= n)
    opened.until(lambda: opened.headline == "happy")
    prediction = window.live.stream.status.snapshot.prediction
    assert prediction.words
    assert set(prediction.words) == {"lovely"}


def test_it_all_fits_and_can_be_reached_by_keys(opened, hears, speech, reading_folder):
    window = opened.window
    window.choices.load_model(reading_folder / "reading.onnx")
    opened.until(lambda: window.choices.bundle.meta.words is not None)
    hears(ScriptedAsr(SCRIPT, fails_at_s=2.5))
    opened.start(4.0, speech)
    opened.until(window.live.note.isVisible)
    window.resize(640, 480)
    opened.until(window.live.timeline.words.isVisible)
    assert (window.width(), window.height()) == (640, 480)
    assert window.minimumSizeHint().width() <= 640
    assert window.minimumSizeHint().height() <= 480
    for widget in (*window.findChildren(QAbstractButton), window.live.note, window.live.figures):
        if widget.isVisible():
            corner = widget.mapTo(window, widget.rect().bottomRight())
            assert corner.x() < 640
            assert corner.y() < 480
    for widget in (window.choices.words.box, window.choices.words.button):
        assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        assert widget.accessibleName() or widget.text()
    assert window.live.note.accessibleName()
    (label,) = (b for b in window.choices.findChildren(QLabel) if b.buddy() is not None
                and b.buddy() is window.choices.words.box)  # fmt: skip
    assert "&" in label.text()
    assert isinstance(label.buddy(), QComboBox)


def test_pictures_hold_the_words(opened, hears, speech, tmp_path):
    live = opened.window.live
    hears(ScriptedAsr(SCRIPT))
    opened.start(4.0, speech)
    opened.until(lambda: len(said(live.timeline.words)) == 4)
    path = tmp_path / "timeline.svg"
    live.ask_for_picture = lambda proposal: path
    live.picture_button.click()
    drawn = path.read_text()
    assert all(f">{text}<" in drawn for text in TEXTS[:4])
    assert ">it<" not in drawn


# The recogniser


def test_a_recogniser_is_read_by_the_thread_that_listens(monkeypatch):
    made: list[str] = []

    def make(choice: str) -> ScriptedAsr:
        made.append(threading.current_thread().name)
        return ScriptedAsr(SCRIPT)

    monkeypatch.setattr(recognizer, "make_asr", make)
    late = LateAsr("/models/english")
    assert (late.name, late.settled, late.words()) == ("english", 0, [])
    late.flush()
    late.accept(np.zeros(160, np.float32))
    assert made == []
    late.reset()
    late.accept(np.zeros(2 * RATE_HZ, np.float32))
    assert [w.text for w in late.words()] == ["what", "a"]
    assert late.settled == 2
    late.reset()
    assert late.words() == []
    assert len(made) == 1
    tap = listen_for_words("pocketsphinx", RATE_HZ)
    tap.close(20)
    assert tap.error is None
    assert made[1] == "ser-stream words"


def test_the_window_hears_with_pocketsphinx(opened, speech):
    pytest.importorskip("pocketsphinx")
    pick(opened.window.choices.words, "pocketsphinx")
    opened.start(7.0, speech)
    opened.until(lambda: len(said(opened.window.live.timeline.words)) > 5)
    # It may be late: the sound comes at once.
    assert "failed" not in opened.window.live.note.text()


# Recordings


@pytest.fixture
def takes(tmp_path: Path, speech: np.ndarray) -> Path:
    for name in ("beside", "none"):
        soundfile.write(tmp_path / f"{name}.wav", speech[: 5 * RATE_HZ], RATE_HZ)
    (tmp_path / "beside.txt").write_text("gone, gone")
    return tmp_path


def heard_in(
    path: Path, bundle: ModelBundle, reader: WordReader | None = None, recognizer: str = ""
) -> FileScore:
    listening = Listening(bundle, reader=reader)
    return Analysis(path, listening, recognizer).run(JobControl()).score


def test_recordings_are_heard_with_their_words(monkeypatch, takes, reading, reader):
    alone = heard_in(takes / "beside.wav", reading)
    assert alone.transcript is None
    read = heard_in(takes / "beside.wav", reading, reader)
    assert (read.transcript, read.label) == ("file", "sad")
    missing = heard_in(takes / "none.wav", reading, reader)
    assert missing.transcript == "missing"
    assert missing.label == alone.label
    monkeypatch.setattr(
        analysis, "make_asr", lambda name, whole: ScriptedAsr([Word("grim", 0.5, 1.0)])
    )
    scored = heard_in(takes / "none.wav", reading, reader, "scripted")
    assert scored.transcript == "recognised"
    batch = BatchScoring([takes], Listening(reading, reader=reader), "scripted")
    assert batch.run(JobControl()) == 2
    assert {s.path.name: s.transcript for s in batch.take()} == {
        "beside.wav": "file", "none.wav": "recognised"
    }  # fmt: skip


def test_words_chosen_anew_are_heard_in_the_recording_that_is_open(
    qtbot, takes, reading, reader, tmp_path
):
    page = OpenedPage(qtbot, reading, tmp_path)
    page.open(takes / "beside.wav")
    assert page.page.result is not None
    assert page.page.result.score.transcript is None
    page.page.set_listening(Listening(reading, reader=reader))
    page.until(lambda: page.page.progress.job is None)
    assert page.page.result.score.label == "sad"
