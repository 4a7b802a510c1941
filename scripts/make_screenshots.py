#!/usr/bin/env python
"""Make the pictures of the window in ``docs/window``, from a real run on the demo clip.

    DISPLAY=:97 python scripts/make_screenshots.py      # with Xvfb :97 -screen 0 1600x1200x24 &

Everything shown was computed while the pictures were made: the clip is heard in real time, read for
a profile, and scored; the folder holds pieces of it and a broken file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "docs" / "window"
SIZE = (1000, 720)
# Where the clip has sounded happy for a while.
LIVE_S = 25.3
WORDS_S = 20.0
READ_S = 8.6


def main() -> None:
    """Write the pictures."""
    work = Path(tempfile.mkdtemp())
    os.environ["SER_STREAM_CONFIG"] = str(work / "config")
    import soundfile
    from PySide6.QtWidgets import QApplication

    from gui.choices.row import demo_path
    from gui.settings import Settings
    from gui.window import MainWindow

    application = QApplication(sys.argv[:1])
    application.setStyle("Fusion")
    window = MainWindow(Settings(work / "window.ini"))
    window.resize(*SIZE)
    window.show()

    def until(true: Callable[[], object], timeout_s: float = 120.0) -> None:
        end = time.monotonic() + timeout_s
        while not true():
            application.processEvents()
            time.sleep(0.002)
            if time.monotonic() > end:
                raise TimeoutError

    def pause(seconds: float) -> None:
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() > end)

    def take(name: str) -> None:
        for theme in ("light", "dark"):
            window.set_theme(theme)
            pause(0.3)
            window.grab().save(str(OUTPUT / f"{name}-{theme}.png"))

    OUTPUT.mkdir(parents=True, exist_ok=True)
    until(lambda: window.choices.bundle is not None)
    window.choices.choose_demo()

    live = window.live
    live.start()
    until(lambda: live.stream is not None and live.stream.now_s >= LIVE_S)
    take("live")
    live.stop()
    until(lambda: not live.is_listening)
    words = window.choices.words
    words.box.setCurrentIndex(words.box.findData("pocketsphinx"))
    words.box.activated.emit(words.box.currentIndex())
    live.start()
    stream = live.stream
    assert stream is not None
    until(lambda: stream.now_s >= stream.origin_s + WORDS_S)
    take("words")

    page = window.calibrate
    window.tabs.setCurrentWidget(page)
    page.name_field.setText("Ann")
    page.start()
    until(lambda: page.bar.value() >= 1000 * READ_S / 15.0)
    take("calibrate")
    until(lambda: not page.is_listening)

    window.open_paths([demo_path()])
    recordings = window.recordings
    assert recordings is not None
    until(lambda: recordings.idle)
    take("recording")

    samples, rate = soundfile.read(demo_path())
    folder = work / "talks"
    folder.mkdir()
    for k in range(8):
        piece = samples[int(4 * k * rate) : int((4 * k + 5) * rate)]
        soundfile.write(folder / f"talk {k + 1}.wav", piece, rate)
    (folder / "talk 9.wav").write_bytes(b"not audio")
    window.open_paths([folder])
    until(lambda: recordings.idle)
    take("folder")
    window.close()


if __name__ == "__main__":
    main()
