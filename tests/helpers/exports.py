"""Exports of trained runs."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from export.cli import app
from ser_stream.models.bundle import ModelBundle


def exported_bundle(run: Path) -> ModelBundle:
    """The bundle that ``ser-export`` writes from the first fold of ``run``."""
    path = run / "model.onnx"
    result = CliRunner().invoke(app, [str(run), "-o", str(path)])
    assert result.exit_code == 0, result.output
    return ModelBundle.load(path)
