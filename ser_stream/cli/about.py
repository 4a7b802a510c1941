"""What there is: devices, a model file's metadata, a bug report's facts, and the window."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ser_stream import __version__
from ser_stream.cli.assembly import open_bundle
from ser_stream.errors import ConfigError, DeviceError
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.printable import echo


def gui(context: typer.Context) -> None:
    """Open the window; its options are those of ser-gui."""
    from importlib.metadata import entry_points

    # The window stands on this package, not the other way round: it is found by its name.
    for entry in entry_points(group="console_scripts", name="ser-gui"):
        sys.argv = ["ser-gui", *context.args]
        entry.load()()
        return
    raise ConfigError("ser-gui is not installed")


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """List input devices; the default one is marked."""
    from ser_stream.audio.devices import list_devices

    found = list_devices()
    if as_json:
        typer.echo(json.dumps([asdict(d) for d in found]))
        return
    if not found:
        raise DeviceError("no input device")
    for d in found:
        mark = "*" if d.is_default else " "
        echo(
            f"{mark} {d.index:3d}  {d.name}  ({d.host_api}, {d.channels} channels, "
            f"{d.sample_rate_hz} Hz)"
        )


def info(
    model: Annotated[
        Path | None, typer.Argument(help="Model file; the shipped one without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All metadata as JSON.")] = False,
) -> None:
    """Show what a model file says about itself."""
    from ser_stream.models.bundle import default_model_path

    bundle = open_bundle(model)
    if as_json:
        told = {"sha256": bundle.digest, **bundle.describe()}
        typer.echo(json.dumps(told, indent=2, default=str))
        return
    m = bundle.meta
    echo(f"{m.name}  ({bundle.path}, {bundle.path.stat().st_size / 1e6:.2f} MB)")
    # A shipped file that is another one by its digest was refused.
    shipped = " (as shipped)" if bundle.path == default_model_path() else ""
    echo(f"SHA-256      {bundle.digest}{shipped}")
    echo(f"classes      {', '.join(m.labels)}")
    params = ", ".join(
        f"{k}={v if isinstance(v, str) else format(v, 'g')}" for k, v in m.frontend_params.items()
    )
    ahead_ms = 1000 * bundle.look_ahead_samples / m.sample_rate_hz
    echo(f"front end    {m.frontend} ({params}); look-ahead {ahead_ms:.0f} ms")
    echo(
        f"window       {m.window_frames} frames, {bundle.window_s:.2f} s; "
        f"hop {m.window_hop_frames} frames, {m.window_hop_frames * bundle.hop_s:.3f} s"
    )
    running = f", prior {m.normalizer.prior_s:g} s, memory {m.normalizer.memory_s:g} s"
    echo(
        f"normaliser   {m.normalizer_state}"
        + (running if m.normalizer_state == "running" else "")
        + (", level taken out" if m.normalizer.level else "")
        + (f"; embedding {m.embedding}" if m.embedding else "")
    )
    if m.speaker is not None:
        echo(
            f"speaker      {m.speaker.dimension} values of the embedder {m.speaker.embedder} "
            f"(SHA-256 {m.speaker.digest[:12]}...)"
        )
    if m.words is not None:
        echo(
            f"words        {m.words.tokens} tokens a window, vectors {m.words.vectors} "
            f"({m.words.width} values, SHA-256 {m.words.digest[:12]}...)"
        )
    echo(f"profiles     {'yes, see calibrate' if m.profiles else 'not trained for them'}")
    adapts = m.normalizer_state == "running"
    told = "as a stranger's, but for score --speaker" if adapts else "by the training statistics"
    echo(f"recordings   each is heard {told}")
    s = m.smoothing
    echo(
        f"smoothing    evidence {s.evidence_s:g} s, stay {s.stay_s:g} s, "
        f"enter {s.enter:g}, leave {s.leave:g}, forget after {s.forget_s:g} s; "
        f"a recording is sure from {m.sure:g} on"
    )
    echo(
        f"gate         a chunk is speech from {m.gate.threshold:g} on, "
        f"a window with {m.gate.min_share:.0%} of them"
    )
    bias = ", ".join(f"{b:+.2f}" for b in m.logit_bias) or "none"
    echo(f"temperature  {m.temperature:.3f}, logit bias {bias}")
    for data in m.training_data:
        echo(f"trained on   {data.corpus} ({data.licence}): {data.credit}")
    echo(f"licence      {m.licence}")
    for name, value in m.metrics.items():
        echo(f"measured     {name}: UAR {value['uar']:.3f}; {value['protocol']}")


def doctor() -> None:
    """Print what belongs into a bug report: versions, devices, providers, and a test run."""
    import platform
    from importlib import metadata

    import numpy as np

    def show(name: str, value: object) -> None:
        echo(f"{name:<14} {value}")

    show("ser-stream", __version__)
    show("python", f"{platform.python_version()} on {platform.platform()}")
    for package in (
        "numpy", "soxr", "soundfile", "sounddevice", "rich", "typer",
        "onnxruntime", "onnxruntime-gpu", "pocketsphinx", "sherpa-onnx",
    ):  # fmt: skip
        with contextlib.suppress(metadata.PackageNotFoundError):
            show(package, metadata.version(package))
    import soundfile

    show("libsndfile", soundfile.__libsndfile_version__)
    import onnxruntime

    show("providers", ", ".join(onnxruntime.get_available_providers()))
    from ser_stream.audio.devices import list_devices, portaudio

    try:
        show("portaudio", portaudio().get_portaudio_version()[1])
        found = list_devices()
        for d in found:
            mark = " (default)" if d.is_default else ""
            show("input", f"{d.index} {d.name}, {d.host_api}, {d.sample_rate_hz} Hz{mark}")
        if not found:
            show("input", "none")
    except DeviceError as error:
        show("portaudio", error)
    from ser_stream.stream.listening import Listening
    from ser_stream.types import AudioBlock

    bundle = open_bundle(None)
    show("model", f"{bundle.meta.name}, {bundle.path}, SHA-256 {bundle.digest[:12]}..., as shipped")
    engine = Listening(bundle, LIVE_HOP_S).engine()
    rate = bundle.meta.sample_rate_hz
    noise = np.random.default_rng(0).normal(0, 0.01, 5 * rate).astype(np.float32)
    began = time.perf_counter()
    answers = engine.feed(AudioBlock(noise, 0))
    load = (time.perf_counter() - began) / 5
    show("test run", f"{len(answers)} updates over 5 s of noise, {load:.1%} of real time")
