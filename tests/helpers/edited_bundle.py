"""The shipped model with other metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ser_stream.models.bundle import default_model_path
from ser_stream.models.metadata import METADATA_KEY


def edited(tmp_path: Path, **changes: object) -> Path:
    """Write it into a folder; a value of None takes the key away."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(default_model_path())
    table = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    for key, value in changes.items():
        if value is None:
            del table[key]
        else:
            table[key] = value
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(table)})
    path = tmp_path / "edited.onnx"
    onnx.save(model, path)
    return path
