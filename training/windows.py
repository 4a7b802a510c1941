"""The network's inputs: stretches of utterances as a live stream would present them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.extractor import Extractor
from ser_stream.features import repeat_to
from ser_stream.frontend import make_extractor
from ser_stream.normalizer import (
    FeatureStatistics,
    Normalizer,
    NormalizerState,
    voiced_frames,
)
from ser_stream.types import Float32, Float64
from training.corpora import Utterance
from training.dataset import FeatureStore
from training.errors import TrainingError
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """One input of the network: frames [first, first + window) of an utterance.

    Attributes:
        utterance: index of the utterance.
        variant: recording condition.
        first: first frame.
        moments: what the normaliser knows at the end of the window.
    """

    utterance: int
    variant: int
    first: int
    moments: Float64


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch for the network.

    Attributes:
        features: float32 (n, frames, width).
        extra: further arguments by name: ``lengths`` (n,), how many frames are the utterance's
            own, and ``embedding`` (n, 2 features).
    """

    features: Float32
    extra: dict[str, NDArray[Any]]


def by_speaker(utterances: Sequence[Utterance]) -> dict[str, list[int]]:
    """Indices of each speaker's utterances."""
    groups: dict[str, list[int]] = {}
    for i, utterance in enumerate(utterances):
        groups.setdefault(utterance.speaker, []).append(i)
    return groups


def frames_per_s(recipe: Recipe) -> float:
    """Frame rate of the recipe's front end."""
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    return extractor.sample_rate_hz / extractor.hop_length


def training_statistics(
    utterances: Sequence[Utterance], store: FeatureStore, recipe: Recipe
) -> FeatureStatistics:
    """Mean and standard deviation of the frames that ``recipe.statistics`` names.

    Raises:
        TrainingError: there are no such frames.
    """
    width = make_extractor(recipe.frontend, recipe.frontend_params).width
    if recipe.normalizer_state is NormalizerState.NONE:
        return FeatureStatistics(np.zeros(width, np.float32), np.ones(width, np.float32))
    rate = frames_per_s(recipe)
    count, total, square = 0, np.zeros(width), np.zeros(width)
    for utterance, row in zip(utterances, store.frames, strict=True):
        if recipe.statistics == "neutral" and utterance.emotion != "neutral":
            continue
        for frames in row:
            x = frames.features
            if recipe.statistics == "voiced":
                x = x[voiced_frames(frames, recipe.normalizer, rate)[0]]
            x = x.astype(np.float64)
            count += len(x)
            total += x.sum(axis=0)
            square += (x**2).sum(axis=0)
    if count == 0:
        raise TrainingError(
            f"no {recipe.statistics} frame to take statistics of; set statistics in the recipe"
        )
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 1e-6))
    return FeatureStatistics(mean.astype(np.float32), std.astype(np.float32))


class Presenter:
    """Turn places into the network's inputs by the very steps of `ser_stream.frontend.FrontEnd`."""

    def __init__(self, recipe: Recipe, store: FeatureStore, statistics: FeatureStatistics) -> None:
        self.recipe = recipe
        self.store = store
        self.extractor: Extractor = make_extractor(recipe.frontend, recipe.frontend_params)
        self.normalizer = Normalizer(
            statistics,
            recipe.normalizer,
            self.extractor.sample_rate_hz / self.extractor.hop_length,
            recipe.normalizer_state,
            embeds=bool(recipe.embedding),
        )
        # Frames of digital silence, for utterances that are padded with it.
        silent = np.zeros(self.extractor.samples_for(1), dtype=np.float32)
        self._silence = self.extractor(silent).features[:1]

    def train_places(
        self, utterances: Sequence[Utterance], rng: np.random.Generator
    ) -> list[Place]:
        """Places of one epoch.

        Every speaker is heard in a new order under one of the conditions through one normaliser,
        which now and then forgets the speaker, so that the network meets all amounts of evidence.
        """
        train, windows, length = self.recipe.train, self.recipe.windows, self.recipe.window_frames
        places: list[Place] = []
        for group in by_speaker(utterances).values():
            clean = self.store.variants == 1 or rng.random() < train.clean_share
            variant = 0 if clean else int(rng.integers(1, self.store.variants))
            self.normalizer.reset()
            for i in rng.permutation(group).tolist():
                if train.forget_share and rng.random() < train.forget_share:
                    self.normalizer.reset()
                frames = self.store[i, variant]
                moments = self.normalizer.accept(frames)
                room = max(1, len(frames) - length + 1)
                if windows.draw == "crops":
                    firsts = rng.integers(room, size=windows.crops).tolist()
                elif windows.draw == "segments":
                    firsts = list(range(0, room, windows.train_hop_frames))
                else:
                    firsts = [0]
                places += self._places(i, variant, firsts, moments)
        return places

    def test_places(
        self, utterances: Sequence[Utterance], alone: bool = False, variant: int = 0
    ) -> list[Place]:
        """Places of the clips as recorded; each speaker's come in one fixed random order.

        Args:
            utterances: what to evaluate.
            alone: hear every clip as if it were the first.
            variant: another recording condition.
        """
        rng = np.random.default_rng(0)
        length = self.recipe.window_frames
        places: list[Place] = []
        for group in by_speaker(utterances).values():
            self.normalizer.reset()
            for i in rng.permutation(group).tolist():
                if alone:
                    self.normalizer.reset()
                frames = self.store[i, variant]
                moments = self.normalizer.accept(frames)
                room = max(1, len(frames) - length + 1)
                step = room if self.recipe.windows.draw == "utterance" else None
                firsts = range(0, room, step or self.recipe.window_hop_frames)
                places += self._places(i, variant, list(firsts), moments)
        return places

    def _places(self, i: int, variant: int, firsts: list[int], moments: Float64) -> list[Place]:
        length = self.recipe.window_frames
        if self.recipe.windows.short == "drop" and len(moments) < length:
            return []
        last = len(moments) - 1
        # Copies: a view would keep the moments of all the utterance's frames.
        return [Place(i, variant, f, moments[min(f + length - 1, last)].copy()) for f in firsts]

    def present(self, places: Sequence[Place]) -> Inputs:
        """Build the inputs of ``places``."""
        pairs = [self._window(p) for p in places]
        extra: dict[str, NDArray[Any]] = {}
        if self.recipe.windows.masked:
            extra["lengths"] = np.array([n for _, n in pairs])
        if self.recipe.embedding:
            extra["embedding"] = np.stack([self.normalizer.embedding(p.moments) for p in places])
        return Inputs(np.stack([x for x, _ in pairs]), extra)

    def _window(self, place: Place) -> tuple[Float32, int]:
        length, short = self.recipe.window_frames, self.recipe.windows.short
        features = self.store[place.utterance, place.variant].features
        raw = features[place.first : place.first + length]
        own = len(raw)
        if own == length or short == "zero":
            x = self.normalizer.normalize(raw, place.moments)
        elif short == "silence":
            padding = np.repeat(self._silence, length - own, axis=0)
            x = self.normalizer.normalize(np.concatenate([raw, padding]), place.moments)
        else:
            x = self.normalizer.normalize(repeat_to(features, length), place.moments)
            own = length
        if len(x) < length:
            x = np.concatenate([x, np.zeros((length - own, x.shape[1]), np.float32)])
        return self.extractor.present(x), own
