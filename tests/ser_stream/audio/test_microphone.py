"""The microphone: against a fake PortAudio for what goes wrong, and live on a virtual one."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from ser_stream.audio import devices, microphone
from ser_stream.audio.devices import find_device, list_devices
from ser_stream.audio.level import level_dbfs
from ser_stream.audio.microphone import Microphone
from ser_stream.audio.resample import StreamingResampler
from ser_stream.errors import DeviceError
from ser_stream.models.bundle import ModelBundle
from ser_stream.scoring.rows import prediction_row
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, Prediction, Snapshot
from tests.helpers.portaudio import PortAudioError

RATE_HZ = 16000


class FakeInput:
    """A stream whose blocks the test delivers by hand."""

    def __init__(self, callback, samplerate: float, channels: int, **more: object) -> None:
        if samplerate == 12345:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.callback = callback
        self.channels = channels
        self.closed = False

    def start(self) -> None:
        return None

    def close(self, ignore_errors: bool = True) -> None:
        self.closed = True

    def deliver(self, samples: np.ndarray, overflow: bool = False, age_s: float = 0.0) -> None:
        data = np.repeat(samples.astype(np.float32)[:, None], self.channels, axis=1)
        when = SimpleNamespace(
            currentTime=100.0, inputBufferAdcTime=100.0 - age_s - len(samples) / RATE_HZ
        )
        self.callback(data, len(data), when, SimpleNamespace(input_overflow=overflow))
        data[:] = np.nan  # the driver uses its buffer again


class FakePortAudio:
    """As much of sounddevice as the microphone uses."""

    PortAudioError = PortAudioError

    def __init__(self, names: list[str], mono: bool = True) -> None:
        self.names = names
        self.mono = mono
        self.streams: list[FakeInput] = []
        self.restarts = 0
        self.default = SimpleNamespace(device=(1 if len(names) > 1 else -1, -1))

    def query_hostapis(self) -> list[dict[str, object]]:
        return [{"name": "ALSA", "default_input_device": 0 if self.names else -1}]

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {
                "name": n, "hostapi": 0, "default_samplerate": 16000.0,
                "max_input_channels": 0 if n == "speaker" else 2,
            }
            for n in self.names
        ]  # fmt: skip

    def check_input_settings(self, *arguments: object) -> None:
        if not self.mono:
            raise PortAudioError("Invalid number of channels")

    def InputStream(self, callback, samplerate, channels, **more: object):  # noqa: N802
        stream = FakeInput(callback, samplerate, channels, **more)
        self.streams.append(stream)
        return stream

    def _terminate(self) -> None:
        self.restarts += 1

    def _initialize(self) -> None:
        return None


def replace_portaudio(monkeypatch: pytest.MonkeyPatch, found: Callable[[], Any]) -> None:
    for module in (devices, microphone):
        monkeypatch.setattr(module, "portaudio", found)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    portaudio = FakePortAudio(["speaker", "Built-in Audio", "USB Audio", "USB Audio 2"])
    replace_portaudio(monkeypatch, lambda: portaudio)
    return portaudio


def test_devices_are_found_by_index_name_and_part_of_a_name(fake):
    assert [d.index for d in list_devices()] == [1, 2, 3]
    assert find_device(None).name == "Built-in Audio"
    assert find_device("2").name == find_device(2).name == "USB Audio"
    assert find_device("usb audio").index == 2
    assert find_device("audio 2").index == 3
    for wanted in ("0", "9", "-1", "bluetooth"):
        with pytest.raises(DeviceError, match="no input device '"):
            find_device(wanted)


def test_without_devices_or_portaudio_the_message_says_what_to_do(monkeypatch):
    replace_portaudio(monkeypatch, lambda: FakePortAudio(["speaker"]))
    with pytest.raises(DeviceError, match="no input device; plug one in"):
        find_device(None)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DeviceError, match="PortAudio is missing"):
        find_device(None)


def test_a_rate_that_the_device_refuses_is_told(fake):
    with (
        pytest.raises(DeviceError, match=r"cannot open 'Built-in Audio' at 12345 Hz: Invalid"),
        Microphone(sample_rate_hz=12345),
    ):
        pass


@pytest.mark.parametrize("mono", [True, False])
def test_blocks_are_copied_counted_and_stamped(fake, mono):
    fake.mono = mono
    with Microphone() as source:
        (stream,) = fake.streams
        assert stream.channels == (1 if mono else 2)
        ramp = np.arange(1024) / 1024
        before = time.monotonic()
        stream.deliver(ramp[:512], age_s=0.25)
        after = time.monotonic()
        stream.deliver(ramp[512:])
        a, b = itertools.islice(source, 2)
    np.testing.assert_array_equal(np.concatenate([a.samples, b.samples]), ramp.astype(np.float32))
    assert [(x.start, x.gap) for x in (a, b)] == [(0, False), (512, False)]
    assert before <= a.captured_s + 0.25 <= after + 1e-6
    assert stream.closed


def test_overflows_are_gaps(fake):
    with Microphone() as source:
        stream = fake.streams[0]
        stream.deliver(np.zeros(512))
        stream.deliver(np.zeros(512), overflow=True)
        stream.deliver(np.zeros(512))
        assert [b.gap for b in itertools.islice(source, 3)] == [False, True, False]
        assert source.overflows == 1


def test_a_full_queue_drops_and_counts_and_then_tells_the_gap(fake):
    with Microphone(queue_s=0.064) as source:
        stream = fake.streams[0]
        for _ in range(5):
            stream.deliver(np.zeros(512))
        assert source.queue_depth == 2
        assert source.lost_samples == 3 * 512
        assert [b.start for b in itertools.islice(source, 2)] == [0, 512]
        stream.deliver(np.zeros(512))
        block = next(iter(source))
        assert (block.start, block.gap) == (5 * 512, True)


def test_a_lost_device_is_opened_again_by_its_name(fake, monkeypatch):
    monkeypatch.setattr(microphone, "FIRST_BLOCK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(microphone, "BLOCK_TIMEOUT_S", 0.05)
    with Microphone("USB Audio 2") as source:
        blocks = iter(source)
        fake.streams[0].deliver(np.zeros(512))
        assert next(blocks).start == 0
        # It comes back with another index.
        fake.names = ["speaker", "USB Audio 2"]
        original = fake.InputStream

        def reopened(**arguments):
            stream = original(**arguments)
            stream.deliver(np.ones(512))
            return stream

        monkeypatch.setattr(fake, "InputStream", reopened)
        block = next(blocks)
        assert block.gap
        assert block.start > 512
        assert source.device.index == 1
        assert fake.restarts == 1
        assert fake.streams[0].closed
        # What was missed since the last block counts, the time-out included.
        assert source.lost_samples == block.start - 512 >= 0.05 * RATE_HZ


def test_a_device_that_stays_away_is_an_error(fake, monkeypatch):
    monkeypatch.setattr(microphone, "FIRST_BLOCK_TIMEOUT_S", 0.02)
    monkeypatch.setattr(microphone, "REOPEN_EVERY_S", 0.02)
    with Microphone(reopen_s=0.1) as source:
        fake.names = []
        with pytest.raises(DeviceError, match="did not come back"):
            next(iter(source))


def test_level():
    assert level_dbfs(np.full(100, 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-3)
    assert level_dbfs(np.zeros(100, np.float32)) == level_dbfs(np.zeros(0, np.float32)) == -120.0


# Live


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ser_stream.cli", *map(str, arguments)]


class TapedMicrophone(Microphone):
    """A microphone that keeps what it delivers."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.blocks: list[AudioBlock] = []

    def __iter__(self) -> Iterator[AudioBlock]:
        for block in super().__iter__():
            self.blocks.append(block)
            yield block


class Rows:
    """A sink that keeps rows, and how late the last one was."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.rows: list[dict[str, Any]] = []
        self.latencies_s: list[float | None] = []

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        self.rows.append(prediction_row(prediction, self.labels, RATE_HZ))
        self.latencies_s.append(snapshot.health.latency_s)

    def close(self) -> None:
        return None


def test_a_listed_device_is_found_again_wherever_it_is_now(monkeypatch):
    fake = FakePortAudio(["Built-in Audio", "USB Audio"])
    replace_portaudio(monkeypatch, lambda: fake)
    usb = find_device("usb")
    fake.names = ["Built-in Audio", "New", "USB Audio"]
    assert find_device(usb).index == 2
    fake.names = ["Built-in Audio"]
    with pytest.raises(DeviceError, match=r"'USB Audio' \(ALSA\) is not there any more"):
        find_device(usb)


def test_devices_are_looked_for_anew_only_while_none_is_open(monkeypatch):
    fake = FakePortAudio(["Built-in Audio"])
    replace_portaudio(monkeypatch, lambda: fake)
    list_devices()
    assert fake.restarts == 0
    list_devices(fresh=True)
    assert fake.restarts == 1
    with Microphone():
        list_devices(fresh=True)
        assert fake.restarts == 1
    list_devices(fresh=True)
    assert fake.restarts == 2


def test_leaving_ends_the_iteration_of_another_thread(monkeypatch):
    fake = FakePortAudio(["Built-in Audio"])
    replace_portaudio(monkeypatch, lambda: fake)
    with Microphone(reopen_s=float("inf")) as source:
        reader = threading.Thread(target=lambda: list(source), daemon=True)
        reader.start()
    reader.join(120.0)
    assert not reader.is_alive()


def test_leaving_ends_the_search_for_a_lost_device(monkeypatch):
    fake = FakePortAudio(["Built-in Audio"])
    replace_portaudio(monkeypatch, lambda: fake)
    for name in ("FIRST_BLOCK_TIMEOUT_S", "REOPEN_EVERY_S"):
        monkeypatch.setattr(microphone, name, 0.01)
    with Microphone(reopen_s=float("inf")) as source:
        fake.names = []
        reader = threading.Thread(target=lambda: list(source), daemon=True)
        reader.start()
        while fake.restarts < 3:
            assert reader.is_alive()
    reader.join(120.0)
    assert not reader.is_alive()


@pytest.mark.slow
@pytest.mark.microphone
def test_what_is_heard_live_is_what_scoring_the_file_says(tmp_path, virtual_microphone, speech):
    known = np.concatenate([speech[: int(19.5 * RATE_HZ)], np.zeros(3 * RATE_HZ, np.float32)])
    soundfile.write(tmp_path / "known.wav", known, RATE_HZ)
    bundle = ModelBundle.load()
    rows = Rows(bundle.meta.labels)
    seconds = len(known) / RATE_HZ + 3
    with TapedMicrophone("pulse") as tape:
        session = Session(tape, Engine(bundle, EngineConfig(hop_s=0.096)), [rows], seconds)
        session.start()
        assert session.heard.wait(120)
        subprocess.run(
            ["paplay", f"--device={virtual_microphone}", tmp_path / "known.wav"],
            check=True, timeout=60,
        )  # fmt: skip
        assert session.wait(300)
    assert session.error is None
    assert tape.lost_samples == 0
    assert all(latency > 0 for latency in rows.latencies_s if latency is not None)
    assert rows.latencies_s[-2] is not None

    # What came in is what was played,
    assert not any(block.gap for block in tape.blocks)
    taped = np.concatenate([block.samples for block in tape.blocks])
    taped = taped[: round(seconds * tape.sample_rate_hz)]
    at_rate = StreamingResampler(tape.sample_rate_hz, RATE_HZ).push(AudioBlock(taped, 0)).samples
    size = len(at_rate) + len(known)
    products = np.fft.irfft(np.fft.rfft(at_rate, size) * np.fft.rfft(known, size).conj(), size)
    began = int(np.argmax(products))
    part = at_rate[began : began + len(known)]
    assert len(part) > 20 * RATE_HZ
    assert np.corrcoef(part, known[: len(part)])[0, 1] > 0.95

    # and scoring a recording of it says what was said live.
    soundfile.write(tmp_path / "taped.wav", taped, tape.sample_rate_hz, subtype="FLOAT")
    batch = subprocess.run(
        command("score", tmp_path / "taped.wav", "--windows", "--hop", 0.096, "--jsonl"),
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    want = [json.loads(line) for line in batch.stdout.splitlines()]
    assert len(want) == len(rows.rows) > 200
    assert len({row["label"] for row in want}) >= 2
    for heard, scored in zip(rows.rows, want, strict=True):
        for name in ("path", "speaker", "profile", "error"):
            del scored[name]
        numbers = {name for name in heard if isinstance(heard[name], float)}
        assert {n: v for n, v in heard.items() if n not in numbers} == {
            n: v for n, v in scored.items() if n not in numbers
        }
        for name in numbers:
            assert heard[name] == pytest.approx(scored[name], abs=2e-4), name


@pytest.mark.microphone
def test_silence_from_a_microphone_is_no_speech(virtual_microphone):
    result = subprocess.run(
        command("--device", "pulse", "--jsonl", "--duration", 4),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) > 15
    assert {r["state"] for r in rows} == {"no speech"}


@pytest.mark.microphone
def test_devices_are_listed_and_a_wrong_one_is_one_line(virtual_microphone):
    listed = subprocess.run(command("devices"), capture_output=True, text=True, check=True)
    assert "pulse" in listed.stdout
    wrong = subprocess.run(
        command("--device", "xyzzy"), capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert wrong.stderr == "error: no input device 'xyzzy'; list them with: ser-stream devices\n"
