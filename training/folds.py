"""Who trains, who validates, who tests: always by speaker, and asserted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.corpora import Utterance


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of utterances without a speaker in common."""

    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]

    def __post_init__(self) -> None:
        groups = [{u.speaker for u in part} for part in (self.train, self.validation, self.test)]
        for i, a in enumerate(groups):
            for b in groups[i + 1 :]:
                if shared := a & b:
                    raise ValueError(f"speakers in two parts of a split: {sorted(shared)}")


def split_by_speaker(
    utterances: Sequence[Utterance], fold: int = 0, n_folds: int = 5, validation_share: float = 0.15
) -> Split:
    """Divide the speakers of each corpus into test, validation and train.

    The speakers of a corpus are shuffled by a fixed seed and dealt into ``n_folds`` runs; run
    ``fold`` tests, the speakers right after it validate. Over all folds every speaker tests once.
    The division depends on the speakers' names alone, so that whoever has the same corpus can tell
    which speakers a model has never heard.

    Raises:
        ValueError: ``fold`` is not one of ``n_folds``.
    """
    if not 0 <= fold < n_folds:
        raise ValueError(f"fold {fold} of {n_folds}")
    part_of: dict[str, str] = {}
    for corpus in sorted({u.corpus for u in utterances}):
        speakers = sorted({u.speaker for u in utterances if u.corpus == corpus})
        random.Random(f"{corpus}:0").shuffle(speakers)
        n = len(speakers)
        tested = [i for i in range(n) if i * n_folds // n == fold]
        n_validation = round(validation_share * n)
        after = [(tested[-1] + 1 + i) % n for i in range(n_validation)] if tested else []
        for i, speaker in enumerate(speakers):
            part_of[speaker] = "test" if i in tested else "validation" if i in after else "train"
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance in utterances:
        parts[part_of[utterance.speaker]].append(utterance)
    return Split(**parts)
