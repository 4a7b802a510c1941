"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from ser_stream.errors import ConfigError
from ser_stream.features.normalizer import EMBEDDINGS, NormalizerConfig, NormalizerState
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.models.versioned import VersionedTable
from ser_stream.printable import UNPRINTABLE
from ser_stream.typed import FieldError, sized, typed, within
from ser_stream.types import State

METADATA_KEY = "ser_stream"
# A window's frames see this much sound at most, and have this many values.
MOST_WINDOW_S = 60.0
MOST_WINDOW_VALUES = 2**23


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A corpus that the weights were trained on, with what its licence asks for."""

    corpus: Annotated[str, sized(0, 1000)]
    licence: Annotated[str, sized(0, 1000)]
    credit: Annotated[str, sized(0, 5000)]


@dataclass(frozen=True, slots=True)
class WordInput:
    """The words that a model reads beside the sound; their vectors stay outside of its file.

    Attributes:
        tokens: most tokens of a window.
        width: of a word vector.
        vectors: name of the file of vectors that it was trained with...
        digest: ...and its SHA-256, hexadecimal.
    """

    tokens: Annotated[int, within(1, 4096)]
    width: Annotated[int, within(1, 4096)]
    vectors: Annotated[str, sized(0, 1000)] = ""
    digest: Annotated[str, sized(0, 64)] = ""


@dataclass(frozen=True, slots=True)
class SpeakerInput:
    """The speaker embedding that a model is given beside the sound; its embedder stays outside.

    Attributes:
        dimension: of the embedding; zeros stand for an unknown speaker.
        embedder: name of the file that the model was trained with...
        digest: ...and its SHA-256, hexadecimal.
    """

    dimension: Annotated[int, within(1, 16384)]
    embedder: Annotated[str, sized(0, 1000)] = ""
    digest: Annotated[str, sized(0, 64)] = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """What every result in a model file has; the others differ by kind."""

    uar: Annotated[float, within(0.0, 1.0)]
    protocol: Annotated[str, sized(0, 2000)]


def check_labels(labels: Sequence[str]) -> None:
    """Check the names of a model's classes.

    Raises:
        FieldError: in the field "labels": fewer than two, one that comes twice, one that cannot be
            printed, or the name of a state.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise FieldError("labels", f"must be two or more different names, got {list(labels)}")
    for label in labels:
        # Labels head columns and bars, and must differ from the states of the meter.
        if not label[:1].isalnum() or label != label.strip() or UNPRINTABLE.search(label):
            raise FieldError("labels", f"label {label!r} must begin with a letter and be printable")
        if label in list(State):
            raise FieldError("labels", f"label {label!r} is the name of a state, not of an emotion")


@dataclass(frozen=True, slots=True)
class ModelMeta(VersionedTable):
    """What a model file says about itself.

    Attributes:
        name: of the model.
        labels: classes, in the order of the outputs.
        frontend: name in the registry of front ends.
        frontend_params: its parameters.
        sample_rate_hz: rate that the front end expects.
        window_frames: frames of a window.
        window_hop_frames: default step between windows.
        mean: training mean per feature.
        std: training standard deviation per feature.
        normalizer: how statistics run.
        normalizer_state: the state that the network was trained for.
        profiles: the network was trained for the statistics of a speaker's neutral speech too.
        embedding: what the network is told of the speaker besides, one of
            `ser_stream.features.normalizer.EMBEDDINGS`.
        speaker: the embedding of an embedder, in place of ``embedding``; None for models without.
        words: what it reads beside the sound; None for a model of sound alone.
        temperature: logits are divided by it...
        logit_bias: ...after this was added, one per class; () adds nothing. Both are fitted on
            validation speakers (bias-corrected temperature scaling: Alexandari, Kundaje &
            Shrikumar, ICML 2020).
        smoothing: belief and label in live use.
        gate: when a window counts as speech; a file without it has the defaults.
        sure: mean posterior from which on a recording as a whole has a label.
        training_data: corpora, licences and credits.
        licence: of the weights.
        metrics: results, each with its protocol.
        recipe: every number of the training run.
    """

    name: Annotated[str, sized(1, 200)]
    labels: Annotated[tuple[Annotated[str, sized(1, 40)], ...], sized(2, 64)]
    frontend: Annotated[str, sized(1, 40)]
    frontend_params: Annotated[dict[str, Any], sized(0, 100)]
    sample_rate_hz: Annotated[int, within(1000, 48000)]
    window_frames: Annotated[int, within(1, 65536)]
    window_hop_frames: Annotated[int, within(1, 65536)]
    mean: Annotated[tuple[float, ...], sized(1, 16384)]
    std: Annotated[tuple[float, ...], sized(1, 16384)]
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    normalizer_state: NormalizerState = NormalizerState.RUNNING
    profiles: bool = False
    embedding: str = ""
    speaker: SpeakerInput | None = None
    words: WordInput | None = None
    temperature: Annotated[float, within(1e-6, 1e6)] = 1.0
    logit_bias: tuple[Annotated[float, within(-1e6, 1e6)], ...] = ()
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    sure: float = 0.5
    training_data: Annotated[tuple[TrainingData, ...], sized(0, 200)] = ()
    licence: Annotated[str, sized(0, 1000)] = ""
    metrics: Annotated[dict[str, Any], sized(0, 1000)] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.window_frames < 1 or self.window_hop_frames < 1:
            raise ConfigError("window_frames and window_hop_frames must be at least 1")
        if self.embedding not in EMBEDDINGS:
            raise ConfigError(f"unknown embedding {self.embedding!r}; known: {EMBEDDINGS[1:]}")
        if self.embedding and self.speaker is not None:
            raise ConfigError(f"embedding {self.embedding!r} and an embedder: one at most")
        if not self.temperature > 0.0:
            raise ConfigError(f"temperature must be positive, got {self.temperature}")
        if not 0.0 <= self.sure <= 1.0:
            raise ConfigError(f"need 0 <= sure <= 1, got {self.sure}")
        if len(self.logit_bias) not in (0, len(self.labels)):
            raise ConfigError(f"{len(self.logit_bias)} biases for {len(self.labels)} labels")

    def check(self) -> None:
        for name, value in self.metrics.items():
            typed(value, Metric, where=f"metrics.{name}", others=True)
