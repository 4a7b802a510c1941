"""The embedder of a model that is told who speaks, in the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog

from gui.choices.file import FileChoice
from gui.choices.speaker import EMBEDDER
from ser_stream.errors import ConfigError, SerStreamError
from ser_stream.models.bundle import ModelBundle
from tests.helpers.embedders import write_embedder, write_told_bundle

RATE_HZ = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that is told who speaks, its embedder, and another one."""
    top = tmp_path_factory.mktemp("told")
    write_told_bundle(top, write_embedder(top / "voices.onnx", dimension=2))
    write_embedder(top / "other.onnx", sign=-1.0, dimension=2)
    return top


def test_an_embedder_is_chosen_checked_and_remembered(qtbot, settings, folder, bundle, monkeypatch):
    told = ModelBundle.load(folder / "edited.onnx")
    errors: list[Exception] = []
    choice = FileChoice(EMBEDDER, settings, errors.append)
    qtbot.addWidget(choice)

    def ticked(true) -> None:
        qtbot.waitUntil(lambda: (choice.tick(), bool(true()))[1], timeout=120_000)

    choice.take_model(bundle)
    assert choice.isHidden()
    choice.take_model(told)
    assert not choice.isHidden()
    assert choice.note.text() == "This model wants the speaker embedder voices.onnx"
    assert choice.button.accessibleDescription() == choice.note.text()
    asked = []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: asked.append(a) or ("", ""))
    assert choice.ask_for_file() is None
    assert asked[0][1] == "Open voices.onnx"
    # Another one, and a model that is no embedder, are a line each.
    for wrong, message in (("other.onnx", "not the embedder"), ("edited.onnx", "no ser_stream_sp")):
        errors.clear()
        choice.ask_for_file = lambda wrong=wrong: folder / wrong
        choice.button.click()
        ticked(lambda: errors)
        assert isinstance(errors[0], SerStreamError)
        assert message in str(errors[0])
        assert "\n" not in str(errors[0])
        assert choice.value is None
    choice.ask_for_file = lambda: folder / "voices.onnx"
    with qtbot.waitSignal(choice.changed):
        choice.button.click()
        ticked(lambda: choice.value)
    assert choice.note.text() == "Speaker embedder: voices.onnx"
    again = FileChoice(EMBEDDER, settings, errors.append)
    qtbot.addWidget(again)
    again.take_model(told)
    qtbot.waitUntil(lambda: (again.tick(), again.value)[1] is not None, timeout=120_000)
    again.take_model(bundle)
    assert again.value is None


def test_a_stream_and_a_recording_are_told_who_speaks(opened, folder, speech, tmp_path):
    window, speaker = opened.window, opened.window.choices.speaker
    assert not speaker.isVisible()
    window.choices.load_model(folder / "edited.onnx")
    opened.until(lambda: window.choices.bundle.meta.speaker is not None)
    assert speaker.isVisible()
    soundfile.write(tmp_path / "a.wav", speech[: 6 * RATE_HZ], RATE_HZ)
    window.open_paths([tmp_path / "a.wav"])
    page = window.recordings
    opened.until(lambda: page.result is not None)
    first = page.result
    window.tabs.setCurrentWidget(window.live)
    opened.start(3.0, speech)
    before = window.live.stream.status.snapshot.prediction
    speaker.ask_for_file = lambda: folder / "voices.onnx"
    speaker.button.click()
    # With the embedder the stream begins anew, and the recording is scored again.
    opened.until(lambda: len(opened.sources) == 2)
    assert window.live.stream.listening.embedder is speaker.value
    opened.sources[1].feed(speech[: 3 * RATE_HZ])
    opened.until(lambda: opened.position_s >= 2.96)
    after = window.live.stream.status.snapshot.prediction
    assert (before.start, before.end) == (after.start, after.end)
    assert not np.allclose(before.logits, after.logits)
    opened.until(lambda: page.result is not None and page.result is not first)
    alone, told = first.score, page.result.score
    assert alone.windows == told.windows > 5
    assert not np.allclose(alone.posterior, told.posterior)


def test_the_wrong_embedder_is_one_line_in_the_dialog(opened, folder):
    window, speaker = opened.window, opened.window.choices.speaker
    window.choices.load_model(folder / "edited.onnx")
    opened.until(speaker.isVisible)
    speaker.ask_for_file = lambda: folder / "other.onnx"
    speaker.button.click()
    opened.until(window.errors.isVisible)
    assert "not the embedder that the model was trained with" in window.errors.message.text()
    assert "\n" not in window.errors.message.text()
    assert window.choices.listening.embedder is None
    assert ConfigError.__name__ in window.errors.details.toPlainText()


def test_the_row_fits_and_can_be_reached_by_keys(opened, folder):
    window, speaker = opened.window, opened.window.choices.speaker
    window.choices.load_model(folder / "edited.onnx")
    opened.until(speaker.isVisible)
    window.resize(640, 480)
    opened.until(lambda: (window.width(), window.height()) == (640, 480))
    corner = speaker.button.mapTo(window, speaker.button.rect().bottomRight())
    assert corner.x() < 640
    assert corner.y() < 480
    assert speaker.button.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert speaker.note.accessibleName() == "which speaker embedder"
