"""Corpora, folds, augmentation, the network and the training loop."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.errors import ConfigError
from ser_stream.normalizer import Normalizer

torch = pytest.importorskip("torch")

from training.augment import Condition, apply_condition, draw_condition  # noqa: E402
from training.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from training.corpora import CorpusError, Utterance, audio_files, read_corpus  # noqa: E402
from training.dataset import build_features  # noqa: E402
from training.evaluate import Hearing, evaluate  # noqa: E402
from training.fit import (  # noqa: E402
    draw_windows,
    evaluation_windows,
    fit,
    fit_calibration,
    frames_per_s,
    mean_posterior,
    predict,
    soft_cross_entropy,
    training_statistics,
)
from training.folds import Split, split_by_speaker  # noqa: E402
from training.metrics import expected_calibration_error, score  # noqa: E402
from training.models import make_model  # noqa: E402
from training.recipe import AugmentConfig, load_recipe, parse_recipe  # noqa: E402

RATE_HZ = 16000
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in CREMA-D's layout: 7 speakers whose emotions differ in pitch and brightness."""
    folder = tmp_path_factory.mktemp("toy") / "AudioWAV"
    folder.mkdir()
    rng = np.random.default_rng(0)
    sounds = {"ANG": (300, 0.5), "HAP": (250, 2.0), "NEU": (140, 1.0), "SAD": (110, 3.0)}
    for speaker in range(1001, 1008):
        for take in range(3):
            for emotion, (pitch, tilt) in sounds.items():
                t = np.arange(int(RATE_HZ * rng.uniform(1.2, 2.6))) / RATE_HZ
                f = pitch * rng.uniform(0.9, 1.1)
                x = sum(np.sin(2 * np.pi * f * k * t) / k**tilt for k in range(1, 12))
                x = 0.1 * x / np.abs(x).max() + rng.normal(0, 1e-3, len(t))
                soundfile.write(folder / f"{speaker}_T{take}X_{emotion}_XX.flac", x, RATE_HZ)
    return folder.parent


@pytest.fixture(scope="module")
def recipe():
    """The shipped recipe, made short."""
    full = load_recipe("default")
    return replace(
        full,
        train=replace(full.train, epochs=6, batch_size=16, crops=2, warmup_epochs=0),
        augment=replace(full.augment, variants=1),
    )


# Corpora


def test_official_names_are_read(tmp_path):
    for name in (
        "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1040_ITH_SAD_X.flac",
        "AudioWAV/._1001_DFA_ANG_XX.wav",
        "AudioWAV/notes.wav", "wav/03a01Fa.wav", "wav/16b10Lb.flac", "wav/03a01Xa.wav",
        "Actor_01/03-01-05-01-02-01-01.wav", "Actor_24/03-01-02-01-02-01-24.flac",
        "Actor_01/03-02-05-01-02-01-01.wav",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = {
        corpus: [(u.speaker, u.emotion) for u in read_corpus(corpus, tmp_path)]
        for corpus in ("crema-d", "emodb", "ravdess")
    }
    assert found == {
        "crema-d": [("crema-d/1001", "angry"), ("crema-d/1040", "sad")],
        "emodb": [("emodb/03", "happy"), ("emodb/16", "bored")],
        "ravdess": [("ravdess/01", "angry"), ("ravdess/24", "calm")],
    }


def test_wrong_corpora_are_told(tmp_path):
    with pytest.raises(CorpusError, match="unknown corpus"):
        read_corpus("iemocop", tmp_path)
    with pytest.raises(CorpusError, match="no folder"):
        read_corpus("emodb", tmp_path / "missing")
    with pytest.raises(CorpusError, match="holds no clip"):
        read_corpus("emodb", tmp_path)


@pytest.mark.corpus
def test_the_corpora_beside_the_checkout_are_read_whole(corpora):
    four = ("angry", "happy", "neutral", "sad")
    counts = {}
    for name in ("crema-d", "emodb", "ravdess"):
        utterances = [u for u in read_corpus(name, corpora / name) if u.emotion in four]
        counts[name] = (len(utterances), len({u.speaker for u in utterances}))
    assert counts == {"crema-d": (3931, 73), "emodb": (339, 10), "ravdess": (672, 24)}
    assert len(read_corpus("emodb", corpora / "emodb")) == 535
    assert len(audio_files(corpora / "esc10")) == 400


# Folds


def test_every_speaker_tests_once_and_parts_share_nobody(toy):
    utterances = read_corpus("crema-d", toy)
    tested = []
    for fold in range(5):
        split = split_by_speaker(utterances, fold)
        parts = [{u.speaker for u in p} for p in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 7
        assert all(parts)
        tested += sorted(parts[2])
    assert sorted(tested) == [f"crema-d/{n}" for n in range(1001, 1008)]
    shuffled = list(reversed(utterances))
    assert {u.path for u in split_by_speaker(shuffled, 2).test} == {
        u.path for u in split_by_speaker(utterances, 2).test
    }
    with pytest.raises(ValueError, match="fold 5 of 5"):
        split_by_speaker(utterances, 5)


def test_a_split_with_a_shared_speaker_cannot_be_made():
    a = Utterance(Path("a.wav"), "x", "x/1", "sad")
    b = Utterance(Path("b.wav"), "x", "x/1", "angry")
    with pytest.raises(ValueError, match="x/1"):
        Split([a], [], [b])


# Metrics


def test_scores_by_hand():
    truth = np.array([0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 2, 2])
    s = score(truth, predicted, 4)
    assert s.wa == pytest.approx(5 / 7)
    assert s.uar == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    assert np.isnan(s.recall[3])
    assert s.confusion[0].tolist() == [3, 1, 0, 0]
    with pytest.raises(ValueError, match="cannot score"):
        score(truth[:0], predicted[:0], 4)


def test_calibration_error_by_hand():
    posterior = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    truth = np.array([0, 1, 0, 1])
    want = 0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    assert expected_calibration_error(posterior, truth) == pytest.approx(want)


def test_calibration_undoes_overconfidence_and_bias():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (8000, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(4, p=row) for row in p])
    bias = np.array([0.9, -0.3, 0.0, -0.6])
    got = fit_calibration((3.0 * logits - bias).astype(np.float32), truth)
    assert got.temperature == pytest.approx(3.0, rel=0.1)
    np.testing.assert_allclose(got.bias, bias, atol=0.25)
    assert sum(got.bias) == pytest.approx(0.0, abs=1e-6)


def test_calibration_weighs_classes_alike():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (6000, 2))
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    truth = (rng.random(6000) < p).astype(np.int64)
    # Nine tenths of one class are thrown away: the balanced optimum does not move.
    keep = (truth == 0) | (rng.random(6000) < 0.1)
    got = fit_calibration(logits[keep].astype(np.float32), truth[keep])
    assert got.temperature == pytest.approx(1.0, rel=0.2)
    assert abs(got.bias[0] - got.bias[1]) < 0.3


# Augmentation


def test_the_neutral_condition_changes_next_to_nothing(speech):
    x = speech[RATE_HZ : 2 * RATE_HZ]
    same = apply_condition(x, RATE_HZ, Condition(), [], np.random.default_rng(0))
    gain = np.dot(same, x) / np.dot(x, x)
    np.testing.assert_allclose(same, gain * x, atol=1e-6)
    assert abs(20 * np.log10(gain)) <= 2.0


def test_conditions_do_what_they_say(speech):
    x = speech[RATE_HZ : 3 * RATE_HZ]

    def under(condition: Condition, noises=()) -> np.ndarray:
        return apply_condition(x, RATE_HZ, condition, noises, np.random.default_rng(0))

    def band(y: np.ndarray, low: float, high: float) -> float:
        power = np.abs(np.fft.rfft(y)) ** 2
        hz = np.fft.rfftfreq(len(y), 1 / RATE_HZ)
        return power[(hz >= low) & (hz < high)].sum() / power.sum()

    assert band(under(Condition(band_hz=(300.0, 3400.0))), 300, 3500) > 0.99
    assert band(x, 300, 3500) < 0.99
    assert len(under(Condition(speed=1.25))) == pytest.approx(len(x) / 1.25, abs=2)
    tone = np.sin(np.arange(RATE_HZ)).astype(np.float32)
    for which in (0, 1, 2):  # the recording, white, pink
        noisy = under(Condition(snr_db=10.0, noise=which), [tone])
        gain = np.dot(noisy, x) / np.dot(x, x)
        noise = noisy - gain * x
        snr = 10 * np.log10(np.sum((gain * x) ** 2) / np.sum(noise**2))
        assert snr == pytest.approx(10.0, abs=1.0)
    echo = under(Condition(reverb_s=0.4))
    assert len(echo) == len(x)
    assert np.corrcoef(echo, x)[0, 1] < 0.999
    longer = under(Condition(silence_s=1.0))
    assert len(x) < len(longer) <= len(x) + 2 * RATE_HZ
    assert np.abs(under(Condition(gain_db=60.0))).max() == 1.0


def test_drawn_conditions_stay_in_range():
    config = AugmentConfig()
    rng = np.random.default_rng(0)
    drawn = [draw_condition(config, 3, rng) for _ in range(400)]
    assert {c.noise for c in drawn} == {0, 1, 2, 3, 4}
    assert all(abs(c.speed - 1) <= config.speed for c in drawn)
    assert 0.5 < np.mean([c.snr_db is not None for c in drawn]) < 0.7


# The network


@pytest.fixture
def net():
    torch.manual_seed(0)
    return make_model("head_fusion", {"n_classes": 4}).eval()


def naive_fusion(net, x):
    """Equations (1) to (3) as they stand, head by head and position by position."""
    c = net.config
    heads = []
    for i in range(c.n_head):
        rows = slice(i * c.n_size, (i + 1) * c.n_size)
        k, q, v = (
            x @ layer.weight[rows].T + layer.bias[rows] for layer in (net.key, net.query, net.value)
        )
        heads.append(torch.softmax(k @ q.transpose(1, 2), dim=-1) @ v)
    return (sum(heads) / c.n_head).mean(dim=1)


@pytest.mark.parametrize("n_head", [1, 4, 8])
def test_head_fusion_equals_the_paper_s_equations(n_head):
    torch.manual_seed(n_head)
    net = make_model("head_fusion", {"n_head": n_head, "n_size": 32}).eval()
    x = torch.randn(3, 42, 80)
    with torch.no_grad():
        torch.testing.assert_close(net.fuse(x), naive_fusion(net, x), rtol=1e-4, atol=1e-5)


def test_layers_have_the_paper_s_shapes(net):
    weights = {name: tuple(p.shape) for name, p in net.named_parameters() if "conv" in name}
    assert weights == {
        "conv1a.weight": (8, 1, 10, 2),
        "conv1b.weight": (8, 1, 2, 8),
        "conv2.weight": (32, 16, 3, 3),
        "conv3.weight": (48, 32, 3, 3),
        "conv4.weight": (64, 48, 3, 3),
        "conv5.weight": (80, 64, 3, 3),
    }
    with torch.no_grad():
        # 13 coefficients and 59 frames, pooled twice: 3 x 14 positions.
        assert net.positions(torch.randn(2, 59, 13)).shape == (2, 42, 80)
        assert net(torch.randn(2, 59, 13)).shape == (2, 4)


@pytest.mark.parametrize(("frames", "width"), [(59, 15), (59, 13), (58, 14), (62, 16), (64, 13)])
def test_the_folded_network_is_the_same(frames, width):
    torch.manual_seed(0)
    net = make_model("head_fusion", {"n_head": 3, "n_size": 32})
    net.train()
    for _ in range(3):  # batch normalisation with statistics of its own
        net(2.0 * torch.randn(8, frames, width) + 0.5)
    net.eval()
    for layer in (net.key, net.query, net.value, net.classify):
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(4, frames, width)
    with torch.no_grad():
        torch.testing.assert_close(net.for_inference()(x), net(x), rtol=1e-4, atol=1e-4)


def test_without_attention_it_is_global_average_pooling():
    net = make_model("head_fusion", {"attention": False}).eval()
    x = torch.randn(2, 59, 13)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.classify(net.positions(x).mean(dim=1)))
    assert not any("key" in name for name, _ in net.named_parameters())
    assert net.for_inference() is net


def test_it_can_learn_twenty_windows_by_heart():
    torch.manual_seed(0)
    net = make_model("head_fusion", {})
    x, y = torch.randn(20, 59, 13), torch.arange(20) % 4
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        assert (net(x).argmax(dim=1) == y).all()


def test_an_unknown_network_is_told():
    with pytest.raises(KeyError, match="unknown model"):
        make_model("resnet", {})
    with pytest.raises(TypeError):
        make_model("head_fusion", {"n_heads": 4})


def test_soft_cross_entropy_is_the_usual_one_for_hard_targets():
    torch.manual_seed(0)
    logits, y = torch.randn(8, 4), torch.arange(8) % 4
    weight = torch.tensor([1.0, 2.0, 0.5, 1.5])
    hard = torch.nn.functional.one_hot(y, 4).float()
    torch.testing.assert_close(
        soft_cross_entropy(logits, hard, weight, 0.0),
        torch.nn.functional.cross_entropy(logits, y, weight=weight),
    )


# Features and windows


def test_cached_features_are_the_computed_ones(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)[:6]
    noises = [utterances[0].path]
    told = []
    first = build_features(
        utterances, recipe, noises, tmp_path, 1, lambda done, total: told.append((done, total))
    )
    assert told[-1] == (6, 6)
    again = build_features(utterances, recipe, noises, tmp_path, 1)
    for u in range(6):
        for v in range(2):
            np.testing.assert_array_equal(first[u, v].features, again[u, v].features)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    other = replace(recipe, frontend_params={**recipe.frontend_params, "f_max_hz": 4000.0})
    build_features(utterances, other, noises, tmp_path, 1)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_drawn_windows_are_those_of_the_runtime(toy, recipe):
    utterances = read_corpus("crema-d", toy)[:12]
    store = build_features(utterances, recipe, [], None, 0)
    statistics = training_statistics(store, recipe)
    normalizer = Normalizer(statistics, recipe.normalizer, frames_per_s(recipe))
    windows, index = draw_windows(utterances, store, normalizer, recipe, np.random.default_rng(0))
    assert windows.shape == (2 * 12, 59, 15)
    assert sorted(index) == sorted([*range(12), *range(12)])
    assert np.abs(windows).max() <= recipe.normalizer.clip
    held, where = evaluation_windows(utterances, store, normalizer, recipe, alone=True)
    assert set(where) == set(range(12))
    assert len(held) >= 12


def test_statistics_are_those_of_the_voiced_frames(toy, recipe):
    utterances = read_corpus("crema-d", toy)[:4]
    store = build_features(utterances, recipe, [], None, 0)
    voiced = np.concatenate(
        [
            store[i, 0].features[store[i, 0].periodicity >= recipe.normalizer.periodicity]
            for i in range(4)
        ]
    )
    got = training_statistics(store, recipe)
    np.testing.assert_allclose(got.mean, voiced.mean(axis=0), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(got.std, voiced.std(axis=0), rtol=1e-3, atol=1e-2)


def test_mean_posterior_averages_per_utterance():
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], dtype=np.float32))
    got = mean_posterior(logits, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(got, [[0.6, 0.4], [0.1, 0.9]], atol=1e-6)


# The loop


@pytest.fixture(scope="module")
def trained(toy, recipe, tmp_path_factory):
    """A short run on the toy corpus: its folder, from the command line."""
    from typer.testing import CliRunner

    from training.cli import app

    folder = tmp_path_factory.mktemp("run")
    path = folder / "recipe.toml"
    text = (Path(__file__).parents[1] / "training/recipes/default.toml").read_text()
    text = text.split("[augment]")[0]
    text += "[augment]\nvariants = 1\n[train]\nepochs = 12\nbatch_size = 16\ncrops = 2\n"
    path.write_text(text)
    result = CliRunner().invoke(
        app, ["run", str(path), "--corpus", f"crema-d={toy}", "-o", str(folder), "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    return folder


def test_a_run_learns_and_leaves_its_files(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["metrics"]["test crema-d"]["uar"] > 0.6
    assert "speakers not trained on" in metrics["metrics"]["test crema-d"]["protocol"]
    assert len(metrics["history"]) == 12
    parts = metrics["speakers"]
    assert not set(parts["train"]) & set(parts["test"])
    assert (trained / "confusion-crema-d.png").read_bytes()[:4] == b"\x89PNG"
    checkpoint = Checkpoint.load(trained)
    assert checkpoint.training_data[0].corpus == "CREMA-D"
    assert len(checkpoint.examples) >= 3


def test_a_killed_run_goes_on_where_it_was(toy, recipe):
    utterances = read_corpus("crema-d", toy)
    split = split_by_speaker(utterances)
    short = replace(recipe, train=replace(recipe.train, epochs=3))
    stores = [build_features(p, short, [], None, 0) for p in (split.train, split.validation)]
    states = []

    def keep(epoch, state) -> None:
        buffer = io.BytesIO()
        torch.save(state(), buffer)
        buffer.seek(0)
        states.append(torch.load(buffer, weights_only=True))

    arguments = (split.train, stores[0], split.validation, stores[1], CPU)
    whole = fit(short, *arguments, keep)
    resumed = fit(short, *arguments, resume=states[1])
    assert [e.number for e in resumed.history] == [1, 2, 3]
    x = evaluation_windows(
        split.validation, stores[1],
        Normalizer(whole.statistics, short.normalizer, frames_per_s(short)), short,
    )[0]  # fmt: skip
    np.testing.assert_allclose(predict(resumed.net, x, CPU), predict(whole.net, x, CPU), atol=1e-4)


def test_a_missing_class_is_told(toy, recipe):
    utterances = [u for u in read_corpus("crema-d", toy) if u.emotion != "sad"]
    store = build_features(utterances, recipe, [], None, 0)
    with pytest.raises(ValueError, match="no training utterance is sad"):
        fit(recipe, utterances, store, utterances, store, CPU)


def test_broken_checkpoints_are_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(tmp_path / "missing.pt")
    torch.save({"schema": 99}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="this version"):
        Checkpoint.load(tmp_path / "other.pt")


def test_recipes_are_checked(recipe):
    table = recipe.as_dict()
    assert parse_recipe(table) == recipe
    with pytest.raises(ConfigError, match="unknown"):
        parse_recipe({**table, "train": {"learning_rate": 1.0}})
    del table["labels"]
    with pytest.raises(ConfigError, match="missing"):
        parse_recipe(table)
    with pytest.raises(ConfigError, match="recipe nonsense"):
        load_recipe("nonsense")


@pytest.mark.parametrize("hearing", list(Hearing))
def test_evaluation_through_the_runtime(toy, bundle, hearing):
    utterances = read_corpus("crema-d", toy)[:12]
    result = evaluate(bundle, utterances, hearing)
    assert result["utterances"] == 12
    assert result["hearing"] == str(hearing)
    assert 0.0 <= result["uar"] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "default"], "name a corpus"),
        (["run", "default", "--device", "tpu"], "want auto, cpu or cuda"),
        (["run", "nonsense"], "recipe nonsense"),
        (["run", "default", "--corpus", "crema-d"], "want NAME=FOLDER"),
        (["evaluate", "--corpus", "emodb=missing"], "no folder missing"),
    ],
)
def test_wrong_commands_are_one_line(arguments, message, capsys, monkeypatch):
    from training.cli import main

    monkeypatch.setattr("sys.argv", ["ser-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
