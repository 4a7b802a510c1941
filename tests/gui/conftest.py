"""Fixtures that tests of the window share."""

from __future__ import annotations

import pytest

from gui.choices import row as choices_module
from gui.settings import Settings
from gui.window import MainWindow
from ser_stream.audio.devices import Device
from ser_stream.files import CONFIG
from tests.helpers.opened_window import OpenedWindow

DEVICES = [
    Device(0, "Built-in", "ALSA", 2, 48000, True),
    Device(1, "Headset", "ALSA", 1, 16000, False),
    Device(2, "Headset", "JACK", 1, 16000, False),
]


@pytest.fixture
def devices(monkeypatch) -> list[Device]:
    """The input devices that are there; a test may change them."""
    there = list(DEVICES)
    monkeypatch.setattr(choices_module, "present_devices", lambda listening: list(there))
    return there


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv(CONFIG, str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    return Settings()


@pytest.fixture
def opened(qtbot, settings, devices) -> OpenedWindow:
    window = MainWindow(settings)
    qtbot.addWidget(window)
    window.show()
    one = OpenedWindow(qtbot, window)
    one.until(lambda: window.choices.bundle is not None and window.choices.device_box.count() > 2)
    return one
