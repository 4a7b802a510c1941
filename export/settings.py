"""Give a model file the settings of a recipe that are no part of its network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import onnx

from export.graph import published
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.metadata import METADATA_KEY
from training.recipe.config import Recipe


def write_settings(path: Path, recipe: Recipe, target: Path) -> str:
    """Write the model of ``path`` with smoothing, gate and ``sure`` of ``recipe`` to ``target``.

    Graph and weights stay as they are, bit for bit.

    Returns:
        `weights_digest` of both files.

    Raises:
        BundleError: no model file that the runtime opens.
        ExportError: ``target`` cannot be written.
    """
    meta = ModelBundle.load(path).meta
    fields = recipe.as_dict()
    # What only the runtime uses.
    settings = {name: fields[name] for name in ("smoothing", "gate", "sure")}
    meta = replace(
        meta,
        smoothing=recipe.smoothing,
        gate=recipe.gate,
        sure=recipe.sure,
        recipe={**meta.recipe, **settings},
    )
    model = onnx.load(path, load_external_data=False)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: meta.to_json()})
    with published(target) as part:
        part.write_bytes(model.SerializeToString())
        ModelBundle.load(part)
    return weights_digest(target)


def weights_digest(path: Path) -> str:
    """SHA-256 of names, types, shapes and values of a graph's initialisers, hexadecimal."""
    digest = hashlib.sha256()
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        digest.update(f"{tensor.name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
