"""Models that are told who speaks: training, export, streaming, and what is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from typer.testing import CliRunner

from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock
from tests.helpers.commands import one_line, ser_stream
from tests.helpers.embedders import write_embedder
from tests.helpers.engines import Loudness, run, same
from tests.helpers.exports import exported_bundle
from tests.helpers.spy import Spy
from training.checkpoint import Checkpoint
from training.cli import app
from training.recipe.book import load_book
from training.run import Run, told_by_embedder

RATE_HZ = 16000


@pytest.fixture(scope="module")
def embedder_path(tmp_path_factory) -> Path:
    return write_embedder(tmp_path_factory.mktemp("embedder") / "mean.onnx")


@pytest.fixture(scope="module")
def trained(embedder_path, tmp_path_factory) -> Path:
    """mscnn_spu/embedding, smaller, trained for two epochs with the embedder."""
    from tests.helpers.toy_corpus import make_toy_corpus

    top = tmp_path_factory.mktemp("told")
    toy = make_toy_corpus(top / "toy")
    result = CliRunner().invoke(
        app,
        ["run", "mscnn_spu/embedding", "--corpus", f"crema-d={toy}", "--fold", "0", "--seed", "0",
         "--epochs", "2", "--device", "cpu", "--embedder", str(embedder_path), "-o",
         str(top / "run")],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return top / "run"


@pytest.fixture(scope="module")
def told(trained) -> ModelBundle:
    return exported_bundle(trained)


def test_a_bundle_names_its_embedder(told, trained, embedder_path):
    embedder = SpeakerEmbedder.load(embedder_path)
    speaker = told.meta.speaker
    assert speaker is not None
    assert (speaker.dimension, speaker.embedder) == (12, "mean.onnx")
    assert speaker.digest == embedder.digest
    assert told.meta.embedding == ""
    checkpoint = Checkpoint.load(trained / "seed0-fold0")
    assert checkpoint.recipe.network_params["n_embedding"] == checkpoint.recipe.speaker == 12
    embedding = checkpoint.examples["embedding"]
    assert embedding.shape[1] == 12
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, atol=1e-5)


def test_the_engine_tells_who_speaks(told, embedder_path, speech):
    embedder = SpeakerEmbedder.load(embedder_path)
    x = speech[: 9 * RATE_HZ]
    config = EngineConfig(hop_s=0.4)
    spy = Spy(told)
    got = run(Engine(spy, config, Loudness(), embedder=embedder), x, [0, len(x)])  # type: ignore[arg-type]
    spoken = [p for p in got if p.logits is not None]
    assert len(spy.embeddings) == len(spoken) > 10
    lengths = np.linalg.norm(spy.embeddings, axis=1)
    assert set(np.round(lengths, 4)) <= {0.0, 1.0}
    assert lengths[-1] == pytest.approx(1.0, abs=1e-4)
    # What is told counts; a stream that is told nothing hears nobody.
    nobody = run(Engine(told, config, Loudness()), x, [0, len(x)])
    for mine, its, length in zip(spoken, [p for p in nobody if p.logits is not None], lengths,
                                 strict=True):  # fmt: skip
        assert mine.logits is not None
        assert its.logits is not None
        assert np.allclose(mine.logits, its.logits, atol=1e-6) == (length == 0.0)


@settings(max_examples=25)
@given(data=st.data())
def test_any_blocking_gives_the_same_predictions(told, embedder_path, speech, data):
    x = speech[: 6 * RATE_HZ]
    cuts = data.draw(st.lists(st.integers(1, len(x) - 1), max_size=10, unique=True))
    gate = EngineConfig(hop_s=0.4)
    open_gate = EngineConfig(hop_s=0.4, gate=False)
    for config in (gate, open_gate):
        embedder = SpeakerEmbedder.load(embedder_path)
        engine = Engine(told, config, Loudness(), embedder=embedder)
        want = run(engine, x, [0, len(x)])
        same(run(engine, x, [0, *sorted(cuts), len(x)]), want)


@pytest.fixture(scope="module")
def alike(told, tmp_path_factory) -> tuple[ModelBundle, SpeakerEmbedder]:
    """An embedder over the model's own front end, and the model as if trained with it."""
    path = tmp_path_factory.mktemp("alike") / "mean.onnx"
    params = told.meta.frontend_params
    embedder = SpeakerEmbedder.load(write_embedder(path, 1.0, params, told.extractor.width))
    model = copy.copy(told)
    assert told.meta.speaker is not None
    model.meta = replace(told.meta, speaker=replace(told.meta.speaker, digest=embedder.digest))
    return model, embedder


@pytest.mark.parametrize("gate", [None, False])
def test_frames_of_the_same_front_end_are_computed_once(alike, speech, gate, monkeypatch):
    model, embedder = alike
    x = speech[: 8 * RATE_HZ]
    config = EngineConfig(hop_s=0.4, gate=gate)
    once = Engine(model, config, Loudness(), embedder=embedder)
    counted = []
    analyse = type(model.extractor).analyse
    monkeypatch.setattr(
        type(model.extractor),
        "analyse",
        lambda self, frames: counted.append(len(frames)) or analyse(self, frames),
    )
    got = run(once, x, [0, len(x)])
    assert sum(counted) == model.extractor.base_count(len(x))
    monkeypatch.setattr(type(model.extractor), "computes_like", lambda self, other: False)
    twice = Engine(model, config, Loudness(), embedder=embedder)
    # Frames of its own come to the tracker in pieces, so that its updates are a little later.
    for mine, its in zip(got, run(twice, x, [0, len(x)]), strict=True):
        assert (mine.start, mine.end, mine.speech) == (its.start, its.end, its.speech)
        if mine.posterior is not None and its.posterior is not None:
            np.testing.assert_allclose(mine.posterior, its.posterior, atol=0.01)
    assert once._speaker is not None
    assert twice._speaker is not None
    assert once._speaker.embedding.any()
    np.testing.assert_allclose(once._speaker.embedding, twice._speaker.embedding, atol=0.05)


@settings(max_examples=15)
@given(data=st.data())
def test_any_blocking_gives_the_same_with_frames_computed_once(alike, speech, data):
    model, embedder = alike
    x = speech[: 6 * RATE_HZ]
    cuts = data.draw(st.lists(st.integers(1, len(x) - 1), max_size=10, unique=True))
    engine = Engine(model, EngineConfig(hop_s=0.4), Loudness(), embedder=embedder)
    want = run(engine, x, [0, len(x)])
    same(run(engine, x, [0, *sorted(cuts), len(x)]), want)


def test_the_speaker_is_held_over_a_gap_and_forgotten_by_a_reset(told, embedder_path, speech):
    engine = Engine(told, EngineConfig(gate=False), embedder=SpeakerEmbedder.load(embedder_path))
    engine.feed(AudioBlock(speech[: 6 * RATE_HZ], 0))
    speaker = engine._speaker
    assert speaker is not None
    known = speaker.embedding.copy()
    assert known.any()
    engine.feed(AudioBlock(np.zeros(4 * RATE_HZ, np.float32), 20 * RATE_HZ, gap=True))
    np.testing.assert_array_equal(speaker.embedding, known)
    engine.reset()
    assert not speaker.embedding.any()


def test_other_embedders_and_models_are_refused(told, bundle, embedder_path, tmp_path):
    embedder = SpeakerEmbedder.load(embedder_path)
    with pytest.raises(ConfigError, match="takes no embedder"):
        Engine(bundle, embedder=embedder)
    other = SpeakerEmbedder.load(write_embedder(tmp_path / "other.onnx", -1.0))
    with pytest.raises(ConfigError, match=r"not the embedder .* wants mean.onnx"):
        Engine(told, embedder=other)
    book = load_book("mscnn_spu")
    planned = Run(
        book.recipe("", "strict"), book.protocol("strict"), "strict", (), (), tmp_path, tmp_path
    )
    with pytest.raises(ConfigError, match="mscnn_spu is not told who speaks"):
        told_by_embedder(planned, embedder_path)


def test_the_command_tells_who_speaks(trained, told, embedder_path, demo_path):
    model = trained / "model.onnx"
    alone = ser_stream("score", demo_path, "--model", model, "--windows", "--jsonl")
    assert "hearing nobody in particular" in alone.stderr
    known = ser_stream("score", demo_path, "--model", model, "--windows", "--jsonl",
                       "--embedder", embedder_path)  # fmt: skip
    assert known.returncode == 0, known.stderr
    assert known.stderr == ""
    a, b = ([json.loads(line)["happy"] for line in r.stdout.splitlines()] for r in (alone, known))
    assert len(a) == len(b)
    assert a != b
    shown = ser_stream("info", model)
    assert "speaker      12 values of the embedder mean.onnx" in shown.stdout
    wrong = ser_stream("score", demo_path, "--embedder", demo_path)
    one_line(wrong, 1, "not a speaker embedder that can be run: not ONNX")
