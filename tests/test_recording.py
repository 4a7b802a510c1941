"""Recording while a stream runs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile

from gui.recording import LiveRecorder, Recording
from ser_stream.errors import SerStreamError
from ser_stream.types import AudioBlock, Prediction, Snapshot, State

LABELS = ("angry", "happy")


def block(start: int, n: int = 4800, gap: bool = False) -> AudioBlock:
    return AudioBlock(np.full(n, 0.25, np.float32), start, gap)


def window(end: int, **more: object) -> Prediction:
    return Prediction(end - 16000, end, State.NO_SPEECH, **more)  # pyright: ignore[reportArgumentType]


def test_times_of_both_files_count_from_the_first_block(tmp_path):
    recorder = LiveRecorder(LABELS, 16000)
    recorder.hear(block(0), 48000)
    recorder.write(window(16000), Snapshot())
    recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.wav"), 48000)
    assert recorder.recording is not None
    # Three seconds in: 144000 samples at 48 kHz, 48000 at the model's rate.
    recorder.hear(block(144000), 48000)
    recorder.write(window(56000), Snapshot())  # began before the recording
    recorder.write(window(64000), Snapshot())
    recorder.hear(block(144000 + 9600, gap=True), 48000)
    recorder.write(window(68000), Snapshot())
    recorder.end()
    assert recorder.recording is None
    recorder.hear(block(200000), 48000)
    recorder.write(window(90000), Snapshot())
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(r["start_s"]), float(r["end_s"])) for r in rows] == [(0.0, 1.0), (0.25, 1.25)]
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 48000
    assert len(samples) == 3 * 4800
    assert not samples[4800:9600].any()  # what was lost
    assert samples[9600:].all()
    assert recorder.take_error() is None


def test_json_lines_without_sound(tmp_path):
    recorder = LiveRecorder(LABELS, 16000)
    recorder.begin(Recording(tmp_path / "a.jsonl"), 16000)
    recorder.hear(block(0), 16000)
    belief = np.array([0.9, 0.1], np.float32)
    recorder.write(
        Prediction(0, 32000, State.EMOTION, "angry", belief, belief, belief, 1.0), Snapshot()
    )
    recorder.close()
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert row["label"] == "angry"
    assert row["smoothed_angry"] == pytest.approx(0.9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl"]


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    recorder = LiveRecorder(LABELS, 16000)
    with pytest.raises(SerStreamError, match="cannot write"):
        recorder.begin(Recording(tmp_path / "none" / "a.csv"), 16000)
    with pytest.raises(SerStreamError, match=r"name a \.wav or a \.flac"):
        recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.ogg"), 16000)
    assert recorder.recording is None


def test_a_full_disk_ends_the_recording_and_not_the_stream(tmp_path, monkeypatch):
    recorder = LiveRecorder(LABELS, 16000)
    recorder.begin(Recording(tmp_path / "a.csv"), 16000)
    recorder.hear(block(0), 16000)

    def full(row: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder._rows, "write", full)
    recorder.write(window(16000), Snapshot())
    assert recorder.recording is None
    assert "No space left on device" in str(recorder.take_error())
    assert recorder.take_error() is None
    recorder.write(window(20000), Snapshot())
