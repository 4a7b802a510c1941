"""How loud samples are."""

from __future__ import annotations

import numpy as np

from ser_stream.types import Float32


def level_dbfs(samples: Float32) -> float:
    """Root mean square level of samples (n,) in dB relative to full scale, at least -120."""
    if len(samples) == 0:
        return -120.0
    mean_square = float(np.dot(samples, samples)) / len(samples)
    return 10.0 * float(np.log10(max(mean_square, 1e-12)))
