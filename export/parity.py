"""The gate that every export has to pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ser_stream.errors import SerStreamError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.inputs import Inputs

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
    windows = inputs["features"]
    if len(windows) < max(BATCHES) or np.ptp(windows, axis=0).max() == 0.0:
        raise ParityError(f"parity needs {max(BATCHES)} different windows, got {len(windows)}")
    net.eval()
    worst = 0.0
    for batch in BATCHES:
        for i in range(0, len(windows) - batch + 1, batch):
            given = {
                name: np.ascontiguousarray(inputs[name][i : i + batch]) for name in bundle.inputs
            }
            if "text_lengths" in given:
                # Every second window without words: sound alone must agree too.
                heard = (i + np.arange(batch)) % 2
                given["text_lengths"] = given["text_lengths"] * heard
            want = net(**{name: torch.from_numpy(value) for name, value in given.items()}).numpy()
            if "tokens" in given:
                # PyTorch's network looks at none of the tokens after the words.
                words = np.arange(given["tokens"].shape[1]) < given["text_lengths"][:, None]
                given["tokens"] = given["tokens"] * words[:, :, None].astype(np.float32)
            got = bundle(given)
            if got.shape != want.shape:
                raise ParityError(f"batch {batch}: shape {got.shape}, PyTorch gives {want.shape}")
            difference = float(np.abs(got - want).max())
            if not difference <= MAX_DIFFERENCE:
                raise ParityError(
                    f"batch {batch}: logits differ by {difference:.2e}, more than {MAX_DIFFERENCE}"
                )
            worst = max(worst, difference)
    return worst
