"""Recording while a stream runs."""

from __future__ import annotations

import csv
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.audio.sources import ArraySource
from ser_stream.errors import SerStreamError
from ser_stream.scoring import recorder as recorder_module
from ser_stream.scoring.recorder import MOST_WAITING, Recorder, Recording
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, Prediction, Snapshot, State

LABELS = ("angry", "happy")
SOON_S = 30


def block(start: int, n: int = 4800, gap: bool = False) -> AudioBlock:
    return AudioBlock(np.full(n, 0.25, np.float32), start, gap)


def window(end: int, **more: object) -> Prediction:
    return Prediction(end - 16000, end, State.NO_SPEECH, **more)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def recorder():
    recorder = Recorder(LABELS, 16000)
    yield recorder
    recorder.close()


def ended(recorder: Recorder) -> None:
    """Wait until a recording has ended by itself."""
    for files in recorder._begun:
        assert files.ended.wait(SOON_S)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV", ".Flac"])
def test_a_session_writes_what_it_hears_at_the_sources_rate(bundle, tmp_path, suffix):
    rate_hz = 22050
    x = np.random.default_rng(0).uniform(-0.9, 0.9, 3 * rate_hz).astype(np.float32)
    path = tmp_path / f"heard{suffix}"
    recorder = Recorder(bundle.meta.labels, bundle.meta.sample_rate_hz)
    recorder.begin(Recording(audio=path), rate_hz)
    engine = Engine(bundle, EngineConfig(gate=None))
    session = Session(ArraySource(x, rate_hz, 0.05), engine, [recorder], 2.5, taps=[recorder])
    session.start()
    assert session.wait(SOON_S)
    assert session.error is None
    assert recorder.take_error() is None
    y, rate = soundfile.read(path, dtype="float32")
    assert rate == rate_hz
    assert len(y) == round(2.5 * rate_hz)
    np.testing.assert_allclose(y, x[: len(y)], atol=2.0**-16 * 1.01)


def test_times_of_both_files_count_from_the_first_block(tmp_path, recorder):
    recorder.hear(block(0))
    recorder.write(window(16000), Snapshot())
    recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.wav"), 48000)
    assert recorder.recording is not None
    # Three seconds in: 144000 samples at 48 kHz, 48000 at the model's rate.
    recorder.hear(block(144000))
    recorder.write(window(56000), Snapshot())  # began before the recording
    recorder.write(window(64000), Snapshot())
    recorder.hear(block(144000 + 9600, gap=True))
    recorder.write(window(68000), Snapshot())
    recorder.end()
    assert recorder.recording is None
    recorder.hear(block(200000))
    recorder.write(window(90000), Snapshot())
    recorder.close()
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(r["start_s"]), float(r["end_s"])) for r in rows] == [(0.0, 1.0), (0.25, 1.25)]
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 48000
    assert len(samples) == 3 * 4800
    assert not samples[4800:9600].any()  # what was lost
    assert samples[9600:].all()
    assert recorder.take_error() is None


def test_json_lines_without_sound(tmp_path, recorder):
    recorder.begin(Recording(tmp_path / "a.jsonl"), 16000)
    recorder.hear(block(0))
    belief = np.array([0.9, 0.1], np.float32)
    recorder.write(
        Prediction(0, 32000, State.EMOTION, "angry", belief, belief, belief, 1.0), Snapshot()
    )
    recorder.close()
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert row["label"] == "angry"
    assert row["smoothed_angry"] == pytest.approx(0.9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl"]


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path, recorder):
    for recording in (
        Recording(tmp_path / "none" / "a.csv"),
        Recording(audio=tmp_path / "none" / "a.wav"),
        Recording(tmp_path / "a.csv", tmp_path / "none" / "a.wav"),
    ):
        with pytest.raises(SerStreamError, match=r"none.a\.(csv|wav): cannot write \(No such file"):
            recorder.begin(recording, 16000)
    with pytest.raises(SerStreamError, match=r"name a \.wav or a \.flac"):
        Recording(tmp_path / "a.csv", tmp_path / "a.ogg")
    with pytest.raises(SerStreamError, match=r"name a \.jsonl or a \.csv"):
        Recording(tmp_path / "a.xlsx")
    with pytest.raises(SerStreamError, match="FLAC has no rate"):
        recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.flac"), 65537)
    assert recorder.recording is None
    # Nothing is left of a recording that did not begin.
    assert not list(tmp_path.iterdir())


def test_files_that_exist_are_numbered_and_stay_as_they_are(tmp_path, recorder):
    (tmp_path / "talk.wav").write_text("an older one")
    (tmp_path / "talk-2.csv").write_text("another")
    wanted = Recording(tmp_path / "talk.csv", tmp_path / "talk.wav")
    got = recorder.begin(wanted, 16000)
    assert got == Recording(tmp_path / "talk-3.csv", tmp_path / "talk-3.wav")
    assert (tmp_path / "talk.wav").read_text() == "an older one"
    assert (tmp_path / "talk-2.csv").read_text() == "another"
    # Of files with different stems only the one that exists gets a number.
    wanted = Recording(tmp_path / "rows.csv", tmp_path / "talk.wav")
    assert recorder.begin(wanted, 16000) == Recording(
        tmp_path / "rows.csv", tmp_path / "talk-2.wav"
    )
    recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rows.csv", "talk-2.csv", "talk-2.wav", "talk-3.csv", "talk-3.wav", "talk.wav",
    ]  # fmt: skip


def test_files_are_replaced_where_that_is_wanted(tmp_path, recorder):
    (tmp_path / "real.wav").write_text("an older one" * 100_000)
    (tmp_path / "talk.wav").symlink_to(tmp_path / "real.wav")
    got = recorder.begin(Recording(audio=tmp_path / "talk.wav"), 16000, overwrite=True)
    assert got == Recording(audio=tmp_path / "real.wav")
    recorder.hear(block(0))
    recorder.close()
    assert soundfile.info(tmp_path / "talk.wav").frames == 4800
    assert sorted(p.name for p in tmp_path.iterdir()) == ["real.wav", "talk.wav"]


def test_no_two_recordings_share_a_file(tmp_path):
    wanted = Recording(tmp_path / "talk.jsonl", tmp_path / "talk.wav")
    recorders = [Recorder(LABELS, 16000) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda recorder: recorder.begin(wanted, 16000), recorders))
    for recorder in recorders:
        recorder.close()
    assert len({path for recording in got for path in recording.paths}) == 32
    for recording in got:
        assert recording.rows is not None
        assert recording.audio == recording.rows.with_suffix(".wav")
    assert len(list(tmp_path.iterdir())) == 32


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_recording_and_not_the_stream(tmp_path, recorder):
    (tmp_path / "a.csv").symlink_to("/dev/full")
    recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.wav"), 16000)
    recorder.hear(block(0))
    recorder.write(window(16000), Snapshot())
    ended(recorder)
    assert recorder.recording is None
    recorder.hear(block(4800))
    recorder.write(window(20000), Snapshot())
    assert str(recorder.take_error()) == (
        f"{tmp_path / 'a.csv'}: cannot write (No space left on device)"
    )
    assert recorder.take_error() is None
    # The sound is kept up to there, and another recording may begin.
    assert soundfile.info(tmp_path / "a.wav").frames == 4800
    recorder.begin(Recording(tmp_path / "b.csv"), 16000)
    assert recorder.recording is not None


def test_rows_that_fit_are_kept_whole(tmp_path, recorder, monkeypatch):
    room = 1000

    def write(file, data: bytes) -> None:
        """Takes a part of what does not fit, as systems do."""
        left = room - file.tell()
        file.write(data[:left])
        if left < len(data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder_module, "write_whole", write)
    recorder.begin(Recording(tmp_path / "a.jsonl"), 16000)
    recorder.hear(block(0))
    for i in range(20):
        recorder.write(window(16000 + i), Snapshot())
    ended(recorder)
    assert "No space left" in str(recorder.take_error())
    text = (tmp_path / "a.jsonl").read_text()
    assert text.endswith("}\n")
    assert len(text) <= room
    ends = [json.loads(line)["end_s"] for line in text.splitlines()]
    assert ends == pytest.approx([1.0 + i / 16000 for i in range(len(ends))], abs=1e-4)
    assert len(ends) > 2


def test_a_slow_disk_does_not_hold_up_the_stream(tmp_path, recorder, monkeypatch):
    syncs, go_on = threading.Semaphore(0), threading.Event()

    def fsync(handle: int) -> None:
        syncs.release()
        assert go_on.wait(SOON_S)

    recorder.begin(Recording(tmp_path / "a.csv", tmp_path / "a.wav"), 16000)
    monkeypatch.setattr("os.fsync", fsync)
    recorder.hear(block(0))
    recorder.write(window(16000), Snapshot())
    assert syncs.acquire(timeout=SOON_S)
    # The disk does not answer, and the stream goes on at once.
    for i in range(1, MOST_WAITING - 10):
        recorder.hear(block(i * 4800))
    go_on.set()
    recorder.close()
    assert soundfile.info(tmp_path / "a.wav").frames == (MOST_WAITING - 10) * 4800
    assert recorder.take_error() is None


def test_both_files_are_synced_again_and_again(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(recorder_module, "SYNC_S", 0.01)
    sizes: dict[str, list[int]] = {"a.jsonl": [], "a.wav": []}
    more = threading.Semaphore(0)

    def fsync(handle: int) -> None:
        for name, seen in sizes.items():
            if os.path.samestat(os.fstat(handle), os.stat(tmp_path / name)):
                seen.append(os.fstat(handle).st_size)
        more.release()

    recorder.begin(Recording(tmp_path / "a.jsonl", tmp_path / "a.wav"), 16000)
    monkeypatch.setattr("os.fsync", fsync)
    for i in range(5):
        recorder.hear(block(i * 4800))
        recorder.write(window(16000 + i), Snapshot())
        # Rows once, and sound before and after its header is written.
        for _ in range(3):
            assert more.acquire(timeout=SOON_S)
    assert sizes["a.wav"][-1] == 80 + 5 * 9600
    assert sizes["a.jsonl"][-1] == (tmp_path / "a.jsonl").stat().st_size
    assert len(set(sizes["a.jsonl"])) == 5
