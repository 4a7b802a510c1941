"""One file is one model: an ONNX graph with everything needed to run it in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ser_stream.errors import BundleError, ConfigError
from ser_stream.extractor import Extractor
from ser_stream.frontend import make_extractor, make_normalizer
from ser_stream.normalizer import (
    EMBEDDINGS,
    FeatureStatistics,
    Moments,
    Normalizer,
    NormalizerConfig,
    NormalizerState,
)
from ser_stream.onnx_session import (
    ModelFile,
    Network,
    check_output,
    models_folder,
    named,
    versioned_table,
)
from ser_stream.printable import UNPRINTABLE
from ser_stream.smoothing import SmoothingConfig
from ser_stream.text import pad
from ser_stream.typed import sized, typed, within
from ser_stream.types import Float32, State
from ser_stream.vad import GateConfig

METADATA_KEY = "ser_stream"
SCHEMA = 1
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
        dimension: of the embedding; zeros stand for nobody in particular.
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


@dataclass(frozen=True, slots=True)
class ModelMeta:
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
            `ser_stream.normalizer.EMBEDDINGS`.
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
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"labels must be two or more different names, got {self.labels}")
        for label in self.labels:
            # Labels head columns and bars, and are told apart from the states of the meter.
            if not label[:1].isalnum() or label != label.strip() or UNPRINTABLE.search(label):
                raise ConfigError(f"label {label!r}: must begin with a letter and be printable")
            if label in list(State):
                raise ConfigError(f"label {label!r} is the name of a state, not of an emotion")
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

    def to_json(self) -> str:
        """One versioned JSON value, the inverse of `from_json`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse metadata.

        Raises:
            BundleError: not JSON, another schema, or a field that is missing or makes no sense.
        """
        table = versioned_table(text, SCHEMA)
        try:
            meta = typed(table, cls)
            for name, value in meta.metrics.items():
                typed(value, Metric, where=f"metrics.{name}", others=True)
        except ConfigError as error:
            raise BundleError(f"its metadata does not fit schema {SCHEMA}: {error}") from error
        return meta


class ModelBundle:
    """An immutable model: metadata and network; all stream state lives in the engine.

    Attributes:
        meta: what the file says.
        path: of the file.
        digest: SHA-256 of the file, hexadecimal.
    """

    def __init__(self, meta: ModelMeta, network: Network, digest: str) -> None:
        self.meta = meta
        self.path = network.path
        self.digest = digest
        self._network = network
        self._logit_bias = np.array(meta.logit_bias or 0.0, dtype=np.float32)
        self._extractor = make_extractor(meta.frontend, meta.frontend_params)
        self._check()

    def __repr__(self) -> str:
        m = self.meta
        return f"ModelBundle({m.name!r}, labels={list(m.labels)}, window={self.window_s:.2f} s)"

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int = 1) -> Self:
        """Open a bundle; None opens the model that is shipped.

        Args:
            path: an ONNX file written by ser-export.
            threads: ONNX Runtime's intra-op threads; they never spin.

        Raises:
            BundleError: no such file, not ONNX, no or other metadata, a graph that is not one of
                ours or does not fit its metadata, or a shipped file that was changed.
        """
        path = default_model_path() if path is None else Path(path)
        with named(path):
            file = ModelFile.read(path)
            meta = ModelMeta.from_json(file.text(METADATA_KEY, "; export it with ser-export"))
            bundle = cls(meta, Network.open(file, threads), file.digest)
            bundle._network.try_out(bundle._try_out)
        return bundle

    @property
    def hop_s(self) -> float:
        """Step between frames in seconds."""
        return self._extractor.hop_length / self.meta.sample_rate_hz

    @property
    def window_samples(self) -> int:
        """Samples that a window's frames see."""
        e = self._extractor
        return (self.meta.window_frames - 1) * e.hop_length + e.frame_length

    @property
    def look_ahead_samples(self) -> int:
        """Samples after a window's end that its features wait for."""
        return self._extractor.samples_for(self.meta.window_frames) - self.window_samples

    @property
    def window_s(self) -> float:
        """Seconds that a window's frames see."""
        return self.window_samples / self.meta.sample_rate_hz

    @property
    def extractor(self) -> Extractor:
        """The per-frame stage that the model was trained with; stateless."""
        return self._extractor

    def make_normalizer(self, state: NormalizerState | None = None) -> Normalizer:
        """Build a fresh normaliser; the state is the one trained for unless given."""
        meta = self.meta
        return make_normalizer(
            self._extractor,
            FeatureStatistics(
                np.array(meta.mean, dtype=np.float32), np.array(meta.std, dtype=np.float32)
            ),
            meta.normalizer,
            meta.normalizer_state if state is None else state,
            meta.embedding,
        )

    def __call__(
        self,
        features: Float32,
        embedding: Float32 | None = None,
        words: Sequence[Float32] | None = None,
    ) -> Float32:
        """Logits, float32 (batch, classes).

        Args:
            features: float32 (batch, frames, features).
            embedding: float32 (batch, embedding_width), for models that take one of the
                normaliser's, or of an embedder's, which is nobody's without.
            words: word vectors of each window, float32 (n, width), for models that read some; of
                more than it reads the newest count. Without them it goes by the sound alone.
        """
        if embedding is None and self.meta.speaker is not None:
            embedding = np.zeros((len(features), self.meta.speaker.dimension), np.float32)
        values: list[Any] = [features] if embedding is None else [features, embedding]
        if (reads := self.meta.words) is not None:
            none = np.zeros((0, reads.width), np.float32)
            tokens, valid = pad([none] * len(features) if words is None else words, reads.tokens)
            values += [tokens, valid.sum(axis=1, dtype=np.int64)]
        return self._network(*values)[0]

    def posterior(self, logits: Float32) -> Float32:
        """Calibrated softmax, float32 (batch, classes), of logits (batch, classes)."""
        return calibrated_softmax(logits, self.meta.temperature, self._logit_bias)

    def describe(self) -> Mapping[str, Any]:
        """Metadata as plain values, for `ser-stream info`."""
        return asdict(self.meta)

    def _check(self) -> None:
        """See to it that metadata, front end and graph fit each other."""
        meta, extractor = self.meta, self._extractor
        width = extractor.width
        if extractor.sample_rate_hz != meta.sample_rate_hz:
            raise BundleError(
                f"front end at {extractor.sample_rate_hz} Hz, model at {meta.sample_rate_hz} Hz"
            )
        if not len(meta.mean) == len(meta.std) == width:
            raise BundleError(
                f"{len(meta.mean)} means and {len(meta.std)} stds for {width} features"
            )
        if self.window_s > MOST_WINDOW_S or meta.window_frames * width > MOST_WINDOW_VALUES:
            raise BundleError(
                f"a window of {self.window_s:.0f} s and {meta.window_frames * width} values; "
                f"at most {MOST_WINDOW_S:g} s and {MOST_WINDOW_VALUES} values can be used"
            )
        speaks = meta.embedding or meta.speaker is not None
        wanted = ["features", *(["embedding"] if speaks else [])]
        wanted += ["tokens", "text_lengths"] if meta.words is not None else []
        if self._network.inputs != wanted:
            raise BundleError(f"the graph has inputs {self._network.inputs}, expected {wanted}")
        if len(self._network.outputs) != 1:
            raise BundleError(f"the graph has outputs {self._network.outputs}, expected one")

    def _try_out(self) -> None:
        """Run windows of silence and of noise, one and three at once, and check the answers."""
        meta, normalizer = self.meta, self.make_normalizer()
        rng = np.random.default_rng(0)
        nothing = Moments(np.zeros(normalizer.moments_width))
        silence = np.zeros((meta.window_frames, self._extractor.width), np.float32)
        still = normalizer.normalize(silence, nothing)
        noise = rng.standard_normal(still.shape, np.float32)
        windows = np.stack([self._extractor.present(window) for window in (still, noise, -noise)])
        embeddings = None
        if meta.embedding or meta.speaker is not None:
            dimension = meta.speaker.dimension if meta.speaker else normalizer.embedding_width
            embeddings = rng.standard_normal((3, dimension), np.float32)
            embeddings[0] = 0.0
        words = None
        if meta.words is not None:
            shape = (3, meta.words.tokens, meta.words.width)
            # None, one, and as many as it reads.
            words = [
                w[:n]
                for w, n in zip(rng.standard_normal(shape, np.float32), (0, 1, None), strict=True)
            ]
        for part in (slice(0, 1), slice(1, 2), slice(0, 3)):
            logits = self(
                windows[part],
                None if embeddings is None else embeddings[part],
                None if words is None else words[part],
            )
            shape = (len(windows[part]), len(meta.labels))
            check_output(logits, shape, f"{len(meta.labels)} labels")
            check_output(self.posterior(logits), shape, "posteriors")


def default_model_path() -> Path:
    """Path of the model that is shipped with the package."""
    return models_folder() / "default.onnx"


def calibrated_softmax(logits: Float32, temperature: float, bias: ArrayLike = 0.0) -> Float32:
    """Softmax of ``(logits + bias) / temperature`` over the last axis, float32."""
    z = logits + np.asarray(bias, dtype=np.float32)
    p = np.exp((z - z.max(axis=-1, keepdims=True)) / np.float32(temperature))
    return p / p.sum(axis=-1, keepdims=True)
