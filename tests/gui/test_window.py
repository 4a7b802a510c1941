"""The window over a real stream: live, choices, calibration, errors, manners."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QListWidget

from gui.choices import row as choices_module
from gui.choices.row import NO_PROFILE, SHIPPED
from gui.live.history import STATES
from gui.live.stream import Status, StreamState
from gui.live.texts import describe
from gui.theme import DARK, LIGHT
from gui.window import MainWindow
from ser_stream.audio.devices import Device
from ser_stream.errors import AudioError, DeviceError
from ser_stream.files import CONFIG
from ser_stream.models.profile import Profile, frontend_key
from ser_stream.profiles import learn, list_known, list_profiles, load_voice
from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock, Prediction, Snapshot, State

RATE_HZ = 16000
LABELS = ("angry", "happy", "neutral", "sad")
# Words


def status(state: StreamState, prediction: Prediction | None = None, **more: object) -> Status:
    return Status(state, Snapshot(prediction, warm_up_s=1.25), **more)  # pyright: ignore[reportArgumentType]


def emotion(state: State, label: str | None, *belief: float) -> Prediction:
    smoothed = np.array(belief, np.float32) if belief else None
    return Prediction(0, 32000, state, label, smoothed, smoothed, smoothed)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (status(StreamState.STARTING), ("opening", "mic", None)),
        (status(StreamState.LISTENING), ("warming up", "1.2 s to go", None)),
        (
            status(StreamState.LISTENING, emotion(State.NO_SPEECH, None)),
            ("no speech", "nobody speaks", None),
        ),
        (
            status(StreamState.LISTENING, emotion(State.UNSURE, None, 0.2, 0.4, 0.3, 0.1)),
            ("unsure", "perhaps happy 40 %", None),
        ),
        (
            status(StreamState.LISTENING, emotion(State.EMOTION, "sad", 0.1, 0.1, 0.1, 0.7)),
            ("sad", "70 % sure", "sad"),
        ),
        (status(StreamState.PAUSED), ("paused", "nothing is heard until you go on", None)),
        (
            status(StreamState.STILL, still_s=4.2),
            (
                "no audio",
                "mic gives no sound for 4 s; it goes on when it does, or choose another",
                None,
            ),
        ),
        (status(StreamState.STOPPED), ("stopped", "Start listens (Ctrl+Space)", None)),
        (status(StreamState.FAILED, error=DeviceError("gone")), ("stopped", "gone", None)),
    ],
)
def test_every_state_has_words_of_its_own(given, said):
    assert describe(given, LABELS, "mic") == said


# Live


def test_live_from_an_array(opened, speech):
    live = opened.window.live
    assert opened.headline == "stopped"
    assert live.start_button.isEnabled()
    assert not live.pause_button.isEnabled()
    source = opened.start(1.0, speech)
    opened.until(lambda: opened.headline == "warming up")
    source.feed(speech[RATE_HZ : 6 * RATE_HZ])
    opened.until(lambda: opened.headline in (*LABELS, "unsure"))
    stream = live.stream
    opened.until(lambda: stream.now_s >= 5.99)
    stretch = stream.history.since(0.0)
    opened.until(lambda: np.array_equal(live.bars.belief, stretch.belief[-1]))
    assert len(live.plane.points) > 5
    curve = live.timeline.beliefs.listDataItems()[1]
    opened.until(lambda: len(curve.getData()[0]) == len(stretch))
    np.testing.assert_allclose(curve.getData()[1], stretch.belief[:, 0])
    opened.until(lambda: "samples lost" in live.figures.text())
    assert "0 samples lost" in live.figures.text()
    source.feed(np.zeros(5 * RATE_HZ))
    opened.until(lambda: opened.headline == "no speech")
    assert live.bars.belief is None
    live.stop_button.click()
    opened.until(lambda: opened.headline == "stopped")
    assert source.left
    assert live.start_button.isEnabled()
    # What was there can still be looked at.
    assert len(curve.getData()[0]) > len(stretch)


def test_pause_and_go_on(opened, speech):
    live = opened.window.live
    source = opened.start(4.0, speech)
    live.pause_button.click()
    opened.until(lambda: opened.headline == "paused")
    source.feed(speech[: 3 * RATE_HZ])
    opened.until(lambda: source.empty)
    assert live.pause_button.text() == "&Go on"
    live.pause_button.click()
    source.feed(speech[4 * RATE_HZ : 8 * RATE_HZ])
    opened.until(lambda: opened.position_s >= 10.9)
    opened.until(lambda: opened.headline not in ("paused", "warming up"))


def test_a_lost_device_is_told_and_the_history_stays(opened, speech, monkeypatch):
    window = opened.window
    source = opened.start(4.0, speech)
    before = len(window.live.stream.history.since(0.0))
    monkeypatch.setattr("gui.live.stream.STILL_S", 0.2)
    opened.until(lambda: opened.headline == "no audio")
    assert "goes on when it does, or choose another" in window.live.headline.detail
    assert not window.errors.isVisible()
    monkeypatch.setattr("gui.live.stream.STILL_S", 60.0)
    source.lose(3 * RATE_HZ)
    source.feed(speech[: 3 * RATE_HZ], gap=True)
    opened.until(lambda: opened.position_s >= 9.9)
    opened.until(lambda: opened.headline not in ("no audio", "warming up"))
    ends = window.live.stream.history.since(0.0).end_s
    assert (ends < 4.1).sum() == before
    # Another one is chosen: the same history goes on.
    window.choices.device_box.setCurrentIndex(2)
    window.choices.device_box.activated.emit(2)
    opened.until(lambda: len(opened.sources) == 2)
    assert source.left
    opened.sources[1].feed(speech[: 4 * RATE_HZ])
    opened.until(lambda: opened.position_s >= 3.9)
    later = window.live.stream.history.since(0.0).end_s
    assert len(later) > len(ends)
    np.testing.assert_array_equal(later[: len(ends)], ends)
    assert later[-1] == pytest.approx(14.0, abs=0.3)


def test_a_source_that_fails_is_one_dialog_and_can_be_started_again(opened, speech):
    window = opened.window
    opened.start(3.0, speech).fail(DeviceError("the cable is out"))
    opened.until(window.errors.isVisible)
    assert opened.headline == "stopped"
    assert window.live.headline.detail == "the cable is out"
    assert not window.errors.isModal()
    assert window.errors.message.text() == "the cable is out"
    window.report(AudioError("another"))
    assert window.errors.message.text() == "the cable is out\n\nanother"
    window.errors.copy_button.click()
    copied = QGuiApplication.clipboard().text()
    assert "the cable is out" in copied
    assert "another" in copied
    window.errors.close()
    opened.start(3.0, speech)
    assert len(opened.sources) == 2


def test_a_source_that_fails_is_told_on_every_page(opened, speech):
    window = opened.window
    source = opened.start(3.0, speech)
    window.tabs.setCurrentIndex(2)
    source.fail(DeviceError("the cable is out"))
    opened.until(window.errors.isVisible)
    window.errors.close()
    window.tabs.setCurrentIndex(0)
    opened.until(lambda: opened.headline == "stopped")


def test_a_bug_is_told_with_its_traceback(opened):
    try:
        {}["key"]
    except KeyError as error:
        opened.window.report(error)
    assert opened.window.errors.message.text().startswith("KeyError: ")
    assert "test_a_bug_is_told" in opened.window.errors.details.toPlainText()
    opened.window.errors.close()


def test_recording_is_begun_and_ended_while_it_runs(opened, speech, tmp_path):
    live = opened.window.live
    live.record.ask_for_folder = lambda now: tmp_path / "kept"
    live.record.folder_action.trigger()
    source = opened.start(3.0, speech)
    opened.until(live.record.button.isEnabled)
    live.record.audio_box.setChecked(True)
    live.record.button.click()
    opened.until(lambda: not live.record.audio_box.isEnabled())
    source.feed(speech[3 * RATE_HZ : 7 * RATE_HZ])
    opened.until(lambda: opened.position_s >= 6.9)
    opened.until(lambda: "recording and sound to" in live.figures.text())
    live.record.button.click()
    live.stream.recorder.close()
    files = sorted((tmp_path / "kept").iterdir())
    assert [f.suffix for f in files] == [".csv", ".wav"]
    rows = files[0].read_text().splitlines()
    assert rows[0].startswith("start_s,end_s,state,label")
    assert len(rows) > 15
    samples, rate = soundfile.read(files[1], dtype="float32")
    assert rate == RATE_HZ
    np.testing.assert_allclose(samples, speech[3 * RATE_HZ :][: len(samples)], atol=1e-4)
    assert len(samples) > 3.9 * RATE_HZ


def test_updates_are_recorded_as_json_lines_too(opened, settings, speech, tmp_path):
    live = opened.window.live
    live.record.ask_for_folder = lambda now: tmp_path
    live.record.folder_action.trigger()
    live.record.format_actions["jsonl"].trigger()
    assert settings.text("rows") == "jsonl"
    source = opened.start(3.0, speech)
    opened.until(live.record.button.isEnabled)
    live.record.button.click()
    source.feed(speech[3 * RATE_HZ : 6 * RATE_HZ])
    opened.until(lambda: opened.position_s >= 5.9)
    live.record.button.click()
    live.stream.recorder.close()
    (path,) = tmp_path.glob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) > 5
    assert set(LABELS) < set(rows[0])


def test_a_recording_that_cannot_be_written_is_told(opened, speech, tmp_path):
    live = opened.window.live
    (tmp_path / "file").write_text("no folder")
    live.record.ask_for_folder = lambda now: tmp_path / "file"
    live.record.folder_action.trigger()
    opened.start(3.0, speech)
    opened.until(live.record.button.isEnabled)
    live.record.button.click()
    assert opened.window.errors.isVisible()
    assert not live.record.button.isChecked()
    opened.window.errors.close()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_timeline_is_saved_as_a_picture(opened, speech, tmp_path, suffix):
    live = opened.window.live
    opened.start(5.0, speech)
    path = tmp_path / f"timeline{suffix}"
    live.ask_for_picture = lambda proposal: path
    live.picture_button.click()
    assert path.stat().st_size > 2000
    if suffix == ".svg":
        assert "<svg" in path.read_text()[:400]
        assert path.read_text().count("<path") > 5
    live.ask_for_picture = lambda proposal: tmp_path / "none" / f"timeline{suffix}"
    live.picture_button.click()
    assert opened.window.errors.isVisible()
    opened.window.errors.close()


# Choices


def test_microphones_are_chosen_by_name_and_remembered(opened, settings, devices, qtbot):
    choices = opened.window.choices
    texts = [choices.device_box.itemText(i) for i in range(choices.device_box.count())]
    assert texts == [
        "Default microphone", "Built-in", "Headset (ALSA)", "Headset (JACK)",
        "Demo clip (no microphone)",
    ]  # fmt: skip
    built_in, headset, jack = devices
    choices.device_box.setCurrentIndex(3)
    choices.device_box.activated.emit(3)
    assert choices.device == jack
    # Its index is another one now.
    devices[:] = [headset, Device(7, "Headset", "JACK", 1, 16000, False)]
    choices.refresh.click()
    opened.until(choices.refresh.isEnabled)
    assert choices.device == devices[1]
    again = MainWindow(settings)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.choices.device == devices[1], timeout=120_000)
    # It is not there: it stays wanted, and opening it will say so.
    devices[:] = [built_in]
    choices.refresh.click()
    opened.until(choices.refresh.isEnabled)
    assert choices.device_box.currentText() == "Headset (not there)"
    assert choices.device.name == "Headset"


def test_devices_that_cannot_be_listed_are_told(opened, monkeypatch):
    def broken(listening: bool) -> list[Device]:
        raise DeviceError("PortAudio does not answer")

    monkeypatch.setattr(choices_module, "present_devices", broken)
    opened.window.choices.refresh.click()
    opened.until(opened.window.errors.isVisible)
    assert opened.window.errors.message.text() == "PortAudio does not answer"
    opened.window.errors.close()


def test_another_process_lists_devices_while_one_is_open(monkeypatch):
    listed = json.dumps([{"index": 3, "name": "New", "host_api": "ALSA", "channels": 1,
                          "sample_rate_hz": 16000, "is_default": False}])  # fmt: skip
    seen = []

    def run(command: list[str], **more: object) -> SimpleNamespace:
        seen.append(command)
        return SimpleNamespace(stdout=listed)

    monkeypatch.setattr(subprocess, "run", run)
    assert choices_module.present_devices(True) == [Device(3, "New", "ALSA", 1, 16000, False)]
    assert seen[0][-2:] == ["devices", "--json"]
    for rubbish in ("rubbish", "5", '[{"index": "x", "name": "New"}]', "[[]]"):
        listed = rubbish
        with pytest.raises(DeviceError, match="cannot look for microphones"):
            choices_module.present_devices(True)


def test_the_command_lists_devices_as_json():
    result = subprocess.run(
        [sys.executable, "-m", "ser_stream.cli", "devices", "--json"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert all(Device(**row).channels > 0 for row in json.loads(result.stdout))


def test_a_model_is_chosen_and_a_bad_one_told(opened, tmp_path, speech):
    window, choices = opened.window, opened.window.choices
    opened.start(3.0, speech)
    shipped = choices.bundle
    copy = tmp_path / "mine.onnx"
    copy.write_bytes(shipped.path.read_bytes())
    choices.ask_for_model = lambda: copy
    choices.model_box.setCurrentIndex(choices.model_box.count() - 1)
    choices.model_box.activated.emit(choices.model_box.currentIndex())
    opened.until(lambda: choices.bundle.path == copy)
    assert choices.model_box.currentText() == "mine"
    # The stream goes on with the new one, in a history of its own.
    opened.until(lambda: len(opened.sources) == 2)
    opened.until(lambda: window.live.stream.listening.bundle.path == copy)
    assert len(window.live.stream.history.since(0.0)) == 0
    bad = tmp_path / "bad.onnx"
    bad.write_text("no model")
    choices.ask_for_model = lambda: bad
    choices.model_box.setCurrentIndex(choices.model_box.count() - 1)
    choices.model_box.activated.emit(choices.model_box.currentIndex())
    opened.until(window.errors.isVisible)
    assert "bad.onnx" in window.errors.message.text()
    assert choices.bundle.path == copy
    assert choices.model_box.currentText() == "mine"
    window.errors.close()


def test_a_model_that_is_gone_gives_way_to_the_shipped_one(qtbot, settings, devices, tmp_path):
    settings.keep("model", str(tmp_path / "gone.onnx"))
    window = MainWindow(settings)
    qtbot.addWidget(window)
    qtbot.waitUntil(lambda: window.choices.bundle is not None, timeout=120_000)
    assert window.choices.model_box.currentText() == SHIPPED
    assert "gone.onnx" in window.errors.message.text()
    window.errors.close()


# Calibration


def test_a_voice_is_calibrated_chosen_and_deleted(opened, speech):
    window, page = opened.window, opened.window.calibrate
    opened.start(3.0, speech)
    window.tabs.setCurrentWidget(page)
    page.name_field.setText("../ann")
    page.start_button.click()
    assert "profile name" in page.result.text()
    page.name_field.setText("ann")
    page.start_button.click()
    # The live stream lets go of the microphone first.
    opened.until(lambda: len(opened.sources) == 2)
    assert opened.sources[0].left
    assert page.cancel_button.isEnabled()
    voice = np.tile(speech[: 15 * RATE_HZ], 3)
    opened.sources[1].feed(0.001 * voice[: 3 * RATE_HZ])
    opened.until(lambda: "too quiet" in page.result.text())
    assert page.bar.value() < 1000
    opened.sources[1].feed(voice)
    opened.until(lambda: page.result.text().startswith("Done: ann is known"))
    assert page.bar.value() == 1000
    assert opened.sources[1].left
    assert list_profiles() == ["ann"]
    assert window.choices.profile is not None
    assert window.choices.profile.name == "ann"
    window.tabs.setCurrentWidget(window.live)
    opened.until(window.live.start_button.isEnabled)
    opened.start(3.0, speech)
    assert window.live.stream.listening.profile.name == "ann"
    page.list.setCurrentRow(0)
    page.delete_button.click()
    assert list_profiles() == ["ann"]
    assert page.delete_button.text() == "Really dele&te?"
    page.delete_button.click()
    assert list_profiles() == []
    assert window.choices.profile is None
    assert window.choices.profile_box.currentText() == NO_PROFILE


def test_a_reading_can_be_cancelled_and_refused(opened, speech, monkeypatch):
    page = opened.window.calibrate
    opened.window.tabs.setCurrentWidget(page)
    page.name_field.setText("bob")
    page.start_button.click()
    opened.until(lambda: opened.sources)
    opened.sources[0].feed(speech[: 2 * RATE_HZ])
    page.cancel_button.click()
    assert page.result.text() == "cancelled; nothing was kept"
    assert page.start_button.isEnabled()
    opened.sources[0].feed(speech[: 2 * RATE_HZ])
    page.start_button.click()
    opened.until(lambda: len(opened.sources) == 2)
    opened.sources[1].feed(np.zeros(61 * RATE_HZ))
    opened.until(lambda: page.result.text().startswith("No profile was made: only 0 s of speech"))
    page.start_button.click()
    opened.until(lambda: len(opened.sources) == 3)
    opened.sources[2].fail(DeviceError("the microphone is gone"))
    opened.until(lambda: page.result.text() == "No profile was made: the microphone is gone")
    assert list_profiles() == []


def test_what_was_learnt_of_a_voice_is_gone_by(opened, bundle, speech):
    engine = Engine(bundle)
    engine.reset()
    engine.feed(AudioBlock(speech, 0))
    voice = learn("ann", engine)
    choices = opened.window.choices
    choices.fill_profiles(choose="ann")
    assert choices.profile_box.currentText() == "ann"
    assert choices.profile is None
    assert choices.listening is not None
    assert choices.listening.voice == voice
    opened.start(4.0, speech)
    opened.until(lambda: "profile ann" in opened.window.live.figures.text())
    live = opened.window.live
    assert choices.learns is None
    choices.learn_box.click()
    assert choices.learns == "ann"
    opened.sources[-1].feed(speech[4 * RATE_HZ :])
    opened.until(lambda: opened.position_s > 30.0)
    live.stop_button.click()
    opened.until(lambda: "s of ann's voice" in live.figures.text())
    assert live.stream is not None
    assert f"learnt from {live.stream.learnt[1]:.0f} s of ann's voice" in live.figures.text()
    opened.until(lambda: choices.listening.voice != voice)
    # A tick that is taken away later does not change what was learnt.
    choices.learn_box.click()
    assert choices.learns is None
    assert live.stream.learnt[0] == "ann"
    assert choices.listening.voice == load_voice("ann", bundle)
    page = opened.window.calibrate
    page.fill()
    page.list.setCurrentRow(0)
    page.unlearn_button.click()
    assert page.result.text() == "ann: as it was before"
    assert choices.listening.voice == voice
    page.list.setCurrentRow(0)
    page.unlearn_button.click()
    assert list_known() == []
    assert choices.listening.voice is None
    assert choices.learns is None
    assert not choices.learn_box.isEnabled()


def test_another_voice_is_not_learnt_unasked_and_a_stream_that_ends_learns_its_own(
    opened, bundle, speech
):
    engine = Engine(bundle)
    engine.reset()
    engine.feed(AudioBlock(speech, 0))
    before = {name: learn(name, engine) for name in ("ann", "bob")}
    choices, live = opened.window.choices, opened.window.live
    choices.fill_profiles(choose="ann")
    choices.learn_box.click()
    opened.start(20.0, speech)
    first = live.stream
    assert first.learns == "ann"
    choices.fill_profiles(choose="bob")
    assert choices.learns is None
    opened.until(lambda: live.stream is not first)
    assert live.stream.learns is None
    assert first.learnt[0] == "ann"
    assert load_voice("ann", bundle) != before["ann"]
    assert load_voice("bob", bundle) == before["bob"]


def test_the_next_stream_begins_with_what_the_last_one_learnt(opened, bundle, speech):
    engine = Engine(bundle)
    engine.reset()
    engine.feed(AudioBlock(speech, 0))
    learn("ann", engine)
    choices, live = opened.window.choices, opened.window.live
    choices.fill_profiles(choose="ann")
    choices.learn_box.click()
    opened.start(20.0, speech)
    first = live.stream
    choices.device_changed.emit()
    opened.until(lambda: live.stream is not first)
    assert live.stream.learns == "ann"
    assert live.stream.listening.voice == load_voice("ann", bundle) != first.listening.voice


def test_a_profile_of_another_front_end_is_told(opened, settings):
    bundle = opened.window.choices.bundle
    params = {**bundle.meta.frontend_params, "n_mels": 20}
    other = Profile("old", frontend_key("logmel", params), 10.0, -30.0, (0.0,), (1.0,))
    other.save(Path(os.environ[CONFIG]) / "profiles" / "old.json")
    opened.window.choices.fill_profiles(choose="old")
    assert "another front end" in opened.window.errors.message.text()
    assert opened.window.choices.profile is None
    opened.window.errors.close()


# Manners


def test_themes_are_chosen_and_remembered(opened, settings, qtbot):
    window = opened.window
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        window.set_theme(name)
        assert window.live.headline.theme is theme
        assert QGuiApplication.palette().window().color() == theme.background
        assert settings.text("theme") == name
    again = MainWindow(settings)
    qtbot.addWidget(again)
    assert again.live.headline.theme is DARK
    window.set_theme("system")


@pytest.mark.parametrize("size", [(640, 480), (3840, 2160)])
def test_everything_fits(opened, speech, size):
    window = opened.window
    opened.start(4.0, speech)
    window.resize(*size)
    for i in range(window.tabs.count()):
        window.tabs.setCurrentIndex(i)
        opened.qtbot.wait(50)
        assert (window.width(), window.height()) == size
        page = window.tabs.currentWidget()
        for child in page.findChildren(QAbstractButton):
            if child.isVisible():
                corner = child.mapTo(window, child.rect().bottomRight())
                assert corner.x() < size[0], child.text()
                assert corner.y() < size[1], child.text()


def test_everything_has_a_name_and_can_be_reached_by_keys(opened):
    window = opened.window
    for kind in (QAbstractButton, QComboBox, QLineEdit, QListWidget):
        for widget in window.findChildren(kind):
            parts = ("QTabBar", "QLineEdit", "QComboBox", "QTableView", "QMenuBar", "QSpinBox",
                     "QDoubleSpinBox")  # fmt: skip
            if widget.objectName().startswith("qt_") or any(
                widget.parent().inherits(kind) for kind in parts
            ):
                continue  # what Qt's own widgets are made of
            text = widget.text() if isinstance(widget, QAbstractButton) else ""
            assert text or widget.accessibleName(), widget
            assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, widget
    for view in (window.live.headline, window.live.bars, window.live.level, window.live.plane):
        assert view.accessibleName()
    opened.qtbot.keyClick(window, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    shortcuts = [
        b.shortcut().toString() for b in window.findChildren(QAbstractButton)
        if not b.shortcut().isEmpty()
    ]  # fmt: skip
    assert "Ctrl+Space" in shortcuts
    twice = [s for s in shortcuts if s.startswith("Ctrl") and shortcuts.count(s) > 1]
    assert not twice
    assert window.minimumSizeHint().width() <= 640
    assert window.minimumSizeHint().height() <= 480


@pytest.mark.parametrize("page", range(3))
def test_no_two_controls_of_a_page_share_a_key(opened, page):
    window = opened.window
    window.tabs.setCurrentIndex(page)
    texts = [a.text() for a in window.menuBar().actions()]
    texts += [window.tabs.tabText(i) for i in range(window.tabs.count())]
    for kind in (QAbstractButton, QLabel):
        texts += [w.text() for w in window.findChildren(kind) if w.isVisibleTo(window)]
    keys = [t[t.index("&") + 1].lower() for t in texts if "&" in t and len(t) < 40]
    assert len(keys) > 8
    assert sorted(keys) == sorted(set(keys))


def test_closing_ends_everything_and_keeps_the_geometry(opened, settings, speech, qtbot):
    source = opened.start(3.0, speech)
    opened.window.resize(700, 600)
    opened.window.close()
    assert source.left
    assert opened.window.live.stream.status.state is StreamState.STOPPED
    again = MainWindow(settings)
    qtbot.addWidget(again)
    assert (again.width(), again.height()) == (700, 600)


def test_no_reference_leaks_while_it_draws(opened, speech):
    window = opened.window
    source = opened.start(4.0, speech)
    opened.until(lambda: opened.headline not in ("warming up", "opening"))

    def draw(frames: int) -> None:
        for k in range(frames):
            source.feed(speech[(4 + k % 8) * RATE_HZ :][:1600])
            window.tick()
            window.live.timeline.grab()

    draw(30)
    gc.collect()
    before, objects = sys.getrefcount(None), len(gc.get_objects())
    draw(300)
    opened.until(lambda: source.empty)
    gc.collect()
    assert abs(sys.getrefcount(None) - before) < 200
    assert len(gc.get_objects()) - objects < 500


def test_predictions_are_all_drawn_from(opened, speech):
    """The view shows the very predictions of the engine."""
    opened.start(10.0, speech)
    opened.until(lambda: opened.window.live.stream.now_s >= 9.9)
    stretch = opened.window.live.stream.history.since(0.0)
    steps = np.diff(stretch.end_s)
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    assert {STATES[i] for i in stretch.state} >= {State.EMOTION}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gui.app", *map(str, arguments)]


PROBE = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
import gui.window
seconds = float(sys.argv.pop())
class Probed(gui.window.MainWindow):
    def tick(self):
        super().tick()
        stream = self.live.stream
        if stream is not None and stream.now_s >= seconds:
            s = stream.history.since(0.0)
            print(len(s), QApplication.platformName(), sorted(set(s.state.tolist())),
                  stream.status.snapshot.health.lost_samples, stream.status.state)
            self.close()
gui.window.MainWindow = Probed
import gui.app
gui.app.main()
"""


def probed(seconds: float, *arguments: object, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments), str(seconds)],
        capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_demo_runs_offscreen(settings):
    shown = probed(4.0, "--demo", QT_QPA_PLATFORM="offscreen")
    assert " offscreen " in shown
    assert int(shown.split()[0]) > 15


@pytest.mark.display
def test_the_demo_runs_on_a_display(settings, display):
    shown = probed(4.0, "--demo", QT_QPA_PLATFORM="xcb", DISPLAY=display)
    assert " xcb " in shown
    assert int(shown.split()[0]) > 15


@pytest.mark.display
@pytest.mark.microphone
def test_live_from_a_microphone_on_a_display(settings, display, virtual_microphone, demo_path):
    player = subprocess.Popen(["paplay", f"--device={virtual_microphone}", str(demo_path)])
    try:
        shown = probed(12.0, "--start", "--device", "pulse", QT_QPA_PLATFORM="xcb", DISPLAY=display)
    finally:
        player.kill()
        player.wait()
    assert int(shown.split()[0]) > 80
    assert str(STATES.index(State.EMOTION)) in shown
    assert " 0 listening" in shown


@pytest.mark.parametrize("missing", ["PySide6", "PySide6.QtWidgets", "pyqtgraph"])
def test_a_missing_package_is_one_line(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['ser-stream', 'gui'];"
        "import ser_stream.cli; ser_stream.cli.main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: the window needs PySide6 and pyqtgraph")
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_option_is_one_line(settings):
    result = subprocess.run(
        command("--nonsense"), capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    assert result.returncode == 2
    assert "No such option" in result.stderr
