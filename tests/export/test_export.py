"""Export: one verified file, or none."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.places import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from typer.testing import CliRunner

from export import to_onnx
from export.cli import app
from export.parity import ParityError, check_parity
from export.settings import weights_digest
from export.to_onnx import ExportError, example_inputs, export
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock
from training.checkpoint import Checkpoint, CheckpointError
from training.data.corpora import credits_of
from training.recipe.book import load_recipe

WEIGHTS = "79dfee0c19cf0f9ec653ce4c38d371613825228839a937fc93a38c2ce6a894a5"


@pytest.fixture(scope="module")
def checkpoint(bundle, speech) -> Checkpoint:
    """An untrained network with the shipped model's statistics, on windows of the demo clip."""
    torch.manual_seed(0)
    meta, recipe = bundle.meta, load_recipe("default")
    made = Checkpoint(
        recipe,
        recipe.network().eval(),
        np.array(meta.mean, dtype=np.float32),
        np.array(meta.std, dtype=np.float32),
        1.25,
        (0.1, -0.2, 0.3, -0.2),
        credits_of(["crema-d"]),
        {"test": {"uar": 0.25, "protocol": "none"}},
        {"features": np.zeros((0, 1, 1), dtype=np.float32)},
    )
    clips = [speech[i : i + 48000] for i in range(0, 480000, 48000)]
    return replace(made, examples=example_inputs(clips, made))


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    difference = export(checkpoint, path)
    assert 0.0 < difference < 1e-4
    return path


def test_an_export_streams_and_tells_all(exported, checkpoint, speech):
    bundle = ModelBundle.load(exported)
    meta = bundle.meta
    assert (meta.temperature, meta.logit_bias) == (1.25, (0.1, -0.2, 0.3, -0.2))
    assert meta.training_data == checkpoint.training_data
    assert meta.metrics == checkpoint.metrics
    assert meta.recipe["train"]["epochs"] == checkpoint.recipe.train.epochs
    hop = meta.window_hop_frames * bundle.extractor.hop_length
    count = (64000 - bundle.window_samples) // hop + 1
    assert len(Engine(bundle).feed(AudioBlock(speech[:64000], 0))) == count
    assert [p.name for p in exported.parent.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_smoothing_gate_and_threshold_of_the_recipe_travel(checkpoint, tmp_path):
    smoothing = SmoothingConfig(evidence_s=0.3, enter=0.6, leave=0.4)
    gate = GateConfig(threshold=0.3, min_share=0.5)
    recipe = replace(checkpoint.recipe, smoothing=smoothing, gate=gate, sure=0.4)
    export(replace(checkpoint, recipe=recipe), tmp_path / "model.onnx")
    meta = ModelBundle.load(tmp_path / "model.onnx").meta
    assert (meta.smoothing, meta.gate, meta.sure) == (smoothing, gate, 0.4)


def test_settings_of_a_recipe_go_into_a_model_file_and_its_weights_stay(
    exported, checkpoint, tmp_path
):
    before = exported.read_bytes()
    text = (ROOT / "training/recipes/default.toml").read_text()
    assert "threshold = 0.1\n" in text
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("threshold = 0.1\n", "threshold = 0.4\n"))
    path = tmp_path / "model.onnx"
    path.write_bytes(before)
    result = CliRunner().invoke(app, [str(path), "--settings", str(mine)])
    assert result.exit_code == 0, result.output
    assert weights_digest(exported) in result.output
    assert weights_digest(path) == weights_digest(exported)
    old, new = (ModelBundle.load(file) for file in (exported, path))
    assert new.meta.gate == GateConfig(threshold=0.4)
    assert new.meta.recipe["gate"]["threshold"] == 0.4
    assert replace(new.meta, gate=old.meta.gate, recipe=old.meta.recipe) == old.meta
    np.testing.assert_array_equal(new(checkpoint.examples), old(checkpoint.examples))
    # With an --output the file itself stays.
    other = tmp_path / "other.onnx"
    result = CliRunner().invoke(app, [str(exported), "--settings", "default", "-o", str(other)])
    assert result.exit_code == 0, result.output
    assert other.exists()
    assert exported.read_bytes() == before


def test_the_shipped_file_has_the_settings_of_its_recipe(bundle):
    recipe = load_recipe(bundle.meta.name)
    meta = bundle.meta
    assert (meta.smoothing, meta.gate, meta.sure) == (recipe.smoothing, recipe.gate, recipe.sure)
    # The network that the report card was made of.
    assert weights_digest(bundle.path) == WEIGHTS


def test_a_file_says_nothing_of_the_machine_that_made_it(exported):
    data = exported.read_bytes()
    for trace in (str(Path.home()), str(Path.cwd()), "site-packages", ".py"):
        assert trace.encode() not in data


def test_every_batch_agrees_with_pytorch(exported, checkpoint):
    bundle = ModelBundle.load(exported)
    for batch in (1, 2, 3, 7):
        part = {name: value[:batch] for name, value in checkpoint.examples.items()}
        with torch.no_grad():
            want = checkpoint.net(**{n: torch.from_numpy(v) for n, v in part.items()}).numpy()
        np.testing.assert_allclose(bundle(part), want, atol=1e-4)


def test_parity_refuses_another_network(exported, checkpoint):
    other = copy.deepcopy(checkpoint.net)
    with torch.no_grad():
        other.classify.bias[2] += 2e-4
    with pytest.raises(ParityError, match="differ by 2"):
        check_parity(other, ModelBundle.load(exported), checkpoint.examples)
    with torch.no_grad():
        other.classify.bias[2] = float("nan")
    with pytest.raises(ParityError, match="differ by nan"):
        check_parity(other, ModelBundle.load(exported), checkpoint.examples)


def test_parity_needs_enough_different_windows(exported, checkpoint):
    bundle = ModelBundle.load(exported)
    windows = checkpoint.examples["features"]
    for few in (windows[:2], np.repeat(windows[:1], 5, axis=0)):
        with pytest.raises(ParityError, match="different windows"):
            check_parity(checkpoint.net, bundle, {"features": few})


@pytest.mark.slow
def test_what_fails_leaves_no_file_and_the_old_one_alone(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("the old one")

    def disagree(*arguments: object) -> float:
        raise ParityError("no")

    monkeypatch.setattr(to_onnx, "check_parity", disagree)
    with pytest.raises(ParityError):
        export(checkpoint, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "the old one"


def test_an_unwritable_path_is_told(checkpoint, tmp_path):
    with pytest.raises(ExportError, match="cannot write"):
        export(checkpoint, tmp_path / "missing" / "model.onnx")


def test_a_damaged_checkpoint_is_one_line(checkpoint, tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path)
    data = path.read_bytes()
    table = torch.load(path, weights_only=True)
    changes = {
        **{f"no {key}": {key: None} for key in table if key not in ("words", "speaker")},
        "recipe": {"recipe": {**table["recipe"], "model_params": {"n_bands": "x"}}},
        "other model": {"recipe": {**table["recipe"], "model": "head_fusion"}},
        "state": {"state": dict(list(table["state"].items())[1:])},
        "mean": {"mean": "1.0"},
        "credits": {"training_data": [{"corpus": 1}]},
        "words": {"words": {"tokens": 10**9, "width": 1}},
    }
    for name, change in changes.items():
        changed = {k: v for k, v in {**table, **change}.items() if v is not None or k not in change}
        torch.save(changed, path)
        with pytest.raises(CheckpointError) as caught:
            Checkpoint.load(path)
        assert str(caught.value).startswith(f"{path}: "), name
        assert len(str(caught.value).splitlines()) == 1, name
    for end in range(0, len(data), len(data) // 7):
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match="not a checkpoint") as caught:
            Checkpoint.load(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_the_command_takes_a_run_and_audio(checkpoint, tmp_path, demo_path):
    checkpoint.save(tmp_path / "checkpoint.pt")
    out = tmp_path / "model.onnx"
    result = CliRunner().invoke(app, [str(tmp_path), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "differ by at most" in result.output
    few = CliRunner().invoke(app, [str(tmp_path), "-o", str(out), "--audio", str(demo_path)])
    assert isinstance(few.exception, ParityError)
