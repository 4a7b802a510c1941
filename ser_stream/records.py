"""Predictions as rows: the same fields for live output, recordings and timelines of files."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ser_stream.errors import SerStreamError
from ser_stream.files import utf8_name
from ser_stream.labels import derived_affect
from ser_stream.printable import printable
from ser_stream.tables import guarded
from ser_stream.types import Float32, Float64, Prediction, Snapshot, State

# Words that are behind by this much are said to be late.
LATE_S = 2.0


def confidence(prediction: Prediction) -> float | None:
    """The largest belief, which is that in the label if there is one; None without a belief."""
    return None if prediction.smoothed is None else float(prediction.smoothed.max())


def perhaps(labels: Sequence[str], p: Float32 | Float64) -> str:
    """What is said beside "unsure": the most likely class of ``p`` (classes,), in percent."""
    top = int(p.argmax())
    return f"perhaps {labels[top]} {100 * float(p[top]):.0f} %"


def prediction_row(prediction: Prediction, labels: Sequence[str], rate_hz: int) -> dict[str, Any]:
    """Flatten a prediction; one column per class holds its posterior, ``smoothed_`` the belief.

    Valence and arousal are derived from the belief.
    """
    row: dict[str, Any] = {
        "start_s": round(prediction.start / rate_hz, 4),
        "end_s": round(prediction.end / rate_hz, 4),
        "state": str(prediction.state),
        "label": prediction.label,
        "confidence": _rounded(confidence(prediction)),
        "speech": _rounded(prediction.speech),
    }
    for prefix, values in (("", prediction.posterior), ("smoothed_", prediction.smoothed)):
        for i, label in enumerate(labels):
            row[prefix + label] = None if values is None else _rounded(values[i])
    words = None if prediction.words is None else " ".join(prediction.words)
    return row | derived_affect(labels, prediction.smoothed) | {"words": words}


def live_row(
    prediction: Prediction, snapshot: Snapshot, labels: Sequence[str], rate_hz: int
) -> dict[str, Any]:
    """A prediction's row with the stream's level and health."""
    health = snapshot.health
    return prediction_row(prediction, labels, rate_hz) | {
        "level_dbfs": round(snapshot.level_dbfs, 1),
        "latency_ms": None if health.latency_s is None else round(1000 * health.latency_s, 1),
        "lost_samples": health.lost_samples,
    }


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)


def is_jsonl(path: Path) -> bool:
    """Whether a table is JSON lines, by its name, or CSV.

    Raises:
        SerStreamError: it is named as neither.
    """
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".csv"):
        raise SerStreamError(f"{path}: name a .jsonl or a .csv file")
    return suffix == ".jsonl"


class RowWriter:
    """Write rows as CSV or JSON lines, each flushed at once, so that nothing written is lost.

    They are UTF-8, whatever encoding the locale gives to stdout.
    """

    def __init__(self, stream: TextIO, jsonl: bool) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
        self._stream = stream
        self._jsonl = jsonl
        # A terminal obeys some characters; programs and files get them as they are.
        self._text = printable if stream.isatty() else utf8_name
        self._csv: csv.DictWriter[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        r"""Write one row; the first one's keys become a CSV's header.

        Bytes of a file's name that are not UTF-8 are written as ``\xe4``, and text that a
        spreadsheet would run as `ser_stream.tables.guarded` has it.
        """
        row = {k: self._text(v) if isinstance(v, str) else v for k, v in row.items()}
        if self._jsonl:
            self._stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            if self._csv is None:
                self._csv = csv.DictWriter(self._stream, list(row), lineterminator="\n")
                self._csv.writeheader()
            self._csv.writerow({k: guarded(v) if isinstance(v, str) else v for k, v in row.items()})
        self._stream.flush()


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
        said = prediction.label or str(prediction.state)
        with self._lock:
            length = prediction.end - prediction.start
            since = length if self._last_end is None else prediction.end - self._last_end
            seconds = min(since, length) / self._rate_hz
            self._last_end = prediction.end
            self._totals[said] = self._totals.get(said, 0.0) + seconds
            second = int(prediction.end / self._rate_hz)
            self._seconds.setdefault(second, Counter())[said] += 1
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


def said(prediction: Prediction | None) -> str:
    """What a view shows for a prediction: its label, or its state."""
    if prediction is None:
        return str(State.WARMING_UP)
    return prediction.label or str(prediction.state)


def verdict(prediction: Prediction, labels: Sequence[str]) -> str:
    """`said` with the belief behind it: "happy 72 %", "unsure, perhaps happy 54 %"."""
    p = prediction.smoothed
    if prediction.label is not None and p is not None:
        return f"{prediction.label} {100 * float(p.max()):.0f} %"
    if prediction.state is State.UNSURE and p is not None:
        return f"{prediction.state}, {perhaps(labels, p)}"
    return said(prediction)


def word_trouble(snapshot: Snapshot) -> str | None:
    """Why no words come, or that they come late; None while all is well, or nobody listens."""
    health = snapshot.health
    if health.recognizer not in (None, "running"):
        return f"by sound alone: {health.recognizer}"
    if health.recognizer_lag_s >= LATE_S:
        return f"words come {health.recognizer_lag_s:.0f} s late"
    return None
