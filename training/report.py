"""Files that a person reads after a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_json(path: Path, values: Any) -> None:
    """Write ``values``, replacing the file in one step."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def plot_confusion(
    path: Path, confusion: NDArray[np.int64], labels: tuple[str, ...], title: str
) -> None:
    """Draw counts (true, predicted), shaded by the share of the true class, as a PNG."""
    from matplotlib.figure import Figure

    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    n = len(labels)
    figure = Figure(figsize=(2.2 + 0.9 * n, 1.8 + 0.8 * n), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(n):
        for j in range(n):
            axes.text(
                j,
                i,
                f"{share[i, j]:.0%}\n{confusion[i, j]}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if share[i, j] > 0.5 else "black",
            )
    axes.set_xticks(range(n), labels)
    axes.set_yticks(range(n), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("intended by the actor")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class")
    figure.savefig(path)
