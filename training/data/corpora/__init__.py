"""The corpora by name, and what each may be used for.

A reader takes the corpus folder and returns its utterances in a fixed order, whatever the audio
format: the extension may be any that libsndfile reads. `manifest` reads a user's own recordings
from a table instead, and takes the table's file too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_stream.models.metadata import TrainingData
from training.data.corpora import crema_d, emodb, iemocap, manifest, nemo, ravdess
from training.data.corpora.base import CorpusError, Utterance, audio_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One row of the registry; every field is required.

    Attributes:
        read: gives the utterances of a folder, or of a file where that is taken.
        credit: name, licence and what the licence asks to be told; goes into every bundle that was
            trained on the corpus.
        trains_shipped: the licence allows weights that are shipped to be trained on it.
        takes_file: may be given as a file.
        in_card: a report card measures on it where its folder is there.
    """

    read: Callable[[Path], list[Utterance]]
    credit: TrainingData
    trains_shipped: bool
    takes_file: bool
    in_card: bool

    def __post_init__(self) -> None:
        if not self.credit.corpus or not self.credit.licence:
            raise CorpusError(f"a corpus needs a name and a licence, got {self.credit}")


CORPORA: dict[str, Corpus] = {
    "crema-d": Corpus(
        read=crema_d.read,
        credit=TrainingData(
            "CREMA-D",
            "ODbL 1.0 and DbCL 1.0",
            "Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional "
            "Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4), 2014",
        ),
        trains_shipped=True,
        takes_file=False,
        in_card=True,
    ),
    "emodb": Corpus(
        read=emodb.read,
        credit=TrainingData(
            "EMO-DB",
            "CC0 1.0",
            "Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional "
            "Speech, Interspeech 2005",
        ),
        trains_shipped=True,
        takes_file=False,
        in_card=True,
    ),
    "iemocap": Corpus(
        read=iemocap.read,
        credit=TrainingData(
            "IEMOCAP",
            "research only, by agreement with USC SAIL",
            "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: "
            "Interactive emotional dyadic motion capture database, Language Resources and "
            "Evaluation 42(4), 2008",
        ),
        trains_shipped=False,
        takes_file=False,
        in_card=False,
    ),
    "manifest": Corpus(
        read=manifest.read,
        credit=TrainingData("the user's own recordings", "unknown", ""),
        trains_shipped=False,
        takes_file=True,
        in_card=False,
    ),
    "nemo": Corpus(
        read=nemo.read,
        credit=TrainingData(
            "nEMO",
            "CC BY-NC-SA 4.0",
            "Christop: nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
        ),
        trains_shipped=False,
        takes_file=False,
        in_card=True,
    ),
    "ravdess": Corpus(
        read=ravdess.read,
        credit=TrainingData(
            "RAVDESS",
            "CC BY-NC-SA 4.0",
            "Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song, "
            "PLoS ONE 13(5), 2018",
        ),
        trains_shipped=False,
        takes_file=False,
        in_card=True,
    ),
}

__all__ = [
    "CORPORA",
    "Corpus",
    "CorpusError",
    "Utterance",
    "audio_files",
    "card_corpora",
    "credits_of",
    "read_corpus",
]


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
    corpus = CORPORA[name]
    if corpus.takes_file and not path.exists():
        raise CorpusError(f"{name}: no file or folder {path}")
    if not corpus.takes_file and not path.is_dir():
        raise CorpusError(f"{name}: no folder {path}")
    utterances = corpus.read(path)
    if not utterances:
        raise CorpusError(f"{name}: {path} holds no clip named as this corpus names its clips")
    return utterances


def card_corpora() -> list[str]:
    """Names of the corpora that a report card measures on."""
    return [name for name, corpus in CORPORA.items() if corpus.in_card]


def credits_of(corpora: Iterable[str]) -> tuple[TrainingData, ...]:
    """Credits of the named corpora, each once, by name."""
    return tuple(CORPORA[name].credit for name in sorted(set(corpora)))
