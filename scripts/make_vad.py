#!/usr/bin/env python
"""Make ``ser_stream/models/silero_vad.onnx`` from the weights of Silero VAD (MIT).

    pip download silero-vad==6.2.3 --no-deps && unzip silero_vad-*.whl
    python scripts/make_vad.py silero_vad/data/silero_vad_op18_ifless.onnx
    python scripts/write_digests.py

Silero publishes two networks in one file, for 16 and for 8 kHz, which hear one chunk a call. The
one for 8 kHz also hears speech through telephones (docs/quality.md), so it is the one that is
taken. Here it becomes one graph that takes any number of consecutive chunks at 16 kHz: a filter
that halves the rate, the network's own transform and convolutions for all chunks at once, and its
LSTM along them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import firwin

# Samples at 16 kHz: of a chunk, of what came before it, and of the filter. At 8 kHz these make the
# 256 and 32 samples that the network takes.
CHUNK, CONTEXT, TAPS = 512, 128, 66
# Reflected at the end, samples at 8 kHz; length and step of the transform.
REFLECTED, LENGTH, STEP = 32, 128, 64
CUTOFF_HZ = 3700.0
HIDDEN = 128


def half_rate_filter() -> np.ndarray:
    """Linear-phase low-pass (TAPS,) with unit gain at 0 Hz; passes 3.4 kHz, ends below 4 kHz."""
    return firwin(TAPS, CUTOFF_HZ, window=("kaiser", 5.0), fs=16000).astype(np.float32)


def gates_in_order(weights: np.ndarray) -> np.ndarray:
    """From PyTorch's order of an LSTM's gates (i, f, g, o) to that of ONNX (i, o, f, g)."""
    i, f, g, o = np.split(weights, 4)
    return np.concatenate([i, o, f, g])


def build(published: onnx.ModelProto) -> onnx.ModelProto:
    """Build the graph from the published file's weights."""
    own = {i.name: numpy_helper.to_array(i) for i in published.graph.initializer}
    name = "model_8k."
    basis = own[f"{name}stft.forward_basis_buffer"]  # (2 * bins, 1, LENGTH): cosines, then sines
    bins = len(basis) // 2
    lstm = f"{name}decoder.rnn."
    biases = [gates_in_order(own[f"{lstm}bias_{kind}"]) for kind in ("ih", "hh")]
    weights = {
        "half_rate": half_rate_filter()[None, None],
        "cosines": basis[:bins],
        "sines": basis[bins:],
        "lstm_w": gates_in_order(own[f"{lstm}weight_ih"])[None],
        "lstm_r": gates_in_order(own[f"{lstm}weight_hh"])[None],
        "lstm_b": np.concatenate(biases)[None],
        "out_w": own[f"{name}decoder.decoder.2.weight"].reshape(1, HIDDEN, 1),
        "out_b": own[f"{name}decoder.decoder.2.bias"],
        "reflected": np.array([0, 0, 0, 0, 0, REFLECTED], np.int64),
        "axis1": np.array([1], np.int64),
        "flat": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["input", "axis1"], ["mono"]),
        helper.make_node("Conv", ["mono", "half_rate"], ["at_8k"], strides=[2]),
        helper.make_node("Pad", ["at_8k", "reflected"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "cosines"], ["real"], strides=[STEP]),
        helper.make_node("Conv", ["padded", "sines"], ["imaginary"], strides=[STEP]),
        helper.make_node("Mul", ["real", "real"], ["real2"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"]),
        helper.make_node("Add", ["real2", "imaginary2"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["x0"]),
    ]
    for layer, stride in enumerate((1, 2, 2, 1)):
        for kind in ("weight", "bias"):
            weights[f"conv{layer}_{kind}"] = own[f"{name}encoder.{layer}.reparam_conv.{kind}"]
        nodes += [
            helper.make_node(
                "Conv",
                [f"x{layer}", f"conv{layer}_weight", f"conv{layer}_bias"],
                [f"y{layer}"],
                pads=[1, 1],
                strides=[stride],
            ),
            helper.make_node("Relu", [f"y{layer}"], [f"x{layer + 1}"]),
        ]
    nodes += [
        # (chunks, HIDDEN, 1) -> chunks are the steps of the LSTM, one stream is the batch.
        helper.make_node("Transpose", ["x4"], ["steps"], perm=[0, 2, 1]),
        helper.make_node(
            "LSTM",
            ["steps", "lstm_w", "lstm_r", "lstm_b", "", "h", "c"],
            ["states", "hn", "cn"],
            hidden_size=HIDDEN,
        ),
        helper.make_node("Squeeze", ["states", "axis1"], ["state"]),
        helper.make_node("Relu", ["state"], ["active"]),
        helper.make_node("Transpose", ["active"], ["features"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["features", "out_w", "out_b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["speech"]),
        helper.make_node("Reshape", ["speech", "flat"], ["speech_probs"]),
    ]

    def value(of: str, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(of, TensorProto.FLOAT, shape)

    state: list[str | int] = [1, 1, HIDDEN]
    graph = helper.make_graph(
        nodes,
        "silero_vad_8k_chunks",
        [value("input", ["chunks", CONTEXT + CHUNK]), value("h", state), value("c", state)],
        [value("speech_probs", ["chunks"]), value("hn", state), value("cn", state)],
        [numpy_helper.from_array(np.ascontiguousarray(w), k) for k, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.doc_string = (
        "Silero VAD 6.2.3, 8 kHz network, MIT licence, https://github.com/snakers4/silero-vad; "
        "graph of scripts/make_vad.py"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the shipped file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("published", type=Path, help="silero_vad_op18_ifless.onnx")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "ser_stream" / "models" / "silero_vad.onnx",
    )
    arguments = parser.parse_args()
    onnx.save(build(onnx.load(arguments.published)), arguments.output)


if __name__ == "__main__":
    main()
