"""Who speaks, as a vector: speaker embeddings of voiced speech, offline and along a stream.

An embedder is one ONNX file with one input and one output, and a JSON value in its metadata under
`METADATA_KEY` that `SpeakerMeta.to_json` writes:

- input ``features``: float32 (1, frames, width), any number of frames from ``least_frames`` on: the
  voiced frames of one speaker, of the front end that the metadata names, joined where unvoiced ones
  lay between, centred, standardised by ``mean`` and ``std``, and clipped;
- output ``embedding``: float32 (1, dimension). Only its direction counts.

Any network with this contract will do, of the operators that `ser_stream.models.onnx_file` lists;
``ser-export`` writes those of ``ser-train speakers``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import AudioError, BundleError, ConfigError
from ser_stream.features.extractor import Extractor, Frames
from ser_stream.features.normalizer import NormalizerConfig, voiced_frames
from ser_stream.features.registry import make_extractor
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.metadata import TrainingData
from ser_stream.models.network import ModelFile, Network, check_output, named
from ser_stream.models.versioned import VersionedTable
from ser_stream.typed import sized, within
from ser_stream.types import Float32

METADATA_KEY = "ser_stream_speaker"
CENTRINGS = ("none", "level", "mean")
# Recordings longer than this are embedded in parts, in constant memory.
PART_S = 10.0


@dataclass(frozen=True, slots=True)
class Voicing:
    """Which frames are voiced speech.

    Attributes:
        periodicity: normalised autocorrelation from which on a frame is voiced; 0 asks for its
            level alone.
        range_db: dB below the loudest recent frame at most.
        floor_dbfs: level at least.
        release_db_per_s: how fast the loudest recent level is forgotten.
    """

    periodicity: Annotated[float, within(-1.0, 2.0)] = 0.4
    range_db: Annotated[float, within(0.0, 1000.0)] = 30.0
    floor_dbfs: Annotated[float, within(-1000.0, 1000.0)] = -95.0
    release_db_per_s: Annotated[float, within(0.0, 1e6)] = 1.0

    def of(
        self, frames: Frames, frames_per_s: float, loudest_db: float = -np.inf
    ) -> tuple[NDArray[np.bool_], float]:
        """One flag per frame, bool (frames,), and ``loudest_db`` for the frames after them."""
        if not len(frames):
            return np.zeros(0, dtype=np.bool_), loudest_db
        voiced, loudest = voiced_frames(
            frames, NormalizerConfig(**asdict(self)), frames_per_s, loudest_db
        )
        return voiced, float(loudest[-1])


@dataclass(frozen=True, slots=True)
class Presentation:
    """How voiced frames become the network's input; training shares it.

    Attributes:
        centring: what is taken off the frames first: "mean" takes off each feature's own mean over
            them, and with it the channel and part of the voice; "level" only how loud they are;
            "none" nothing.
        mean: per feature, of centred training frames.
        std: likewise, the standard deviation.
        clip: limit of standardised features.
    """

    centring: str
    mean: Float32
    std: Float32
    clip: float = 5.0

    def __post_init__(self) -> None:
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise ConfigError(f"mean {self.mean.shape} and std {self.std.shape} must be equal, 1-d")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ConfigError("speaker statistics are not finite")
        if (self.std <= 0.0).any() or not self.clip > 0.0:
            raise ConfigError("speaker statistics need std > 0 for every feature, and clip > 0")

    def __call__(self, features: Float32, gain: Float32 | None) -> Float32:
        """Present ``features`` (frames, width); ``gain`` as in `centred`."""
        x = centred(features, self.centring, gain)
        x -= self.mean
        x /= self.std
        return np.clip(x, -self.clip, self.clip, out=x)


def centred(features: Float32, centring: str, gain: Float32 | None) -> Float32:
    """A copy of ``features`` (frames, width), centred as `Presentation` says.

    Args:
        features: one frame or more.
        centring: one of `CENTRINGS`.
        gain: what each feature gains per dB, (width,); "level" needs it.

    Raises:
        ConfigError: another centring, or no gain where one is needed.
    """
    if centring == "none":
        return features.astype(np.float32)
    if centring == "mean":
        return features - features.mean(axis=0)
    if centring != "level":
        raise ConfigError(f"unknown centring {centring!r}; known: {', '.join(CENTRINGS)}")
    if gain is None:
        raise ConfigError("the level can only be taken out of features with a known gain")
    # The loudness whose gain is nearest to the mean frame, by least squares.
    return features - gain * (features.mean(axis=0) @ gain / (gain @ gain))


@dataclass(frozen=True, slots=True)
class SpeakerMeta(VersionedTable):
    """What an embedder's file says about itself.

    Attributes:
        name: of the embedder.
        frontend: name in the registry of front ends.
        frontend_params: its parameters.
        sample_rate_hz: rate that the front end expects.
        dimension: of the embedding.
        least_frames: fewest frames that the network takes.
        centring: see `Presentation`.
        mean: see `Presentation`, per feature.
        std: likewise.
        clip: likewise.
        voicing: frames that count.
        training_data: corpora, licences and credits.
        licence: of the weights.
        metrics: results, each with its protocol.
        recipe: every number of the training run.
    """

    name: Annotated[str, sized(1, 200)]
    frontend: Annotated[str, sized(1, 40)]
    frontend_params: Annotated[dict[str, Any], sized(0, 100)]
    sample_rate_hz: Annotated[int, within(1000, 48000)]
    dimension: Annotated[int, within(1, 16384)]
    least_frames: Annotated[int, within(1, 10_000)]
    centring: str
    mean: Annotated[tuple[float, ...], sized(1, 16384)]
    std: Annotated[tuple[float, ...], sized(1, 16384)]
    clip: Annotated[float, within(1e-3, 1e6)] = 5.0
    voicing: Voicing = field(default_factory=Voicing)
    training_data: Annotated[tuple[TrainingData, ...], sized(0, 200)] = ()
    licence: Annotated[str, sized(0, 1000)] = ""
    metrics: Annotated[dict[str, Any], sized(0, 1000)] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.centring not in CENTRINGS:
            raise ConfigError(f"unknown centring {self.centring!r}; known: {', '.join(CENTRINGS)}")
        if self.dimension < 1 or self.least_frames < 1:
            raise ConfigError("dimension and least_frames must be at least 1")


class SpeakerEmbedder:
    """An immutable embedder; what is known of a speaker lives in a `SpeakerTracker`.

    Attributes:
        meta: what the file says.
        path: of the file.
        digest: SHA-256 of the file, hexadecimal: embeddings of different digests do not compare.
        extractor: the front end's per-frame stage; stateless.
    """

    def __init__(self, meta: SpeakerMeta, network: Network, digest: str) -> None:
        self.meta = meta
        self.path = network.path
        self.digest = digest
        self.extractor: Extractor = make_extractor(meta.frontend, meta.frontend_params)
        self._network = network
        self._present = Presentation(
            meta.centring,
            np.array(meta.mean, dtype=np.float32),
            np.array(meta.std, dtype=np.float32),
            meta.clip,
        )
        self._check()

    def __repr__(self) -> str:
        return f"SpeakerEmbedder({self.meta.name!r}, {self.dimension}, {self.digest[:12]})"

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1) -> Self:
        """Open an embedder.

        Args:
            path: an ONNX file that keeps the contract of `ser_stream.models.embedder`.
            threads: ONNX Runtime's intra-op threads; they never spin.

        Raises:
            BundleError: no such file, not ONNX, no or other metadata, or a graph that does not fit
                its metadata.
        """
        path = Path(path)
        hint = (
            ", so it is no speaker embedder; train one with ser-train speakers, or see "
            "ser_stream.models.embedder for what another one needs"
        )
        with named(path):
            file = ModelFile.read(path, "speaker embedder")
            meta = SpeakerMeta.from_json(file.text(METADATA_KEY, hint))
            embedder = cls(meta, Network.open(file, threads), file.digest)
            embedder._network.try_out(embedder._try_out)
        return embedder

    @property
    def dimension(self) -> int:
        """Values of an embedding."""
        return self.meta.dimension

    @property
    def frames_per_s(self) -> float:
        """Frame rate of the front end."""
        return self.extractor.sample_rate_hz / self.extractor.hop_length

    def nobody(self) -> Float32:
        """The embedding of an unknown speaker: zeros, float32 (dimension,)."""
        return np.zeros(self.dimension, dtype=np.float32)

    def embed(self, features: Float32) -> Float32:
        """Embed one speaker's voiced frames.

        Args:
            features: float32 (frames, width) as the front end gives them.

        Returns:
            float32 (dimension,) of length 1; zeros for fewer frames than the network takes.

        Raises:
            AudioError: a feature is not finite, or the width is another one.
        """
        width = self.extractor.width
        if features.ndim != 2 or features.shape[1] != width:
            raise AudioError(f"features {features.shape}, the embedder wants (frames, {width})")
        if not np.isfinite(features).all():
            raise AudioError("features hold NaN or infinite values")
        if len(features) < self.meta.least_frames:
            return self.nobody()
        return unit(self._run(self._present(features, self.extractor.gain)))

    def embed_recording(self, samples: Float32) -> Float32:
        """Embed a recording of one speaker, float32 (n,) at the front end's rate.

        Long ones are embedded in equal parts of at most `PART_S` of voiced speech, whose mean is
        taken.

        Returns:
            float32 (dimension,) of length 1; zeros where too little of it is voiced.

        Raises:
            AudioError: a sample is not finite.
        """
        if not np.isfinite(samples).all():
            raise AudioError("recording holds NaN or infinite samples")
        frames = self.extractor(samples)
        voiced, _ = self.meta.voicing.of(frames, self.frames_per_s)
        features = frames.features[voiced]
        n_parts = max(1, -(-len(features) // int(PART_S * self.frames_per_s)))
        return unit(
            np.sum([self.embed(part) for part in np.array_split(features, n_parts)], axis=0)
        )

    def _run(self, x: Float32) -> Float32:
        return self._network({"features": x[None]})[0][0]

    def _check(self) -> None:
        """See to it that metadata, front end and graph fit each other."""
        meta, e = self.meta, self.extractor
        if e.sample_rate_hz != meta.sample_rate_hz:
            raise BundleError(
                f"front end at {e.sample_rate_hz} Hz, embedder at {meta.sample_rate_hz} Hz"
            )
        if len(meta.mean) != e.width:
            raise BundleError(f"{len(meta.mean)} means for {e.width} features")
        names = (list(self._network.inputs), self._network.outputs)
        if names != (["features"], ["embedding"]):
            raise BundleError(
                f"the graph has inputs {names[0]} and outputs {names[1]}, "
                "expected ['features'] and ['embedding']"
            )

    def _try_out(self) -> None:
        """Embed noise, and check the answers."""
        meta, e = self.meta, self.extractor
        # Two lengths: a graph of a fixed number of frames must not be found out while it runs.
        for n in (meta.least_frames, 2 * meta.least_frames + 1):
            noise = np.random.default_rng(0).standard_normal((n, e.width), dtype=np.float32)
            for frames in (noise, np.zeros_like(noise)):
                x = self._present(frames, e.gain)
                found = self._network({"features": x[None]})[0]
                check_output(found, (1, meta.dimension), f"dimension {meta.dimension}")


def check_embedder(bundle: ModelBundle, embedder: SpeakerEmbedder) -> None:
    """See to it that ``embedder`` is the one that a model was trained with.

    Raises:
        ConfigError: the model takes no embeddings, or those of another embedder.
    """
    wanted = bundle.meta.speaker
    if wanted is None:
        raise ConfigError(f"model {bundle.meta.name} is not told who speaks: it takes no embedder")
    if embedder.dimension != wanted.dimension or embedder.digest != wanted.digest:
        raise ConfigError(
            f"{embedder.path}: not the embedder that the model was trained with; it wants "
            f"{wanted.embedder} ({wanted.dimension} values, SHA-256 {wanted.digest[:12]}...), this "
            f"one has {embedder.dimension} values and {embedder.digest[:12]}..."
        )
    if embedder.meta.sample_rate_hz != bundle.meta.sample_rate_hz:
        raise ConfigError(
            f"{embedder.path}: hears {embedder.meta.sample_rate_hz} Hz, the model "
            f"{bundle.meta.sample_rate_hz}; use an embedder of the same rate"
        )


def unit(embedding: Float32) -> Float32:
    """Scale the last axis of (..., n) to length 1, float32; zeros stay zeros."""
    length = np.linalg.norm(embedding)
    return np.asarray(embedding / max(float(length), 1e-12), dtype=np.float32)
