"""Export a speaker embedder to the contract of `ser_stream.models.embedder`, or not at all."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from export.graph import published, write_graph
from export.parity import MAX_DIFFERENCE, ParityError
from export.to_onnx import LICENCE
from ser_stream.features.registry import make_extractor
from ser_stream.models.embedder import METADATA_KEY, SpeakerEmbedder, SpeakerMeta
from ser_stream.models.network import ModelFile, Network
from training.models.xvector import Embedder
from training.speakers.checkpoint import CHECKPOINT, SpeakerCheckpoint
from training.speakers.recipe import LEAST_FRAMES


def is_speaker_checkpoint(path: Path) -> bool:
    """Whether ``path`` is what ``ser-train speakers`` writes, or its folder."""
    return path.name == CHECKPOINT or (path / CHECKPOINT).is_file()


def speaker_meta(checkpoint: SpeakerCheckpoint) -> SpeakerMeta:
    """The file's metadata: what the runtime needs, and where the embedder is from."""
    recipe, presentation = checkpoint.recipe, checkpoint.trained.presentation
    return SpeakerMeta(
        name=recipe.name,
        frontend=recipe.frontend,
        frontend_params=recipe.frontend_params,
        sample_rate_hz=make_extractor(recipe.frontend, recipe.frontend_params).sample_rate_hz,
        dimension=checkpoint.trained.net.config.dimension,
        least_frames=LEAST_FRAMES,
        centring=presentation.centring,
        mean=tuple(presentation.mean.tolist()),
        std=tuple(presentation.std.tolist()),
        clip=presentation.clip,
        voicing=recipe.voicing,
        training_data=checkpoint.training_data,
        licence=LICENCE,
        metrics=checkpoint.metrics,
        recipe=asdict(recipe),
    )


def export_speaker(checkpoint: SpeakerCheckpoint, path: Path) -> float:
    """Write ``path`` and return the largest difference of its embeddings from PyTorch's.

    The file appears only once it has passed: the graph is valid, the runtime opens it, and on the
    checkpoint's recordings, of different lengths, both agree within 1e-4 of the largest value.

    Raises:
        ExportError: it cannot be written.
        ParityError: they disagree, or there are not enough recordings.
    """
    with published(path) as part:
        _write_graph(checkpoint, part)
        SpeakerEmbedder.load(part)
        return check_speaker_parity(checkpoint, part)


def _write_graph(checkpoint: SpeakerCheckpoint, path: Path) -> None:
    net = Embedder(checkpoint.trained.net).eval()
    width = len(checkpoint.trained.presentation.mean)
    frames = torch.export.Dim("frames", min=LEAST_FRAMES, max=1_000_000)
    write_graph(
        net,
        {"features": torch.zeros(1, 4 * LEAST_FRAMES, width)},
        ["features"],
        "embedding",
        {"features": {1: frames}},
        METADATA_KEY,
        speaker_meta(checkpoint),
        path,
    )


@torch.no_grad()
def check_speaker_parity(checkpoint: SpeakerCheckpoint, path: Path) -> float:
    """Compare the embeddings of real recordings, each by itself and cut to half.

    Returns:
        The largest absolute difference, relative to the largest value of the embedding.

    Raises:
        ParityError: it exceeds 1e-4, the shapes differ, or there is no recording.
    """
    if not checkpoint.examples:
        raise ParityError("parity needs a recording of real audio, and there is none")
    network = Network.open(ModelFile.read(path))
    net = Embedder(checkpoint.trained.net).eval()
    worst = 0.0
    for example in checkpoint.examples:
        for n in (len(example), max(LEAST_FRAMES, len(example) // 2)):
            x = np.ascontiguousarray(example[None, :n])
            want = net(torch.from_numpy(x)).numpy()
            got = network({"features": x})[0]
            if got.shape != want.shape:
                raise ParityError(f"{n} frames: shape {got.shape}, PyTorch gives {want.shape}")
            difference = float(np.abs(got - want).max() / max(1.0, np.abs(want).max()))
            if not difference <= MAX_DIFFERENCE:
                raise ParityError(
                    f"{n} frames: embeddings differ by {difference:.2e}, more than {MAX_DIFFERENCE}"
                )
            worst = max(worst, difference)
    return worst
