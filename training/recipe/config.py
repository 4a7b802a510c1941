"""A recipe as values, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from ser_stream.errors import ConfigError
from ser_stream.features.normalizer import EMBEDDINGS, NormalizerConfig, NormalizerState
from ser_stream.labels import canonical
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.typed import Limits

T = TypeVar("T")
# A recipe has some hundred values, the longest of them a citation.
LIMITS = Limits(text=200_000, values=10_000, string=300)


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often and how strongly recordings are disturbed; see `training.data.augment`.

    Attributes:
        variants: disturbed copies of every clip, besides the clean one.
        noise_share: share of recording conditions with background noise.
        white_only: the noise is white, whatever recordings there are.
        snr_db: range of signal-to-noise ratios.
        gain_db: range of gains.
        agc_share: share of conditions with automatic gain control, which takes out half or more of
            what makes a clip louder than another.
        band_share: share of conditions with a limited band.
        band_hz: range of the upper band edge.
        telephone_share: share of conditions limited to 300-3400 Hz.
        reverb_share: share of conditions with a room.
        speed_share: share of conditions played slower or faster.
        speed: largest relative change of speed (and with it pitch).
        silence_s: most background before and after a clip.
        codec_share: share of conditions that went through MP3 or Opus.
        codec_kbps: range of their bit rates.
        seed: of the draws.
        validation: what chooses the epoch is heard under all conditions too.
    """

    variants: int = 0
    noise_share: float = 0.0
    white_only: bool = False
    snr_db: tuple[float, float] = (5.0, 30.0)
    gain_db: tuple[float, float] = (0.0, 0.0)
    agc_share: float = 0.0
    band_share: float = 0.0
    band_hz: tuple[float, float] = (3400.0, 7500.0)
    telephone_share: float = 0.0
    reverb_share: float = 0.0
    speed_share: float = 0.0
    speed: float = 0.0
    silence_s: float = 0.0
    codec_share: float = 0.0
    codec_kbps: tuple[float, float] = (16.0, 32.0)
    seed: int = 0
    validation: bool = False


@dataclass(frozen=True, slots=True)
class WindowsConfig:
    """How utterances become the network's inputs.

    Attributes:
        draw: "crops" takes ``crops`` windows at random places of an utterance per epoch, "segments"
            takes one every ``train_hop_frames``, "utterance" takes the utterance as one input of
            ``window_frames`` frames, in training and in tests.
        crops: windows that "crops" draws.
        train_hop_frames: step between the windows that "segments" takes.
        short: what becomes of an utterance shorter than the window: "repeat" repeats it as the
            runtime does, "drop" leaves it out, "silence" appends the frames of digital silence,
            "zero" appends zeros after normalisation.
        masked: tell the network how many frames are the utterance's own.
    """

    draw: str = "segments"
    crops: int = 1
    train_hop_frames: int = 1
    short: str = "repeat"
    masked: bool = False

    def __post_init__(self) -> None:
        _one_of("windows.draw", self.draw, ("crops", "segments", "utterance"))
        _one_of("windows.short", self.short, ("repeat", "drop", "silence", "zero"))
        if self.crops < 1 or self.train_hop_frames < 1:
            raise ConfigError("recipe: windows.crops and windows.train_hop_frames must be >= 1")
        if self.masked and self.short not in ("silence", "zero"):
            raise ConfigError(f"recipe: windows.short = {self.short!r} leaves nothing to mask")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: passes over the training utterances.
        batch_size: windows per step.
        optimizer: "adamw" (decoupled weight decay), "adam" or "sgd" (weight decay as L2 term).
        lr: learning rate, the peak where the schedule changes it.
        betas: of Adam.
        momentum: Nesterov's, of SGD.
        weight_decay: see ``optimizer``.
        schedule: "constant", "steps" (times ``gamma`` after each of ``milestones``), or "cosine"
            (to 0).
        milestones: epochs after which "steps" acts.
        gamma: see ``milestones``.
        warmup_epochs: epochs in which "cosine" first rises.
        clip_norm: largest norm of the gradient; 0 does not limit it.
        class_weights: weigh an utterance by N / (classes * N_c).
        label_smoothing: of the cross entropy.
        mixup: alpha of the mixing weight's beta distribution; 0 turns mixing off.
        time_mask: most frames blanked in one of two stripes.
        feature_mask: most coefficients blanked in one stripe.
        noise_variance: of white noise on normalised features.
        forget_share: chance that the running normaliser forgets the speaker before a clip.
        alone_share: share of epochs' speakers whose clips are each heard as if it were the first.
        calibrated_share: share of epochs' speakers who are known by some of their neutral clips.
        clean_share: share of epochs' speakers that are heard without disturbance.
        average: decay per step of the averaged weights, which then are the ones kept; 0 keeps the
            weights themselves.
        select: what the best epoch has most of: "uar", "wa" or "wa+uar".
        patience: epochs without a better one before the run ends.
        seed: of everything random.
    """

    epochs: int = 50
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: int = 0
    clip_norm: float = 0.0
    class_weights: bool = False
    label_smoothing: float = 0.0
    mixup: float = 0.0
    time_mask: int = 0
    feature_mask: int = 0
    noise_variance: float = 0.0
    forget_share: float = 0.0
    alone_share: float = 0.0
    calibrated_share: float = 0.0
    clean_share: float = 0.0
    average: float = 0.0
    select: str = "uar"
    patience: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("train.optimizer", self.optimizer, ("adamw", "adam", "sgd"))
        _one_of("train.schedule", self.schedule, ("constant", "steps", "cosine"))
        _one_of("train.select", self.select, ("uar", "wa", "wa+uar"))
        if self.alone_share + self.calibrated_share > 1.0:
            raise ConfigError("recipe: train.alone_share + train.calibrated_share exceed 1")
        if self.epochs < 1 or self.batch_size < 2:
            raise ConfigError("recipe: need train.epochs >= 1 and train.batch_size >= 2")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The words that a network is given beside the sound.

    Attributes:
        tokens: most tokens of a window or an utterance; 0 for a network without words.
        width: of a word vector.
    """

    tokens: int = 0
    width: int = 300

    def __post_init__(self) -> None:
        if self.tokens < 0 or self.width < 1:
            raise ConfigError("recipe: need text.tokens >= 0 and text.width >= 1")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a run but the corpora's whereabouts.

    Attributes:
        name: of the recipe, "recipe/variant" for a variant.
        labels: classes, in the order of the network's outputs.
        model: name in `training.models.MODELS`.
        model_params: its configuration, without the number of classes.
        frontend: name in `ser_stream.features.registry.FRONT_ENDS`.
        frontend_params: its configuration.
        window_frames: frames of a window.
        window_hop_frames: step of the windows that validation and test average.
        source: the paper.
        part: part of a corpus that has parts; "" for all.
        merge: emotions that count as another one.
        normalizer_state: see `ser_stream.features.normalizer.NormalizerState`.
        statistics: training frames that mean and deviation are taken of: "voiced", "all", or all
            of the "neutral" utterances.
        embedding: what the network is told of the speaker besides, one of
            `ser_stream.features.normalizer.EMBEDDINGS`.
        speaker: values of an embedder's embedding of who speaks, in place of ``embedding``; 0 for
            none. See `ser_stream.models.embedder`.
        calibrate: fit temperature and bias on the validation utterances, disturbed as in training.
        stranger_factor: the fitted temperature is multiplied by this: who chose the epoch speaks in
            a corpus that was trained on, a user does not.
        normalizer: see `ser_stream.features.normalizer.NormalizerConfig`.
        windows: see `WindowsConfig`.
        augment: see `AugmentConfig`.
        text: see `TextConfig`.
        train: see `TrainConfig`.
        smoothing: of the exported model, see `ser_stream.models.settings.SmoothingConfig`.
        gate: likewise, see `ser_stream.models.settings.GateConfig`.
        sure: likewise: mean posterior from which on a recording as a whole has a label.
    """

    name: str
    labels: tuple[str, ...]
    model: str
    model_params: dict[str, Any]
    frontend: str
    frontend_params: dict[str, Any]
    window_frames: int
    window_hop_frames: int
    source: str = ""
    part: str = ""
    merge: dict[str, str] = field(default_factory=dict)
    normalizer_state: NormalizerState = NormalizerState.COLD
    statistics: str = "all"
    embedding: str = ""
    speaker: int = 0
    calibrate: bool = False
    stranger_factor: float = 1.0
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    windows: WindowsConfig = field(default_factory=WindowsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    text: TextConfig = field(default_factory=TextConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    sure: float = 0.5

    def __post_init__(self) -> None:
        _one_of("statistics", self.statistics, ("voiced", "all", "neutral"))
        _one_of("embedding", self.embedding, EMBEDDINGS)
        _one_of("normalizer_state", self.normalizer_state, tuple(NormalizerState))
        if self.stranger_factor <= 0:
            raise ConfigError(f"recipe: need stranger_factor > 0, got {self.stranger_factor}")
        if not 0.0 <= self.sure <= 1.0:
            raise ConfigError(f"recipe: need 0 <= sure <= 1, got {self.sure}")
        if self.speaker < 0 or (self.speaker and self.embedding):
            raise ConfigError("recipe: give embedding or speaker, the latter 0 or more")
        if self.text.tokens and self.train.mixup:
            raise ConfigError("recipe: train.mixup mixes sounds, but words cannot be mixed")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of `parse_recipe`."""
        table = asdict(self)
        table["normalizer_state"] = str(self.normalizer_state)
        return table


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy ``table`` with ``changes``; tables within are merged likewise."""
    result = dict(table)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"recipe: {name} = {value!r}; want one of {', '.join(known)}")


def _section(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(table) - known:
        raise ConfigError(f"recipe, [{where}]: unknown {sorted(unknown)}; known: {sorted(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"recipe, [{where}]: {error}") from error


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain values.

    Raises:
        ConfigError: a key is unknown or missing, or a value makes no sense.
    """
    values = dict(table)
    # A recipe may name classes as another corpus does.
    if "labels" in values:
        values["labels"] = [canonical(name) for name in values["labels"]]
    values["merge"] = {canonical(a): canonical(b) for a, b in values.get("merge", {}).items()}
    for name, kind in (
        ("normalizer", NormalizerConfig),
        ("windows", WindowsConfig),
        ("augment", AugmentConfig),
        ("text", TextConfig),
        ("train", TrainConfig),
        ("smoothing", SmoothingConfig),
        ("gate", GateConfig),
    ):
        values[name] = _section(kind, values.get(name, {}), name)
    if missing := {
        f.name
        for f in fields(Recipe)
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    }:
        raise ConfigError(f"recipe: missing {sorted(missing)}")
    try:
        state = NormalizerState(values.get("normalizer_state", NormalizerState.COLD))
    except ValueError as error:
        raise ConfigError(f"recipe: {error}") from error
    return _section(Recipe, {**values, "normalizer_state": state}, "top level")
