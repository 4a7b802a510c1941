"""Recipes: the papers' numbers, variants, protocols, and what is refused."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest

from tests.helpers.places import ROOT

pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from ser_stream.features.normalizer import embedding_width
from ser_stream.features.registry import make_extractor
from ser_stream.models.bundle import ModelBundle
from training.data.folds import FoldsConfig
from training.models import MODELS
from training.recipe.book import Protocol, find_recipe, load_book, load_recipe, shipped_recipes
from training.recipe.parse import merged, parse_recipe

PAPERS = ("head_fusion", "mscnn_spu", "attention_pooling", "ilt_cat", "context_attention")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_variant_of_every_shipped_recipe_can_be_built(name):
    book = load_book(name)
    for protocol in book.protocols:
        for variant in ("", *book.variants):
            recipe = book.recipe(variant, protocol)
            assert parse_recipe(recipe.as_dict()) == recipe
            extractor = make_extractor(recipe.frontend, recipe.frontend_params)
            net = recipe.network()
            decided = MODELS[recipe.model].widths(recipe.widths)
            assert not {"n_classes", *decided} & recipe.model_params.keys()
            assert decided.items() <= asdict(net.config).items()
            assert decided.get("n_features", extractor.width) == extractor.width
            if recipe.embedding:
                told = embedding_width(recipe.embedding, extractor.width)
                assert decided["n_embedding"] == told


def test_a_recipe_that_repeats_what_follows_from_the_rest_is_read_as_one_that_does_not():
    # As those in older checkpoints and model files do.
    for name in ("default", "context_attention", "mscnn_spu/spu-att"):
        recipe = load_recipe(name)
        older = recipe.as_dict() | {"model_params": recipe.network_params}
        assert parse_recipe(older) == recipe
    with pytest.raises(ConfigError, match=r"model_params\.n_bands: got 40, .* make it 48"):
        parse_recipe(merged(load_recipe("default").as_dict(), {"model_params": {"n_bands": 40}}))


def test_a_network_that_reads_words_is_given_some():
    words = load_recipe("mscnn_spu/text").as_dict()
    with pytest.raises(ConfigError, match=r"^text\.tokens: .* needs tokens"):
        parse_recipe(words | {"text": {}})


@pytest.mark.parametrize("name", PAPERS)
def test_strict_shares_no_speaker_and_chooses_on_validation(name):
    protocol = load_book(name).protocol("strict")
    assert protocol.folds.kind == "speaker"
    assert protocol.choose_on == "validation"
    assert "flatters" not in protocol.describe()
    recipe = load_recipe(name)
    assert sorted(recipe.labels) == ["angry", "happy", "neutral", "sad"]
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    span = (recipe.window_frames - 1) * extractor.hop_length + extractor.frame_length
    assert 1.95 < span / extractor.sample_rate_hz <= 2.0


# What PAPERS.md lists, held against the recipes under the papers' own protocols.
@pytest.mark.parametrize(
    ("name", "train", "rest", "protocol"),
    [
        (
            "head_fusion",
            {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-6, "epochs": 50, "batch_size": 32,
             "milestones": (10, 20, 30, 40), "gamma": 0.1},
            {"labels": ("angry", "sad", "excited", "neutral"), "part": "improvised",
             "window_frames": 59},
            Protocol(FoldsConfig("random-k-fold", 5), 5, "test"),
        ),
        (
            "mscnn_spu",
            {"optimizer": "adam", "lr": 5e-4, "clip_norm": 1.0, "batch_size": 64},
            {"part": "", "merge": {"excited": "happy"}},
            Protocol(FoldsConfig("random-k-fold", 10, 0.1), 3, "validation"),
        ),
        (
            "attention_pooling",
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "batch_size": 64,
             "epochs": 50, "lr": 0.05, "milestones": (20, 30, 40), "gamma": 0.1},
            {"part": "improvised", "merge": {}, "window_frames": 197},
            Protocol(FoldsConfig("leave-one-speaker-out"), 1, "none"),
        ),
        (
            "ilt_cat",
            {"optimizer": "adam", "lr": 1e-4, "betas": (0.9, 0.99), "batch_size": 40,
             "epochs": 100},
            {"part": "", "merge": {"excited": "happy"}, "window_frames": 750},
            Protocol(FoldsConfig("random-ratio", 5, 0.25, 0.2), 1, "validation"),
        ),
        (
            "context_attention",
            {"optimizer": "adam", "lr": 3e-5, "batch_size": 32, "epochs": 200,
             "weight_decay": 5e-2, "noise_variance": 0.4, "class_weights": True,
             "select": "wa+uar"},
            {"merge": {}, "statistics": "neutral", "window_frames": 500},
            Protocol(FoldsConfig("leave-one-session-out"), 1, "test"),
        ),
    ],
)  # fmt: skip
def test_the_papers_numbers(name, train, rest, protocol):
    book = load_book(name)
    recipe = book.recipe(protocol="paper")
    assert {key: getattr(recipe.train, key) for key in train} == train
    assert {key: getattr(recipe, key) for key in rest} == rest
    assert book.protocol("paper") == protocol


def test_the_published_figures_are_there():
    figures = {
        (row.table, row.row, row.part): (row.wa, row.ua)
        for name in PAPERS
        for row in load_book(name).rows
        if not math.isnan(row.wa)
    }
    assert figures["Table III", "improvised", "improvised"] == (76.18, 76.36)
    assert figures["Table IV", "4 convolutional layers without attention layer", "improvised"] == (
        68.7,
        66.9,
    )
    assert figures["Table 1", "Audio-CNN", ""] == (65.4, 66.7)
    assert figures["Table 1", "CNN_TF_Bilinear", "improvised"] == (69.17, 64.16)
    assert figures["Table 1", "ILT, trainable plus, no PE", ""] == (67.56, 68.63)
    assert figures["Table 2", "CAT", ""] == (68.1, 69.25)
    assert figures["Table 1", "Proposed model", "improvised"] == (68.8, 63.7)
    assert len(figures) == 8 + 14 + 3 + 16 + 8


def test_paper_2_has_all_rows_of_its_tables_in_their_order():
    book = load_book("mscnn_spu")
    # What each row reads: sound, an utterance embedding, words, and whose.
    rows = []
    for row in book.rows:
        recipe = book.recipe(row.variant, "paper")
        params = recipe.model_params
        reads = "" if params.get("modality") == "text" else "A"
        reads += "x" if recipe.embedding and recipe.network_params["n_embedding"] else ""
        reads += "T" if recipe.text.tokens else ""
        rows.append((row.table[-1], row.wa, row.ua, reads, row.transcripts))
    assert rows == [
        ("1", 65.4, 66.7, "A", ""),
        ("1", 66.6, 68.4, "Ax", ""),
        ("1", 67.8, 67.7, "T", ""),
        ("1", 79.5, 80.4, "AxT", ""),
        ("1", 80.3, 81.4, "AxT", ""),
        ("1", 62.4, 61.5, "T", "asr"),
        ("1", 77.4, 78.2, "AxT", "asr"),
        ("1", 78.0, 79.1, "AxT", "asr"),
        ("2", 80.3, 81.4, "AxT", ""),
        ("2", 79.5, 80.4, "AxT", ""),
        ("2", 78.5, 79.3, "AT", ""),
        ("2", 77.7, 78.6, "AT", ""),
        ("2", 77.2, 78.3, "AT", ""),
        ("2", 73.5, 74.0, "AT", ""),
    ]
    parts = [book.recipe(row.variant).model_params for row in book.rows[8:]]
    taken = [
        (p.get("attention", True), p.get("text_pooling", "spu"), p.get("swem", True), p["pooling"])
        for p in parts
    ]
    assert taken == [
        (True, "spu", True, "spu"),
        (False, "spu", True, "spu"),
        (False, "spu", True, "spu"),
        (False, "max", True, "spu"),
        (False, "max", False, "spu"),
        (False, "max", False, "max"),
    ]


def test_a_protocol_that_flatters_says_so():
    for name in ("head_fusion", "mscnn_spu", "ilt_cat"):
        assert (
            "speakers are in train and test: flatters"
            in load_book(name).protocol("paper").describe()
        )
    assert "EPOCH CHOSEN ON THE TEST FOLD" in load_book("head_fusion").protocol("paper").describe()
    with pytest.raises(ConfigError, match=r"needs folds\.validation"):
        Protocol(FoldsConfig("speaker"))


def test_variants_change_what_they_name_and_nothing_else():
    book = load_book("head_fusion")
    plain, one = book.recipe(), book.recipe("heads-1-size-64")
    assert one.name == "head_fusion/heads-1-size-64"
    assert one.model_params == {**plain.model_params, "n_head": 1}
    assert replace(one, name=plain.name, model_params=plain.model_params) == plain
    changed = book.recipe("layers-1", "paper", {"train": {"epochs": 3}})
    assert changed.train.epochs == 3
    assert changed.train.lr == 1e-3
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    found, variant = find_recipe("head_fusion/layers-1")
    assert (found.name, variant) == ("head_fusion", "layers-1")


def test_the_recipe_in_the_shipped_model_can_be_read():
    stored = parse_recipe(ModelBundle.load().meta.recipe)
    # It learnt from its validation speakers too, for as long as the best epoch took.
    shorter = replace(stored.train, epochs=load_recipe("default").train.epochs)
    assert replace(stored, train=shorter) == load_recipe("default")


def test_wrong_recipes_are_told(tmp_path):
    recipe = load_recipe("default")
    table = recipe.as_dict()
    with pytest.raises(ConfigError, match="unknown"):
        parse_recipe({**table, "train": {"learning_rate": 1.0}})
    with pytest.raises(ConfigError, match=r"windows\.draw"):
        parse_recipe({**table, "windows": {"draw": "all"}})
    with pytest.raises(ConfigError, match=r"windows\.masked: .* nothing to mask"):
        parse_recipe({**table, "windows": {"masked": True}})
    with pytest.raises(ConfigError, match=r"normalizer_state: got 'warm'; choose from"):
        parse_recipe({**table, "normalizer_state": "warm"})
    with pytest.raises(ConfigError, match="stranger_factor: expected a number >= "):
        parse_recipe({**table, "stranger_factor": 0.0})
    with pytest.raises(ConfigError, match=r"train\.optimizer"):
        parse_recipe({**table, "train": {"optimizer": "lion"}})
    without = {k: v for k, v in table.items() if k != "labels"}
    with pytest.raises(ConfigError, match="missing"):
        parse_recipe(without)
    with pytest.raises(ConfigError, match="recipe nonsense"):
        load_recipe("nonsense")
    with pytest.raises(ConfigError, match="no variant 'heads-9'"):
        load_recipe("head_fusion/heads-9")
    with pytest.raises(ConfigError, match="no protocol 'paper'"):
        load_recipe("default", "paper")
    path = tmp_path / "mine.toml"
    path.write_text("name = 'x'\nlabels = [")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        load_book(path)
    path.write_text('name = "x"\n[protocols.strict]\nfolds = { kind = "by-moon" }\n')
    with pytest.raises(ConfigError, match="by-moon"):
        load_book(path)
    text = (ROOT / "training/recipes/head_fusion.toml").read_text()
    for old, new, message in (
        ('model = "head_fusion"', 'model = "resnet"', "unknown model 'resnet'"),
        ("{ n_layers = 1 }", "{ n_layers = 9 }", "n_layers"),
        ('frontend = "mfcc"', 'frontend = "mffc"', "unknown front end 'mffc'"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=message):
            load_book(path)
    path.write_text(f'{text}\n[[rows]]\ntable = "1"\nrow = "x"\ntranscripts = "a friend"\n')
    with pytest.raises(ConfigError, match=r"rows\[\d+\]\.transcripts: got 'a friend'"):
        load_book(path)
    path.write_text(text)
    assert load_recipe(f"{path}/layers-1").model_params["n_layers"] == 1
