"""Every number that the training of a speaker embedder depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.registry import make_extractor
from ser_stream.models.embedder import Voicing, centred
from ser_stream.typed import FieldError, sized, typed, within
from training.models.xvector import RECEPTIVE_FIELD, XVectorConfig
from training.recipe.config import (
    AugmentConfig,
    Epochs,
    LearningRate,
    Seed,
    Share,
    WeightDecay,
    check_ranges,
    front_end_width,
)
from training.recipe.parse import read_recipe_file

Seconds = Annotated[float, within(0.01, 600.0)]
# What the data decide of a network, and no recipe.
DECIDED = ("n_speakers", "n_features")
# Fewest frames of a recording; a shorter one is repeated, in training and in trials.
LEAST_FRAMES = RECEPTIVE_FIELD + 5


@dataclass(frozen=True, slots=True)
class EmbedderTrainConfig:
    """Optimisation.

    Attributes:
        epochs: of as many crops as there are recordings.
        batch_size: crops per step, all of one length, of different speakers where there are enough.
        lr: peak of the learning rate, which falls to 0 by a cosine.
        weight_decay: of AdamW.
        warmup_steps: in which the learning rate rises.
        clip_norm: largest norm of the gradient.
        crop_s: shortest and longest crop, seconds of voiced speech, joined of several recordings.
        disturbed_share: share of the crops under a disturbed condition.
        speed_copies: copies of every speaker at another speed, and pitch with it; each is a speaker
            of its own, because that is what it sounds like.
        speed: largest relative change of speed.
        channel_db: strength of a random filter on each crop, smooth along the bands; log-mel front
            ends only.
        feature_mask: most features blanked in one stripe (Park et al., Interspeech 2019)...
        time_mask: ...and frames in another.
        seed: of everything random.
    """

    epochs: Epochs = 30
    batch_size: Annotated[int, within(2, 1_000_000)] = 64
    lr: LearningRate = 2e-3
    weight_decay: WeightDecay = 1e-2
    warmup_steps: Annotated[int, within(0, 1_000_000_000)] = 100
    clip_norm: Annotated[float, within(1e-12, 1e12)] = 5.0
    crop_s: tuple[Seconds, Seconds] = (
        1.5,
        3.0,
    )
    disturbed_share: Share = 0.5
    speed_copies: Annotated[int, within(0, 100)] = 0
    speed: Annotated[float, within(0.0, 0.9)] = 0.15
    channel_db: Annotated[float, within(0.0, 200.0)] = 0.0
    feature_mask: Annotated[int, within(0, 65536)] = 0
    time_mask: Annotated[int, within(0, 65536)] = 0
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(crop_s=self.crop_s)


@dataclass(frozen=True, slots=True)
class SpeakerRecipe:
    """Every number of an embedder but the corpora's whereabouts.

    Attributes:
        name: of the recipe.
        frontend: name in `ser_stream.features.registry.FRONT_ENDS`.
        frontend_params: its configuration.
        source: the paper.
        centring: see `ser_stream.models.embedder.Presentation`.
        model: configuration of `training.models.xvector`, less what the data decide.
        voicing: frames that count.
        augment: disturbed copies; they keep their speed.
        train: see `EmbedderTrainConfig`.
    """

    name: Annotated[str, sized(1, 200)]
    frontend: str
    frontend_params: dict[str, Any]
    source: str = ""
    centring: str = "level"
    model: dict[str, Any] = field(default_factory=dict)
    voicing: Voicing = field(default_factory=Voicing)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: EmbedderTrainConfig = field(default_factory=EmbedderTrainConfig)

    def __post_init__(self) -> None:
        width = front_end_width(self.frontend, self.frontend_params)
        extractor = make_extractor(self.frontend, self.frontend_params)
        try:
            centred(np.zeros((1, width), np.float32), self.centring, extractor.gain)
        except ConfigError as error:
            raise FieldError("centring", str(error)) from error
        self.network(2, width)
        if self.augment.speed_share:
            raise FieldError("augment.speed_share", "would change who it is; see train.speed")
        if self.train.channel_db and not extractor.bands:
            raise FieldError(
                "train.channel_db",
                f"needs levels of frequency bands, which the front end {self.frontend} has not",
            )
        if self.train.feature_mask > width:
            raise FieldError("train.feature_mask", f"is more than the front end's {width} features")

    def network(self, n_speakers: int, n_features: int) -> XVectorConfig:
        """Configuration of the network.

        Raises:
            ConfigError: a parameter that it does not have, or a value that cannot work.
        """
        if told := [name for name in DECIDED if name in self.model]:
            raise FieldError("model", f"{', '.join(told)} are decided by the data; leave them out")
        decided = dict(zip(DECIDED, (n_speakers, n_features), strict=True))
        return typed({**self.model, **decided}, XVectorConfig, where="model")


def parse_speaker_recipe(table: Mapping[str, Any]) -> SpeakerRecipe:
    """Build a recipe from plain values, the inverse of `dataclasses.asdict`.

    Raises:
        ConfigError: a key is unknown or missing, or a value makes no sense; with its path.
    """
    return typed(dict(table), SpeakerRecipe)


def load_speaker_recipe(path: Path | None = None) -> SpeakerRecipe:
    """Read a recipe file; the shipped one without.

    Raises:
        ConfigError: no such file, or it is not valid.
    """
    file = resources.files("training") / "speakers.toml" if path is None else path
    try:
        return parse_speaker_recipe(read_recipe_file(file))
    except ConfigError as error:
        raise ConfigError(f"recipe {file}: {error}") from error
