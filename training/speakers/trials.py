"""Pairs of recordings, and how often the embeddings separate two speakers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_stream.features.registry import make_extractor
from training.data.features import FeatureStore
from training.speakers.fit import TrainedEmbedder, embed_all
from training.speakers.recipe import SpeakerRecipe
from training.speakers.voices import Voices

# Clips that a recording of a trial is joined of.
JOINED = (1, 4)


def equal_error_rate(scores: ArrayLike, same: ArrayLike) -> float:
    """Share of errors at the threshold where as many impostors pass as speakers are refused.

    Between two thresholds the rates are interpolated.

    Args:
        scores: one per trial, larger for likelier the same speaker.
        same: whether it is, one per trial.

    Raises:
        ValueError: no trial of one of the two kinds, or a score is not a number.
    """
    score, is_same = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=np.bool_)
    own, other = np.sort(score[is_same]), np.sort(score[~is_same])
    if not len(own) or not len(other) or np.isnan(score).any():
        raise ValueError("an equal error rate needs trials of both kinds, and scores")
    # Accepted is what reaches the threshold; at the last one nothing does.
    threshold = np.append(np.unique(score), np.inf)
    missed = np.searchsorted(own, threshold) / len(own)
    passed = 1.0 - np.searchsorted(other, threshold) / len(other)
    i = int(np.argmax(missed >= passed))
    gap, gap_before = missed[i] - passed[i], passed[i - 1] - missed[i - 1]
    return float((gap_before * missed[i] + gap * missed[i - 1]) / (gap + gap_before))


@dataclass(frozen=True, slots=True)
class Trials:
    """All pairs of recordings, scored by the cosine of their embeddings.

    Attributes:
        score: of each pair.
        same: whether both are of one speaker.
        pairs: indices of the two recordings, (pairs, 2).
    """

    score: NDArray[np.float64]
    same: NDArray[np.bool_]
    pairs: NDArray[np.intp]

    @classmethod
    def of(cls, embeddings: ArrayLike, speakers: Sequence[str]) -> Trials:
        """Pair embeddings (recordings, dimension) of ``speakers``."""
        x = np.asarray(embeddings, dtype=np.float64)
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        first, second = np.triu_indices(len(x), 1)
        who = np.asarray(speakers)
        score = (x @ x.T)[first, second]
        return cls(score, who[first] == who[second], np.column_stack([first, second]))

    def error_rate(self, where: NDArray[np.bool_] | None = None) -> float:
        """Equal error rate of all pairs, or of those ``where`` (pairs,) is set."""
        if where is None:
            return equal_error_rate(self.score, self.same)
        return equal_error_rate(self.score[where], self.same[where])


def joined_recordings(speakers: Sequence[str], n: int, seed: int = 0) -> list[list[int]]:
    """Divide each speaker's recordings into groups of ``n`` at random; what is over is left out."""
    rng = np.random.default_rng(seed)
    groups = []
    for speaker in sorted(set(speakers)):
        own = rng.permutation([i for i, s in enumerate(speakers) if s == speaker]).tolist()
        groups += [own[k : k + n] for k in range(0, len(own) - n + 1, n)]
    return groups


def held_out_error_rate(
    trained: TrainedEmbedder,
    recipe: SpeakerRecipe,
    speakers: Sequence[str],
    store: FeatureStore,
    n_joined: int = 1,
) -> float:
    """Equal error rate over all pairs of clean recordings, each of ``n_joined`` clips.

    nan where there are no two such recordings of one speaker, or no two speakers.
    """
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    voices = Voices(store, recipe.voicing, extractor.sample_rate_hz / extractor.hop_length)
    heard = [i for i, clip in enumerate(voices.clips) if len(clip[0].voiced)]
    groups = joined_recordings([speakers[i] for i in heard], n_joined)
    who = [speakers[heard[group[0]]] for group in groups]
    if len(set(who)) < 2 or len(set(who)) == len(who):
        return math.nan
    voiced = [voices.joined([heard[i] for i in group]) for group in groups]
    return Trials.of(embed_all(trained, voiced, extractor), who).error_rate()
