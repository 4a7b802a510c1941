"""What the network is shown."""

from __future__ import annotations

import numpy as np

from ser_stream.models.bundle import ModelBundle


class Spy:
    """A bundle that remembers the windows and embeddings it was shown."""

    def __init__(self, bundle: ModelBundle) -> None:
        self._bundle = bundle
        self.windows: list[np.ndarray] = []
        self.embeddings: list[np.ndarray] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._bundle, name)

    def __call__(
        self,
        features: np.ndarray,
        embedding: np.ndarray | None = None,
        words: list[np.ndarray] | None = None,
    ) -> np.ndarray:
        self.windows.extend(features.copy())
        self.embeddings.extend([] if embedding is None else embedding.copy())
        return self._bundle(features, embedding, words)
