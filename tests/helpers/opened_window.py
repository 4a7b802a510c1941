"""The window in a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gui.window import MainWindow
from tests.helpers.fed_source import FedSource

RATE_HZ = 16000


class OpenedWindow:
    """A window whose sources the test feeds; it ticks as its own clock does."""

    def __init__(self, qtbot, window: MainWindow) -> None:
        self.qtbot, self.window = qtbot, window
        self.sources: list[FedSource] = []
        window.choices.open_source = self._opener

    def _opener(self) -> Callable[[], FedSource]:
        name = self.window.choices.source_name

        def opened() -> FedSource:
            self.sources.append(FedSource(name=name))
            return self.sources[-1]

        return opened

    def until(self, true: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(true()), timeout=120_000)

    def start(self, seconds: float = 0.0, speech: np.ndarray | None = None) -> FedSource:
        n = len(self.sources)
        self.window.live.start_button.click()
        self.until(lambda: len(self.sources) > n)
        if speech is not None:
            self.sources[-1].feed(speech[: int(seconds * RATE_HZ)])
            self.until(lambda: self.position_s >= seconds - 0.04)
        return self.sources[-1]

    @property
    def position_s(self) -> float:
        stream = self.window.live.stream
        assert stream is not None
        return stream.status.snapshot.position_s

    @property
    def headline(self) -> str:
        return self.window.live.headline.text
