"""What a training run leaves behind: plain data and tensors, loadable without running code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ser_stream.errors import SerStreamError
from ser_stream.files import replacing
from ser_stream.models.inputs import Inputs
from ser_stream.models.metadata import SpeakerInput, TrainingData, WordInput
from ser_stream.printable import one_line
from ser_stream.typed import typed
from ser_stream.types import Float32
from training.recipe.config import Recipe
from training.recipe.parse import parse_recipe

CHECKPOINT = "checkpoint.pt"
SCHEMA = 2


class CheckpointError(SerStreamError):
    """A checkpoint that cannot be read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network with all that a bundle needs.

    Attributes:
        recipe: what was trained.
        net: the network, in evaluation mode.
        mean: training mean per feature.
        std: training standard deviation per feature.
        temperature: fitted on the validation speakers...
        logit_bias: ...like this, one per class; see `ser_stream.models.metadata.ModelMeta`.
        training_data: corpora of the training.
        metrics: results, each with its protocol.
        words: what it reads beside the sound; None for a network of sound alone.
        speaker: the embedder whose embeddings it takes; None for a network that takes none.
        examples: the network's inputs for some windows of real audio; parity is checked on them.
    """

    recipe: Recipe
    net: nn.Module
    mean: Float32
    std: Float32
    temperature: float
    logit_bias: tuple[float, ...]
    training_data: tuple[TrainingData, ...]
    metrics: dict[str, Any]
    examples: Inputs
    words: WordInput | None = None
    speaker: SpeakerInput | None = None

    def save(self, path: Path) -> None:
        """Write to ``path`` in one step."""
        examples = {name: torch.from_numpy(value) for name, value in self.examples.items()}
        write_table(
            path,
            {
                "schema": SCHEMA,
                "recipe": self.recipe.as_dict(),
                "state": self.net.state_dict(),
                "mean": torch.from_numpy(self.mean),
                "std": torch.from_numpy(self.std),
                "temperature": self.temperature,
                "logit_bias": list(self.logit_bias),
                "training_data": [asdict(d) for d in self.training_data],
                "metrics": self.metrics,
                "words": None if self.words is None else asdict(self.words),
                "speaker": None if self.speaker is None else asdict(self.speaker),
                "examples": examples.pop("features"),
                "example_extra": examples,
            },
        )

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint, or the one in a run's folder.

        Raises:
            CheckpointError: missing, not a checkpoint, or of another schema.
        """
        file = path / CHECKPOINT if path.is_dir() else path
        table = read_table(file)
        if table.get("schema") != SCHEMA:
            raise CheckpointError(f"{file}: not a checkpoint of this version of ser-train")
        with whole(file):
            recipe = parse_recipe(table["recipe"])
            net = recipe.network()
            net.load_state_dict(table["state"])
            return cls(
                recipe,
                net.eval(),
                table["mean"].numpy(),
                table["std"].numpy(),
                table["temperature"],
                tuple(table["logit_bias"]),
                tuple(typed(d, TrainingData) for d in table["training_data"]),
                table["metrics"],
                {
                    "features": table["examples"].numpy(),
                    **{name: value.numpy() for name, value in table["example_extra"].items()},
                },
                typed(words, WordInput) if (words := table.get("words")) is not None else None,
                typed(told, SpeakerInput) if (told := table.get("speaker")) is not None else None,
            )


@contextlib.contextmanager
def whole(file: Path) -> Iterator[None]:
    """Let what is missing or wrong in the values of a checkpoint be a `CheckpointError`."""
    try:
        yield
    except (
        ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
        SerStreamError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{file}: damaged, or of another version of ser-train: {_reason(error)}"
        ) from error


def write_table(file: Path, table: dict[str, Any]) -> None:
    """Write the values that a checkpoint of any kind holds, in one step."""
    with replacing(file) as part:
        torch.save(table, part)


def read_table(file: Path) -> dict[str, Any]:
    """Read the values that a checkpoint of any kind holds.

    Raises:
        CheckpointError: missing, or not a checkpoint.
    """
    try:
        table = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for what is not its own
        raise CheckpointError(f"{file}: not a checkpoint of ser-train: {_reason(error)}") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{file}: not a checkpoint of this version of ser-train")
    return table


def _reason(error: Exception) -> str:
    """The first line of what an exception says, with its type where that says more."""
    first = (str(error).splitlines() or [""])[0]
    known = isinstance(error, SerStreamError) and first
    return one_line(first if known else f"{type(error).__name__}: {first}", 300)
