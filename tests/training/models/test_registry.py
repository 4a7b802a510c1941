"""The registry of networks, and what a new one takes."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from torch import Tensor, nn
from typer.testing import CliRunner

from export.to_onnx import export
from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.typed import within
from tests.helpers.toy_corpus import make_toy_corpus
from training.checkpoint import Checkpoint
from training.cli import app
from training.models import MODELS, NetworkKind, any_width, as_trained, make_model, nothing
from training.recipe.book import load_book, load_recipe

# All that a new network takes: a configuration, a module, a row and a recipe.


@dataclass(frozen=True)
class PooledConfig:
    """Sizes: ``n_mean`` is that of the frames' mean, ``n_told`` of what is known of the speaker."""

    n_classes: int = 4
    n_mean: int = 13
    n_told: int = 26
    n_hidden: Annotated[int, within(1, 1000)] = 8


class Pooled(nn.Module):
    """The mean of the frames (batch, frames, n_mean), classified with (batch, n_told)."""

    def __init__(self, config: PooledConfig) -> None:
        super().__init__()
        self.config = c = config
        self.hidden = nn.Linear(c.n_mean + c.n_told, c.n_hidden)
        self.classify = nn.Linear(c.n_hidden, c.n_classes)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        x = torch.cat([features.mean(dim=1), embedding], dim=1)
        return self.classify(torch.relu(self.hidden(x)))


class HalvedPooled(Pooled):
    """The same logits, in a form that tells itself apart in a graph."""

    def __init__(self, trained: Pooled) -> None:
        super().__init__(trained.config)
        self.load_state_dict(trained.state_dict())

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        return super().forward(features, embedding) * 0.5 + super().forward(features, embedding) / 2


POOLED = NetworkKind(
    config=PooledConfig,
    module=Pooled,
    widths=lambda w: {"n_mean": w.features, "n_told": w.embedding},
    takes=frozenset({"embedding"}),
    needs=lambda config: frozenset({"embedding"}),
    inference=HalvedPooled,
)
RECIPE = """
name = "pooled"
labels = ["angry", "happy", "neutral", "sad"]
model = "pooled"
model_params = { n_hidden = 16 }
frontend = "mfcc"
frontend_params = { hop_length = 512 }
embedding = "statistics"
normalizer_state = "running"
window_frames = 40
window_hop_frames = 20
[train]
epochs = 1
batch_size = 16
[protocols.strict]
folds = { kind = "speaker", n_folds = 3, validation = 0.2 }
"""


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> Path:
    monkeypatch.setitem(MODELS, "pooled", POOLED)
    path = tmp_path / "pooled.toml"
    path.write_text(RECIPE)
    return path


def test_a_network_is_a_file_a_row_and_a_recipe(recipe, tmp_path):
    corpus = make_toy_corpus(tmp_path / "corpus", speakers=5, takes=1)
    run = tmp_path / "run"
    done = CliRunner().invoke(
        app,
        ["run", str(recipe), "--corpus", f"crema-d={corpus}", "--fold", "0", "--device", "cpu",
         "-o", str(run)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads((run / "seed0-fold0" / "result.json").read_text())["epochs"] == 1
    checkpoint = Checkpoint.load(run / "seed0-fold0")
    assert checkpoint.recipe == load_recipe(recipe)
    assert checkpoint.net.config == PooledConfig(4, 13, 26, 16)
    # What is exported is the inference form, and its logits are those of the trained network.
    export(checkpoint, tmp_path / "pooled.onnx")
    bundle = ModelBundle.load(tmp_path / "pooled.onnx")
    assert bundle.meta.recipe["model_params"] == {"n_hidden": 16}
    assert "Mul" in {node.op_type for node in onnx.load(tmp_path / "pooled.onnx").graph.node}


def test_widths_follow_from_the_front_end(recipe):
    book = load_book(recipe)
    wide = book.recipe(changes={"frontend_params": {"n_mfcc": 20, "deltas": 2}})
    net = wide.network()
    assert (net.config.n_mean, net.config.n_told) == (60, 120)
    assert book.recipe(changes={"normalizer": {"both": True}}).network().config.n_mean == 26
    assert book.recipe(changes={"labels": ["angry", "sad"]}).network().config.n_classes == 2
    told = replace(book.recipe(), embedding="", speaker=7)
    assert told.network().config.n_told == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_params": {"n_hiden": 1}}, "model_params: unknown 'n_hiden'; known: n_classes"),
        ({"model_params": {"n_hidden": 0}}, "model_params.n_hidden: expected an integer >= 1"),
        ({"model_params": {"n_mean": 12}}, "model_params.n_mean: got 12, but .* make it 13"),
        ({"embedding": ""}, "embedding: the network pooled needs embedding here"),
        ({"text": {"tokens": 5}}, "text.tokens: the network pooled takes no tokens"),
        (
            {"windows": {"short": "zero", "masked": True}},
            "windows.masked: the network pooled takes no lengths",
        ),
    ],
)
def test_a_recipe_for_it_is_checked_when_it_is_read(recipe, changes, message):
    with pytest.raises(ConfigError, match=f"recipe pooled: {message}"):
        load_book(recipe).recipe(changes=changes)


def test_a_row_that_lacks_a_field_fails_where_it_is_written():
    whole = {
        "config": PooledConfig, "module": Pooled, "widths": any_width, "takes": frozenset(),
        "needs": nothing, "inference": as_trained,
    }  # fmt: skip
    NetworkKind(**whole)
    for field in whole:
        with pytest.raises(TypeError, match=field):
            NetworkKind(**{name: value for name, value in whole.items() if name != field})
    with pytest.raises(ConfigError, match="dataclass with n_classes"):
        NetworkKind(**whole | {"config": dict})
    with pytest.raises(ConfigError, match=r"PooledConfig: unknown inputs \['pitch'\]"):
        NetworkKind(**whole | {"takes": frozenset({"pitch"})})


@pytest.mark.parametrize("name", MODELS)
def test_rows_declare_what_their_networks_are(name):
    kind = MODELS[name]
    torch.manual_seed(0)
    net = make_model(name, {}).eval()
    assert isinstance(net, kind.module)
    arguments = set(inspect.signature(net.forward).parameters)
    assert kind.takes == arguments & {"embedding", "lengths", "tokens"}
    assert kind.needs(net.config) <= kind.takes
    with torch.no_grad():
        for part in net.modules():
            # Something to fold.
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
        width = {"head_fusion": 13, "attention_pooling": 400, "adaptive_cnn": 102}
        n = width.get(name, getattr(net.config, "n_features", 0))
        inputs = {"features": torch.randn(2, 120, n)}
        if "embedding" in kind.takes and net.config.n_embedding:
            inputs["embedding"] = torch.randn(2, net.config.n_embedding)
        np.testing.assert_allclose(
            kind.inference(net).eval()(**inputs), net(**inputs), rtol=1e-3, atol=1e-4
        )
