"""Speaker embeddings: the network, its training and export, and the embedding along a stream."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from typer.testing import CliRunner

from export import speaker as export_speaker_module
from export.cli import app as export_app
from export.parity import ParityError
from export.speaker import export_speaker
from ser_stream.errors import AudioError, BundleError, ConfigError
from ser_stream.features.extractor import Frames
from ser_stream.features.registry import make_extractor
from ser_stream.models.bundle import default_model_path
from ser_stream.models.embedder import METADATA_KEY, SpeakerEmbedder, SpeakerMeta, centred
from ser_stream.stream.speaker_tracker import PIECE_FRAMES, SpeakerTracker, TrackerConfig
from training.checkpoint import CheckpointError
from training.cli import app as train_app
from training.data.corpora import Utterance
from training.data.features import FeatureStore
from training.errors import TrainingError
from training.models.xvector import RECEPTIVE_FIELD, XVector, XVectorConfig, statistics_pooling
from training.speakers.checkpoint import SpeakerCheckpoint, parity_examples
from training.speakers.fit import train_speakers
from training.speakers.recipe import (
    LEAST_FRAMES,
    EmbedderTrainConfig,
    load_speaker_recipe,
    parse_speaker_recipe,
)
from training.speakers.trials import (
    Trials,
    equal_error_rate,
    held_out_error_rate,
    joined_recordings,
)
from training.speakers.voices import Crops, Voices, divide

RATE_HZ = 16000
SPEAKERS = (0, 2, 3, 5, 7, 1, 4, 6)
SMALL = {"widths": (8, 8, 8, 8, 12), "dimension": 16, "margin": 0.2}


def voice(speaker: int, seconds: float, seed: int) -> np.ndarray:
    """A vowel at the speaker's own pitch, in a little noise; which vowel is by chance."""
    rng = np.random.default_rng([speaker, seed])
    t = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    pitch = (100 + 15 * speaker) * (1 + 0.03 * np.sin(2 * np.pi * rng.uniform(2, 4) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    formant = rng.uniform(400, 2500)
    x = np.zeros(len(t))
    for k in range(1, 25):
        x += np.sin(k * phase) / (0.3 + abs(k * pitch.mean() - formant) / 500)
    return (0.1 * x / np.abs(x).max() + rng.normal(0, 1e-3, len(t))).astype(np.float32)


@pytest.fixture(scope="module")
def small():
    """The shipped recipe with a small network and a short training."""
    recipe = load_speaker_recipe()
    train = EmbedderTrainConfig(epochs=80, batch_size=4, crop_s=(0.4, 0.6), warmup_steps=5, lr=3e-3)
    return replace(recipe, model=SMALL, train=train)


@pytest.fixture(scope="module")
def heard(small):
    """Eight speakers, six recordings each; the last three, 1, 4 and 6, are not trained on."""
    extractor = make_extractor(small.frontend, small.frontend_params)
    names = [f"toy/{s}" for s in SPEAKERS for _ in range(6)]
    clips = [voice(s, 1.0, k) for s in SPEAKERS for k in range(6)]
    return names, FeatureStore([[extractor(clip)] for clip in clips])


@pytest.fixture(scope="module")
def trained(small, heard):
    names, store = heard
    return train_speakers(small, names[:30], store.subset(range(30)))


@pytest.fixture(scope="module")
def checkpoint(small, heard, trained):
    return SpeakerCheckpoint(small, trained, (), {}, parity_examples(trained, small, heard[1]))


@pytest.fixture(scope="module")
def embedder(checkpoint, tmp_path_factory) -> SpeakerEmbedder:
    path = tmp_path_factory.mktemp("speaker") / "speaker.onnx"
    assert 0.0 < export_speaker(checkpoint, path) < 1e-4
    return SpeakerEmbedder.load(path)


# The network.


def test_the_layers_are_the_papers():
    net = XVector(XVectorConfig(n_speakers=100, n_features=24))
    convolutions = [m for m in net.frame_layers if isinstance(m, torch.nn.Conv1d)]
    assert [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0]) for c in convolutions
    ] == [
        (24, 512, 5, 1),
        (512, 512, 3, 2),
        (512, 512, 3, 3),
        (512, 512, 1, 1),
        (512, 1500, 1, 1),
    ]  # fmt: skip
    assert (net.segment6.in_features, net.segment6.out_features) == (3000, 512)
    assert net(torch.zeros(2, 40, 24)).shape == (2, 100)
    assert net.embed(torch.zeros(2, 40, 24)).shape == (2, 512)


def test_an_output_frame_sees_fifteen_frames():
    torch.manual_seed(0)
    net = XVector(XVectorConfig(2, 3, **SMALL)).eval()
    x = torch.randn(1, 40, 3)
    before = net.frame_layers(x.transpose(1, 2))
    assert before.shape[2] == 40 - (RECEPTIVE_FIELD - 1) == 26
    x[:, 20] += 1.0
    changed = (net.frame_layers(x.transpose(1, 2)) != before).any(dim=1)[0]
    # Offsets that {-2..2} + {-2, 0, 2} + {-3, 0, 3} reach: -7 to 7.
    assert torch.equal(changed.nonzero()[:, 0], torch.arange(20 - 14, 21))


@given(own=st.integers(RECEPTIVE_FIELD, 60), padding=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_padding_changes_nothing(own, padding, seed):
    torch.manual_seed(seed)
    net = XVector(XVectorConfig(3, 5, **SMALL)).eval()
    x = torch.randn(1, own, 5)
    garbage = torch.cat([x, 1e3 * torch.randn(1, padding, 5)], dim=1)
    with torch.no_grad():
        want, got = net.embed(x), net.embed(garbage, torch.tensor([own]))
    assert torch.allclose(want, got, rtol=0.0, atol=1e-6)


def test_pooling_is_the_mean_and_the_deviation():
    x = torch.randn(2, 4, 30)
    pooled = statistics_pooling(x).numpy()
    naive = np.concatenate([x.numpy().mean(axis=2), x.numpy().std(axis=2)], axis=1)
    assert pooled == pytest.approx(naive, abs=1e-4)


def test_the_margin_widens_the_own_speakers_angle_alone():
    torch.manual_seed(0)
    config = XVectorConfig(5, 3, **{**SMALL, "margin": 0.3, "scale": 10.0})
    net = XVector(config).eval()
    x, target = torch.randn(4, 20, 3), torch.tensor([0, 3, 1, 1])
    with torch.no_grad():
        without, with_margin = net(x).numpy(), net(x, target=target).numpy()
    own = np.arange(4), target.numpy()
    want = without.copy()
    want[own] = 10.0 * np.cos(np.arccos(without[own] / 10.0) + 0.3)
    assert with_margin == pytest.approx(want, abs=1e-4)
    assert (with_margin[own] < without[own]).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"widths": (8, 8)}, "2 widths"),
        ({"dimension": 0}, "at least 1"),
        ({"n_speakers": 1}, "n_speakers = 1"),
        ({"margin": 2.0}, "margin = 2.0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
    ],
)
def test_sizes_that_cannot_work_are_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        XVectorConfig(**{"n_speakers": 2, "n_features": 3, **change})


# Equal error rate.


@pytest.mark.parametrize(
    ("same", "other", "rate"),
    [
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [3, 4], 1.0),
        ([1, 1], [1, 1], 0.5),
        ([0, 2, 3, 4], [1, 1, 1, 3.5], 0.25),
        # One of two refused at every threshold that half of the others do not pass.
        ([1, 3], [0, 2], 0.5),
    ],
)
def test_equal_error_rates_that_are_known(same, other, rate):
    scores = [*same, *other]
    flags = [True] * len(same) + [False] * len(other)
    assert equal_error_rate(scores, flags) == pytest.approx(rate)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
)
def test_the_equal_error_rate_lies_between_both_kinds_of_error(same, other):
    own, others = np.array(same), np.array(other)
    rate = equal_error_rate([*same, *other], [True] * len(same) + [False] * len(other))
    # Whatever the threshold, one of the two errors is at least as large and one at most.
    for threshold in np.arange(-1, 15) - 0.5:
        missed, passed = np.mean(own < threshold), np.mean(others >= threshold)
        assert min(missed, passed) - 1e-9 <= rate <= max(missed, passed) + 1e-9


def test_an_equal_error_rate_needs_both_kinds_of_trials():
    for scores, same in (([1.0], [True]), ([1.0], [False]), ([1.0, math.nan], [True, False])):
        with pytest.raises(ValueError, match="both kinds"):
            equal_error_rate(scores, same)


def test_trials_are_all_pairs_and_forget_lengths():
    embeddings = np.array([[1.0, 0.0], [5.0, 0.1], [0.0, 2.0], [0.1, 9.0]])
    trials = Trials.of(embeddings, ["a", "a", "b", "b"])
    assert trials.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert trials.same.tolist() == [True, False, False, False, False, True]
    assert trials.score == pytest.approx(Trials.of(3.0 * embeddings, list("aabb")).score)
    assert trials.error_rate() == 0.0
    assert trials.error_rate(trials.pairs[:, 0] == 0) == 0.0


def test_joined_recordings_are_of_one_speaker_and_come_once():
    speakers = [*"aaaaabbbc"]
    groups = joined_recordings(speakers, 2)
    assert [{speakers[i] for i in g} for g in groups] == [{"a"}, {"a"}, {"b"}]
    flat = [i for g in groups for i in g]
    assert len(flat) == len(set(flat)) == 6


# Training.


def test_no_speaker_is_learnt_from_and_held_out():
    utterances = [
        Utterance(Path(f"{s}-{k}.wav"), "toy", f"toy/{s}", "neutral")
        for s in range(20)
        for k in range(3)
    ]
    parts = {}
    for final in (False, True):
        train, held = divide(utterances, final=final)
        assert not {u.speaker for u in train} & {u.speaker for u in held}
        parts[final] = {u.speaker for u in train}, {u.speaker for u in held}
    # The final training learns from whom the other was measured on, and neither from the tested.
    assert parts[True][0] == parts[False][0] | parts[False][1]
    assert not parts[True][1] & (parts[False][0] | parts[False][1])


def test_speakers_never_heard_are_told_apart(small, heard, trained):
    names, store = heard
    unseen = range(30, 48)
    rate = held_out_error_rate(trained, small, [names[i] for i in unseen], store.subset(unseen))
    # Guessing gives 0.5; what is reached differs by some points with the machine's arithmetic.
    assert rate < 0.3
    untrained = train_speakers(
        replace(small, train=replace(small.train, epochs=1, lr=1e-9)),
        names[:30],
        store.subset(range(30)),
    )
    assert rate < held_out_error_rate(
        untrained, small, [names[i] for i in unseen], store.subset(unseen)
    )


def test_embeddings_are_centred_on_the_training_speakers(small, heard, embedder):
    _, store = heard
    raw = []
    for row in store.frames[:30]:
        x = embedder._present(row[0].features, embedder.extractor.gain)
        raw.append(embedder._run(x))
    spread = np.linalg.norm(raw, axis=1).mean()
    assert np.linalg.norm(np.mean(raw, axis=0)) < 0.2 * spread


def test_the_same_seed_trains_the_same_network(small, heard):
    names, store = heard
    short = replace(small, train=replace(small.train, epochs=1))
    states = [
        train_speakers(short, names[:12], store.subset(range(12))).net.state_dict()
        for _ in range(2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_a_copy_at_another_speed_is_another_speaker(small, heard):
    names, store = heard
    recipe = replace(small, train=replace(small.train, epochs=1, speed_copies=1))
    copies = FeatureStore([[row[0], row[0]] for row in store.frames])
    trained = train_speakers(recipe, names[:12], store.subset(range(12)), copies.subset(range(12)))
    assert trained.speakers == ("toy/0", "toy/0@1", "toy/2", "toy/2@1")


def test_a_filter_is_drawn_for_the_bands_of_any_configuration(small, heard):
    names, store = heard
    recipe = replace(small, train=replace(small.train, channel_db=3.0), frontend_params={})
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    assert extractor.bands == 40
    voices = Voices(store, recipe.voicing, 100.0)
    clean = replace(recipe, train=replace(recipe.train, channel_db=0.0))
    a, b = (
        Crops(r, names, voices, None, extractor.bands).draw(0, 50, np.random.default_rng(0))
        for r in (recipe, clean)
    )
    change = (a - b)[:, : extractor.bands]
    assert np.abs(change[0]).max() > 0.1
    np.testing.assert_allclose(change, np.broadcast_to(change[0], change.shape), atol=1e-4)
    np.testing.assert_array_equal(a[:, extractor.bands :], b[:, extractor.bands :])


def test_one_speaker_cannot_be_told_apart(small, heard):
    names, store = heard
    with pytest.raises(TrainingError, match="two or more, got 1"):
        train_speakers(small, names[:6], store.subset(range(6)))


def test_too_few_recordings_have_no_error_rate(small, heard, trained):
    names, store = heard
    for some in ([0, 1], [0, 6], []):
        rate = held_out_error_rate(trained, small, [names[i] for i in some], store.subset(some))
        assert math.isnan(rate)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sizes": 3}, "unknown"),
        ({"frontend": "ear"}, "unknown front end"),
        ({"centring": "middle"}, "unknown centring"),
        ({"frontend": "spectrogram", "frontend_params": {}}, "known gain"),
        ({"model": {"depth": 3}}, "model: unknown"),
        ({"model": {"margin": 7.0}}, "margin"),
        ({"train": {"crop_s": [3.0, 1.0]}}, "crop_s"),
        ({"train": {"epochs": 0}}, "epochs"),
        ({"train": {"speed": 2.0}}, "speed"),
        ({"train": {"disturbed_share": 2.0}}, "disturbed_share"),
        ({"augment": {"speed_share": 1.0}}, "who it is"),
        ({"frontend": "mfcc", "frontend_params": {}}, "channel_db"),
        ({"voicing": {"loudness": 1}}, "voicing: unknown"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(change, told):
    table = asdict(load_speaker_recipe())
    with pytest.raises(ConfigError, match=told):
        parse_speaker_recipe({**table, **change})


def test_a_recipe_survives_plain_values():
    recipe = load_speaker_recipe()
    assert parse_speaker_recipe(json.loads(json.dumps(asdict(recipe)))) == parse_speaker_recipe(
        asdict(recipe)
    )
    with pytest.raises(ConfigError, match="missing"):
        parse_speaker_recipe({"name": "x"})
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_speaker_recipe(Path("none.toml"))


# From a corpus to a file.


def test_a_manifest_becomes_an_embedder(tmp_path):
    rows = ["path,emotion,speaker"]
    for s in range(8):
        for k in range(4):
            soundfile.write(tmp_path / f"{s}-{k}.wav", voice(s, 0.8, k), RATE_HZ)
            rows.append(f"{s}-{k}.wav,neutral,{s}")
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    recipe = asdict(load_speaker_recipe())
    text = "\n".join(
        [
            'name = "mine"',
            f'frontend = "{recipe["frontend"]}"',
            "frontend_params = { n_fft = 1024, hop_length = 256 }",
            "[model]",
            "widths = [8, 8, 8, 8, 12]",
            "dimension = 16",
            "[train]",
            "batch_size = 4",
            "crop_s = [0.4, 0.6]",
        ]
    )
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    run = tmp_path / "run"
    result = CliRunner().invoke(
        train_app,
        [
            *("speakers", "--corpus", f"manifest={tmp_path / 'mine.csv'}", "-o", str(run)),
            *("--recipe", str(tmp_path / "mine.toml"), "--epochs", "2", "--device", "cpu"),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    assert "mine on manifest validation, 1 clip each (1 speakers): too few recordings" in (
        result.output
    )
    target = tmp_path / "mine.onnx"
    result = CliRunner().invoke(export_app, [str(run), "-o", str(target)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    embedder = SpeakerEmbedder.load(target)
    assert (embedder.meta.name, embedder.dimension) == ("mine", 16)
    assert embedder.meta.training_data[0].corpus == "the user's own recordings"


def test_a_checkpoint_is_read_as_it_was_written(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "speakers.pt")
    loaded = SpeakerCheckpoint.load(tmp_path)
    assert loaded.recipe == parse_speaker_recipe(asdict(checkpoint.recipe))
    assert loaded.trained.speakers == checkpoint.trained.speakers
    x = torch.randn(1, 30, 51)
    assert torch.equal(loaded.trained.net.embed(x), checkpoint.trained.net.embed(x))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"schema": 2}, tmp_path / "other.pt")
    for path, told in (
        (tmp_path / "none.pt", "not a checkpoint"),
        (tmp_path / "other.pt", "no speaker"),
    ):
        with pytest.raises(CheckpointError, match=told):
            SpeakerCheckpoint.load(path)


@pytest.mark.slow
def test_an_export_that_differs_leaves_no_file(checkpoint, tmp_path, monkeypatch):
    write = export_speaker_module._write_graph

    def differently(made, path):
        net = XVector(made.trained.net.config).eval()
        write(replace(made, trained=replace(made.trained, net=net)), path)

    monkeypatch.setattr(export_speaker_module, "_write_graph", differently)
    with pytest.raises(ParityError, match="differ by"):
        export_speaker(checkpoint, tmp_path / "a.onnx")
    with pytest.raises(ParityError, match="needs a recording"):
        export_speaker(replace(checkpoint, examples=()), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


# The runtime.


def edited(embedder: SpeakerEmbedder, path: Path, **changes) -> Path:
    """The embedder's file with other metadata."""
    model = onnx.load(embedder.path)
    table = {**json.loads(embedder.meta.to_json()), **changes}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(table)})
    onnx.save(model, path)
    return path


def test_metadata_survive_the_file(embedder, small):
    assert SpeakerMeta.from_json(embedder.meta.to_json()) == embedder.meta
    assert embedder.meta.least_frames == LEAST_FRAMES
    assert embedder.meta.voicing == small.voicing
    assert len(embedder.digest) == 64
    assert embedder.digest[:12] in repr(embedder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 9}, "schema 9"),
        ({"colour": "red"}, "does not fit"),
        ({"frontend": "ears"}, "unknown front end"),
        ({"centring": "middle"}, "unknown centring"),
        ({"dimension": 17}, "for dimension 17"),
        ({"sample_rate_hz": 8000}, "embedder at 8000 Hz"),
        ({"mean": [0.0], "std": [1.0]}, "1 means for 51"),
        ({"std": [0.0] * 51}, "std > 0"),
        ({"frontend": "mfcc", "frontend_params": {}}, "51 means for 13"),
        ({"least_frames": 3}, "do not fit"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(embedder, tmp_path, changes, told):
    with pytest.raises(BundleError, match=told):
        SpeakerEmbedder.load(edited(embedder, tmp_path / "a.onnx", **changes))


def test_files_that_are_no_embedder_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    for path, told in (
        (tmp_path / "none.onnx", "no such"),
        (tmp_path / "text.onnx", "not ONNX"),
        (default_model_path(), "no speaker embedder"),
    ):
        with pytest.raises(BundleError, match=told):
            SpeakerEmbedder.load(path)


def test_a_file_that_says_the_same_has_the_same_digest(embedder, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(embedder.path.read_bytes())
    assert SpeakerEmbedder.load(copy).digest == embedder.digest
    other = edited(embedder, tmp_path / "other.onnx", name="other")
    assert SpeakerEmbedder.load(other).digest != embedder.digest


def test_an_embedding_has_length_one_and_ignores_the_gain(embedder):
    samples = voice(1, 1.0, 0)
    embedding = embedder.embed_recording(samples)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    assert embedder.embed_recording(0.1 * samples) == pytest.approx(embedding, abs=2e-2)
    other = embedder.embed_recording(voice(4, 1.0, 0))
    again = embedder.embed_recording(voice(1, 1.0, 5))
    assert embedding @ again > embedding @ other


def test_nobody_is_heard_in_too_little_speech(embedder):
    nobody = np.zeros(embedder.dimension, np.float32)
    for samples in (np.zeros(0), np.zeros(RATE_HZ), voice(1, 0.15, 0)):
        got = embedder.embed_recording(samples.astype(np.float32))
        assert np.array_equal(got, nobody)
    width = embedder.extractor.width
    assert np.array_equal(embedder.embed(np.zeros((LEAST_FRAMES - 1, width), np.float32)), nobody)


def test_long_recordings_are_embedded_in_parts(embedder):
    parts = [voice(2, 8.0, k) for k in range(3)]
    whole = embedder.embed_recording(np.concatenate(parts))
    assert np.linalg.norm(whole) == pytest.approx(1.0, abs=1e-5)
    assert min(whole @ embedder.embed_recording(p) for p in parts) > 0.9


def test_features_that_cannot_be_embedded_are_refused(embedder):
    width = embedder.extractor.width
    with pytest.raises(AudioError, match="the embedder wants"):
        embedder.embed(np.zeros((40, width + 1), np.float32))
    with pytest.raises(AudioError, match="NaN"):
        embedder.embed(np.full((40, width), np.nan, np.float32))
    with pytest.raises(AudioError, match="NaN"):
        embedder.embed_recording(np.full(RATE_HZ, np.inf, np.float32))
    tracker = SpeakerTracker(embedder)
    with pytest.raises(AudioError, match="NaN"):
        tracker.accept(np.full(10, np.nan, np.float32))
    with pytest.raises(AudioError, match="3 speech flags for 10"):
        tracker.accept(np.zeros(10, np.float32), np.ones(3, bool))


@pytest.mark.parametrize("centring", ["none", "level", "mean"])
def test_centring_is_what_it_says(centring):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    gain = np.array([1, 1, 0, 1], np.float32)
    louder, filtered = x + 6 * gain, x + np.float32([1, 2, 3, 4])
    same = [
        np.allclose(centred(x, centring, gain), centred(y, centring, gain), atol=1e-5)
        for y in (louder, filtered)
    ]
    assert same == {"none": [False, False], "level": [True, False], "mean": [True, True]}[centring]
    centred(x, centring, gain)[:] = 0.0
    assert x.any()


SHORT = TrackerConfig(memory_s=1.0, update_s=0.2, least_s=0.5)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Two speakers with silence between them."""
    silence = np.zeros(RATE_HZ // 2, np.float32)
    return np.concatenate([voice(1, 1.3, 0), silence, voice(6, 1.1, 0), silence])


@given(cuts=st.lists(st.integers(0, 54400), max_size=12))
@settings(max_examples=25)
def test_cutting_the_stream_changes_no_bit(embedder, talk, cuts):
    whole, cut = SpeakerTracker(embedder, SHORT), SpeakerTracker(embedder, SHORT)
    whole.accept(talk)
    for block in np.split(talk, sorted(cuts)):
        cut.accept(block)
    assert whole.heard_s == cut.heard_s > 1.5
    assert np.array_equal(whole.embedding, cut.embedding)
    assert whole.embedding.any()


def test_the_embedding_is_of_the_newest_voiced_frames(embedder, talk):
    tracker = SpeakerTracker(embedder, SHORT)
    tracker.accept(talk)
    frames = embedder.extractor(talk)
    whole = len(frames) // PIECE_FRAMES * PIECE_FRAMES
    frames = Frames(frames.features[:whole], frames.level_db[:whole], frames.periodicity[:whole])
    voiced, _ = embedder.meta.voicing.of(frames, embedder.frames_per_s)
    features = frames.features[voiced]
    least, update, memory = (round(s * embedder.frames_per_s) for s in (0.5, 0.2, 1.0))
    last = least + (len(features) - least) // update * update
    want = embedder.embed(features[max(0, last - memory) : last])
    assert tracker.embedding == pytest.approx(want, abs=1e-5)


def test_frames_may_be_handed_over_instead(embedder, talk):
    by_samples, by_frames = SpeakerTracker(embedder, SHORT), SpeakerTracker(embedder, SHORT)
    by_samples.accept(talk)
    frames = embedder.extractor(talk)
    whole = len(frames) // PIECE_FRAMES * PIECE_FRAMES
    for first in range(0, whole, 5):
        some = slice(first, min(first + 5, whole))
        by_frames.accept_frames(
            Frames(frames.features[some], frames.level_db[some], frames.periodicity[some])
        )
    assert by_frames.heard_s == by_samples.heard_s
    assert by_frames.embedding == pytest.approx(by_samples.embedding, abs=1e-5)


def test_nobody_then_held_then_forgotten(embedder):
    tracker = SpeakerTracker(embedder, SHORT)
    tracker.accept(voice(1, 0.4, 0))
    assert not tracker.embedding.any()
    tracker.accept(voice(1, 1.0, 1))
    known = tracker.embedding
    assert np.linalg.norm(known) == pytest.approx(1.0, abs=1e-5)
    tracker.accept(np.zeros(3 * RATE_HZ, np.float32))
    assert np.array_equal(tracker.embedding, known)
    heard_s = tracker.heard_s
    tracker.restart()
    assert np.array_equal(tracker.embedding, known)
    assert tracker.heard_s == heard_s
    tracker.accept(voice(6, 1.5, 0))
    # By now the memory holds the other speaker alone.
    fresh = SpeakerTracker(embedder, SHORT)
    fresh.accept(voice(6, 1.5, 0))
    assert tracker.embedding @ fresh.embedding > tracker.embedding @ known
    tracker.reset()
    assert not tracker.embedding.any()
    assert tracker.heard_s == 0.0
    tracker.accept(voice(6, 1.5, 0))
    assert np.array_equal(tracker.embedding, fresh.embedding)


def test_what_a_detector_calls_no_speech_is_not_the_speaker(embedder):
    samples = np.concatenate([voice(1, 1.5, 0), voice(6, 1.5, 0)])
    speech = np.arange(len(samples)) < 1.5 * RATE_HZ
    flagged, first = SpeakerTracker(embedder, SHORT), SpeakerTracker(embedder, SHORT)
    for begin in range(0, len(samples), 777):
        flagged.accept(samples[begin : begin + 777], speech[begin : begin + 777])
    first.accept(samples[: int(1.5 * RATE_HZ)])
    assert 0.0 <= flagged.heard_s - first.heard_s <= 0.2
    assert flagged.embedding @ first.embedding > 0.9


def test_a_tracker_that_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="least_s"):
        TrackerConfig(memory_s=1.0, least_s=2.0)
    with pytest.raises(ConfigError, match="update_s"):
        TrackerConfig(update_s=0.0)
