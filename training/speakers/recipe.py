"""Every number that the training of a speaker embedder depends on."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.logmel import LogMelExtractor
from ser_stream.features.registry import check_front_end, make_extractor
from ser_stream.models.embedder import Voicing, centred
from training.models.xvector import RECEPTIVE_FIELD, XVectorConfig
from training.recipe.config import AugmentConfig

T = TypeVar("T")
# Fewest frames of a recording; a shorter one is repeated, in training and in trials.
LEAST_FRAMES = RECEPTIVE_FIELD + 5


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: of as many crops as there are recordings.
        batch_size: crops per step, all of one length, of different speakers where there are enough.
        lr: peak of the learning rate, which falls to 0 by a cosine.
        weight_decay: of AdamW.
        warmup_steps: in which the learning rate rises.
        clip_norm: largest norm of the gradient.
        crop_s: shortest and longest crop, seconds of voiced speech, joined of several recordings.
        disturbed_share: share of the crops that are heard under a disturbed condition.
        speed_copies: copies of every speaker at another speed, and pitch with it; each is a speaker
            of its own, because that is what it sounds like.
        speed: largest relative change of speed.
        channel_db: strength of a random filter on each crop, smooth along the bands; log-mel front
            ends only.
        feature_mask: most features blanked in one stripe (Park et al., Interspeech 2019)...
        time_mask: ...and frames in another.
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    clip_norm: float = 5.0
    crop_s: tuple[float, float] = (1.5, 3.0)
    disturbed_share: float = 0.5
    speed_copies: int = 0
    speed: float = 0.15
    channel_db: float = 0.0
    feature_mask: int = 0
    time_mask: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ConfigError("speakers: need train.epochs >= 1 and train.batch_size >= 2")
        if not 0.0 < self.crop_s[0] <= self.crop_s[1]:
            raise ConfigError(f"speakers: need 0 < shortest <= longest crop_s, got {self.crop_s}")
        if not 0.0 <= self.disturbed_share <= 1.0:
            raise ConfigError(f"speakers: got disturbed_share = {self.disturbed_share}; 0 to 1")
        if self.speed_copies < 0 or not 0.0 <= self.speed < 1.0:
            raise ConfigError("speakers: need train.speed_copies >= 0 and 0 <= train.speed < 1")


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
        train: see `TrainConfig`.
    """

    name: str
    frontend: str
    frontend_params: dict[str, Any]
    source: str = ""
    centring: str = "level"
    model: dict[str, Any] = field(default_factory=dict)
    voicing: Voicing = field(default_factory=Voicing)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_front_end(self.frontend, self.frontend_params)
        extractor = make_extractor(self.frontend, self.frontend_params)
        centred(np.zeros((1, extractor.width), np.float32), self.centring, extractor.gain)
        self.network(2, extractor.width)
        if self.augment.speed_share:
            raise ConfigError("speakers: augment.speed_share would change who it is; see train")
        if self.train.channel_db and not isinstance(extractor, LogMelExtractor):
            raise ConfigError("speakers: train.channel_db is for the front end logmel")

    def network(self, n_speakers: int, n_features: int) -> XVectorConfig:
        """Configuration of the network.

        Raises:
            ConfigError: a parameter that it does not have, or a value that cannot work.
        """
        taken = {f.name for f in fields(XVectorConfig)} - {"n_speakers", "n_features"}
        if unknown := set(self.model) - taken:
            raise ConfigError(f"speakers, [model]: unknown {sorted(unknown)}")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in self.model.items()
        }
        return XVectorConfig(n_speakers, n_features, **values)


def parse_speaker_recipe(table: Mapping[str, Any]) -> SpeakerRecipe:
    """Build a recipe from plain values, the inverse of `dataclasses.asdict`.

    Raises:
        ConfigError: a key is unknown or missing, or a value makes no sense.
    """
    values = dict(table)
    for name, kind in (("voicing", Voicing), ("augment", AugmentConfig), ("train", TrainConfig)):
        values[name] = _section(kind, values.get(name, {}), name)
    return _section(SpeakerRecipe, values, "top level")


def load_speaker_recipe(path: Path | None = None) -> SpeakerRecipe:
    """Read a recipe file; the shipped one without.

    Raises:
        ConfigError: no such file, or it is not valid.
    """
    try:
        if path is None:
            text = (resources.files("training") / "speakers.toml").read_text("utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        return parse_speaker_recipe(tomllib.loads(text))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from error


def _section(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    of_kind = fields(kind)  # type: ignore[arg-type]
    if unknown := set(table) - {f.name for f in of_kind}:
        raise ConfigError(f"speakers, [{where}]: unknown {sorted(unknown)}")
    if missing := {
        f.name
        for f in of_kind
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table
    }:
        raise ConfigError(f"speakers, [{where}]: missing {sorted(missing)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
