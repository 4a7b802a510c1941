"""Recordings of what is no speech: some to train with, the others to measure with."""

from __future__ import annotations

from pathlib import Path

from ser_stream.errors import ConfigError
from ser_stream.models.metadata import TrainingData
from training.data.corpora import audio_files

# ESC-10 names its recordings by its own folds; no recipe trains on the fifth.
MEASURED = "5-*"
# The folder of ESC-10 beside those of the corpora, and the credit that its licence requires.
NOISE_FOLDER = "esc10"
NOISE_CREDIT = TrainingData(
    "ESC-10 (background noise)",
    "CC BY",
    "Piczak: ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015",
)


def split_noises(folder: Path) -> tuple[list[Path], list[Path]]:
    """Recordings in ``folder`` to train with, and those that the report card measures with.

    ESC-10 is divided by its folds. Recordings with other names are all for both.

    Raises:
        ConfigError: there is no audio.
    """
    paths = audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise ConfigError(f"{folder}: no audio there")
    measured = [p for p in paths if p.match(MEASURED)]
    if not measured or len(measured) == len(paths):
        return paths, paths
    return [p for p in paths if p not in set(measured)], measured
