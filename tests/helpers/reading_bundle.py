"""The shipped model, made to read words as well: each speaks for the class of its vector."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ser_stream.models.bundle import default_model_path
from ser_stream.models.metadata import METADATA_KEY

WORDS = {"grim": 0, "lovely": 1, "table": 2, "gone": 3}
TOKENS = 5
WEIGHT = 8.0


def write_vectors(path: Path) -> Path:
    """Vectors of `WORDS` in GloVe's format; of an unknown word they are zeros."""
    rows = np.vstack([np.eye(4), np.zeros(4)])
    names = [*WORDS, "<unk>"]
    lines = (" ".join([name, *map(str, row)]) for name, row in zip(names, rows, strict=True))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_reading_bundle(path: Path, vectors: Path) -> Path:
    """A model whose logits are the shipped ones, and 8 more per word for the word's class."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    model = onnx.load(default_model_path())
    graph = model.graph
    table = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    digest = hashlib.sha256(vectors.read_bytes()).hexdigest()
    table["words"] = {"tokens": TOKENS, "width": 4, "vectors": vectors.name, "digest": digest}
    table["name"] = "reading"
    (output,) = graph.output
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == output.name:
                node.output[i] = "sound"
    graph.input.append(helper.make_tensor_value_info("tokens", types.FLOAT, ["batch", TOKENS, 4]))
    graph.input.append(helper.make_tensor_value_info("text_lengths", types.INT64, ["batch"]))
    weight = (WEIGHT * np.eye(4)).astype(np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(weight, "word_weight"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "word_axis"))
    graph.node.extend(
        [
            helper.make_node("ReduceSum", ["tokens", "word_axis"], ["all_words"], keepdims=0),
            helper.make_node("MatMul", ["all_words", "word_weight"], ["word_logits"]),
            helper.make_node("Add", ["sound", "word_logits"], [output.name]),
        ]
    )
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: json.dumps(table)})
    onnx.save(model, path)
    return path
