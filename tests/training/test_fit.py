"""The training loop, and measuring through the runtime."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_stream.errors import ConfigError
from tests.helpers.toy_corpus import make_toy_corpus

torch = pytest.importorskip("torch")

from training.checkpoint import Checkpoint, CheckpointError
from training.data.corpora import read_corpus
from training.data.features import build_features
from training.data.folds import split_by_speaker
from training.data.hearing import Hearing
from training.data.windows import Presenter, hearings_of
from training.evaluate import evaluate
from training.fit import (
    WeightAverage,
    fit,
    learning_rate,
    make_optimizer,
    predict,
    soft_cross_entropy,
    spec_augment,
)
from training.launch import Launch, launch
from training.recipe.book import load_recipe
from training.recipe.config import TrainConfig
from training.temperature_scaling import TemperatureScaling


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def recipe():
    """The shipped recipe, made short."""
    full = load_recipe("default")
    return replace(
        full,
        train=replace(full.train, epochs=6, batch_size=16, warmup_epochs=0),
        windows=replace(full.windows, crops=2),
        augment=replace(full.augment, variants=1),
    )


def test_soft_cross_entropy_is_the_usual_one_for_hard_targets():
    torch.manual_seed(0)
    logits, y = torch.randn(8, 4), torch.arange(8) % 4
    weight = torch.tensor([1.0, 2.0, 0.5, 1.5])
    hard = torch.nn.functional.one_hot(y, 4).float()
    torch.testing.assert_close(
        soft_cross_entropy(logits, hard, weight, 0.0),
        torch.nn.functional.cross_entropy(logits, y, weight=weight),
    )


def test_spec_augment_blanks_stripes_and_nothing_else():
    config = TrainConfig(time_mask=5, feature_mask=3)
    x = torch.ones(32, 40, 12)
    y = spec_augment(x, config, torch.Generator().manual_seed(0))
    assert (x == 1).all()
    blank = y == 0
    frames, features = blank.all(dim=2), blank.all(dim=1)
    assert (frames.sum(dim=1) <= 10).all()
    assert (features.sum(dim=1) <= 3).all()
    assert frames.any()
    assert features.any()
    assert ((frames[:, :, None] | features[:, None, :]) == blank).all()
    assert spec_augment(x, TrainConfig(), torch.Generator()) is x


@pytest.mark.parametrize(
    ("config", "want"),
    [
        (TrainConfig(lr=1.0), {1: 1.0, 50: 1.0}),
        (
            # Paper 3: "reducing by a factor of 10 at the 21, 31 and 41 epochs".
            TrainConfig(lr=0.05, schedule="steps", milestones=(20, 30, 40)),
            {20: 0.05, 21: 0.005, 30: 0.005, 31: 5e-4, 41: 5e-5, 50: 5e-5},
        ),
        (
            TrainConfig(lr=1.0, schedule="cosine", epochs=11, warmup_epochs=1),
            {1: 0.5, 2: 1.0, 7: 0.5},
        ),
    ],
)
def test_learning_rates(config, want):
    for epoch, rate in want.items():
        assert learning_rate(epoch, config) == pytest.approx(rate)


def test_optimizers_are_the_named_ones():
    net = torch.nn.Linear(2, 2)
    sgd = make_optimizer(net, TrainConfig(optimizer="sgd", momentum=0.9, weight_decay=1e-4))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["nesterov"]
    adam = make_optimizer(net, TrainConfig(optimizer="adam", betas=(0.9, 0.99)))
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["betas"] == (0.9, 0.99)
    assert type(make_optimizer(net, TrainConfig(optimizer="adamw"))) is torch.optim.AdamW


def test_the_average_follows_slowly_or_copies():
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    slow, copy = WeightAverage(net, 0.9), WeightAverage(net, 0.0)
    torch.nn.init.ones_(net.weight)
    values = []
    for _ in range(40):
        slow.update(net)
        values.append(slow.net.weight.item())
    copy.update(net)
    assert copy.net.weight.item() == 1.0
    assert values == sorted(values)
    assert 0.5 < values[0] < values[-1] < 1.0


# The loop


def stores(split, recipe, folder):
    return [build_features(p, recipe, [], folder) for p in (split.train, split.validation)]


def test_a_killed_run_goes_on_where_it_was(toy, recipe, tmp_path):
    split = split_by_speaker(read_corpus("crema-d", toy))
    short = replace(recipe, train=replace(recipe.train, epochs=3))
    train, held = stores(split, short, tmp_path)
    states = []

    def keep(epoch, state) -> None:
        buffer = io.BytesIO()
        torch.save(state(), buffer)
        buffer.seek(0)
        states.append(torch.load(buffer, weights_only=True))

    arguments = (split.train, train, split.validation, held, None)
    whole = fit(short, *arguments, keep)
    resumed = fit(short, *arguments, resume=states[1])
    assert [e.number for e in resumed.history] == [1, 2, 3]
    presenter = Presenter(short, held, whole.statistics)
    places = presenter.test_places(split.validation)
    np.testing.assert_allclose(
        predict(resumed.net, presenter, places, Launch()),
        predict(whole.net, presenter, places, Launch()),
        atol=1e-4,
    )


@pytest.mark.slow
def test_patience_ends_a_run_and_survives_its_resumption(toy, recipe, tmp_path):
    split = split_by_speaker(read_corpus("crema-d", toy))
    # A learning rate of nothing: the first epoch stays the best.
    still = replace(
        recipe, train=replace(recipe.train, epochs=9, lr=1e-12, patience=2, average=0.0)
    )
    train, held = stores(split, still, tmp_path)
    states = []
    arguments = (split.train, train, split.validation, held, None)
    done = fit(still, *arguments, lambda epoch, state: states.append(state()))
    # Batch normalisation moves even so; what counts is two epochs without a better one.
    assert len(done.history) == done.best.number + 2 < 9
    again = fit(still, *arguments, resume=states[-1])
    assert again.history == done.history


def test_without_a_chooser_the_last_epoch_is_kept(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)[:40]
    short = replace(recipe, train=replace(recipe.train, epochs=2))
    store = build_features(utterances, short, [], tmp_path)
    trained = fit(short, utterances, store, [], store.subset([]))
    assert trained.best.number == 2
    assert np.isnan(trained.best.uar)
    assert trained.scaling.temperature == 1.0


def test_the_temperature_is_fitted_on_the_disturbed_variants_too(
    toy, recipe, tmp_path, monkeypatch
):
    split = split_by_speaker(read_corpus("crema-d", toy))
    disturbed = replace(
        recipe,
        calibrate=True,
        stranger_factor=1.5,
        augment=replace(recipe.augment, variants=2, noise_share=1.0, white_only=True),
        train=replace(recipe.train, epochs=1),
    )
    train, held = stores(split, disturbed, tmp_path)
    assert held.variants == 3
    fitted: list[np.ndarray] = []

    def watch(logits: np.ndarray, truth: np.ndarray) -> TemperatureScaling:
        assert len(logits) == len(truth)
        fitted.append(truth)
        return TemperatureScaling(2.0)

    monkeypatch.setattr("training.fit.fit_temperature_scaling", watch)
    trained = fit(disturbed, split.train, train, split.validation, held)
    # What was fitted to speakers of a known corpus is less sure of a stranger.
    assert trained.scaling == TemperatureScaling(3.0)
    presenter = Presenter(disturbed, held, trained.statistics)
    heard = [
        sum(len(presenter.test_places(split.validation, h, v)) for h in hearings_of(disturbed))
        for v in range(held.variants)
    ]
    (truth,) = fitted
    assert len(truth) == sum(heard) > 2 * heard[0]
    assert set(truth) == set(range(4))


def test_bfloat16_trains_to_about_the_same(toy, recipe, tmp_path):
    split = split_by_speaker(read_corpus("crema-d", toy))
    short = replace(recipe, train=replace(recipe.train, epochs=1, mixup=0.0))
    train, held = stores(split, short, tmp_path)
    arguments = (split.train, train, split.validation, held)
    exact = fit(short, *arguments, Launch(precision="fp32"))
    rough = fit(short, *arguments, Launch(precision="bf16"))
    assert rough.best.loss == pytest.approx(exact.best.loss, rel=0.05)
    assert rough.best.loss != exact.best.loss
    assert all(p.dtype == torch.float32 for p in rough.net.parameters())


def test_what_cannot_be_trained_is_told(toy, recipe, tmp_path):
    utterances = [u for u in read_corpus("crema-d", toy) if u.emotion != "sad"]
    store = build_features(utterances, recipe, [], tmp_path)
    with pytest.raises(ValueError, match="no training utterance is sad"):
        fit(recipe, utterances, store, utterances, store)
    everything = read_corpus("crema-d", toy)
    store = build_features(everything, recipe, [], tmp_path)
    long = replace(recipe, window_frames=500, windows=replace(recipe.windows, short="drop"))
    with pytest.raises(ValueError, match="long enough"):
        fit(long, everything, store, [], store.subset([]))
    wild = replace(recipe, train=replace(recipe.train, lr=1e30, clip_norm=0.0, epochs=4))
    with pytest.raises(ValueError, match="loss is not finite"):
        fit(wild, everything, store, [], store.subset([]))


def test_launch_refuses_what_is_not_there():
    assert launch("cpu") == Launch()
    for arguments, message in (
        (("tpu",), "want auto, cpu or cuda"),
        (("cpu", "fp16"), "want auto, fp32 or bf16"),
    ):
        with pytest.raises(ConfigError, match=message):
            launch(*arguments)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            launch("cuda")


def test_broken_checkpoints_are_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(tmp_path / "missing.pt")
    torch.save({"schema": 99}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="this version"):
        Checkpoint.load(tmp_path / "other.pt")


@pytest.mark.parametrize("hearing", [Hearing.COLD, Hearing.ALONE, Hearing.RUNNING])
def test_evaluation_through_the_runtime(toy, bundle, hearing):
    utterances = read_corpus("crema-d", toy)[:12]
    result = evaluate(bundle, utterances, hearing)
    assert result["utterances"] == 12
    assert result["hearing"] == str(hearing)
    assert 0.0 <= result["uar"] <= 1.0


def test_a_span_of_a_file_is_heard_as_if_it_were_a_file(bundle, demo_path, tmp_path, speech):
    import soundfile

    from training.data.corpora import Utterance

    soundfile.write(tmp_path / "span.flac", speech[16000:64000], 16000)
    whole = Utterance(tmp_path / "span.flac", "manifest", "manifest/a", "angry")
    span = Utterance(demo_path, "manifest", "manifest/a", "angry", start_s=1.0, end_s=4.0)
    results = [evaluate(bundle, [u], Hearing.ALONE) for u in (whole, span)]
    assert results[0] == results[1]
