"""Readers of corpora in their official layouts.

A reader takes the corpus folder and returns its utterances in a fixed order, whatever the audio
format: the extension may be any that libsndfile reads. `manifest` reads a user's own recordings
from a table instead, and takes the table's file too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ser_stream.models.metadata import TrainingData
from training.data.corpora import crema_d, emodb, iemocap, manifest, ravdess
from training.data.corpora.base import CorpusError, Utterance, audio_files

CORPORA: dict[str, Callable[[Path], list[Utterance]]] = {
    "crema-d": crema_d.read,
    "emodb": emodb.read,
    "iemocap": iemocap.read,
    "manifest": manifest.read,
    "ravdess": ravdess.read,
}

# Corpora that may be given as a file.
FROM_FILE = {"manifest"}

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
    "iemocap": TrainingData(
        "IEMOCAP",
        "research only, by agreement with USC SAIL",
        "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: Interactive "
        "emotional dyadic motion capture database, Language Resources and Evaluation 42(4), 2008",
    ),
    "manifest": TrainingData("the user's own recordings", "unknown", ""),
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


def read_corpus(name: str, path: Path) -> list[Utterance]:
    """Read corpus ``name`` from the folder ``path``; for ``manifest`` it may be the CSV file.

    Every label that the corpus has is kept, in this project's words where it has one for it: who
    trains chooses among them.

    Raises:
        CorpusError: unknown corpus, no such folder or file, nothing in it that this corpus holds,
            or a corpus that contradicts itself.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}; known: {', '.join(CORPORA)}")
    if name in FROM_FILE and not path.exists():
        raise CorpusError(f"{name}: no file or folder {path}")
    if name not in FROM_FILE and not path.is_dir():
        raise CorpusError(f"{name}: no folder {path}")
    utterances = CORPORA[name](path)
    if not utterances:
        raise CorpusError(f"{name}: {path} holds no clip named as this corpus names its clips")
    return utterances
