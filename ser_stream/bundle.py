"""One file is one model: an ONNX graph with everything needed to run it in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

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
from ser_stream.onnx_session import models_folder, open_session, versioned_table
from ser_stream.smoothing import SmoothingConfig
from ser_stream.text import pad
from ser_stream.types import Float32
from ser_stream.vad import GateConfig

METADATA_KEY = "ser_stream"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A corpus that the weights were trained on, with what its licence asks for."""

    corpus: str
    licence: str
    credit: str


@dataclass(frozen=True, slots=True)
class WordInput:
    """The words that a model reads beside the sound; their vectors stay outside of its file.

    Attributes:
        tokens: most tokens of a window.
        width: of a word vector.
        vectors: name of the file of vectors that it was trained with...
        digest: ...and its SHA-256, hexadecimal.
    """

    tokens: int
    width: int
    vectors: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class SpeakerInput:
    """The speaker embedding that a model is given beside the sound; its embedder stays outside.

    Attributes:
        dimension: of the embedding; zeros stand for nobody in particular.
        embedder: name of the file that the model was trained with...
        digest: ...and its SHA-256, hexadecimal.
    """

    dimension: int
    embedder: str = ""
    digest: str = ""


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

    name: str
    labels: tuple[str, ...]
    frontend: str
    frontend_params: dict[str, Any]
    sample_rate_hz: int
    window_frames: int
    window_hop_frames: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    normalizer_state: NormalizerState = NormalizerState.RUNNING
    profiles: bool = False
    embedding: str = ""
    speaker: SpeakerInput | None = None
    words: WordInput | None = None
    temperature: float = 1.0
    logit_bias: tuple[float, ...] = ()
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    sure: float = 0.5
    training_data: tuple[TrainingData, ...] = ()
    licence: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"labels must be two or more different names, got {self.labels}")
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
            table["labels"] = tuple(str(label) for label in table["labels"])
            table["mean"] = tuple(float(v) for v in table["mean"])
            table["std"] = tuple(float(v) for v in table["std"])
            table["logit_bias"] = tuple(float(v) for v in table["logit_bias"])
            table["normalizer"] = NormalizerConfig(**table["normalizer"])
            table["normalizer_state"] = NormalizerState(table["normalizer_state"])
            if (speaker := table.get("speaker")) is not None:
                table["speaker"] = SpeakerInput(**speaker)
            if (words := table.get("words")) is not None:
                table["words"] = WordInput(**words)
            table["smoothing"] = SmoothingConfig(**table["smoothing"])
            if (gate := table.get("gate")) is not None:
                table["gate"] = GateConfig(**gate)
            table["metrics"] = {
                str(name): {**value, "uar": float(value["uar"]), "protocol": str(value["protocol"])}
                for name, value in table["metrics"].items()
            }
            table["training_data"] = tuple(TrainingData(**d) for d in table["training_data"])
            return cls(**table)
        except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise BundleError(f"its metadata does not fit schema {SCHEMA}: {error!r}") from error


class ModelBundle:
    """An immutable model: metadata and network; all stream state lives in the engine."""

    def __init__(self, meta: ModelMeta, session: Any, path: Path) -> None:
        self.meta = meta
        self.path = path
        self._session = session
        self._inputs = [i.name for i in session.get_inputs()]
        self._logit_bias = np.array(meta.logit_bias or 0.0, dtype=np.float32)
        self._extractor = make_extractor(meta.frontend, meta.frontend_params)

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
            BundleError: no such file, not ONNX, no or other metadata, or a graph that does not fit
                its metadata.
        """
        path = default_model_path() if path is None else Path(path)
        if not path.is_file():
            raise BundleError(f"{path}: no such model file")
        try:
            session = open_session(path, threads)
        except Exception as error:  # ONNX Runtime raises bare C++ exceptions of many types
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BundleError(
                f"{path}: not a model that ONNX Runtime can open: {reason}"
            ) from error
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise BundleError(f"{path}: no {METADATA_KEY} metadata; export it with ser-export")
        try:
            meta = ModelMeta.from_json(text)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        try:
            bundle = cls(meta, session, path)
        except (ConfigError, TypeError) as error:
            raise BundleError(f"{path}: {error}") from error
        bundle._check()
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
        return self._session.run(None, dict(zip(self._inputs, values, strict=True)))[0]

    def posterior(self, logits: Float32) -> Float32:
        """Calibrated softmax, float32 (batch, classes), of logits (batch, classes)."""
        return calibrated_softmax(logits, self.meta.temperature, self._logit_bias)

    def describe(self) -> Mapping[str, Any]:
        """Metadata as plain values, for `ser-stream info`."""
        return asdict(self.meta)

    def _check(self) -> None:
        meta = self.meta
        try:
            extractor = self._extractor
            width = extractor.width
            if extractor.sample_rate_hz != meta.sample_rate_hz:
                raise ConfigError(
                    f"front end at {extractor.sample_rate_hz} Hz, model at {meta.sample_rate_hz} Hz"
                )
            if not len(meta.mean) == len(meta.std) == width:
                raise ConfigError(
                    f"{len(meta.mean)} means and {len(meta.std)} stds for {width} features"
                )
            normalizer = self.make_normalizer()
            speaks = meta.embedding or meta.speaker is not None
            wanted = ["features", *(["embedding"] if speaks else [])]
            wanted += ["tokens", "text_lengths"] if meta.words is not None else []
            if self._inputs != wanted:
                raise ConfigError(f"the graph has inputs {self._inputs}, expected {wanted}")
            silence = np.zeros((meta.window_frames, width), dtype=np.float32)
            nothing = Moments(np.zeros(normalizer.moments_width))
            window = extractor.present(normalizer.normalize(silence, nothing))
            embedding = None
            if meta.embedding:
                embedding = np.zeros((1, normalizer.embedding_width), np.float32)
            out = self(window[None], embedding)
            if out.shape != (1, len(meta.labels)):
                raise ConfigError(f"output {out.shape} for {len(meta.labels)} labels")
        except Exception as error:  # whatever a foreign graph does wrong is one line to the user
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BundleError(f"{self.path}: graph and metadata do not fit: {reason}") from error


def default_model_path() -> Path:
    """Path of the model that is shipped with the package."""
    return models_folder() / "default.onnx"


def calibrated_softmax(logits: Float32, temperature: float, bias: ArrayLike = 0.0) -> Float32:
    """Softmax of ``(logits + bias) / temperature`` over the last axis, float32."""
    z = logits + np.asarray(bias, dtype=np.float32)
    p = np.exp((z - z.max(axis=-1, keepdims=True)) / np.float32(temperature))
    return p / p.sum(axis=-1, keepdims=True)
