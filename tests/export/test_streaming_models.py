"""The papers' networks from checkpoint to stream: what was trained is what is heard live."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from export.cli import PARTIAL
from export.cli import app as export_app
from export.to_onnx import export
from ser_stream.cli import app
from ser_stream.features.normalizer import NormalizerState
from ser_stream.features.registry import make_extractor
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.metadata import METADATA_KEY, WordInput
from ser_stream.models.onnx_file import read_metadata
from ser_stream.profiles import ProfileRecorder
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock, Prediction
from training.checkpoint import Checkpoint, CheckpointError
from training.data.corpora import Utterance, credits_of
from training.data.features import FeatureStore
from training.data.hearing import Hearing
from training.data.windows import Presenter, training_statistics
from training.evaluate import hear
from training.recipe.book import load_book, load_recipe, shipped_recipes
from training.recipe.config import Recipe, TextConfig

RATE_HZ = 16000
PAPERS = ["head_fusion", "mscnn_spu", "attention_pooling", "ilt_cat", "context_attention"]
# One network of each kind of stream: front end, normaliser, embedding; the cheapest of each.
STREAMS = [
    "default",
    "head_fusion/layers-1",
    "mscnn_spu/embedding",
    "attention_pooling/shape-2x2",
    "ilt_cat/cnn+lstm",
    "context_attention/mean",
]


def shape_of(recipe: Recipe) -> tuple:
    params = dict(recipe.model_params)
    # Sizes make no other graph, and positional encoding only adds a constant.
    for size in ("n_head", "n_size", "dropout", "n_feedforward"):
        params.pop(size, None)
    if recipe.model == "attention_pooling" and params["n_layers"] == 0:
        params["shapes"] = None
    if recipe.model == "ilt_cat":
        params["positional_encoding"] = None
        if params["architecture"] != "cat":
            params["direction"] = None
        if params["architecture"] not in ("cat", "ilt"):
            params["fusion"] = None
    params.setdefault("attention", True)
    params.setdefault("n_layers", 4)
    return recipe.model, recipe.embedding, repr(sorted(params.items()))


def graphs() -> list[str]:
    """A recipe or variant for every distinct graph of the shipped recipes, `STREAMS` first."""
    recipes = {
        f"{book.name}/{variant}" if variant else book.name: book.recipe(variant)
        for book in map(load_book, shipped_recipes())
        for variant in ("", *book.variants)
    }
    found: dict[tuple, str] = {}
    for name in (*STREAMS, *recipes):
        # A network of words alone hears nothing.
        if recipes[name].model_params.get("modality") != "text":
            found.setdefault(shape_of(recipes[name]), name)
    return list(found.values())


GRAPHS = graphs()
# Longer than the longest window with four hops.
CLIP_S = 3.7
HOP_S = 0.4


@dataclass(frozen=True)
class Model:
    """A network on its way: as trained, and as a file."""

    checkpoint: Checkpoint
    path: Path
    bundle: ModelBundle

    @property
    def need(self) -> int:
        """Samples until the first prediction."""
        return self.bundle.window_samples + self.bundle.look_ahead_samples


def utterances(n: int) -> list[Utterance]:
    return [Utterance(Path(f"{i}.wav"), "demo", f"demo/{i}", "neutral") for i in range(n)]


@torch.no_grad()
def randomise(net: torch.nn.Module) -> None:
    """Make the statistics of batch normalisation anything but 0 and 1, and biases too."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.3, 1.5),
                (module.weight, 0.6, 1.4),
                (module.bias, -0.2, 0.3),
            ):
                tensor.uniform_(low, high, generator=generator)


def make_checkpoint(name: str, speech: np.ndarray) -> Checkpoint:
    """An untrained network with the demo clip's statistics and windows."""
    recipe = load_recipe(name, "strict")
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    length = int(CLIP_S * RATE_HZ)
    clips = [speech[i * length : (i + 1) * length] for i in range(4)]
    words = []
    if recipe.text.tokens:
        rng = np.random.default_rng(0)
        size = (len(clips), 5, recipe.text.width)
        words = list(rng.normal(0, 0.3, size).astype(np.float32))
    store = FeatureStore([[extractor(x)] for x in clips], words)
    people = utterances(len(clips))
    statistics = training_statistics(people, store, recipe)
    presenter = Presenter(recipe, store, statistics)
    places = presenter.test_places(people)[::4]
    examples = presenter.present(places)
    torch.manual_seed(0)
    net = recipe.network().eval()
    randomise(net)
    with torch.no_grad():
        logits = net(**{k: torch.from_numpy(v) for k, v in examples.items()}).numpy()
    # Untrained networks hardly tell windows apart; calibration makes the difference visible.
    spread = float(logits.std(axis=0).max())
    return Checkpoint(
        recipe,
        net,
        statistics.mean,
        statistics.std,
        spread,
        tuple((-logits.mean(axis=0)).tolist()),
        credits_of(["crema-d"]),
        {"test": {"uar": 0.25, "protocol": "none"}},
        examples,
        WordInput(recipe.text.tokens, recipe.text.width) if words else None,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, speech) -> Callable[[str], Model]:
    """Export a network by its recipe's name, once."""
    models: dict[str, Model] = {}
    folder = tmp_path_factory.mktemp("models")

    def make(name: str) -> Model:
        if name not in models:
            checkpoint = make_checkpoint(name, speech)
            path = folder / f"{len(models)}.onnx"
            assert export(checkpoint, path) < 1e-4
            models[name] = Model(checkpoint, path, ModelBundle.load(path))
        return models[name]

    return make


@pytest.fixture(
    scope="module",
    params=[
        name if name in STREAMS else pytest.param(name, marks=pytest.mark.slow) for name in GRAPHS
    ],
)
def model(request, made) -> Model:
    return made(request.param)


@pytest.fixture(scope="module", params=STREAMS)
def stream(request, made) -> Model:
    return made(request.param)


def test_a_file_holds_nothing_but_what_the_runtime_reads(model):
    assert set(read_metadata(model.path.read_bytes())) == {METADATA_KEY}


@pytest.fixture(scope="module")
def clip(speech) -> np.ndarray:
    """Speech after a second of the clip, which has a pause in it."""
    return speech[RATE_HZ : RATE_HZ + int(CLIP_S * RATE_HZ)]


def engine_of(model: Model, hop_s: float | None = None) -> Engine:
    return Engine(model.bundle, EngineConfig(hop_s=hop_s, gate=False))


def run(engine: Engine, x: np.ndarray, edges: list[int]) -> list[Prediction]:
    engine.reset()
    predictions: list[Prediction] = []
    for a, b in itertools.pairwise(edges):
        predictions += engine.feed(AudioBlock(x[a:b], a))
    return predictions + engine.flush()


def same(got: list[Prediction], want: list[Prediction]) -> None:
    assert [(p.start, p.end) for p in got] == [(p.start, p.end) for p in want]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.posterior, b.posterior, rtol=0, atol=1e-5)
        np.testing.assert_allclose(a.smoothed, b.smoothed, rtol=0, atol=1e-5)


def posteriors(predictions: list[Prediction]) -> np.ndarray:
    return np.array([p.posterior for p in predictions])


# The list of graphs


def test_every_kind_of_normaliser_is_tried():
    assert {load_recipe(name).normalizer_state for name in GRAPHS} == set(NormalizerState)


# Law 1


def test_blocks_may_be_of_any_size(model, clip):
    engine = engine_of(model, HOP_S)
    want = run(engine, clip, [0, len(clip)])
    assert len(want) >= 4
    # The windows differ by far more than what the blocking is allowed to change.
    assert np.ptp(posteriors(want), axis=0).max() > 0.01
    for block in (161, 6007):
        same(run(engine, clip, [*range(0, len(clip), block), len(clip)]), want)
    # One by one around the first prediction and the next.
    a, b = model.need - 300, model.need + round(HOP_S * RATE_HZ) + 300
    same(run(engine, clip, [0, a, *range(a + 1, b), len(clip)]), want)


@pytest.mark.parametrize("block", [1, 37, 160, 1411, 8192, 8193, 20001])
def test_regular_blocks_give_the_same_predictions(stream, clip, block):
    engine = engine_of(stream, 0.05)
    x = clip if block > 1 else clip[: stream.need + 2500]
    want = run(engine, x, [0, len(x)])
    assert len(want) >= 3
    same(run(engine, x, [*range(0, len(x), block), len(x)]), want)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_blocking_gives_the_same_predictions(stream, clip, data):
    engine = engine_of(stream, HOP_S)
    want = run(engine, clip, [0, len(clip)])
    cuts = data.draw(st.lists(st.integers(0, len(clip)), max_size=40))
    same(run(engine, clip, [0, *sorted(cuts), len(clip)]), want)


# Law 2


def trained_logits(
    model: Model,
    x: np.ndarray,
    state: NormalizerState | None = None,
    neutral: np.ndarray | None = None,
) -> np.ndarray:
    """Logits of a clip's windows by the path that training tests on."""
    recipe = model.checkpoint.recipe
    if state is not None:
        recipe = replace(recipe, normalizer_state=state)
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    statistics = model.bundle.make_normalizer().prior
    # A stream has no words.
    recipe = replace(recipe, text=TextConfig())
    people, store = utterances(1), FeatureStore([[extractor(x)]])
    hearing = Hearing.RUNNING
    if neutral is not None:
        # A speaker's neutral clip makes the profile, and the other one is tested.
        people = [replace(u, speaker="demo/0", emotion="angry") for u in utterances(2)]
        people[1] = replace(people[1], emotion="neutral")
        store = FeatureStore([[extractor(x)], [extractor(neutral)]])
        hearing = Hearing.CALIBRATED
    presenter = Presenter(recipe, store, statistics)
    inputs = presenter.present(presenter.test_places(people, hearing))
    return model.bundle({n: v for n, v in inputs.items() if n in ("features", "embedding")})


def trained_posteriors(model: Model, x: np.ndarray) -> np.ndarray:
    """Their posteriors."""
    return model.bundle.posterior(trained_logits(model, x))


def test_live_equals_training(model, clip):
    want = trained_posteriors(model, clip)
    got = run(engine_of(model), clip, [*range(0, len(clip), 441), len(clip)])
    assert len(got) == len(want) >= 4
    np.testing.assert_allclose(posteriors(got), want, rtol=0, atol=1e-5)
    hop = model.checkpoint.recipe.window_hop_frames * model.bundle.extractor.hop_length
    assert [p.start for p in got] == [i * hop for i in range(len(got))]


@pytest.mark.parametrize("state", NormalizerState)
def test_live_equals_training_in_every_state(stream, clip, state):
    config = EngineConfig(gate=False, normalizer=state)
    got = run(Engine(stream.bundle, config), clip, [*range(0, len(clip), 997), len(clip)])
    want = trained_logits(stream, clip, state)
    assert len(got) == len(want) >= 4
    np.testing.assert_allclose(posteriors(got), stream.bundle.posterior(want), rtol=0, atol=1e-5)
    # In a state that the network was not made for, posteriors can be 0 and 1 whatever comes.
    logits = np.array([p.logits for p in got])
    np.testing.assert_allclose(logits, want, rtol=0, atol=1e-5 * max(1.0, np.abs(want).max()))


def test_live_with_a_profile_equals_training(made, clip, speech):
    model = made("default")
    # A whole number of frames, as the recorder hears no more of it than training does.
    neutral = speech[20 * RATE_HZ : 28 * RATE_HZ]
    recorder = ProfileRecorder(model.bundle)
    recorder.feed(neutral)
    profile = recorder.finish("me", least_s=0.0)
    assert model.bundle.meta.profiles
    engine = Engine(model.bundle, EngineConfig(gate=False, profile=profile))
    got = run(engine, clip, [*range(0, len(clip), 997), len(clip)])
    want = trained_logits(model, clip, neutral=neutral)
    without = trained_logits(model, clip)
    assert len(got) == len(want) >= 4
    np.testing.assert_allclose([p.logits for p in got], want, rtol=0, atol=1e-4)
    assert np.abs(want - without).max() > 1e-2


def test_evaluation_hears_a_network_without_statistics_as_it_was_trained(made, clip, tmp_path):
    model = made("attention_pooling/shape-2x2")
    assert model.bundle.meta.normalizer_state is NormalizerState.NONE
    soundfile.write(tmp_path / "0.wav", clip, RATE_HZ, subtype="FLOAT")
    people = [replace(u, path=tmp_path / "0.wav") for u in utterances(1)]
    for hearing in (Hearing.COLD, Hearing.ALONE):
        heard = hear(model.bundle, people, hearing)
        want = trained_posteriors(model, clip).mean(axis=0)
        np.testing.assert_allclose(heard.posterior[0], want, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.6, 1.3])
def test_a_short_clip_is_presented_as_in_training(stream, clip, seconds):
    x = clip[: int(seconds * RATE_HZ)]
    got = run(engine_of(stream), x, [0, 5000, len(x)])
    assert len(got) == 1
    np.testing.assert_allclose(posteriors(got), trained_posteriors(stream, x), rtol=0, atol=1e-5)
    extractor = stream.bundle.extractor
    heard = (extractor.frame_count(len(x)) - 1) * extractor.hop_length + extractor.frame_length
    assert (got[0].start, got[0].end) == (0, heard)


def test_the_embedding_reaches_the_network(made, clip):
    model = made("mscnn_spu/embedding")
    normalizer = model.bundle.make_normalizer()
    moments = normalizer.accept(model.bundle.extractor(clip))
    e = np.stack([normalizer.embedding(m) for m in moments[[0, -1]]])
    assert np.abs(e[1] - e[0]).max() > 0.1
    x = np.repeat(model.checkpoint.examples["features"][:1], 2, axis=0)
    logits = model.bundle({"features": x, "embedding": e})
    assert np.abs(logits[1] - logits[0]).max() > 1e-3


# Law 6


def test_the_first_prediction_comes_with_the_last_sample_that_it_needs(model, clip):
    engine = engine_of(model)
    recipe = model.checkpoint.recipe
    extractor = model.bundle.extractor
    frames = (recipe.window_frames - 1) * extractor.hop_length + extractor.frame_length
    assert model.need == frames + extractor.look_ahead * extractor.hop_length
    assert 1.9 * RATE_HZ < model.need < 2.1 * RATE_HZ
    assert engine.warm_up_samples == model.need
    assert engine.feed(AudioBlock(clip[: model.need - 1], 0)) == []
    assert engine.warm_up_samples == 1
    (first,) = engine.feed(AudioBlock(clip[model.need - 1 : model.need], model.need - 1))
    assert (first.start, first.end) == (0, frames)
    assert engine.warm_up_samples == 0


# Parity


def test_any_batch_and_any_number_of_frames_agree_with_pytorch(model, speech):
    examples, net = model.checkpoint.examples, model.checkpoint.net
    bundle = model.bundle
    length = bundle.meta.window_frames
    frames = bundle.extractor(speech[RATE_HZ : 5 * RATE_HZ])
    normalizer = bundle.make_normalizer()
    moments = normalizer.accept(frames)[-1]
    longer, shorter = (
        bundle.extractor.present(normalizer.normalize(frames.features[:n], moments))[None]
        for n in (length + 13, length - 22)
    )
    assert ("embedding" in examples) == bool(model.checkpoint.recipe.embedding)
    for x in (examples["features"][:1], examples["features"][1:4], longer, shorter):
        given = {name: examples[name][: len(x)] for name in bundle.inputs}
        given["features"] = np.ascontiguousarray(x)
        told = {name: torch.from_numpy(value) for name, value in given.items()}
        if "tokens" in told:
            # Five words each, without what fills the window's row.
            assert set(told.pop("text_lengths").tolist()) == {5}
            told["tokens"] = told["tokens"][:, :5]
        with torch.no_grad():
            want = net(**told).numpy()
        got = bundle(given)
        assert got.shape == want.shape == (len(x), 4)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


# Metadata


def test_the_file_says_how_it_listens(model):
    recipe, meta = model.checkpoint.recipe, model.bundle.meta
    assert meta.name == recipe.name
    assert meta.labels == recipe.labels
    assert (meta.frontend, meta.frontend_params) == (recipe.frontend, recipe.frontend_params)
    assert meta.embedding == recipe.embedding
    assert meta.normalizer_state is recipe.normalizer_state
    assert meta.normalizer == recipe.normalizer
    assert meta.window_frames == recipe.window_frames
    assert meta.window_hop_frames == recipe.window_hop_frames
    assert meta.recipe["model_params"].keys() == recipe.model_params.keys()
    np.testing.assert_array_equal(np.float32(meta.mean), model.checkpoint.mean)
    np.testing.assert_array_equal(np.float32(meta.std), model.checkpoint.std)
    assert type(meta).from_json(meta.to_json()) == meta


def test_a_checkpoint_survives_its_file(stream, tmp_path):
    stream.checkpoint.save(tmp_path / "checkpoint.pt")
    loaded = Checkpoint.load(tmp_path)
    assert loaded.recipe == stream.checkpoint.recipe
    examples = stream.checkpoint.examples
    assert loaded.examples.keys() == examples.keys()
    for name, values in examples.items():
        np.testing.assert_array_equal(loaded.examples[name], values)
    inputs = {k: torch.from_numpy(v) for k, v in loaded.examples.items()}
    with torch.no_grad():
        torch.testing.assert_close(loaded.net(**inputs), stream.checkpoint.net(**inputs))


# The commands


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_recordings_are_scored_with_any_paper(made, paper, clip, tmp_path):
    model = made(paper)
    soundfile.write(tmp_path / "a.wav", clip, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", clip[:RATE_HZ], RATE_HZ, subtype="FLOAT")
    arguments = ["score", str(tmp_path), "--model", str(model.path), "--no-gate"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = {Path(r["path"]).name: r for r in csv.DictReader(io.StringIO(result.stdout))}
    assert set(rows) == {"a.wav", "short.wav"}
    labels = model.checkpoint.recipe.labels
    for name, x in (("a.wav", clip), ("short.wav", clip[:RATE_HZ])):
        want = trained_posteriors(model, x)
        assert rows[name]["error"] == ""
        assert int(rows[name]["windows"]) == len(want)
        got = [float(rows[name][label]) for label in labels]
        np.testing.assert_allclose(got, want.mean(axis=0), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_info_tells_of_any_paper_s_model(made, paper):
    model = made(paper)
    result = CliRunner().invoke(app, ["info", str(model.path)])
    assert result.exit_code == 0, result.output
    recipe = model.checkpoint.recipe
    extractor = ModelBundle.load(model.path).extractor
    ahead_ms = 1000 * extractor.look_ahead * extractor.hop_length // extractor.sample_rate_hz
    line = next(x for x in result.stdout.splitlines() if x.startswith("front end"))
    assert line.startswith(f"front end    {recipe.frontend} (sample_rate_hz=16000, ")
    assert line.endswith(f"look-ahead {ahead_ms} ms")
    assert f"normaliser   {recipe.normalizer_state}" in result.stdout


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, speech) -> Path:
    """Two checkpoints and one that was cut off."""
    folder = tmp_path_factory.mktemp("run")
    checkpoint = make_checkpoint("attention_pooling/shape-2x2", speech)
    for fold in (0, 1):
        (folder / f"seed0-fold{fold}").mkdir()
        checkpoint.save(folder / f"seed0-fold{fold}" / "checkpoint.pt")
    (folder / "seed0-fold2").mkdir()
    whole = (folder / "seed0-fold0" / "checkpoint.pt").read_bytes()
    (folder / "seed0-fold2" / "checkpoint.pt").write_bytes(whole[:1000])
    return folder


def test_one_broken_checkpoint_does_not_stop_the_others(finished_run, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(export_app, ["--all", str(finished_run), "-o", str(out)])
    assert result.exit_code == PARTIAL == 3
    assert sorted(p.name for p in out.iterdir()) == ["seed0-fold0.onnx", "seed0-fold1.onnx"]
    (line,) = result.stderr.splitlines()
    assert "seed0-fold2" in line
    assert "not a checkpoint" in line
    assert len(result.stdout.splitlines()) == 2
    for path in out.iterdir():
        assert ModelBundle.load(path).meta.name == "attention_pooling/shape-2x2"


def test_exports_lie_next_to_their_checkpoints_and_nothing_is_left_of_broken_ones(
    finished_run,
):
    fold = finished_run / "seed0-fold1"
    result = CliRunner().invoke(export_app, ["--all", str(fold)])
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in fold.iterdir()) == ["checkpoint.pt", "model.onnx"]
    broken = finished_run / "seed0-fold2"
    result = CliRunner().invoke(export_app, ["--all", str(broken)])
    assert result.exit_code == 1
    assert [p.name for p in broken.iterdir()] == ["checkpoint.pt"]
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(broken)


def test_a_folder_without_checkpoints_is_told(tmp_path):
    result = CliRunner().invoke(export_app, ["--all", str(tmp_path)])
    assert "no checkpoint.pt below it" in str(result.exception)
