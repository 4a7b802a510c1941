"""What the runtime may load, and what it must do without."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "torchaudio", "librosa", "onnx", "scipy", "matplotlib", "pydantic")


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_runtime_and_window_load_neither_torch_nor_librosa():
    loaded = run(
        f"""
import importlib, pkgutil, sys, contextlib, io
import gui, ser_stream
for package in (ser_stream, gui):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
sys.argv = ["ser-stream", "demo", "--fast", "--duration", "4"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    ser_stream.cli.main()
print([m for m in {HEAVY} if m in sys.modules], "ser_stream.stream.engine" in sys.modules)
"""
    )
    assert loaded == "[] True\n"


def test_files_are_scored_without_portaudio(demo_path):
    out = run(
        f"""
import sys
sys.modules["sounddevice"] = None
sys.argv = ["ser-stream", "score", {str(demo_path)!r}, "--no-gate"]
import ser_stream.cli
ser_stream.cli.main()
"""
    )
    assert "demo.flac" in out


def test_a_missing_portaudio_is_one_line():
    result = subprocess.run(
        [
            sys.executable, "-c",
            "import sys; sys.modules['sounddevice'] = None; sys.argv = ['ser-stream'];"
            "import ser_stream.cli; ser_stream.cli.main()",
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: PortAudio is missing")
    assert len(result.stderr.splitlines()) == 1


def test_exactly_one_onnx_runtime_is_asked_for_on_every_platform():
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    wanted = [Requirement(r) for r in requires("ser-stream") or []]
    for platform, machine, name in (
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("linux", "aarch64", "onnxruntime"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
        ("win32", "ARM64", "onnxruntime"),
    ):
        environment = {"sys_platform": platform, "platform_machine": machine, "extra": ""}
        asked = [
            r.name
            for r in wanted
            if r.name.startswith("onnxruntime") and r.marker and r.marker.evaluate(environment)
        ]
        assert asked == [name], (platform, machine)


def test_no_module_imports_a_private_name():
    root = Path(__file__).parents[1]
    private = [
        f"{path.relative_to(root)}: {alias.name}"
        for package in ("ser_stream", "gui", "training", "export", "benchmarks", "scripts")
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__")
    ]
    assert private == []
