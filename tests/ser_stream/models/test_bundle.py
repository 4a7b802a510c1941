"""Model files: what is shipped, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_stream.errors import BundleError, ConfigError
from ser_stream.features.normalizer import NormalizerState
from ser_stream.models.bundle import ModelBundle, default_model_path
from ser_stream.models.inputs import stacked
from ser_stream.models.metadata import METADATA_KEY, ModelMeta
from ser_stream.models.settings import GateConfig
from tests.helpers.edited_bundle import edited


def test_the_shipped_model_is_small_and_complete(bundle):
    assert default_model_path().stat().st_size < 2_000_000
    meta = bundle.meta
    assert meta.labels == ("angry", "happy", "neutral", "sad")
    assert {d.corpus for d in meta.training_data} >= {"CREMA-D", "EMO-DB"}
    assert "RAVDESS" not in {d.corpus for d in meta.training_data}
    assert all(d.licence and d.credit for d in meta.training_data)
    assert meta.licence
    assert meta.metrics
    assert all("protocol" in m for m in meta.metrics.values())
    assert meta.recipe["model"] == "adaptive_cnn"
    assert meta.profiles
    assert meta.temperature != 1.0


def test_an_edited_copy_loads(tmp_path):
    assert ModelBundle.load(edited(tmp_path, name="mine")).meta.name == "mine"


def test_metadata_survives_a_round_trip(bundle):
    text = bundle.meta.to_json()
    assert ModelMeta.from_json(text) == bundle.meta
    assert json.loads(text)["schema"] == 1


def test_the_batch_is_free(bundle):
    shape = (5, bundle.meta.window_frames, bundle.make_normalizer().width)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    e = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    one_by_one = np.concatenate(
        [bundle({"features": x[i : i + 1], "embedding": e[i : i + 1]}) for i in range(5)]
    )
    np.testing.assert_allclose(bundle({"features": x, "embedding": e}), one_by_one, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": None}, "got inputs ['features'], the graph takes ['embedding', 'features']"),
        ({"lengths": (3,)}, "got inputs ['embedding', 'features', 'lengths'], the graph takes"),
        ({"features": None}, "got inputs ['embedding'], the graph takes"),
        ({"features": (3, 59)}, "features has shape (3, 59) in a batch of 3, the graph takes"),
        ({"features": (3, 59, 2)}, "features has shape (3, 59, 2) in a batch of 3"),
        ({"embedding": (2, 2)}, "embedding has shape (2, 2) in a batch of 3, the graph takes"),
        ({"embedding": (3, 3)}, "embedding has shape (3, 3) in a batch of 3"),
    ],
)
def test_inputs_have_the_names_and_shapes_of_the_graph(bundle, changes, message):
    width = bundle.make_normalizer().width
    inputs = {
        "features": np.zeros((3, bundle.meta.window_frames, width), np.float32),
        "embedding": np.zeros((3, 2), np.float32),
    }
    assert bundle(inputs).shape == (3, len(bundle.meta.labels))
    for name, shape in changes.items():
        if shape is None:
            del inputs[name]
        else:
            inputs[name] = np.zeros(shape, np.float32)
    with pytest.raises(BundleError, match=re.escape(f"{bundle.path}: {message}")):
        bundle(inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"schema": None}, "no schema version"),
        ({"labels": None}, "does not fit schema 1: labels is missing"),
        ({"labels": ["angry"]}, "labels: expected a list of length >= 2"),
        ({"labels": ["angry", "angry", "sad", "happy"]}, "two or more different names"),
        ({"labels": ["a", "b", "c"], "logit_bias": []}, "output .* for 3 labels"),
        ({"frontend": "os.system"}, "unknown front end"),
        ({"frontend_params": {"n_mels": 14}}, "51 means and 51 stds for 14 features"),
        ({"mean": [0.0] * 12}, "12 means and 51 stds for 51 features"),
        ({"std": [0.0] * 51}, "std > 0"),
        ({"std": ["x"] * 15}, r"std\[0\]: expected a number, got text"),
        ({"sample_rate_hz": 8000}, "front end at 16000 Hz"),
        ({"temperature": 0.0}, "temperature: expected a number >= 1e-06"),
        ({"logit_bias": [0.0, 1.0]}, "2 biases for 4 labels"),
        ({"window_frames": 0}, "window_frames: expected an integer >= 1"),
        ({"normalizer_state": "psychic"}, "normalizer_state: got 'psychic'; choose from"),
        ({"embedding": "x-vector"}, "unknown embedding"),
        ({"metrics": {"test": {"uar": 0.5}}}, "metrics.test: protocol is missing"),
        ({"metrics": []}, "metrics: expected a table, got a list"),
        ({"surprise": 1}, "unknown 'surprise'; known: name, labels"),
        ({"smoothing": {"enter": 0.1, "leave": 0.9}}, "does not fit schema"),
        ({"gate": {"threshold": 2.0}}, "does not fit schema"),
        ({"sure": 1.5}, "sure"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(edited(tmp_path, **changes))
    assert "edited.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def with_inputs(tmp_path: Path, names: list[str], embedding: str) -> Path:
    """A graph of one or two inputs, in that order, with the shipped model's metadata.

    Every logit is a tenth of the sum over the features' mean frame, plus the embedding's sum.
    """
    onnx = pytest.importorskip("onnx")
    table = json.loads(ModelBundle.load().meta.to_json())
    table["embedding"] = embedding
    table["normalizer"] |= {"level": False, "both": False}
    width = len(table["mean"])
    make, types = onnx.helper, onnx.TensorProto
    speakers = [n for n in names if n in ("embedding", "speaker")]
    (frames,) = [n for n in names if n not in speakers]
    shapes = {frames: ["batch", "frames", width], **{n: ["batch", 2 * width] for n in speakers}}
    first = "frames_only" if speakers else "logits"
    nodes = [
        make.make_node("ReduceMean", [frames, "axes"], ["mean"], keepdims=0),
        make.make_node("Gemm", ["mean", "weight"], [first]),
    ]
    for name in speakers:
        nodes.append(make.make_node("ReduceSum", [name, "axes"], ["total"], keepdims=1))
        nodes.append(make.make_node("Add", [first, "total"], ["logits"]))
    graph = make.make_graph(
        nodes,
        "graph",
        [make.make_tensor_value_info(n, types.FLOAT, shapes[n]) for n in names],
        [make.make_tensor_value_info("logits", types.FLOAT, ["batch", 4])],
        [
            make.make_tensor("axes", types.INT64, [1], [1]),
            make.make_tensor("weight", types.FLOAT, [width, 4], [0.1] * (4 * width)),
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    make.set_model_props(model, {METADATA_KEY: json.dumps(table)})
    path = tmp_path / "inputs.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("names", "embedding"), [(["features"], ""), (["features", "embedding"], "statistics")]
)
def test_inputs_that_fit_the_metadata_load(tmp_path, names, embedding):
    bundle = ModelBundle.load(with_inputs(tmp_path, names, embedding))
    assert bundle.meta.embedding == embedding
    width = bundle.extractor.width
    x = np.ones((2, 59, width), dtype=np.float32)
    e = np.ones((2, 2 * width), dtype=np.float32)
    want = 0.1 * width + (2 * width if embedding else 0)
    right, wrong = {"features": x}, {"features": x, "embedding": e}
    if embedding:
        right, wrong = wrong, right
    logits = bundle(right)
    np.testing.assert_allclose(logits, np.full((2, 4), want), rtol=1e-5)
    # What the embedding is made of is gathered, whatever normalises.
    gathers = bundle.make_normalizer(NormalizerState.COLD).moments_width > 1
    assert gathers == bool(embedding)
    with pytest.raises(BundleError, match=r"got inputs .*, the graph takes "):
        bundle(wrong)


@pytest.mark.parametrize(
    ("names", "embedding"),
    [
        (["features"], "statistics"),
        (["features", "embedding"], ""),
        (["features", "speaker"], "statistics"),
        (["embedding", "features"], "statistics"),
        (["x"], ""),
    ],
)
def test_inputs_that_do_not_fit_the_metadata_are_refused(tmp_path, names, embedding):
    wanted = ["features", "embedding"] if embedding else ["features"]
    message = re.escape(f"inputs.onnx: the graph has inputs {names}, expected {wanted}")
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(with_inputs(tmp_path, names, embedding))
    assert "\n" not in str(caught.value)


def test_metadata_from_before_a_key_existed_loads(bundle):
    table = json.loads(bundle.meta.to_json())
    for key in ("embedding", "profiles", "gate", "sure"):
        del table[key]
    for key in ("level", "both"):
        del table["normalizer"][key]
    del table["smoothing"]["forget_s"]
    old = ModelMeta.from_json(json.dumps(table))
    # All else is the same.
    assert old == replace(
        bundle.meta,
        embedding="",
        profiles=False,
        gate=GateConfig(),
        sure=0.5,
        normalizer=replace(bundle.meta.normalizer, level=False, both=False),
        smoothing=replace(bundle.meta.smoothing, forget_s=2.0),
    )
    # Written anew it has the keys, and is the same model.
    assert json.loads(old.to_json())["embedding"] == ""
    assert ModelMeta.from_json(old.to_json()) == old


def test_files_that_are_no_bundles_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    with pytest.raises(BundleError, match="no such model file"):
        ModelBundle.load(tmp_path / "missing.onnx")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("not a model")
    for name in ("empty.onnx", "text.onnx"):
        with pytest.raises(
            BundleError, match="not a model file that can be run: not ONNX"
        ) as caught:
            ModelBundle.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    model = onnx.load(default_model_path())
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(BundleError, match="no ser_stream metadata; export it with ser-export"):
        ModelBundle.load(tmp_path / "foreign.onnx")


def test_metadata_is_checked_when_it_is_made(bundle):
    with pytest.raises(ConfigError, match="temperature"):
        replace(bundle.meta, temperature=-1.0)


def test_windows_are_stacked_by_name():
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    # One of them as a window of a larger array is, not contiguous.
    windows = [
        {"features": x[0, :, ::2], "text_lengths": np.int64(3)},
        {"features": x[1, :, ::2], "text_lengths": np.int64(0)},
    ]
    both, one = stacked(windows), stacked(windows[:1])
    np.testing.assert_array_equal(both["features"], x[:, :, ::2])
    assert both["text_lengths"].tolist() == [3, 0]
    for name, values in one.items():
        assert values.flags.c_contiguous
        assert values.dtype == both[name].dtype
        np.testing.assert_array_equal(values, both[name][:1])
