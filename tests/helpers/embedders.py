"""Embedders without training, and the shipped model as one that is told who speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ser_stream.models.embedder import METADATA_KEY, SpeakerEmbedder, SpeakerMeta
from tests.helpers.edited_bundle import edited

RATE_HZ = 16000
PARAMS = {
    "sample_rate_hz": RATE_HZ, "n_fft": 512, "hop_length": 160, "n_mels": 24, "n_mfcc": 12,
    "f_min_hz": 20.0, "f_max_hz": 7600.0, "log_floor": 1e-10,
}  # fmt: skip


def write_embedder(
    path: Path,
    sign: float = 1.0,
    params: dict[str, Any] = PARAMS,
    width: int = 12,
    dimension: int = 12,
) -> Path:
    """An embedder whose embedding is the mean of the frames' first features."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto

    def constant(name: str, value: object) -> Any:
        return onnx.numpy_helper.from_array(np.array(value), name)

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
            helper.make_node("Slice", ["mean", "first", "last", "axes"], ["some"]),
            helper.make_node("Mul", ["some", "sign"], ["embedding"]),
        ],
        "embedder",
        [helper.make_tensor_value_info("features", types.FLOAT, [1, "frames", width])],
        [helper.make_tensor_value_info("embedding", types.FLOAT, [1, dimension])],
        [
            constant("axes", np.array([1], np.int64)),
            constant("first", np.array([0], np.int64)),
            constant("last", np.array([dimension], np.int64)),
            constant("sign", np.float32(sign)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    mean, std = (0.0,) * width, (30.0,) * width
    meta = SpeakerMeta("mean", "mfcc", dict(params), RATE_HZ, dimension, 10, "none", mean, std)
    helper.set_model_props(model, {METADATA_KEY: meta.to_json()})
    onnx.save(model, path)
    return path


def write_told_bundle(folder: Path, embedder: Path) -> Path:
    """The shipped model, whose two statistics of the speaker are an embedding of two values."""
    digest = SpeakerEmbedder.load(embedder).digest
    speaker = {"dimension": 2, "embedder": embedder.name, "digest": digest}
    return edited(folder, name="told", embedding="", speaker=speaker)
