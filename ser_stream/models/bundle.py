"""One file is one model: an ONNX graph with everything needed to run it in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_stream.errors import BundleError
from ser_stream.features.extractor import Extractor
from ser_stream.features.normalizer import FeatureStatistics, Moments, Normalizer, NormalizerState
from ser_stream.features.registry import make_extractor, make_normalizer
from ser_stream.models.inputs import Inputs, word_inputs
from ser_stream.models.metadata import METADATA_KEY, MOST_WINDOW_S, MOST_WINDOW_VALUES, ModelMeta
from ser_stream.models.network import ModelFile, Network, check_output, models_folder, named
from ser_stream.types import Float32


class ModelBundle:
    """An immutable model: metadata and network; all stream state lives in the engine.

    >>> from ser_stream.models.bundle import ModelBundle
    >>> bundle = ModelBundle.load()
    >>> bundle
    ModelBundle 'default'
      features: ('batch', 'frames', 102)
      embedding: ('batch', 2)
      labels: angry, happy, neutral, sad
      window: 2.00 s (122 frames), hop 0.40 s
      file: 1.93 MB

    Its inputs have an axis of windows in front, and so have its answers:

    >>> import numpy as np
    >>> features = np.zeros((3, bundle.meta.window_frames, 102), np.float32)
    >>> logits = bundle({"features": features, "embedding": np.zeros((3, 2), np.float32)})
    >>> bundle.posterior(logits).shape
    (3, 4)

    Attributes:
        meta: what the file says.
        path: of the file.
        digest: SHA-256 of the file, hexadecimal.
    """

    def __init__(self, meta: ModelMeta, network: Network, digest: str, file_bytes: int) -> None:
        self.meta = meta
        self.path = network.path
        self.digest = digest
        self._network = network
        self._file_bytes = file_bytes
        self._logit_bias = np.array(meta.logit_bias or 0.0, dtype=np.float32)
        self._extractor = make_extractor(meta.frontend, meta.frontend_params)
        self._nothing = self._nothing_told()
        self._check()

    def __repr__(self) -> str:
        m = self.meta
        hop_s = self.hop_frames() * self.hop_s
        lines = [
            f"ModelBundle {m.name!r}",
            *(f"  {name}: {shape}" for name, shape in self.inputs.items()),
            f"  labels: {', '.join(m.labels)}",
            f"  window: {self.window_s:.2f} s ({m.window_frames} frames), hop {hop_s:.2f} s",
            f"  file: {self._file_bytes / 1e6:.2f} MB",
        ]
        return "\n".join(lines)

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
            bundle = cls(meta, Network.open(file, threads), file.digest, len(file.data))
            bundle._network.try_out(bundle._try_out)
        return bundle

    @property
    def hop_s(self) -> float:
        """Step between frames in seconds."""
        return self._extractor.hop_length / self.meta.sample_rate_hz

    def hop_frames(self, hop_s: float | None = None) -> int:
        """Frames of a step of ``hop_s`` seconds, at least one; the default step's without."""
        if hop_s is None:
            return self.meta.window_hop_frames
        return max(1, round(hop_s / self.hop_s))

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

    def make_normalizer(
        self, state: NormalizerState | None = None, memory_s: float | None = None
    ) -> Normalizer:
        """Build a fresh normaliser; state and memory are those trained for unless given."""
        meta = self.meta
        config = meta.normalizer
        if memory_s is not None:
            config = replace(config, memory_s=memory_s)
        return make_normalizer(
            self._extractor,
            FeatureStatistics(
                np.array(meta.mean, dtype=np.float32), np.array(meta.std, dtype=np.float32)
            ),
            config,
            meta.normalizer_state if state is None else state,
            meta.embedding,
        )

    @property
    def inputs(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """Dimensions of the graph's inputs by their names; one that varies is a name or None."""
        return self._network.inputs

    def __call__(self, inputs: Inputs) -> Float32:
        """Logits, float32 (batch, classes).

        Args:
            inputs: one array (batch, ...) for each of the graph's inputs. An embedder's embedding
                and words may be missing: zeros and no words take their place.

        Raises:
            BundleError: a name or a shape is another one, or ONNX Runtime fails.
        """
        batch = len(inputs["features"]) if "features" in inputs else 0
        given = {
            name: np.repeat(value[None], batch, axis=0)
            for name, value in self._nothing.items()
            if name not in inputs
        }
        given.update(inputs)
        self._check_inputs(given, batch)
        return self._network(given)[0]

    def posterior(self, logits: Float32) -> Float32:
        """Softmax of scaled logits (batch, classes), float32 of the same shape."""
        return scaled_softmax(logits, self.meta.temperature, self._logit_bias)

    def describe(self) -> Mapping[str, Any]:
        """Metadata as plain values, for `ser-stream info`."""
        return asdict(self.meta)

    def _nothing_told(self) -> Inputs:
        """What stands for an embedder and words that are not there, of one window."""
        nothing: dict[str, NDArray[Any]] = {}
        if (speaker := self.meta.speaker) is not None:
            nothing["embedding"] = np.zeros(speaker.dimension, np.float32)
        if (reads := self.meta.words) is not None:
            nothing["tokens"] = np.zeros((reads.tokens, reads.width), np.float32)
            nothing["text_lengths"] = np.zeros((), np.int64)
        return nothing

    def _check_inputs(self, inputs: Inputs, batch: int) -> None:
        expected = self._network.inputs
        if inputs.keys() != expected.keys():
            raise BundleError(
                f"{self.path}: got inputs {sorted(inputs)}, the graph takes {sorted(expected)}"
            )
        for name, shape in expected.items():
            found = inputs[name].shape
            fits = len(found) == len(shape) and all(
                n == wanted or not isinstance(wanted, int)
                for n, wanted in zip(found, shape, strict=True)
            )
            if not fits or found[0] != batch:
                raise BundleError(
                    f"{self.path}: {name} has shape {found} in a batch of {batch}, "
                    f"the graph takes {shape}"
                )

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
        found = list(self._network.inputs)
        if found != wanted:
            raise BundleError(f"the graph has inputs {found}, expected {wanted}")
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
        inputs: dict[str, NDArray[Any]] = {"features": windows}
        if meta.embedding or meta.speaker is not None:
            dimension = meta.speaker.dimension if meta.speaker else normalizer.embedding_width
            inputs["embedding"] = rng.standard_normal((3, dimension), np.float32)
            inputs["embedding"][0] = 0.0
        if meta.words is not None:
            shape = (3, meta.words.tokens, meta.words.width)
            # None, one, and as many as it reads.
            words = [
                w[:n]
                for w, n in zip(rng.standard_normal(shape, np.float32), (0, 1, None), strict=True)
            ]
            inputs |= word_inputs(words, meta.words.tokens)
        for part in (slice(0, 1), slice(1, 2), slice(0, 3)):
            logits = self({name: value[part] for name, value in inputs.items()})
            shape = (len(windows[part]), len(meta.labels))
            check_output(logits, shape, f"{len(meta.labels)} labels")
            check_output(self.posterior(logits), shape, "posteriors")


def default_model_path() -> Path:
    """Path of the model that is shipped with the package."""
    return models_folder() / "default.onnx"


def scaled_softmax(logits: Float32, temperature: float, bias: ArrayLike = 0.0) -> Float32:
    """Softmax of ``(logits + bias) / temperature`` over the last axis, float32."""
    z = logits + np.asarray(bias, dtype=np.float32)
    p = np.exp((z - z.max(axis=-1, keepdims=True)) / np.float32(temperature))
    return p / p.sum(axis=-1, keepdims=True)
