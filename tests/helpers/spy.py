"""What the network is shown."""

from __future__ import annotations

import numpy as np

from ser_stream.models.bundle import ModelBundle
from ser_stream.models.inputs import Inputs


class Spy:
    """A bundle that remembers the windows and embeddings it was shown."""

    def __init__(self, bundle: ModelBundle) -> None:
        self._bundle = bundle
        self.windows: list[np.ndarray] = []
        self.embeddings: list[np.ndarray] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._bundle, name)

    def __call__(self, inputs: Inputs) -> np.ndarray:
        self.windows.extend(inputs["features"].copy())
        if "embedding" in inputs:
            self.embeddings.extend(inputs["embedding"].copy())
        return self._bundle(inputs)
