"""What the training of an embedder leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ser_stream.features.registry import make_extractor
from ser_stream.models.embedder import Presentation
from ser_stream.models.metadata import TrainingData
from ser_stream.typed import typed
from ser_stream.types import Float32
from training.checkpoint import CheckpointError, read_table, whole, write_table
from training.data.features import FeatureStore
from training.models.xvector import XVector
from training.speakers.fit import TrainedEmbedder
from training.speakers.recipe import LEAST_FRAMES, SpeakerRecipe, parse_speaker_recipe
from training.speakers.voices import Voices

CHECKPOINT = "speakers.pt"
SCHEMA = 1
# Recordings of real audio that a checkpoint carries for the parity gate.
N_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class SpeakerCheckpoint:
    """A trained embedder with all that its export needs.

    Attributes:
        recipe: what was trained.
        trained: the network, how it is presented with frames, and its classes.
        training_data: corpora of the training.
        metrics: results, each with its protocol.
        examples: presented recordings of real audio, (frames, width) of different lengths; parity
            is checked on them.
    """

    recipe: SpeakerRecipe
    trained: TrainedEmbedder
    training_data: tuple[TrainingData, ...]
    metrics: dict[str, Any]
    examples: tuple[Float32, ...]

    def save(self, path: Path) -> None:
        """Write to ``path`` in one step."""
        net, presentation = self.trained.net, self.trained.presentation
        write_table(
            path,
            {
                "schema": SCHEMA,
                "speaker_recipe": asdict(self.recipe),
                "speakers": list(self.trained.speakers),
                "state": net.state_dict(),
                "mean": torch.from_numpy(presentation.mean),
                "std": torch.from_numpy(presentation.std),
                "training_data": [asdict(d) for d in self.training_data],
                "metrics": self.metrics,
                "examples": [torch.from_numpy(x) for x in self.examples],
            },
        )

    @classmethod
    def load(cls, path: Path) -> SpeakerCheckpoint:
        """Read a checkpoint, or the one in a folder.

        Raises:
            CheckpointError: missing, not a checkpoint, or of another schema.
        """
        file = path / CHECKPOINT if path.is_dir() else path
        table = read_table(file)
        if "speaker_recipe" not in table:
            raise CheckpointError(f"{file}: no speaker embedder; train one: ser-train speakers")
        if table.get("schema") != SCHEMA:
            raise CheckpointError(f"{file}: not a checkpoint of this version of ser-train")
        with whole(file):
            recipe = parse_speaker_recipe(table["speaker_recipe"])
            mean, std = (table[name].numpy() for name in ("mean", "std"))
            presentation = Presentation(recipe.centring, mean, std)
            speakers = tuple(table["speakers"])
            net = XVector(recipe.network(len(speakers), len(presentation.mean)))
            net.load_state_dict(table["state"])
            return cls(
                recipe,
                TrainedEmbedder(net.eval(), presentation, speakers),
                tuple(typed(d, TrainingData) for d in table["training_data"]),
                table["metrics"],
                tuple(x.numpy() for x in table["examples"]),
            )


def parity_examples(
    trained: TrainedEmbedder, recipe: SpeakerRecipe, store: FeatureStore
) -> tuple[Float32, ...]:
    """Presented frames (frames, features) of the first recordings that are long enough."""
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    voices = Voices(store, recipe.voicing, extractor.sample_rate_hz / extractor.hop_length)
    enough = [clip[0]() for clip in voices.clips if len(clip[0].voiced) >= LEAST_FRAMES]
    return tuple(trained.presentation(x, extractor.gain) for x in enough[:N_EXAMPLES])
