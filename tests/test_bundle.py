"""Model files: what is shipped, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_stream.bundle import METADATA_KEY, ModelBundle, ModelMeta, default_model_path
from ser_stream.errors import BundleError, ConfigError


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
    assert meta.recipe["model"] == "head_fusion"
    assert meta.temperature != 1.0


def test_metadata_survives_a_round_trip(bundle):
    text = bundle.meta.to_json()
    assert ModelMeta.from_json(text) == bundle.meta
    assert json.loads(text)["schema"] == 1


def test_the_batch_is_free(bundle):
    shape = (5, bundle.meta.window_frames, bundle.extractor.width)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    one_by_one = np.concatenate([bundle(x[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(bundle(x), one_by_one, atol=1e-4)


def edited(tmp_path: Path, **changes: object) -> Path:
    """The shipped model with other metadata; a value of None takes the key away."""
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


def test_an_edited_copy_loads(tmp_path):
    assert ModelBundle.load(edited(tmp_path, name="mine")).meta.name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"schema": None}, "no schema version"),
        ({"labels": None}, "does not fit schema"),
        ({"labels": ["angry"]}, "two or more different names"),
        ({"labels": ["angry", "angry", "sad", "happy"]}, "two or more different names"),
        ({"labels": ["a", "b", "c"], "logit_bias": []}, "output .* for 3 labels"),
        ({"frontend": "os.system"}, "unknown front end"),
        ({"frontend_params": {"n_mfcc": 14}}, "do not fit"),
        ({"mean": [0.0] * 12}, "do not fit"),
        ({"std": [0.0] * 15}, "std > 0"),
        ({"std": ["x"] * 15}, "does not fit schema"),
        ({"sample_rate_hz": 8000}, "front end at 16000 Hz"),
        ({"temperature": 0.0}, "temperature"),
        ({"logit_bias": [0.0, 1.0]}, "2 biases for 4 labels"),
        ({"window_frames": 0}, "window_frames"),
        ({"normalizer_state": "psychic"}, "does not fit schema"),
        ({"metrics": {"test": {"uar": 0.5}}}, "does not fit schema"),
        ({"metrics": []}, "does not fit schema"),
        ({"surprise": 1}, "does not fit schema"),
        ({"smoothing": {"enter": 0.1, "leave": 0.9}}, "does not fit schema"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(edited(tmp_path, **changes))
    assert "edited.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_bundles_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    with pytest.raises(BundleError, match="no such model file"):
        ModelBundle.load(tmp_path / "missing.onnx")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("not a model")
    for name in ("empty.onnx", "text.onnx"):
        with pytest.raises(BundleError, match="not a model") as caught:
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
