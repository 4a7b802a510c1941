"""Figures about a stream: latency, updates, lost samples, load, and what is recorded."""

from __future__ import annotations

import math
import time

from PySide6.QtWidgets import QWidget

from gui.live.stream import LiveStream, Status
from gui.parts.forms import TextLabel

EVERY_S = 0.5
# Updates a second are counted over this many seconds.
RECENT_S = 5.0


class Figures(TextLabel):
    """A line of figures, written twice a second at most."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("latency, updates, lost samples and load", parent)
        self._written_s = -math.inf
        # Wall clock and processor time at the last line.
        self._cpu = (time.monotonic(), time.process_time())

    def show_stream(self, stream: LiveStream, status: Status) -> None:
        """Write the figures of ``stream``, unless they were written just now."""
        now = time.monotonic()
        if now - self._written_s < EVERY_S:
            return
        self._written_s = now
        health = status.snapshot.health
        (since, used), cpu = self._cpu, time.process_time()
        self._cpu = (now, cpu)
        load = (cpu - used) / (now - since) if now > since else 0.0
        recent = len(stream.history.since(stream.now_s - RECENT_S))
        latency = "--" if health.latency_s is None else f"{1000 * health.latency_s:.0f} ms"
        parts = [
            f"latency {latency}",
            f"{recent / min(RECENT_S, max(stream.now_s, 0.1)):.0f} updates a second",
            f"{health.lost_samples} samples lost",
            f"processor {100 * load:.0f} % of a core",
        ]
        if status.snapshot.profile is not None:
            learning = "" if stream.learns is None else ", learning"
            parts.append(f"profile {status.snapshot.profile}{learning}")
        if stream.learnt is not None:
            name, seconds = stream.learnt
            parts.append(f"learnt from {seconds:.0f} s of {name}'s voice")
        recording = stream.recorder.recording
        if recording is not None:
            sound = " and sound" if recording.audio is not None else ""
            note = f" ({stream.recorder.note})" if stream.recorder.note else ""
            parts.append(f"recording{sound} to {recording.rows}{note}")
        self.setText(" · ".join(parts))
