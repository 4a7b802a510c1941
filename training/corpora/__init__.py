"""Readers of corpora in their official layouts.

A reader takes the corpus folder and returns its utterances in a fixed order, whatever the audio
format: file names carry the labels, and the extension may be any that libsndfile reads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ser_stream.bundle import TrainingData
from training.corpora import crema_d, emodb, ravdess
from training.corpora.base import CorpusError, Utterance, audio_files

CORPORA: dict[str, Callable[[Path], list[Utterance]]] = {
    "crema-d": crema_d.read,
    "emodb": emodb.read,
    "ravdess": ravdess.read,
}

# What each licence asks to be told; goes into every bundle that was trained on the corpus.
CREDITS: dict[str, TrainingData] = {
    "crema-d": TrainingData(
        "CREMA-D",
        "ODbL 1.0 and DbCL 1.0",
        "Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal "
        "Actors Dataset, IEEE Transactions on Affective Computing 5(4), 2014",
    ),
    "emodb": TrainingData(
        "EMO-DB",
        "CC0 1.0",
        "Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech, "
        "Interspeech 2005",
    ),
    "ravdess": TrainingData(
        "RAVDESS",
        "CC BY-NC-SA 4.0",
        "Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song, "
        "PLoS ONE 13(5), 2018",
    ),
    "esc10": TrainingData(
        "ESC-10 (background noise)",
        "CC BY",
        "Piczak: ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015",
    ),
}

__all__ = ["CORPORA", "CREDITS", "CorpusError", "Utterance", "audio_files", "read_corpus"]


def read_corpus(name: str, folder: Path) -> list[Utterance]:
    """Read corpus ``name`` from ``folder``.

    Raises:
        CorpusError: unknown corpus, no such folder, or nothing in it that this corpus holds.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}; known: {', '.join(CORPORA)}")
    if not folder.is_dir():
        raise CorpusError(f"{name}: no folder {folder}")
    utterances = CORPORA[name](folder)
    if not utterances:
        raise CorpusError(f"{name}: {folder} holds no clip named as this corpus names its clips")
    return utterances
