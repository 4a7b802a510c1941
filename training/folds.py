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
    utterances: Sequence[Utterance],
    validation_share: float = 0.15,
    test_share: float = 0.2,
    seed: int = 0,
) -> Split:
    """Divide the speakers of each corpus at random into train, validation and test.

    The division depends on the speakers' names and ``seed`` alone, so that whoever has the same
    corpus can tell which speakers a model has never heard.
    """
    part_of: dict[str, str] = {}
    for corpus in sorted({u.corpus for u in utterances}):
        speakers = sorted({u.speaker for u in utterances if u.corpus == corpus})
        random.Random(f"{corpus}:{seed}").shuffle(speakers)
        n_test = round(test_share * len(speakers))
        n_validation = round(validation_share * len(speakers))
        for i, speaker in enumerate(speakers):
            part_of[speaker] = (
                "test" if i < n_test else "validation" if i < n_test + n_validation else "train"
            )
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance in utterances:
        parts[part_of[utterance.speaker]].append(utterance)
    return Split(**parts)
