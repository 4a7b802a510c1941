"""A recipe as values, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal

from torch import nn

from ser_stream.features.extractor import Extractor
from ser_stream.features.normalizer import NormalizerConfig, NormalizerState, embedding_width
from ser_stream.features.registry import FRONT_ENDS, check_front_end, make_extractor
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.typed import FieldError, sized, within
from training.models import make_model, network_kind
from training.models.widths import Widths

Share = Annotated[float, within(0.0, 1.0)]
Seed = Annotated[int, within(0, 2**32 - 1)]
Decibels = Annotated[float, within(-200.0, 200.0)]
Hertz = Annotated[float, within(1.0, 192_000.0)]
BitRate = Annotated[float, within(1.0, 1000.0)]
Epochs = Annotated[int, within(1, 1_000_000)]
LearningRate = Annotated[float, within(1e-12, 100.0)]
WeightDecay = Annotated[float, within(0.0, 100.0)]
# Per step; 1 would never let anything new in.
Decay = Annotated[float, within(0.0, 0.9999999)]


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
        validation: the epoch is chosen under all conditions too.
    """

    variants: Annotated[int, within(0, 1000)] = 0
    noise_share: Share = 0.0
    white_only: bool = False
    snr_db: tuple[Decibels, Decibels] = (5.0, 30.0)
    gain_db: tuple[Decibels, Decibels] = (0.0, 0.0)
    agc_share: Share = 0.0
    band_share: Share = 0.0
    band_hz: tuple[Hertz, Hertz] = (3400.0, 7500.0)
    telephone_share: Share = 0.0
    reverb_share: Share = 0.0
    speed_share: Share = 0.0
    speed: Annotated[float, within(0.0, 0.9)] = 0.0
    silence_s: Annotated[float, within(0.0, 60.0)] = 0.0
    codec_share: Share = 0.0
    codec_kbps: tuple[BitRate, BitRate] = (16.0, 32.0)
    seed: Seed = 0
    validation: bool = False

    def __post_init__(self) -> None:
        check_ranges(
            snr_db=self.snr_db,
            gain_db=self.gain_db,
            band_hz=self.band_hz,
            codec_kbps=self.codec_kbps,
        )


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

    draw: Literal["crops", "segments", "utterance"] = "segments"
    crops: Annotated[int, within(1, 10_000)] = 1
    train_hop_frames: Annotated[int, within(1, 65536)] = 1
    short: Literal["repeat", "drop", "silence", "zero"] = "repeat"
    masked: bool = False

    def __post_init__(self) -> None:
        if self.masked and self.short not in ("silence", "zero"):
            raise FieldError("masked", f"short = {self.short!r} leaves nothing to mask")


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
        forget_share: chance that the running normaliser drops the speaker before a clip.
        alone_share: share of epochs' speakers each of whose clips counts as the first.
        calibrated_share: share of epochs' speakers who are known by some of their neutral clips.
        clean_share: share of epochs' speakers without disturbance.
        average: decay per step of the averaged weights, which then are the ones kept; 0 keeps the
            weights themselves.
        select: what the best epoch has most of: "uar", "wa" or "wa+uar".
        patience: epochs without a better one before the run ends.
        seed: of everything random.
    """

    epochs: Epochs = 50
    batch_size: Annotated[int, within(2, 1_000_000)] = 64
    optimizer: Literal["adamw", "adam", "sgd"] = "adam"
    lr: LearningRate = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    momentum: Decay = 0.9
    weight_decay: WeightDecay = 0.0
    schedule: Literal["constant", "steps", "cosine"] = "constant"
    milestones: tuple[Epochs, ...] = ()
    gamma: Annotated[float, within(1e-12, 1.0)] = 0.1
    warmup_epochs: Annotated[int, within(0, 1_000_000)] = 0
    clip_norm: Annotated[float, within(0.0, 1e12)] = 0.0
    class_weights: bool = False
    label_smoothing: Share = 0.0
    mixup: Annotated[float, within(0.0, 1000.0)] = 0.0
    time_mask: Annotated[int, within(0, 65536)] = 0
    feature_mask: Annotated[int, within(0, 65536)] = 0
    noise_variance: Annotated[float, within(0.0, 1e6)] = 0.0
    forget_share: Share = 0.0
    alone_share: Share = 0.0
    calibrated_share: Share = 0.0
    clean_share: Share = 0.0
    average: Decay = 0.0
    select: Literal["uar", "wa", "wa+uar"] = "uar"
    patience: Epochs = 1000
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.alone_share + self.calibrated_share > 1.0:
            raise FieldError("alone_share", "exceeds 1 together with calibrated_share")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise FieldError("milestones", f"must rise, got {list(self.milestones)}")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The words that a network is given beside the sound.

    Attributes:
        tokens: most tokens of a window or an utterance; 0 for a network without words.
        width: of a word vector.
    """

    tokens: Annotated[int, within(0, 4096)] = 0
    width: Annotated[int, within(1, 4096)] = 300


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a run but the corpora's whereabouts.

    Attributes:
        name: of the recipe, "recipe/variant" for a variant.
        labels: classes, in the order of the network's outputs.
        model: name in `training.models.MODELS`.
        model_params: its configuration, without those that are `decided`.
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

    name: Annotated[str, sized(1, 200)]
    labels: Annotated[tuple[str, ...], sized(2, 64)]
    model: str
    model_params: dict[str, Any]
    frontend: str
    frontend_params: dict[str, Any]
    window_frames: Annotated[int, within(1, 65536)]
    window_hop_frames: Annotated[int, within(1, 65536)]
    source: str = ""
    part: str = ""
    merge: dict[str, str] = field(default_factory=dict)
    normalizer_state: NormalizerState = NormalizerState.COLD
    statistics: Literal["voiced", "all", "neutral"] = "all"
    embedding: Literal["", "statistics", "knowledge"] = ""
    speaker: Annotated[int, within(0, 16384)] = 0
    calibrate: bool = False
    stranger_factor: Annotated[float, within(1e-3, 1e3)] = 1.0
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    windows: WindowsConfig = field(default_factory=WindowsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    text: TextConfig = field(default_factory=TextConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    sure: Share = 0.5

    def __post_init__(self) -> None:
        if self.speaker and self.embedding:
            raise FieldError("speaker", "give embedding or speaker, not both")
        if self.text.tokens and self.train.mixup:
            raise FieldError("train.mixup", "mixes sounds, but words cannot be mixed")
        if self.train.time_mask > self.window_frames:
            raise FieldError("train.time_mask", f"exceeds window_frames = {self.window_frames}")

    @property
    def widths(self) -> Widths:
        """Widths of the network's inputs and outputs."""
        extractor = _extractor(self.frontend, json.dumps(self.frontend_params))
        frame = extractor.width
        return Widths(
            classes=len(self.labels),
            frame=frame,
            bands=extractor.bands,
            views=2 if self.normalizer.both else 1,
            embedding=self.speaker or embedding_width(self.embedding, frame),
            words=self.text.width,
        )

    @property
    def decided(self) -> dict[str, int]:
        """Parameters of the network that follow from the rest of the recipe."""
        widths = self.widths
        return {"n_classes": widths.classes, **network_kind(self.model).widths(widths)}

    @property
    def network_params(self) -> dict[str, Any]:
        """The network's whole configuration."""
        return {**self.model_params, **self.decided}

    def network(self) -> nn.Module:
        """Build the network, its weights drawn at random."""
        return make_model(self.model, self.network_params)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of `parse_recipe`."""
        table = asdict(self)
        table["normalizer_state"] = str(self.normalizer_state)
        return table


def front_end_width(name: str, params: Mapping[str, Any]) -> int:
    """Features of a front end's frame.

    Raises:
        ConfigError: no such front end, or a parameter that makes no sense; told by their keys in a
            recipe.
    """
    if name not in FRONT_ENDS:
        raise FieldError("frontend", f"unknown front end {name!r}; known: {', '.join(FRONT_ENDS)}")
    check_front_end(name, params, where="frontend_params")
    return _extractor(name, json.dumps(params)).width


@lru_cache
def _extractor(frontend: str, params: str) -> Extractor:
    # Filter banks take their time, and most variants of a recipe have the same.
    return make_extractor(frontend, json.loads(params))


def check_ranges(**ranges: tuple[float, float]) -> None:
    """Check that the second value of each is not below the first.

    Raises:
        FieldError: it is, in the field of that name.
    """
    for name, (least, most) in ranges.items():
        if least > most:
            raise FieldError(name, f"the range ends below its begin, got [{least}, {most}]")
