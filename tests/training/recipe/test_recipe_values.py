"""Wrong values in recipe files: each is one line with file and key, when the recipe is read."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from training.recipe.book import load_book
from training.speakers.recipe import load_speaker_recipe

DEFAULT = (resources.files("training.recipes") / "default.toml").read_text("utf-8")
HEAD_FUSION = (resources.files("training.recipes") / "head_fusion.toml").read_text("utf-8")
SPEAKERS = (resources.files("training") / "speakers.toml").read_text("utf-8")

# Line of default.toml, its replacement, and the path of the key that the error names.
WRONG = [
    ('name = "default"', "name = 5", "name"),
    ('name = "default"', 'name = ""', "name"),
    ("labels = ", "labels = []  # ", "labels"),
    ("labels = ", 'labels = ["angry"]  # ', "labels"),
    ("labels = ", 'labels = ["a", "a"]  # ', "labels"),
    ("labels = ", 'labels = ["anger", "angry"]  # ', "labels"),
    ("labels = ", 'labels = ["angry", 3]  # ', "labels[1]"),
    ("labels = ", 'labels = ["angry", "unsure"]  # ', "labels"),
    ('model = "adaptive_cnn"', 'model = "resnet"', "model"),
    ("dropout = 0.3", "dropot = 0.3", "model_params"),
    ("dropout = 0.3", "dropout = 1.5", "model_params"),
    ("dropout = 0.3", 'dropout = "much"', "model_params.dropout"),
    ("dropout = 0.3", "n_bands = 40", "model_params.n_bands"),
    ("dropout = 0.3", "n_classes = 5", "model_params.n_classes"),
    ("dropout = 0.3", "channels = [1, 2, 3]", "model_params.channels"),
    ('frontend = "logmel"', 'frontend = "melody"', "frontend"),
    ("n_mels = 48", "n_mells = 48", "frontend_params"),
    ("n_mels = 48", "n_mels = 0", "frontend_params.n_mels"),
    ("f_min_hz = 60.0", "f_min_hz = 6000.0", "frontend_params"),
    ("window_frames = 122", "window_frames = 0", "window_frames"),
    ("window_frames = 122", "window_frames = 12.5", "window_frames"),
    ("window_hop_frames = 25", "window_hop_frames = -1", "window_hop_frames"),
    ('normalizer_state = "running"', 'normalizer_state = "warm"', "normalizer_state"),
    ('statistics = "voiced"', 'statistics = "some"', "statistics"),
    ('embedding = "knowledge"', 'embedding = "wisdom"', "embedding"),
    ('embedding = "knowledge"', "", "model_params"),
    ('embedding = "knowledge"', 'embedding = "knowledge"\nspeaker = 12', "speaker"),
    ("prosody = true", "prosody = false", "model_params"),
    ("[windows]", "[text]\ntokens = 9\n[windows]", "train.mixup"),
    ("calibrate = true", 'calibrate = "no"', "calibrate"),
    ("calibrate = true", "calibrat = true", ""),
    ("calibrate = true", "[[calibrate]]", "calibrate"),
    ("stranger_factor = 1.3", "stranger_factor = -1.3", "stranger_factor"),
    ("stranger_factor = 1.3", "stranger_factor = nan", "stranger_factor"),
    ("sure = 0.5", "sure = 1.5", "sure"),
    ("prior_s = 1.0", "prior_s = 0.0", "normalizer"),
    ("prior_s = 1.0", 'prior_s = "1 s"', "normalizer.prior_s"),
    ("range_db = 30.0", "range_db = -30.0", "normalizer.range_db"),
    ("clip = 5.0", "clip = 0.0", "normalizer.clip"),
    ("level = true", "level = 1", "normalizer.level"),
    ('draw = "crops"', 'draw = "all"', "windows.draw"),
    ("crops = 1", "crops = 0", "windows.crops"),
    ('short = "repeat"', 'short = "repeat"\nmasked = true', "windows.masked"),
    ("variants = 8", "variants = -8", "augment.variants"),
    ("noise_share = 0.5", "noise_share = 1.5", "augment.noise_share"),
    ("snr_db = [3.0, 30.0]", "snr_db = [5]", "augment.snr_db"),
    ("snr_db = [3.0, 30.0]", "snr_db = [30, 5]", "augment.snr_db"),
    ("snr_db = [3.0, 30.0]", "snr_db = [3.0, inf]", "augment.snr_db[1]"),
    ("snr_db = [3.0, 30.0]", "snr_db = 3.0", "augment.snr_db"),
    ("band_hz = [3000.0, 7500.0]", "band_hz = [0.0, 7500.0]", "augment.band_hz"),
    ("speed = 0.15", "speed = 1.0", "augment.speed"),
    ("silence_s = 0.5", "silence_s = -0.5", "augment.silence_s"),
    ("epochs = 120", "epochs = 0", "train.epochs"),
    ("epochs = 120", "epochs = true", "train.epochs"),
    ("batch_size = 64", "batch_size = 1", "train.batch_size"),
    ('optimizer = "adamw"', 'optimizer = "lion"', "train.optimizer"),
    ("lr = 2e-3", 'lr = "fast"', "train.lr"),
    ("lr = 2e-3", "lr = 0.0", "train.lr"),
    ("lr = 2e-3", "lr = nan", "train.lr"),
    ("lr = 2e-3", "learning_rate = 2e-3", "train"),
    ("lr = 2e-3", "lr = 2e-3\nbetas = [0.9]", "train.betas"),
    ("lr = 2e-3", "lr = 2e-3\nbetas = [0.9, 1.0]", "train.betas"),
    ("lr = 2e-3", 'lr = 2e-3\nloss = "hinge"', "train"),
    ("lr = 2e-3", "lr = 2e-3\nmilestones = [20, 10]", "train.milestones"),
    ('schedule = "cosine"', 'schedule = "cosmic"', "train.schedule"),
    ("warmup_epochs = 2", "warmup_epochs = -2", "train.warmup_epochs"),
    ("weight_decay = 1e-2", "weight_decay = -1e-2", "train.weight_decay"),
    ("label_smoothing = 0.05", "label_smoothing = 1.5", "train.label_smoothing"),
    ("mixup = 0.2", "mixup = -0.2", "train.mixup"),
    ("time_mask = 16", "time_mask = 123", "train.time_mask"),
    ("feature_mask = 8", "feature_mask = 1000", "train.feature_mask"),
    ("alone_share = 0.33", "alone_share = 0.9", "train.alone_share"),
    ("average = 0.995", "average = 1.0", "train.average"),
    ("patience = 1000", "patience = 0", "train.patience"),
    ("seed = 0", "seed = -1", "train.seed"),
    ("evidence_s = 0.7", 'evidence_s = "long"', "smoothing.evidence_s"),
    ("leave = 0.40", "leave = 0.90", "smoothing"),
    ("threshold = 0.1", "threshold = 0.0", "gate"),
    ('kind = "speaker"', 'kind = "by-moon"', "protocols.strict.folds"),
    ("n_folds = 5", "n_folds = 0", "protocols.strict.folds"),
    ("validation = 0.15", "validation = 0.0", "protocols.strict"),
    ("seeds = 1", "seeds = 0", "protocols.strict.seeds"),
    ('choose_on = "validation"', 'choose_on = "luck"', "protocols.strict.choose_on"),
    ("[protocols.strict]", "[protokols.strict]", ""),
]
# The same of head_fusion.toml, which has variants and rows.
CHANGES = "protocols.strict.changes"
WRONG_IN_TABLES = [
    ("model_params = { n_layers = 1 }", "model_params = { n_layers = 9 }", "variants.layers-1"),
    ("model_params = { n_layers = 1 }", "modle_params = { n_layers = 1 }", "variants.layers-1"),
    ("model_params = { n_layers = 1 }", 'train = { lr = "slow" }', "variants.layers-1"),
    ("model_params = { n_layers = 1 }", "train = 5", "variants.layers-1"),
    ("[variants.layers-1]", "[[variants]]", "variants"),
    ("window_hop_frames = 12  # 0.384", 'part = "scripted" # "', ""),
    ("milestones = [7, 10]", "milestones = [10, 7]", CHANGES),
    (
        'windows = { short = "repeat" }',
        'windows = { short = "stretch" }',
        "protocols.strict.changes",
    ),
    ('windows = { short = "repeat" }', "windws = {}", CHANGES),
    ('windows = { short = "repeat" }', 'windows = { short = "zero", masked = true }', CHANGES),
    ('windows = { short = "repeat" }', "speaker = 4", CHANGES),
    ('windows = { short = "repeat" }', "text = { tokens = 9 }", CHANGES),
    ('variant = "layers-1"', 'variant = "layers-9"', "rows[3].variant"),
    ('variant = "layers-1"', "variants = 1", "rows[3]"),
    ('variant = "layers-1"', 'transcripts = "a friend"', "rows[3].transcripts"),
    ("wa = 76.18", "wa = 7618", "rows[0].wa"),
    ("wa = 76.18", 'wa = "76 %"', "rows[0].wa"),
    ('row = "improvised"', "", "rows[0]"),
]
# The same of speakers.toml.
WRONG_IN_SPEAKERS = [
    ('name = "xvector"', "name = []", "name"),
    ('centring = "level"', 'centring = "median"', "centring"),
    ("n_mels = 48", "n_mels = 1000000", "frontend_params.n_mels"),
    ("dimension = 512", "dimension = 0", "model"),
    ("dimension = 512", "dimensions = 512", "model"),
    ("dimension = 512", 'dimension = "large"', "model.dimension"),
    ("dimension = 512", "n_speakers = 3", "model"),
    ("periodicity = 0.2", 'periodicity = "clear"', "voicing.periodicity"),
    ("snr_db = [5.0, 30.0]", "snr_db = [30.0, 5.0]", "augment.snr_db"),
    ("reverb_share = 0.3", "speed_share = 0.3", "augment.speed_share"),
    ("epochs = 16", "epochs = 0", "train.epochs"),
    ("lr = 2e-3", 'lr = "fast"', "train.lr"),
    ("crop_s = [1.5, 3.0]", "crop_s = [3.0, 1.5]", "train.crop_s"),
    ("crop_s = [1.5, 3.0]", "crop_s = [1.5]", "train.crop_s"),
    ("speed_copies = 2", "speed_copies = -2", "train.speed_copies"),
    ("seed = 0", "sed = 0", "train"),
]  # fmt: skip


def refused(read, folder: Path, text: str, old: str, new: str, key: str) -> None:
    # The first line that begins so, or else the first place.
    place = re.search(rf"^{re.escape(old)}", text, re.MULTILINE) or re.search(re.escape(old), text)
    assert place is not None, f"{old} is not in the recipe any more"
    file = folder / "mine.toml"
    file.write_text(text[: place.start()] + new + text[place.end() :])
    with pytest.raises(ConfigError) as caught:
        read(file)
    told = str(caught.value)
    assert "\n" not in told
    head = f"recipe {file}: {key}"
    assert told.startswith((f"{head}: ", f"{head}.", f"{head}[") if key else f"recipe {file}: ")


@pytest.mark.parametrize(("old", "new", "key"), WRONG)
def test_a_wrong_value_is_told_by_file_and_key(tmp_path, old, new, key):
    refused(load_book, tmp_path, DEFAULT, old, new, key)


@pytest.mark.parametrize(("old", "new", "key"), WRONG_IN_TABLES)
def test_variants_protocols_and_rows_are_read_as_strictly(tmp_path, old, new, key):
    refused(load_book, tmp_path, HEAD_FUSION, old, new, key)


@pytest.mark.parametrize(("old", "new", "key"), WRONG_IN_SPEAKERS)
def test_so_is_the_recipe_of_an_embedder(tmp_path, old, new, key):
    refused(load_speaker_recipe, tmp_path, SPEAKERS, old, new, key)
