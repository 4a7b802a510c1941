#!/usr/bin/env python3
"""What the live meter costs, beside the naive way, in one run.

    python benchmarks/bench_live.py [--seconds 60] [--device pulse]

Prints, for updates every 0.096 s:

per update: front end, model and total in the engine, without and with the gate, p50 and p99, and
    the same for the naive way: librosa's log-mels or MFCCs of the whole 2 s, its pitch (yin), and
    the PyTorch network, eager;
process: CPU share of `ser-stream` on a pseudo-terminal, peak memory, and the time from process
    start to the first accepted block; live from a microphone if there is one (a virtual one will
    do) and else from the demo clip at the speed of real time.

The naive way needs the extras train and export; without them it is left out, and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_stream.audio.sound_file import demo_path
from ser_stream.errors import DeviceError
from ser_stream.features.voice import PITCH_MAX_HZ, PITCH_MIN_HZ
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.stream.listening import Listening
from ser_stream.types import AudioBlock, Float32

RATE_HZ = 16000
HOP = 1536  # 0.096 s
UPDATES = 1500
WARM_UP = 50
COMMAND = [sys.executable, "-m", "ser_stream.cli"]


class TimedBundle:
    """A bundle that notes how long each call takes."""

    def __init__(self, bundle: ModelBundle) -> None:
        self._bundle = bundle
        self.spent_s = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._bundle, name)

    def __call__(self, *window: Any) -> Float32:
        """Logits (batch, classes), and note how long they took."""
        began = time.perf_counter()
        result = self._bundle(*window)
        self.spent_s = time.perf_counter() - began
        return result


def engine_updates(bundle: ModelBundle, speech: Float32, gate: bool) -> dict[str, np.ndarray]:
    """Milliseconds per update (n,) of front end and the rest, model, and total."""
    timed = TimedBundle(bundle)
    engine = Listening(timed, LIVE_HOP_S, gate=gate).engine()  # type: ignore[arg-type]
    model, total = [], []
    position = 0
    while len(total) < UPDATES + WARM_UP:
        at = position % (len(speech) - HOP)
        block = AudioBlock(speech[at : at + HOP], position)
        position += HOP
        timed.spent_s = 0.0
        began = time.perf_counter()
        predictions = engine.feed(block)
        spent = time.perf_counter() - began
        if predictions and predictions[0].logits is not None:
            model.append(timed.spent_s)
            total.append(spent)
    model_ms, total_ms = (1e3 * np.array(v[WARM_UP:]) for v in (model, total))
    return {"front end and rest": total_ms - model_ms, "model": model_ms, "total": total_ms}


def naive_updates(bundle: ModelBundle, speech: Float32) -> dict[str, np.ndarray] | None:
    """The same (n,) for librosa over the whole window and PyTorch eager; None without them."""
    try:
        import librosa
        import torch

        from training.recipe.parse import parse_recipe
    except ImportError:
        return None
    meta = bundle.meta
    net = parse_recipe(meta.recipe).network().eval()
    torch.set_num_threads(1)
    c = meta.frontend_params
    normalizer = bundle.make_normalizer()
    nothing = torch.zeros(1, normalizer.embedding_width)
    mean, std = (np.array(v, dtype=np.float32) for v in (meta.mean, meta.std))
    spectra, pitches, model = [], [], []
    for i in range(200 + 10):
        at = i * HOP % (len(speech) - bundle.window_samples)
        window = speech[at : at + bundle.window_samples]
        began = time.perf_counter()
        mel = librosa.feature.melspectrogram(
            y=window, sr=RATE_HZ, n_fft=c["n_fft"], hop_length=c["hop_length"], center=False,
            n_mels=c["n_mels"], fmin=c["f_min_hz"], fmax=c["f_max_hz"],
        )  # fmt: skip
        rows = librosa.power_to_db(mel, amin=c["log_floor"], top_db=None)
        if meta.frontend == "mfcc":
            rows = librosa.feature.mfcc(S=rows, n_mfcc=c["n_mfcc"])
        n = len(rows)
        # What librosa does not give stays 0, and a second view is a copy of the first.
        x = np.zeros((1, rows.shape[1], bundle.extractor.width), dtype=np.float32)
        x[0, :, :n] = (rows.T - mean[:n]) / std[:n]
        x = np.tile(x, normalizer.width // bundle.extractor.width)
        after_spectra = time.perf_counter()
        if c.get("pitch") or c.get("prosody"):
            librosa.yin(
                window, fmin=PITCH_MIN_HZ, fmax=PITCH_MAX_HZ, sr=RATE_HZ, frame_length=c["n_fft"],
                hop_length=c["hop_length"], center=False,
            )  # fmt: skip
        after_pitch = time.perf_counter()
        given = (torch.from_numpy(x), nothing) if meta.embedding else (torch.from_numpy(x),)
        with torch.no_grad():
            torch.softmax(net(*given), dim=1).numpy()
        spectra.append(after_spectra - began)
        pitches.append(after_pitch - after_spectra)
        model.append(time.perf_counter() - after_pitch)
    f, p, m = (1e3 * np.array(v[10:]) for v in (spectra, pitches, model))
    return {"log-mels or MFCCs": f, "pitch (librosa.yin)": p, "model": m, "total": f + p + m}


def show(title: str, table: dict[str, np.ndarray]) -> None:
    """Print p50 and p99 of every part, (n,) each."""
    print(f"{title} ({len(table['total'])} updates)")
    for name, ms in table.items():
        p50, p99 = np.percentile(ms, [50, 99])
        print(f"  {name:<20} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")


def has_microphone(device: str) -> bool:
    """Whether ``device`` can be found."""
    from ser_stream.audio.devices import find_device

    try:
        find_device(device)
    except DeviceError:
        return False
    return True


def run_process(arguments: list[str]) -> tuple[float, float, float]:
    """Run ser-stream on a pseudo-terminal of 100 columns.

    Returns:
        CPU seconds, wall seconds, peak resident memory in MB.
    """
    leader, follower = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    began = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=follower, stdout=follower, stderr=follower, env=environment,
    )  # fmt: skip
    os.close(follower)
    written = bytearray()

    def drain() -> None:
        # Reading from a terminal whose last user has gone is an error on Linux.
        try:
            while data := os.read(leader, 65536):
                written.extend(data)
        except OSError:
            return

    reader = threading.Thread(target=drain)
    reader.start()
    peak = [0.0]
    watcher = threading.Thread(target=watch_memory, args=(process.pid, peak))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    watcher.join()
    os.close(leader)
    if process.returncode != 0:
        raise SystemExit(f"ser-stream {' '.join(arguments)} failed:\n{written.decode()[-500:]}")
    return usage.ru_utime + usage.ru_stime, wall, peak[0] or usage.ru_maxrss / 1024


def watch_memory(pid: int, peak_mb: list[float]) -> None:
    """Keep the peak resident memory of process ``pid`` while it lives.

    ru_maxrss will not do on Linux: a child starts with what its parent had when it forked.
    """
    try:
        while True:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak_mb[0] = int(line.split()[1]) / 1024
            time.sleep(0.5)
    except (OSError, ValueError):
        return


def first_block_s(arguments: list[str]) -> float:
    """Seconds from process start to the line about the first accepted block."""
    began = time.monotonic()
    with subprocess.Popen(
        [*COMMAND, *arguments, "--jsonl", "--duration", "0.5"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("listening"):
                return time.monotonic() - began
    raise SystemExit("ser-stream never heard a block")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--device", default="pulse")
    options = parser.parse_args()

    path = demo_path()
    speech, _ = soundfile.read(path, dtype="float32")
    bundle = ModelBundle.load()
    print(f"{os.cpu_count()} cores, {bundle}")
    ours = engine_updates(bundle, speech, gate=False)
    show("per update, engine, no gate", ours)
    show("per update, engine, with the speech gate", engine_updates(bundle, speech, gate=True))
    naive = naive_updates(bundle, speech)
    if naive is None:
        print("per update, naive: left out, librosa or PyTorch is missing")
    else:
        show("per update, naive (librosa over 2 s, PyTorch eager, one thread)", naive)
        ratio = np.median(naive["total"]) / np.median(ours["total"])
        print(f"  naive / engine without gate, p50: {ratio:.1f} times", end="")
        ratio = np.median(naive["log-mels or MFCCs"] + naive["model"]) / np.median(ours["total"])
        print(f"; with the pitch given to the naive way for nothing: {ratio:.1f} times")

    live = has_microphone(options.device)
    source = ["--device", options.device] if live else ["demo"]
    virtual = live and options.device == "pulse"
    print("process, live from", options.device if live else "the demo clip (no microphone)")
    if virtual:
        starts = sorted(first_block_s(source) for _ in range(3))
        print(f"  first block after {starts[1]:.2f} s the sound server asleep (median of 3)")
    # A sound server that sleeps takes 2 s to wake up, and PortAudio spins meanwhile: kept apart.
    with awake(path) if virtual else contextlib.nullcontext():
        for gate in ("--no-gate", "--gate"):
            limit = ["--duration", str(options.seconds)]
            cpu, wall, peak = run_process([*source, gate, *limit])
            idle, idle_wall, _ = run_process([*source, gate, "--duration", "3"])
            share = (cpu - idle) / (wall - idle_wall)
            print(
                f"  {gate:<10} CPU {cpu:5.2f} s in {wall:5.2f} s = {cpu / wall:.2%} of one core, "
                f"without start-up {share:.2%}; peak memory {peak:.0f} MB"
            )
        starts = sorted(first_block_s(source) for _ in range(5))
        print(
            f"  first block after {starts[2]:.2f} s (median of 5; {starts[0]:.2f} to "
            f"{starts[-1]:.2f})"
        )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"this benchmark itself, with librosa and PyTorch: peak {own:.0f} MB")


@contextlib.contextmanager
def awake(path: Path) -> Iterator[None]:
    """Keep the virtual microphone of the tests recording, with the clip playing into it."""
    listener = subprocess.Popen(
        ["parec", "--latency-msec=30", "--device=ser_mic.monitor"], stdout=subprocess.DEVNULL
    )
    samples, rate = soundfile.read(path, dtype="int16")
    player = subprocess.Popen(
        ["pacat", "--playback", "--device=ser_mic", f"--rate={rate}", "--channels=1",
         "--format=s16le", "--latency-msec=100"],
        stdin=subprocess.PIPE,
    )  # fmt: skip

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            while player.stdin is not None:
                player.stdin.write(samples.tobytes())

    threading.Thread(target=feed, daemon=True).start()
    time.sleep(3)
    try:
        yield
    finally:
        for process in (player, listener):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
