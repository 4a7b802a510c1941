"""The page of recordings, as a person uses it."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyqtgraph as pg
import pytest
import soundfile
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QAbstractButton, QWidget

import gui.recordings.analysis
from gui.jobs import JobControl
from gui.live.history import Stretch
from gui.recordings.analysis import Analysis, speech_spans
from gui.recordings.drawing import columns, visible_beliefs
from gui.recordings.envelope import Envelope, read_envelope
from gui.recordings.page import RecordingsPage
from gui.recordings.score_table import CONFIDENCE, DURATION, ERROR, FILE, LABEL
from gui.recordings.scores import summary_of
from gui.recordings.time_axis import clock_text
from gui.theme import DARK, LIGHT
from ser_stream.errors import AudioError, DeviceError, SerStreamError
from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.recordings import FileScore, score_file
from ser_stream.stream.engine import Engine
from ser_stream.stream.listening import Listening
from ser_stream.types import State
from tests.helpers.edited_bundle import edited
from tests.helpers.opened_page import OpenedPage
from training.data.corpora import read_corpus

RATE_HZ = 16000
SOON_MS = 60_000
Key = Qt.Key


@pytest.fixture
def opened(qtbot, bundle, tmp_path) -> Iterator[OpenedPage]:
    made = OpenedPage(qtbot, bundle, tmp_path)
    yield made
    made.page.shut_down()


@pytest.fixture
def takes(tmp_path, speech) -> Path:
    """A folder: three good recordings of 3, 12 and 2 s, one of silence, one that is none."""
    folder = tmp_path / "takes"
    (folder / "deep").mkdir(parents=True)
    for name, start, seconds in (("a", 1, 3), ("b", 2, 12), ("deep/c", 7, 2)):
        span = speech[start * RATE_HZ : (start + seconds) * RATE_HZ]
        soundfile.write(folder / f"{name}.wav", span, RATE_HZ)
    soundfile.write(folder / "quiet.wav", np.zeros(3 * RATE_HZ, dtype=np.float32), RATE_HZ)
    (folder / "broken.wav").write_bytes(b"no audio at all")
    return folder


@pytest.fixture
def hour(tmp_path, speech) -> Path:
    """A recording that takes long to score."""
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.tile(speech, 100), RATE_HZ)
    return path


# One recording


def test_a_recording_is_shown_with_what_was_heard_in_it(opened, bundle, demo_path, speech):
    page = opened.open(demo_path)
    want = score_file(demo_path, Engine(bundle))
    top = int(want.posterior.argmax())
    said = bundle.meta.labels[top] if want.label is None else want.label
    assert said in page.summary.whole
    assert f"{100 * want.posterior[top]:.0f} %" in page.summary.whole
    assert "0:33.2" in page.summary.whole
    assert "demo.flac" in page.summary.whole
    assert page.viewer.plot.duration_s == pytest.approx(len(speech) / RATE_HZ)
    assert page.viewer.plot.visible_s == pytest.approx((0.0, len(speech) / RATE_HZ))
    result = page.result
    assert result.score.windows == want.windows
    assert len(result.stretch) > want.windows
    # The clip is loud where it is speech.
    loud = np.abs(speech) > 0.05
    inside = np.zeros(len(speech), dtype=bool)
    for start, end in result.speech:
        inside[round(start * RATE_HZ) : round(end * RATE_HZ)] = True
    assert inside[loud].mean() > 0.95
    assert inside.mean() < 0.8
    assert not page.progress.isVisible()
    assert opened.errors == []


def test_a_recording_as_a_whole_is_told_in_the_words_of_the_meter():
    labels = ("angry", "happy", "sad")
    p = np.array([0.2, 0.46, 0.34])
    unsure = FileScore(Path("a.wav"), 3.0, 5, State.UNSURE, None, p)
    assert summary_of(unsure, labels).startswith("unsure, perhaps happy 46 %  ")
    happy = FileScore(Path("a.wav"), 3.0, 5, State.EMOTION, "happy", p)
    assert summary_of(happy, labels).startswith("happy 46 %  ")


def test_where_speech_is_is_said_by_the_model(takes, tmp_path):
    deaf = ModelBundle.load(edited(tmp_path, gate={"threshold": 0.999999, "min_share": 0.2}))
    result = Analysis(takes / "a.wav", Listening(deaf)).run(JobControl())
    assert result.score.state is State.NO_SPEECH
    assert np.diff(result.speech).sum() < 0.1


def test_silence_has_no_label(opened, takes):
    page = opened.open(takes / "quiet.wav")
    assert page.summary.whole.startswith("no speech")
    assert page.viewer.correction.label.currentText() == ""
    assert page.viewer.play_button.isEnabled()


@pytest.mark.parametrize("name", ["broken.wav", "missing.wav"])
def test_a_bad_recording_is_an_error_and_the_next_one_opens(opened, takes, name):
    page = opened.open(takes / name)
    (error,) = opened.errors
    assert isinstance(error, AudioError)
    assert str(error).startswith(str(takes / name))
    assert name in page.summary.whole
    assert not page.viewer.play_button.isEnabled()
    opened.press(Key.Key_Space)
    assert not opened.output.streams
    opened.open(takes / "a.wav")
    assert "a.wav" in page.summary.whole
    assert len(opened.errors) == 1


def test_a_long_recording_can_be_cancelled(opened, hour):
    page = opened.page
    page.open_paths([hour])
    opened.until(lambda: page.progress.bar.value() > 110)
    job = page.progress.job
    assert page.progress.isVisible()
    assert page.viewer.plot.duration_s == pytest.approx(3321, rel=0.01)
    opened.click(page.progress.button)
    opened.until(lambda: page.progress.job is None)
    assert job.cancelled
    assert job.progress < 1.0
    assert page.summary.whole == "hour.wav: cancelled"
    assert not page.progress.isVisible()
    assert opened.errors == []
    # What was read of it can be seen and played.
    assert page.viewer.play_button.isEnabled()


def test_another_recording_takes_the_place_of_one_that_is_still_heard(opened, hour, takes):
    opened.page.open_paths([hour])
    before = opened.page.progress.job
    page = opened.open(takes / "a.wav")
    assert before.cancelled
    assert "a.wav" in page.summary.whole
    assert page.viewer.plot.duration_s == pytest.approx(3.0)
    assert before.wait(120)


def test_nothing_is_read_or_scored_on_the_windows_thread(opened, takes, monkeypatch):
    threads = {}

    def spied(where: object, name: str) -> None:
        original = getattr(where, name)

        def spy(*arguments, **named):
            threads.setdefault(name, set()).add(threading.current_thread())
            return original(*arguments, **named)

        monkeypatch.setattr(where, name, spy)

    for name in ("read_envelope", "score_file", "SileroDetector", "find_audio"):
        spied(gui.recordings.analysis, name)
    spied(Listening, "engine")
    opened.open(takes / "a.wav")
    opened.open_all(takes)
    assert len(threads) == 5
    assert threading.main_thread() not in set.union(*threads.values())


def test_an_hour_stays_fluid(opened):
    page = opened.page
    n = 3600 * 500
    wave = np.abs(np.sin(np.arange(n, dtype=np.float32)))
    page.viewer.plot.show_sound(Envelope(-wave, wave, 0.002, 3600.0))
    count = 9000
    belief = np.random.default_rng(0).random((count, 4), dtype=np.float32)
    nothing = np.zeros(count, dtype=np.float32)
    whole = np.zeros(count, dtype=int)
    ends = np.arange(count) * 0.4
    page.viewer.plot.show_beliefs(
        Stretch(ends, belief, nothing, whole, whole, nothing, nothing), np.zeros((0, 2))
    )
    worst = 0.0
    for _ in range(20):
        began = time.thread_time()
        opened.press(Key.Key_Plus)
        worst = max(worst, time.thread_time() - began)
    assert page.viewer.plot.visible_s[1] - page.viewer.plot.visible_s[0] < 2.0
    assert worst < 0.05
    points = [
        len(curve.xData) for curve in view_of(page).items() if isinstance(curve, pg.PlotCurveItem)
    ]
    assert max(points) < 5000


def test_another_model_hears_the_recording_again(opened, bundle, demo_path):
    from ser_stream.models.bundle import ModelBundle

    page = opened.open(demo_path)
    result = page.result
    page.set_listening(Listening(bundle))
    assert page.progress.job is None
    page.set_listening(Listening(ModelBundle.load()))
    opened.until(lambda: page.progress.job is None)
    assert page.result is not result
    assert page.result.score.windows == result.score.windows


# Keys and the mouse


def test_keys_zoom_and_move_the_cursor(opened, takes):
    page = opened.open(takes / "b.wav")
    plot = page.viewer.plot
    assert plot.hasFocus()
    for key, want in (
        (Key.Key_Right, 1.0), (Key.Key_Right, 2.0), (Key.Key_Left, 1.0), (Key.Key_End, 12.0),
        (Key.Key_Right, 12.0), (Key.Key_Home, 0.0), (Key.Key_Left, 0.0),
    ):  # fmt: skip
        opened.press(key)
        assert plot.cursor_s == pytest.approx(want)
    assert page.viewer.place.whole == "0:00.0 / 0:12.0"
    opened.press(Key.Key_Plus)
    assert plot.visible_s == pytest.approx((0.0, 8.0))
    for _ in range(30):
        opened.press(Key.Key_Plus)
    assert plot.visible_s == pytest.approx((0.0, 0.25))
    opened.press(Key.Key_Right)
    assert plot.visible_s[0] <= plot.cursor_s <= plot.visible_s[1]
    opened.press(Key.Key_Minus)
    assert plot.visible_s[1] - plot.visible_s[0] == pytest.approx(0.375)
    opened.press(Key.Key_0)
    assert plot.visible_s == pytest.approx((0.0, 12.0))
    # A button that has the focus leaves the keys that it does not need.
    opened.press(Key.Key_Plus, page.viewer.play_button)
    assert plot.visible_s == pytest.approx((0.0, 8.0), abs=1.0)


def test_buttons_do_what_the_keys_do(opened, takes):
    page = opened.open(takes / "b.wav")
    opened.click(page.viewer.zoom_in)
    opened.click(page.viewer.zoom_in)
    assert page.viewer.plot.visible_s[1] == pytest.approx(12.0 / 1.5**2)
    opened.click(page.viewer.zoom_out)
    assert page.viewer.plot.visible_s[1] == pytest.approx(8.0)
    opened.click(page.viewer.zoom_all)
    assert page.viewer.plot.visible_s[1] == pytest.approx(12.0)


def view_of(page: RecordingsPage) -> pg.GraphicsView:
    """What the plot is drawn in."""
    return page.viewer.plot.findChild(pg.GraphicsView)


def place_of(page: RecordingsPage, at_s: float) -> QPoint:
    """Where a time of the recording is in the plot's view."""
    box = page.viewer.plot.sound.vb
    return view_of(page).mapFromScene(box.mapViewToScene(QPointF(at_s, 0.0)))


def drag(opened: OpenedPage, start_s: float, end_s: float, modifier: Qt.KeyboardModifier) -> None:
    bot, view = opened.qtbot, view_of(opened.page).viewport()
    left = Qt.MouseButton.LeftButton
    start, end = place_of(opened.page, start_s), place_of(opened.page, end_s)
    bot.mousePress(view, left, modifier, start)
    for share in (0.3, 0.7, 1.0):
        step = QPoint(round(start.x() + share * (end.x() - start.x())), start.y())
        move(view, step, left, modifier)
    bot.mouseRelease(view, left, modifier, end)


def move(view: QWidget, at: QPoint, button: Qt.MouseButton, modifier: Qt.KeyboardModifier) -> None:
    from PySide6.QtCore import QCoreApplication, QEvent
    from PySide6.QtGui import QMouseEvent

    place = QPointF(at)
    there = QPointF(view.mapToGlobal(at))
    none = Qt.MouseButton.NoButton
    QCoreApplication.sendEvent(
        view, QMouseEvent(QEvent.Type.MouseMove, place, there, none, button, modifier)
    )


def test_dragging_pans_and_shift_drag_selects(opened, takes, monkeypatch):
    # Moves that come faster than a hand's would be left out.
    monkeypatch.setitem(pg.CONFIG_OPTIONS, "mouseRateLimit", -1)
    page = opened.open(takes / "b.wav")
    opened.press(Key.Key_Plus)
    width = page.viewer.plot.visible_s[1]
    drag(opened, 6.0, 4.0, Qt.KeyboardModifier.NoModifier)
    start, end = page.viewer.plot.visible_s
    assert start == pytest.approx(2.0, abs=0.2)
    assert end - start == pytest.approx(width)
    drag(opened, 5.0, 3.0, Qt.KeyboardModifier.ShiftModifier)
    assert page.viewer.plot.visible_s == pytest.approx((start, end))
    assert page.viewer.plot.span_s == pytest.approx((3.0, 5.0), abs=0.1)
    assert page.viewer.fields.span_s == pytest.approx(page.viewer.plot.span_s, abs=0.01)
    assert page.viewer.select_box.isChecked()


# Playing


def test_a_click_plays_from_there_with_a_moving_cursor(opened, takes, speech):
    page = opened.open(takes / "b.wav")
    at = place_of(page, 10.0)
    opened.qtbot.mouseClick(
        view_of(page).viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at
    )
    opened.until(lambda: page.viewer.plot.cursor_s > 11.9)
    opened.until(lambda: not page.viewer.playing)
    (stream,) = opened.output.streams
    played = np.count_nonzero(stream.samples) / RATE_HZ
    assert played == pytest.approx(2.0, abs=0.3)
    assert page.viewer.play_button.text().replace("&", "") == "Play"
    assert opened.errors == []


def test_space_plays_and_stops(opened, takes):
    page = opened.open(takes / "b.wav")
    opened.output.go.clear()
    opened.press(Key.Key_Right)
    opened.press(Key.Key_Space)
    assert page.viewer.playing
    assert page.viewer.play_button.text().replace("&", "") == "Stop"
    opened.until(lambda: len(opened.output.streams) == 1)
    opened.press(Key.Key_Space)
    assert page.viewer.play_button.text().replace("&", "") == "Play"
    assert page.viewer.wait(120)
    assert opened.output.streams[0].ended == "abort"
    assert page.viewer.plot.cursor_s == 1.0


def test_a_span_is_played_to_its_end(opened, takes):
    page = opened.open(takes / "b.wav")
    page.viewer.fields.start.setValue(3.0)
    page.viewer.fields.end.setValue(3.5)
    opened.click(page.viewer.play_button)
    opened.until(lambda: not page.viewer.playing and page.viewer.plot.cursor_s > 3.4)
    assert page.viewer.plot.cursor_s == pytest.approx(3.5, abs=0.02)
    samples = opened.output.streams[0].samples
    want, _ = soundfile.read(takes / "b.wav", dtype="float32")
    (loud,) = np.nonzero(samples)
    np.testing.assert_array_equal(
        samples[loud[0] : loud[-1] + 1], np.trim_zeros(want[3 * RATE_HZ : 56000])
    )


def test_keys_move_what_plays(opened, takes):
    page = opened.open(takes / "b.wav")
    opened.output.go.clear()
    opened.press(Key.Key_Space)
    opened.press(Key.Key_Right)
    assert page.viewer.playing
    assert opened.player.position_s == 1.0


def test_a_device_that_cannot_be_opened_is_told_once(opened, takes):
    opened.output.takes = lambda rate: False
    page = opened.open(takes / "a.wav")
    opened.press(Key.Key_Space)
    opened.until(lambda: bool(opened.errors))
    page.tick()
    (error,) = opened.errors
    assert isinstance(error, DeviceError)
    assert page.viewer.play_button.text().replace("&", "") == "Play"


# Many recordings


def test_a_folder_becomes_a_table(opened, takes, bundle):
    page = opened.open_all(takes)
    assert opened.column(FILE) == [
        "a.wav", "b.wav", "broken.wav", str(Path("deep", "c.wav")), "quiet.wav"
    ]  # fmt: skip
    want = score_file(takes / "a.wav", Engine(bundle))
    assert opened.cell(0, LABEL) == (want.label or str(want.state))
    assert opened.cell(0, CONFIDENCE) == f"{100 * want.posterior.max():.0f} %"
    assert opened.column(DURATION) == ["0:03.0", "0:12.0", "", "0:02.0", "0:03.0"]
    assert opened.cell(2, ERROR).startswith("not audio")
    assert opened.cell(4, LABEL) == "no speech"
    assert page.list.count.whole == "5 recordings, 1 with errors"
    # A bad file among others is a row, not a dialog.
    assert opened.errors == []


def test_numbers_sort_as_numbers(opened, takes):
    page = opened.open_all(takes)
    page.list.table.sortByColumn(DURATION, Qt.SortOrder.AscendingOrder)
    assert opened.column(DURATION) == ["", "0:02.0", "0:03.0", "0:03.0", "0:12.0"]
    page.list.table.sortByColumn(CONFIDENCE, Qt.SortOrder.DescendingOrder)
    shares = [s.posterior.max() for s in page.list.table.in_order() if s.posterior is not None]
    assert shares == sorted(shares, reverse=True)
    assert opened.column(CONFIDENCE)[3:] == ["", ""]
    page.list.table.sortByColumn(FILE, Qt.SortOrder.DescendingOrder)
    assert opened.column(FILE)[0] == "quiet.wav"


def test_rows_come_while_others_are_scored_and_the_rest_can_be_cancelled(opened, takes, hour):
    page = opened.page
    page.open_paths([takes / "a.wav", takes / "broken.wav", hour, takes / "b.wav"])
    opened.until(lambda: page.list.table.sorted.rowCount() == 2)
    job = page.list.progress.job
    assert page.list.progress.isVisible()
    assert page.list.progress.bar.value() >= 500
    opened.click(page.list.progress.button)
    opened.until(lambda: page.list.progress.job is None)
    assert job.cancelled
    assert opened.column(FILE) == ["a.wav", "broken.wav"]
    assert page.list.count.whole == "2 recordings, 1 with errors (cancelled)"
    assert page.list.export.isEnabled()
    assert opened.errors == []


@pytest.mark.parametrize("how", ["enter", "double click"])
def test_a_row_opens_its_recording(opened, takes, how):
    page = opened.open_all(takes)
    page.list.table.sortByColumn(DURATION, Qt.SortOrder.DescendingOrder)
    index = page.list.table.sorted.index(0, FILE)
    if how == "enter":
        page.list.table.setCurrentIndex(index)
        opened.press(Key.Key_Return, page.list.table)
    else:
        page.list.table.doubleClicked.emit(index)
    opened.until(lambda: page.progress.job is None)
    assert "b.wav" in page.summary.whole
    assert page.list.table.sorted.rowCount() == 5


def test_the_table_is_exported_in_its_order(opened, takes, tmp_path, bundle, monkeypatch):
    page = opened.open_all(takes)
    page.list.table.sortByColumn(DURATION, Qt.SortOrder.DescendingOrder)
    monkeypatch.setattr(page.dialogs, "choose_export", lambda: tmp_path / "scores")
    opened.click(page.list.export)
    opened.until(lambda: page.idle)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = page.list.table.in_order()
    assert [row["path"] for row in rows] == [str(score.path) for score in scores]
    assert rows == [
        {k: "" if v is None else str(v) for k, v in score.row(bundle.meta.labels).items()}
        for score in scores
    ]
    assert page.list.count.whole == "5 rows written into scores.csv"


def test_a_table_that_cannot_be_written_is_an_error(opened, takes, monkeypatch):
    page = opened.open_all(takes / "a.wav", takes / "deep")
    monkeypatch.setattr(page.dialogs, "choose_export", lambda: takes / "no" / "scores.csv")
    opened.click(page.list.export)
    opened.until(lambda: bool(opened.errors))
    assert isinstance(opened.errors[0], SerStreamError)
    monkeypatch.setattr(page.dialogs, "choose_export", lambda: None)
    opened.click(page.list.export)
    assert page.idle


def test_a_folder_without_audio_is_an_error(opened, tmp_path):
    (tmp_path / "empty").mkdir()
    opened.open_all(tmp_path / "empty")
    (error,) = opened.errors
    assert "no audio files" in str(error)


def test_files_and_folders_can_be_dropped(opened, takes):
    page = opened.page

    def drop(*paths: Path) -> bool:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        what = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton)
        none = Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(5, 5), *what, none)
        enter.ignore()
        page.dragEnterEvent(enter)
        page.dropEvent(QDropEvent(QPointF(5, 5), *what, none))
        return enter.isAccepted()

    assert not drop()
    assert page.progress.job is None
    assert drop(takes / "a.wav")
    opened.until(lambda: page.progress.job is None)
    assert "a.wav" in page.summary.whole
    assert drop(takes / "deep")
    opened.until(lambda: page.list.progress.job is None)
    assert opened.column(FILE) == ["c.wav"]
    takers = [w for w in page.findChildren(QWidget) if w.acceptDrops()]
    assert takers == []


def test_dialogs_open_what_was_chosen_and_remember_where(opened, takes, monkeypatch):
    page = opened.page
    monkeypatch.setattr(page.dialogs, "choose_files", lambda: [takes / "a.wav"])
    monkeypatch.setattr(page.dialogs, "choose_folder", lambda: takes / "deep")
    opened.click(page.file_button)
    opened.until(lambda: page.progress.job is None)
    assert "a.wav" in page.summary.whole
    assert opened.settings.text("recordings.folder") == str(takes)
    opened.click(page.folder_button)
    opened.until(lambda: page.list.progress.job is None)
    assert opened.column(FILE) == ["c.wav"]
    monkeypatch.setattr(page.dialogs, "choose_files", list)
    monkeypatch.setattr(page.dialogs, "choose_folder", lambda: None)
    opened.click(page.file_button)
    opened.click(page.folder_button)
    assert (page.progress.job, page.list.progress.job) == (None, None)


# Correcting


def test_a_corrected_span_is_kept_and_can_be_trained_on(opened, takes, monkeypatch):
    page = opened.open(takes / "b.wav")
    asked = []

    def choose() -> Path:
        asked.append(1)
        return takes / "mine"

    monkeypatch.setattr(page.dialogs, "choose_manifest", choose)
    page.viewer.fields.start.setValue(2.5)
    page.viewer.fields.end.setValue(4.25)
    assert page.viewer.plot.span_s == pytest.approx((2.5, 4.25))
    page.viewer.correction.label.setCurrentText("sad")
    opened.qtbot.keyClicks(page.viewer.correction.speaker, "ann")
    opened.press(Key.Key_Return, page.viewer.correction.speaker)
    page.viewer.correction.label.setCurrentText("jealous")
    page.viewer.fields.start.setValue(5.0)
    opened.click(page.viewer.correction.button)
    opened.until(lambda: page.idle)
    assert opened.errors == []
    assert len(asked) == 1
    first, second = read_corpus("manifest", takes / "mine.csv")
    assert (first.path, first.emotion, first.speaker) == (takes / "b.wav", "sad", "manifest/ann")
    assert (first.start_s, first.end_s) == (2.5, 4.25)
    assert (second.emotion, second.start_s, second.end_s) == ("jealous", 5.0, 5.01)
    assert "mine.csv (2)" in page.viewer.correction.status.whole
    assert opened.settings.text("recordings.speaker") == "ann"
    assert opened.settings.text("recordings.manifest") == str(takes / "mine.csv")


def test_a_recording_as_a_whole_can_be_kept(opened, takes, monkeypatch):
    page = opened.open(takes / "a.wav")
    monkeypatch.setattr(page.dialogs, "choose_manifest", lambda: takes / "mine.csv")
    page.viewer.correction.label.setCurrentText("happy")
    page.viewer.correction.speaker.setText("bob")
    opened.click(page.viewer.correction.button)
    opened.until(lambda: page.idle)
    (one,) = read_corpus("manifest", takes / "mine.csv")
    assert (one.path, one.start_s, one.end_s) == (takes / "a.wav", 0.0, None)


def test_the_span_can_be_switched_on_and_off(opened, takes):
    page = opened.open(takes / "b.wav")
    opened.click(page.viewer.select_box)
    assert page.viewer.plot.span_s == pytest.approx((3.0, 9.0))
    assert page.viewer.fields.span_s == pytest.approx((3.0, 9.0))
    (span,) = (i for i in view_of(page).items() if isinstance(i, pg.LinearRegionItem))
    span.setRegion((4.0, 5.0))
    assert page.viewer.fields.span_s == pytest.approx((4.0, 5.0))
    opened.click(page.viewer.select_box)
    assert page.viewer.plot.span_s is None
    assert page.viewer.fields.whole


def test_an_end_before_the_begin_moves_it(opened, takes):
    page = opened.open(takes / "b.wav")
    page.viewer.fields.start.setValue(8.0)
    page.viewer.fields.end.setValue(6.0)
    assert page.viewer.fields.span_s == pytest.approx((5.99, 6.0))
    page.viewer.fields.start.setValue(12.0)
    start, end = page.viewer.fields.span_s
    assert start < end <= 12.0


@pytest.mark.parametrize(
    ("label", "speaker", "message"), [("", "ann", "which"), ("sad", "", "who")]
)
def test_what_is_missing_is_told_before_a_file_is_asked_for(
    opened, takes, monkeypatch, label, speaker, message
):
    page = opened.open(takes / "a.wav")
    monkeypatch.setattr(page.dialogs, "choose_manifest", lambda: pytest.fail("asked"))
    page.viewer.correction.label.setCurrentText(label)
    page.viewer.correction.speaker.setText(speaker)
    opened.click(page.viewer.correction.button)
    opened.until(lambda: bool(opened.errors))
    assert message in str(opened.errors[0])


def test_nothing_is_kept_where_no_file_was_chosen(opened, takes, monkeypatch):
    page = opened.open(takes / "a.wav")
    monkeypatch.setattr(page.dialogs, "choose_manifest", lambda: None)
    page.viewer.correction.label.setCurrentText("sad")
    page.viewer.correction.speaker.setText("ann")
    opened.click(page.viewer.correction.button)
    assert page.idle
    assert opened.settings.text("recordings.manifest") == ""


# Manners


def test_every_control_has_a_name_and_can_be_reached_by_keys(opened, takes):
    page = opened.open_all(takes)
    viewer, scores = page.viewer, page.list
    controls = [
        page.file_button, page.folder_button, viewer.plot, viewer.play_button, viewer.zoom_in,
        viewer.zoom_out, viewer.zoom_all, viewer.select_box, viewer.fields.start,
        viewer.fields.end, viewer.correction.label, viewer.correction.speaker,
        viewer.correction.button, viewer.correction.manifest, scores.table, scores.export,
        page.progress.bar, page.progress.button, scores.progress.bar, scores.progress.button,
    ]  # fmt: skip
    for control in controls:
        text = control.text() if isinstance(control, QAbstractButton) else ""
        assert control.accessibleName() or text, control
    for control in controls:
        if control not in (page.progress.bar, scores.progress.bar):
            assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


@pytest.mark.parametrize("theme", [DARK, LIGHT])
@pytest.mark.parametrize("size", [(620, 360), (1280, 800), (3840, 2160)])
def test_it_fits_small_and_large_screens(opened, takes, theme, size):
    page = opened.page
    page.set_theme(theme)
    page.resize(1280, 800)
    opened.open_all(takes)
    opened.open(takes / "b.wav")
    assert page.minimumSizeHint().width() <= 620
    page.resize(*size)
    assert (page.width(), page.height()) == size
    picture = page.viewer.plot.grab().toImage()
    colours = {
        picture.pixelColor(x, y).name()
        for x in range(0, picture.width(), 7)
        for y in range(0, picture.height(), 7)
    }
    assert theme.background.name() in colours
    assert len(colours) > 5
    beside = page.list.x() > page.viewer.x()
    assert beside == (size[0] >= 1000)


def test_an_idle_page_costs_nothing(opened, takes):
    page = opened.open(takes / "a.wav")
    began = time.thread_time()
    for _ in range(1000):
        page.tick()
    assert time.thread_time() - began < 0.2


def test_shutting_down_ends_all_work(opened, hour, takes, monkeypatch):
    page = opened.open(takes / "a.wav")
    monkeypatch.setattr(page.dialogs, "choose_manifest", lambda: takes / "mine.csv")
    page.viewer.correction.label.setCurrentText("sad")
    page.viewer.correction.speaker.setText("ann")
    opened.output.go.clear()
    opened.press(Key.Key_Space)
    page.viewer.keep_clip()
    page.open_paths([hour, takes])
    page.open_paths([hour])
    jobs = [page.progress.job, page.list.progress.job]
    page.shut_down()
    assert all(job.done and job.cancelled for job in jobs)
    assert all(stream.closed for stream in opened.output.streams)
    # A correction is not lost on the way out.
    assert len(read_corpus("manifest", takes / "mine.csv")) == 1


# Parts


def test_envelopes_hold_every_extreme(tmp_path):
    samples = np.zeros(3 * 8000, dtype=np.float32)
    samples[12345], samples[20001] = 0.75, -0.5
    path = tmp_path / "spikes.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    envelope = read_envelope(path)
    assert envelope.duration_s == 3.0
    assert envelope.peak == 0.75
    for count in (1, 7, 100, 3000):
        for start, end in ((0.0, 3.0), (1.5, 2.6)):
            times, low, high = envelope.view(start, end, count)
            assert (low.min(), high.max()) == (-0.5, 0.75)
            if count > 1:
                spike = times[high.argmax()]
                assert spike == pytest.approx(12345 / 8000, abs=3.0 / count + 0.01)
            assert len(times) <= 3 * count + 4
            assert (np.diff(times) >= 0.0).all()


@pytest.mark.parametrize("end_s", [0.3, 5.0])
def test_a_wave_is_drawn_without_holes(end_s):
    n = 10_000
    wave = np.linspace(0.0, 1.0, n, dtype=np.float32)
    times, values = columns(Envelope(-wave, wave, 0.002, 20.0), 0.1, end_s, 800, 0.01)
    step_s = (end_s - 0.1) / 800
    assert (times[::2] == times[1::2]).all()
    assert np.diff(times[::2]).max() <= 1.1 * step_s
    assert times[0] <= 0.1
    assert times[-1] >= end_s
    assert (values[1::2] - values[::2]).min() >= 0.01 - 1e-6
    at = np.interp(times[1::2], np.arange(n) * 0.002, wave)
    np.testing.assert_allclose(values[1::2], at, atol=0.006)


def test_an_envelope_goes_as_far_as_a_file_can_be_read(tmp_path):
    samples = np.full(16000, 0.5, dtype=np.float32)
    samples[12000] = np.nan
    path = tmp_path / "broken.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    assert read_envelope(path).duration_s == 1.5
    with pytest.raises(AudioError):
        read_envelope(tmp_path / "missing.wav")


def test_short_pauses_are_no_pauses():
    speech = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], dtype=bool)
    assert speech_spans(speech, 0.1, 0.25).tolist() == [
        pytest.approx([0.1, 0.5]), pytest.approx([0.8, 0.9])
    ]  # fmt: skip
    assert speech_spans(np.zeros(4, dtype=bool), 0.1).shape == (0, 2)


def test_beliefs_are_averaged_where_they_are_too_many():
    n = 1000
    belief = np.full((n, 2), 0.25, dtype=np.float32)
    belief[:500, 0], belief[500:, 0] = np.nan, 0.75
    empty = np.zeros(n, dtype=np.float32)
    stretch = Stretch(
        np.arange(n, dtype=np.float64), belief, empty, empty.astype(int), empty.astype(int),
        empty, empty,
    )  # fmt: skip
    times, values = visible_beliefs(stretch, 0, 0.0, 999.0, points=100)
    assert len(times) == len(values) == 100
    assert np.isnan(values[:50]).all()
    np.testing.assert_allclose(values[50:], 0.75)
    np.testing.assert_allclose(times[:2], [4.5, 14.5])
    few, _ = visible_beliefs(stretch, 0, 10.0, 20.0, points=100)
    assert few[0] <= 10.0
    assert few[-1] >= 20.0


def test_clocks():
    assert [clock_text(s) for s in (0, 59.6, 61, 3661)] == ["0:00", "1:00", "1:01", "1:01:01"]
    assert clock_text(59.96, 1) == "1:00.0"
    assert clock_text(-1.0, 2) == "0:00.00"
