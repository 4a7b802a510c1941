"""Model files that are foreign, damaged or hostile."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ser_stream.models.bundle import ModelBundle, default_model_path
from ser_stream.models.metadata import METADATA_KEY
from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock

from .audio import speech
from .kinds import FuzzKind, require_finite
from .mutations import damaged, damaged_json

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Fuzz(FuzzKind):
    """Model files: loaded, described, and run over some seconds of speech if they load."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._clip = speech()[32000:80000].astype(np.float32)

    def make(self, rng: Random) -> tuple[str, bytes]:
        return ".onnx", mutated_model(rng)

    def check(self, path: Path) -> str | None:
        bundle = ModelBundle.load(path)
        require_finite(bundle.describe(), "description")
        for prediction in Engine(bundle).feed(AudioBlock(self._clip, 0)):
            require_finite([prediction.posterior, prediction.smoothed], "prediction")
        return None


@functools.cache
def _shipped() -> tuple[bytes, dict[str, Any]]:
    """The shipped file without metadata, and these."""
    model = onnx.load(default_model_path())
    table = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    del model.metadata_props[:]
    return model.SerializeToString(), table


def shipped_with(text: str | bytes) -> bytes:
    """The shipped network with ``text`` for metadata, whatever it is."""
    # By hand: protobuf's own strings must be UTF-8.
    data, _ = _shipped()
    value = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    entry = _field(1, METADATA_KEY.encode()) + _field(2, value)
    return data + _field(14, entry)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    result = b""
    while value >= 0x80:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])


def small_table() -> dict[str, Any]:
    """Metadata of the shipped model for a network of one input."""
    table = json.loads(json.dumps(_shipped()[1]))
    table["embedding"] = ""
    table["normalizer"] |= {"level": False, "both": False}
    return table


def small_model(
    change: Callable[[onnx.ModelProto], None] = lambda model: None,
    *,
    nodes: list[onnx.NodeProto] | None = None,
    tensors: list[onnx.TensorProto] | None = None,
    last: str = "mean",
    output: int = FLOAT,
) -> bytes:
    """A network of one product that is a valid model file, and what ``change`` makes of it.

    Args:
        change: applied last.
        nodes: between the mean frame, "mean" (batch, features), and the product.
        tensors: initialisers for them.
        last: what the product takes.
        output: type that the file says the logits have.
    """
    table = small_table()
    width = len(table["mean"])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
            *(nodes or []),
            helper.make_node("Gemm", [last, "weight"], ["logits"]),
        ],
        "graph",
        [helper.make_tensor_value_info("features", FLOAT, ["batch", "frames", width])],
        [helper.make_tensor_value_info("logits", output, None)],
        [
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
            numpy_helper.from_array(np.full((width, 4), 0.1, np.float32), "weight"),
            *(tensors or []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: json.dumps(table)})
    change(model)
    return model.SerializeToString()


@functools.cache
def foreign_models() -> dict[str, tuple[bytes, str]]:
    """Hand-made files and what the error says, by name."""
    return {**_foreign_graphs(), **_foreign_metadata()}


def _changed(change: Callable[[onnx.ModelProto], Any], **more: Any) -> bytes:
    def changes(model: onnx.ModelProto) -> None:
        change(model)

    return small_model(changes, **more)


def _sub_graph() -> onnx.GraphProto:
    """A body for a loop that goes on."""
    return helper.make_graph(
        [helper.make_node("Not", ["stop"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("stop", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )


def _external(model: onnx.ModelProto, location: str) -> None:
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def _weights(value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[1]
        weight.raw_data = np.full(tuple(weight.dims), value, np.float32).tobytes()

    return change


def _node(*arguments: Any, **attributes: Any) -> dict[str, Any]:
    return {"nodes": [helper.make_node(*arguments, **attributes)], "last": "x"}


def _foreign_graphs() -> dict[str, tuple[bytes, str]]:
    whole = small_model()
    width = len(small_table()["mean"])
    one = numpy_helper.from_array(np.array([1, width], np.int64), "shape")

    def extend(field: str) -> Callable[[onnx.ModelProto], Any]:
        def change(model: onnx.ModelProto) -> None:
            if field == "function":
                model.functions.add().name = "f"
            elif field == "training":
                model.training_info.add()
            elif field == "sparse":
                model.graph.sparse_initializer.add().dims.append(1)
            elif field == "opset":
                model.opset_import.append(helper.make_opsetid("com.example", 1))
            elif field == "dims":
                model.graph.initializer[1].dims[0] = 2**62
            elif field == "negative":
                model.graph.initializer[1].dims[:] = [-width, -4]
            elif field == "double":
                model.graph.initializer[1].data_type = TensorProto.DOUBLE
            elif field == "props":
                model.metadata_props.append(model.metadata_props[0])
            elif field == "none":
                del model.metadata_props[:]
            elif field == "outputs":
                model.graph.output.append(helper.make_tensor_value_info("mean", FLOAT, None))
            elif field == "inputs":
                model.graph.input[0].name = model.graph.node[0].input[0] = "x"

        return change

    return {
        "nothing": (b"", "not ONNX"),
        "text": (b"This is not a model.\n", "not ONNX"),
        "zeros": (bytes(1000), "not ONNX"),
        "cut": (whole[: len(whole) // 2], "ends within a field"),
        "more": (whole + b"\x0f", "not ONNX, or damaged"),
        "long number": (b"\x08" + b"\xff" * 20, "more than 64 bits"),
        "loop": (
            small_model(**_node("Loop", ["", "", "mean"], ["x"], body=_sub_graph())),
            "a graph within a node",
        ),
        "if": (
            small_model(
                **_node("If", ["mean"], ["x"], then_branch=_sub_graph(), else_branch=_sub_graph())
            ),
            "a graph within a node",
        ),
        "loop without body": (small_model(**_node("Loop", ["mean"], ["x"])), "operator 'Loop'"),
        "constant": (
            small_model(
                **_node("Constant", [], ["x"], value=numpy_helper.from_array(np.ones((1, width))))
            ),
            "a tensor in an attribute",
        ),
        "domain": (
            small_model(**_node("Relu", ["mean"], ["x"], domain="com.microsoft")),
            "domain 'com.microsoft'",
        ),
        "opset of others": (_changed(extend("opset")), "domain 'com.example'"),
        "function": (_changed(extend("function")), "functions of its own"),
        "training": (_changed(extend("training")), "training information"),
        "sparse": (_changed(extend("sparse")), "sparse initialisers"),
        "data beside it": (_changed(lambda m: _external(m, "weights.bin")), "outside of the file"),
        "data above it": (_changed(lambda m: _external(m, "../../etc/passwd")), "outside of the"),
        "data elsewhere": (_changed(lambda m: _external(m, "/etc/passwd")), "outside of the file"),
        "huge tensor": (_changed(extend("dims")), "do not fit its shape"),
        "negative tensor": (_changed(extend("negative")), "do not fit its shape"),
        "type of numbers": (_changed(extend("double")), "ONNX's type 11"),
        "not a number": (_changed(_weights(float("nan"))), "weights hold NaN"),
        "infinite": (_changed(_weights(float("inf"))), "NaN or infinite"),
        "too large": (_changed(_weights(3e38), **_exploding()), "NaN or infinite"),
        "metadata twice": (_changed(extend("props")), "'ser_stream' twice"),
        "no metadata": (_changed(extend("none")), "no ser_stream metadata; export it"),
        "metadata of bytes": (shipped_with(b"\xff\xfe"), "not UTF-8"),
        "two outputs": (_changed(extend("outputs")), "has outputs"),
        "another input": (_changed(extend("inputs")), "has inputs"),
        # Silence is 0, of which there is a root; half of all noise has none.
        "root of noise": (small_model(**_node("Sqrt", ["mean"], ["x"])), "NaN or infinite"),
        "one window only": (
            small_model(**_node("Reshape", ["mean", "shape"], ["x"]), tensors=[one]),
            "cannot be reshaped|do not fit",
        ),
        "16 GB of memory": (small_model(**_expanded([80_000, 1_000, width])), "do not fit"),
        "other labels": (
            _changed(
                lambda m: m.graph.initializer[1].CopyFrom(
                    numpy_helper.from_array(np.ones((width, 5), np.float32), "weight")
                )
            ),
            r"output \(1, 5\) for 4 labels",
        ),
        "integers": (
            small_model(
                lambda m: m.graph.node.extend(
                    [
                        helper.make_node("Cast", [m.graph.node[-1].output[0]], ["l"], to=INT64),
                        *_rename(m, "sums"),
                    ]
                ),
                output=INT64,
            ),
            "not float32|ONNX Runtime can open",
        ),
    }


def _rename(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """Let the last node give ``name``, and the file's output be what is cast from it."""
    model.graph.node[-1].output[0] = name
    model.graph.output[0].name = "l"
    return []


def _exploding() -> dict[str, Any]:
    return {
        "nodes": [
            helper.make_node("Pow", ["mean", "shift"], ["x"]),
        ],
        "tensors": [numpy_helper.from_array(np.array(30.0, np.float32), "shift")],
        "last": "x",
    }


def _expanded(shape: list[int], products: int = 0) -> dict[str, Any]:
    """The mean frame, and the largest value of an array of ``shape`` made of it added to it.

    The array is squared ``products`` times before, if it is a matrix.
    """
    nodes = [
        helper.make_node("ReduceMax", ["mean"], ["one"], keepdims=1),
        helper.make_node("Expand", ["one", "shape"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(products)),
        helper.make_node("ReduceMax", [f"m{products}"], ["most"], keepdims=0),
        helper.make_node("Add", ["mean", "most"], ["x"]),
    ]
    tensors = [numpy_helper.from_array(np.array(shape, np.int64), "shape")]
    return {"nodes": nodes, "tensors": tensors, "last": "x"}


def slow_model() -> bytes:
    """A file that is as it should be, but for a run that takes minutes."""
    return small_model(**_expanded([1500, 1500], products=1000))


def _foreign_metadata() -> dict[str, tuple[bytes, str]]:
    table = _shipped()[1]
    front_end = table["frontend_params"]
    texts: dict[str, tuple[str | dict[str, Any], str]] = {
        "no JSON": ("{", "not JSON"),
        "a list": ("[]", "not a table"),
        "deep list": ('{"mean": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested more than"),
        "deep table": ('{"recipe":' * 100 + "0" + "}" * 100, "nested more than"),
        "long number": (json.dumps(table)[:-1] + ', "sure": ' + "9" * 400 + "}", "twice"),
        "longer number": ('{"sure": ' + "9" * 5000 + "}", "not JSON"),
        "400 digits": (_with("sure", "9" * 400), "sure: integer out of range"),
        "400 digits in a list": (_with("mean", f"[{'9' * 400}]"), "integer out of range"),
        "infinite": (_with("temperature", "1e400"), "temperature: inf is not a finite"),
        "NaN": (_with("temperature", "NaN"), "temperature: nan is not a finite"),
        "key twice": ('{"schema": 1, "schema": 1}', "key 'schema' comes twice"),
        "half a pair": (_with("name", '"\\ud800"'), "name: holds half of a surrogate pair"),
        "zero character": (_with("name", '"a\\u0000"'), "name: holds a zero character"),
        "zero character in a key": (_with("recipe", '{"a\\u0000": 1}'), "zero character"),
        "long string": (_with("licence", json.dumps("x" * 30_000)), "licence: 30000 characters"),
        "many values": (_with("recipe", json.dumps({"a": [0] * 200_000})), "more than 100000"),
        "true schema": ({**table, "schema": True}, "schema True"),
        "steering label": ({**table, "labels": ["\x1b[2J", "b", "c", "d"]}, "label .* printable"),
        "turning label": ({**table, "labels": ["a\u202eb", "b", "c", "d"]}, "label .* printable"),
        "label of two lines": ({**table, "labels": ["a\nb", "b", "c", "d"]}, "label .* printable"),
        "formula label": ({**table, "labels": ["=1+1", "b", "c", "d"]}, "begin with a letter"),
        "empty label": ({**table, "labels": ["", "b", "c", "d"]}, r"labels\[0\]"),
        "long label": ({**table, "labels": ["a" * 41, "b", "c", "d"]}, r"labels\[0\]"),
        "label of a state": ({**table, "labels": ["unsure", "b", "c", "d"]}, "name of a state"),
        "many labels": ({**table, "labels": [f"a{i}" for i in range(65)]}, "labels: expected"),
        "huge transform": (_front_end(front_end, n_fft=10**9), "n_fft: expected an integer <="),
        "many bands": (_front_end(front_end, n_mels=10**9), "n_mels: expected an integer <="),
        "no hop": (_front_end(front_end, hop_length=0), "hop_length: expected an integer >= 1"),
        "rate": (_front_end(front_end, sample_rate_hz=10**9), "sample_rate_hz: expected"),
        "text for a number": (_front_end(front_end, n_fft="1024"), "n_fft: expected an integer"),
        "a list for a number": (_front_end(front_end, n_fft=[1024]), "n_fft: expected an integer"),
        "long window": ({**table, "window_frames": 10**9}, "window_frames: expected"),
        "a minute and more": ({**table, "window_frames": 60_000}, "at most 60 s"),
        "no temperature": ({**table, "temperature": 1e-300}, "temperature: expected"),
        "wild bias": ({**table, "logit_bias": [1e300] * 4}, r"logit_bias\[0\]: expected"),
        "unknown below": (
            {**table, "smoothing": {**table["smoothing"], "x\x1b": 1}},
            r"smoothing: unknown 'x\\x1b'",
        ),
        "words as a list": ({**table, "words": []}, "words: expected a table"),
        "many tokens": ({**table, "words": {"tokens": 10**9, "width": 4}}, "words.tokens"),
        "dimension": ({**table, "embedding": "", "speaker": {"dimension": 10**9}}, "dimension"),
    }
    return {
        f"metadata, {name}": (
            shipped_with(text if isinstance(text, str) else json.dumps(text)),
            message,
        )
        for name, (text, message) in texts.items()
    }


def _with(key: str, literal: str) -> str:
    """The shipped metadata with ``literal`` for the value of ``key``."""
    table = {**_shipped()[1], key: "<here>"}
    return json.dumps(table).replace('"<here>"', literal)


def _front_end(params: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**_shipped()[1], "frontend_params": {**params, **changes}}


def mutated_model(rng: Random) -> bytes:
    """The shipped model or a small one with damage: to bytes, to fields, or to metadata."""
    draw = rng.random()
    if draw < 0.3:
        return damaged(_whole_model(rng), rng, _whole_model(rng))
    if draw < 0.6:
        return _reshaped(rng)
    if draw < 0.9:
        return shipped_with(damaged_json(_shipped()[1], rng))
    data, _ = rng.choice(list(foreign_models().values()))
    return damaged(data, rng, _whole_model(rng)) if rng.random() < 0.5 else data


def _whole_model(rng: Random) -> bytes:
    return default_model_path().read_bytes() if rng.random() < 0.5 else small_model()


def _reshaped(rng: Random) -> bytes:
    """A field of the graph replaced; still well-formed."""
    model = onnx.load_from_string(_whole_model(rng))
    graph = model.graph
    node = rng.choice(graph.node)
    tensor = rng.choice(graph.initializer)
    kind = rng.randrange(8)
    if kind == 0:
        node.op_type = rng.choice(("Loop", "If", "Sqrt", "Div", "Sub", "Expand", "Pad", "", "Mod"))
    elif kind == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, -1, 1, 3, 2**31, 2**62))
    elif kind == 2:
        tensor.data_type = rng.choice((0, 1, 2, 6, 7, 9, 10, 11, 99))
    elif kind == 3 and tensor.data_type == FLOAT:
        value = rng.choice((np.nan, np.inf, 3e38, -3e38, 0.0, 1e-40))
        tensor.raw_data = np.full(len(tensor.raw_data) // 4, value, np.float32).tobytes()
    elif kind == 4 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.i = rng.choice((0, -1, 2**31, 2**62))
        for i in range(len(attribute.ints)):
            attribute.ints[i] = rng.choice((0, -1, 1, 7, 2**20))
    elif kind == 5 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(("", "none", *node.output))
    elif kind == 6:
        graph.node.remove(node)
    elif tensor.data_type == INT64:
        value = rng.choice((0, -1, 1, 2, 2**20, 2**40, -(2**62)))
        tensor.raw_data = np.full(len(tensor.raw_data) // 8, value, np.int64).tobytes()
    return model.SerializeToString()
