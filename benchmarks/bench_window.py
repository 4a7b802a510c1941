"""What the window costs: how fast it opens, frame times, processor, memory, references.

    python benchmarks/bench_window.py                               # the demo clip, over and over
    python benchmarks/bench_window.py --device pulse --seconds 600  # a microphone, ten minutes

Needs a display; without hardware: ``Xvfb :97 -screen 0 1600x1200x24 &`` and ``DISPLAY=:97``. Each
part runs in a process of its own.

- *opening*: from the start of the interpreter until the window is drawn, and until the first block
  comes in (the model is read by then).
- *frames*: the live page with everything on it, 30 frames a second; a frame's time is from
  the tick until everything that it has changed is drawn. A frame is dropped when a tick comes
  more than half a frame late.
- *memory*: resident memory after 1 and after 30 minutes of sound, faster than real time.
"""

from __future__ import annotations

import os
import time

BEGAN_S = time.time()
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import gc
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from gui.window import MainWindow
    from ser_stream.types import AudioBlock

FRAME_S = 1 / 30
WARM_UP_S = 5.0


class Looped:
    """The demo clip over and over, in real time or as fast as it is taken."""

    name = "demo clip, looped"

    def __init__(self, paced: bool = True, block_s: float = 0.032) -> None:
        import soundfile

        from gui.choices.row import demo_path

        self._samples, self.sample_rate_hz = soundfile.read(demo_path(), dtype="float32")
        self._paced, self._n = paced, round(block_s * self.sample_rate_hz)
        self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._left = True

    def __iter__(self) -> Iterator[AudioBlock]:
        import numpy as np

        from ser_stream.types import AudioBlock

        began = time.monotonic()
        for k in itertools.count():
            start = k * self._n
            due = began + (start + self._n) / self.sample_rate_hz
            while self._paced and (wait := due - time.monotonic()) > 0 and not self._left:
                time.sleep(min(wait, 0.2))
            if self._left:
                return
            index = np.arange(start, start + self._n) % len(self._samples)
            yield AudioBlock(self._samples[index], start, False, time.monotonic())


def open_window() -> tuple[QApplication, MainWindow]:
    """A window with settings of its own."""
    from PySide6.QtWidgets import QApplication

    from gui.settings import Settings
    from gui.window import MainWindow

    application = QApplication(sys.argv[:1])
    application.setStyle("Fusion")
    window = MainWindow(Settings(Path(tempfile.mkdtemp()) / "window.ini"))
    window.resize(1000, 760)
    window.show()
    return application, window


def turn(application: QApplication, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Process events until something is true.

    Raises:
        TimeoutError: it never is.
    """
    from PySide6.QtCore import QEventLoop

    end = time.monotonic() + timeout_s
    while not until():
        application.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 50)
        if time.monotonic() > end:
            raise TimeoutError


def choose(window: MainWindow, device: str | None) -> None:
    """Listen to a device, or to the looped clip."""
    if device is None:
        window.choices.open_source = lambda: Looped
    else:
        window.choices.want_device(device)
    window.live.start()


def heard(window: MainWindow) -> float:
    """Seconds of sound so far."""
    return 0.0 if window.live.stream is None else window.live.stream.now_s


def resident_mb() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def opening(arguments: argparse.Namespace) -> None:
    """How long until the window is drawn and gets sound."""
    application, window = open_window()
    application.processEvents()
    drawn_s = time.time() - arguments.began
    choose(window, arguments.device)
    turn(application, lambda: heard(window) > 0)
    print(f"drawn {drawn_s:.2f} s, first block heard {time.time() - arguments.began:.2f} s")
    window.close()


def frames(arguments: argparse.Namespace) -> None:
    """Frame times, processor, what was missed, references."""
    import numpy as np
    from PySide6.QtCore import QEventLoop, QTimer

    application, window = open_window()
    choose(window, arguments.device)
    turn(application, lambda: heard(window) > WARM_UP_S)
    busy_s: list[float] = []
    ticks_s: list[float] = []
    original = window.tick

    def tick() -> None:
        began_s = time.perf_counter()
        ticks_s.append(began_s)
        original()
        # What the tick has changed is drawn before a timer that is due at once.
        QTimer.singleShot(0, lambda: busy_s.append(time.perf_counter() - began_s))

    window._timer.timeout.disconnect()
    window._timer.timeout.connect(tick)
    stream = window.live.stream
    assert stream is not None
    gc.collect()
    none, cpu_s, began_s = sys.getrefcount(None), time.process_time(), time.perf_counter()
    from_s, predictions = stream.now_s, len(stream.history.since(0.0))
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * arguments.seconds), loop.quit)
    loop.exec()
    wall_s = time.perf_counter() - began_s
    cpu = (time.process_time() - cpu_s) / wall_s
    gc.collect()
    leaked = sys.getrefcount(None) - none
    health = stream.status.snapshot.health
    times = 1000 * np.array(busy_s[2:])
    late = np.diff(ticks_s)
    kept = stream.history.since(stream.now_s - min(arguments.seconds, 590.0)).end_s
    print(
        f"{len(times)} frames in {wall_s:.0f} s: p50 {np.median(times):.1f} ms, "
        f"p99 {np.percentile(times, 99):.1f} ms, longest {times.max():.1f} ms; "
        f"{(late > 1.5 * FRAME_S).sum()} dropped ({100 * (late > 1.5 * FRAME_S).mean():.2f} %)"
    )
    print(
        f"processor {100 * cpu:.0f} % of a core; {health.lost_samples} samples lost, "
        f"{health.overflows} overflows; {stream.now_s - from_s:.1f} s heard, longest step between "
        f"predictions {np.diff(kept).max():.2f} s; references to None {leaked:+d}; "
        f"{resident_mb():.0f} MB; {predictions and len(kept)} predictions, {stream.status.state}"
    )
    window.close()


def memory(arguments: argparse.Namespace) -> None:
    """Resident memory over half an hour of sound."""
    application, window = open_window()
    window.choices.open_source = lambda: lambda: Looped(paced=False)
    window.live.start()
    shown = []
    for minutes in (1, 5, 10, 20, arguments.minutes):
        turn(application, lambda m=minutes: heard(window) > 60 * m, timeout_s=3600)
        gc.collect()
        shown.append((minutes, resident_mb()))
    print(", ".join(f"{m} min {mb:.1f} MB" for m, mb in shown))
    print(f"grown by {shown[-1][1] - shown[0][1]:+.1f} MB after the first minute")
    window.close()


PARTS = {"opening": opening, "frames": frames, "memory": memory}


def main() -> None:
    """Run each part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="only this one, in this process")
    parser.add_argument("--device", help="part of a microphone's name; the demo clip without")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the frames' part")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the memory's part")
    parser.add_argument("--began", type=float, default=BEGAN_S, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        PARTS[arguments.part](arguments)
        return
    for part in PARTS:
        for _ in range(3 if part == "opening" else 1):
            print(f"{part}: ", end="", flush=True)
            command = [sys.executable, __file__, "--part", part, "--began", str(time.time())]
            command += ["--seconds", str(arguments.seconds), "--minutes", str(arguments.minutes)]
            if arguments.device is not None:
                command += ["--device", arguments.device]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
