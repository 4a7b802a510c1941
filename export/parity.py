"""The gate that every export has to pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ser_stream.errors import SerStreamError
from ser_stream.models.bundle import ModelBundle
from training.data.windows import Inputs

MAX_DIFFERENCE = 1e-4
BATCHES = (1, 3)


class ParityError(SerStreamError):
    """PyTorch and ONNX Runtime disagree."""


@torch.no_grad()
def check_parity(net: nn.Module, bundle: ModelBundle, inputs: Inputs) -> float:
    """Compare logits on windows of real audio at batch 1 and 3.

    Args:
        net: the network as it was trained.
        bundle: the export.
        inputs: three windows or more; windows that are padded are compared as the runtime would
            present them, without their lengths.

    Returns:
        The largest absolute difference.

    Raises:
        ParityError: it exceeds 1e-4, an output is not finite or has another shape, or there are
            not enough windows, or all are the same.
    """
    windows = inputs.features
    embedding = inputs.extra.get("embedding")
    if len(windows) < max(BATCHES) or np.ptp(windows, axis=0).max() == 0.0:
        raise ParityError(f"parity needs {max(BATCHES)} different windows, got {len(windows)}")
    net.eval()
    worst = 0.0
    for batch in BATCHES:
        for i in range(0, len(windows) - batch + 1, batch):
            x = np.ascontiguousarray(windows[i : i + batch])
            e = None if embedding is None else np.ascontiguousarray(embedding[i : i + batch])
            extra = {} if e is None else {"embedding": torch.from_numpy(e)}
            words = None
            if bundle.meta.words is not None:
                # Every second window without words: sound alone must agree too.
                tokens, lengths = (
                    inputs.extra[n][i : i + batch] for n in ("tokens", "text_lengths")
                )
                lengths = np.where((i + np.arange(batch)) % 2, lengths, 0)
                extra["tokens"] = torch.from_numpy(np.ascontiguousarray(tokens))
                extra["text_lengths"] = torch.from_numpy(lengths)
                words = [t[:n] for t, n in zip(tokens, lengths, strict=True)]
            want = net(torch.from_numpy(x), **extra).numpy()
            got = bundle(x, e, words)
            if got.shape != want.shape:
                raise ParityError(f"batch {batch}: shape {got.shape}, PyTorch gives {want.shape}")
            difference = float(np.abs(got - want).max())
            if not difference <= MAX_DIFFERENCE:
                raise ParityError(
                    f"batch {batch}: logits differ by {difference:.2e}, more than {MAX_DIFFERENCE}"
                )
            worst = max(worst, difference)
    return worst
