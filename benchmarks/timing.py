"""How long calls take."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Median time of ``call`` after one to warm up, s."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
