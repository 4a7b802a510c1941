"""Export a checkpoint: build the graph, add the metadata, and keep the file only if it agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.graph import ExportError, published, write_graph
from export.parity import check_parity
from ser_stream.features.normalizer import FeatureStatistics
from ser_stream.features.registry import make_extractor
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.inputs import Inputs
from ser_stream.models.metadata import METADATA_KEY, ModelMeta
from training.checkpoint import Checkpoint
from training.data.features import FeatureStore
from training.data.windows import Place, Presenter
from training.models import network_kind

LICENCE = "Apache-2.0"


def make_meta(checkpoint: Checkpoint) -> ModelMeta:
    """Metadata of law 7: what the runtime needs, and where the model is from."""
    recipe = checkpoint.recipe
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    return ModelMeta(
        name=recipe.name,
        labels=recipe.labels,
        frontend=recipe.frontend,
        frontend_params=recipe.frontend_params,
        sample_rate_hz=extractor.sample_rate_hz,
        window_frames=recipe.window_frames,
        window_hop_frames=recipe.window_hop_frames,
        mean=tuple(float(v) for v in checkpoint.mean),
        std=tuple(float(v) for v in checkpoint.std),
        normalizer=recipe.normalizer,
        normalizer_state=recipe.normalizer_state,
        profiles=recipe.train.calibrated_share > 0,
        embedding=recipe.embedding,
        speaker=checkpoint.speaker,
        words=checkpoint.words,
        temperature=checkpoint.temperature,
        logit_bias=checkpoint.logit_bias,
        smoothing=recipe.smoothing,
        gate=recipe.gate,
        sure=recipe.sure,
        training_data=checkpoint.training_data,
        licence=LICENCE,
        metrics=checkpoint.metrics,
        recipe=recipe.as_dict(),
    )


def export(checkpoint: Checkpoint, path: Path) -> float:
    """Write ``path`` and return the largest difference of its logits from PyTorch's.

    The file appears only once it has passed: the graph is valid, the runtime opens it, and on the
    checkpoint's windows of real audio PyTorch and ONNX Runtime agree at batch 1 and 3.

    Raises:
        ExportError: it did not pass, or cannot be written.
    """
    with published(path) as part:
        _write_graph(checkpoint, part)
        return check_parity(checkpoint.net, ModelBundle.load(part), checkpoint.examples)


def _write_graph(checkpoint: Checkpoint, path: Path) -> None:
    # Two of everything: a size of 1 would be taken for a constant.
    examples = {n: torch.from_numpy(v[:2]) for n, v in checkpoint.examples.items()}
    batch = torch.export.Dim("batch", min=1, max=4096)
    frames = torch.export.Dim("frames", min=16, max=65536)
    names = ["features"]
    shapes: dict[str, dict[int, Any]] = {"features": {0: batch, 1: frames}}
    if checkpoint.recipe.embedding or checkpoint.recipe.speaker:
        names.append("embedding")
    if checkpoint.recipe.text.tokens:
        names += ["tokens", "text_lengths"]
    shapes |= {name: {0: batch} for name in names[1:]}
    inputs = {name: examples[name] for name in names}
    # The parity gate compares with the network as it was trained, not with this one.
    net = network_kind(checkpoint.recipe.model).inference(checkpoint.net.eval()).eval()
    write_graph(net, inputs, names, "logits", shapes, METADATA_KEY, make_meta(checkpoint), path)


def describe(path: Path, difference: float, n_windows: int) -> str:
    """One line about a finished export."""
    return (
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, PyTorch and ONNX Runtime differ by at most "
        f"{difference:.1e} on {n_windows} windows of real audio"
    )


def example_inputs(audio: list[np.ndarray], checkpoint: Checkpoint) -> Inputs:
    """The network's inputs for clips, float32 (n,) at the model's rate, the first window of each.

    Raises:
        ExportError: no clip is long enough for one frame.
    """
    recipe = checkpoint.recipe
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    store = FeatureStore([[f] for f in map(extractor, audio) if len(f)])
    if not len(store):
        raise ExportError("no audio is long enough for one frame")
    presenter = Presenter(recipe, store, FeatureStatistics(checkpoint.mean, checkpoint.std))
    places = []
    for i, (frames,) in enumerate(store.frames):
        presenter.normalizer.reset()
        moments = presenter.normalizer.accept(frames)
        places.append(Place(i, 0, 0, moments[min(recipe.window_frames, len(frames)) - 1]))
    return presenter.present(places)
