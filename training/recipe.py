"""A recipe is one TOML file with every number that a training run depends on."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ser_stream.errors import ConfigError
from ser_stream.normalizer import NormalizerConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often and how strongly recordings are disturbed; see `training.augment`.

    Attributes:
        variants: disturbed copies of every clip, besides the clean one.
        noise_share: share of recording conditions with background noise.
        snr_db: range of signal-to-noise ratios.
        gain_db: range of gains.
        band_share: share of conditions with a limited band.
        band_hz: range of the upper band edge.
        telephone_share: share of conditions limited to 300-3400 Hz.
        reverb_share: share of conditions with a room.
        speed_share: share of conditions played slower or faster.
        speed: largest relative change of speed (and with it pitch).
        silence_s: most background before and after a clip.
    """

    variants: int = 6
    noise_share: float = 0.6
    snr_db: tuple[float, float] = (5.0, 30.0)
    gain_db: tuple[float, float] = (-25.0, 6.0)
    band_share: float = 0.4
    band_hz: tuple[float, float] = (3400.0, 7500.0)
    telephone_share: float = 0.1
    reverb_share: float = 0.3
    speed_share: float = 0.5
    speed: float = 0.08
    silence_s: float = 0.5


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: passes over the training utterances.
        batch_size: windows per step.
        crops: windows drawn from each utterance per epoch.
        lr: peak learning rate of AdamW, reached after ``warmup_epochs`` and then a cosine to 0.
        weight_decay: decoupled weight decay.
        label_smoothing: of the cross entropy.
        mixup: alpha of the mixing weight's beta distribution; 0 turns mixing off.
        time_mask: most frames blanked in one of two stripes.
        feature_mask: most coefficients blanked in one stripe.
        jitter: standard deviation of a random shift and (logarithmic) scale of each coefficient of
            a window, as wrong statistics of the speaker would cause.
        forget_share: chance that the running normaliser forgets the speaker before a clip.
        clean_share: share of epochs' speakers that are heard without disturbance.
        average: decay per step of the averaged weights, which are the ones kept.
        patience: epochs without a better validation UAR before the run ends.
        seed: of everything random.
    """

    epochs: int = 60
    batch_size: int = 64
    crops: int = 1
    lr: float = 2e-3
    warmup_epochs: int = 2
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    mixup: float = 0.2
    time_mask: int = 8
    feature_mask: int = 2
    jitter: float = 0.0
    forget_share: float = 0.08
    clean_share: float = 0.3
    average: float = 0.995
    patience: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a run but the corpora's whereabouts.

    Attributes:
        name: of the recipe.
        labels: classes, in the order of the network's outputs.
        model: name in `training.models.MODELS`.
        model_params: its configuration, without the number of classes.
        frontend: name in `ser_stream.frontend.FRONT_ENDS`.
        frontend_params: its configuration.
        window_frames: frames of a window.
        window_hop_frames: step of the windows that validation and test average.
        normalizer: see `ser_stream.normalizer.NormalizerConfig`.
        augment: see `AugmentConfig`.
        train: see `TrainConfig`.
    """

    name: str
    labels: tuple[str, ...]
    model: str
    model_params: dict[str, Any]
    frontend: str
    frontend_params: dict[str, Any]
    window_frames: int
    window_hop_frames: int
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of `parse_recipe`."""
        return asdict(self)


def _section(kind: type[T], table: dict[str, Any], where: str) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(table) - known:
        raise ConfigError(f"recipe, [{where}]: unknown {sorted(unknown)}; known: {sorted(known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def parse_recipe(table: dict[str, Any]) -> Recipe:
    """Build a recipe from plain values.

    Raises:
        ConfigError: a key is unknown or missing.
    """
    table = dict(table)
    for name, kind in (
        ("normalizer", NormalizerConfig),
        ("augment", AugmentConfig),
        ("train", TrainConfig),
    ):
        table[name] = _section(kind, table.get(name, {}), name)
    if missing := {f.name for f in fields(Recipe) if f.name not in table}:
        raise ConfigError(f"recipe: missing {sorted(missing)}")
    return _section(Recipe, table, "top level")


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by the name of a shipped one or by path.

    Raises:
        ConfigError: no such recipe, or it is not valid.
    """
    path = Path(name)
    try:
        if path.suffix == ".toml":
            text = path.read_text(encoding="utf-8")
        else:
            text = (resources.files("training.recipes") / f"{name}.toml").read_text("utf-8")
        return parse_recipe(tomllib.loads(text))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {name}: {error}") from error
