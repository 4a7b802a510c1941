"""What a session's predictions become: rows of a table, and a timeline."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from ser_stream.scoring.formats import RowWriter
from ser_stream.scoring.rows import live_row
from ser_stream.scoring.wording import said
from ser_stream.types import Prediction, Snapshot


class RowSink:
    """A session's sink that writes `live_row`s."""

    def __init__(self, writer: RowWriter, labels: Sequence[str], rate_hz: int) -> None:
        self._writer = writer
        self._labels = labels
        self._rate_hz = rate_hz

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        self._writer.write(live_row(prediction, snapshot, self._labels, self._rate_hz))

    def close(self) -> None:
        return None


class Timeline:
    """What was said when, per second: feeds the strip of the last minute and the summary.

    Written by the session's worker, read by a view.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._lock = threading.Lock()
        self._seconds: dict[int, Counter[str]] = {}
        self._totals: dict[str, float] = {}
        self._last_end: int | None = None

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        what = said(prediction)
        with self._lock:
            length = prediction.end - prediction.start
            since = length if self._last_end is None else prediction.end - self._last_end
            seconds = min(since, length) / self._rate_hz
            self._last_end = prediction.end
            self._totals[what] = self._totals.get(what, 0.0) + seconds
            second = int(prediction.end / self._rate_hz)
            self._seconds.setdefault(second, Counter())[what] += 1
            for old in [s for s in self._seconds if s < second - 600]:
                del self._seconds[old]

    def close(self) -> None:
        return None

    def totals_s(self) -> dict[str, float]:
        """Seconds per label and state, the most first."""
        with self._lock:
            return dict(sorted(self._totals.items(), key=lambda item: -item[1]))

    def last(self, seconds: int, now_s: float) -> list[str | None]:
        """What was said most in each of the last ``seconds`` seconds, the newest last."""
        newest = int(now_s)
        with self._lock:
            found = [self._seconds.get(s) for s in range(newest - seconds + 1, newest + 1)]
            return [c.most_common(1)[0][0] if c else None for c in found]
