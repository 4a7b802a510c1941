"""The network's inputs: stretches of utterances as a live stream would present them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.features.extractor import Extractor
from ser_stream.features.framing import repeat_to
from ser_stream.features.normalizer import (
    FeatureStatistics,
    Moments,
    NormalizerState,
    voiced_frames,
)
from ser_stream.features.registry import make_extractor, make_normalizer
from ser_stream.models.inputs import Inputs, stacked, word_inputs
from ser_stream.types import Float32
from training.data.corpora import Utterance
from training.data.features import FeatureStore
from training.data.hearing import Hearing, by_speaker, for_profile, streams
from training.errors import TrainingError
from training.recipe.config import Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """One input of the network: frames [first, first + window) of an utterance.

    Attributes:
        utterance: index of the utterance.
        variant: recording condition.
        first: first frame.
        moments: the normaliser's at the end of the window.
        told: moments of the speaker's neutral clips; None unless calibrated.
    """

    utterance: int
    variant: int
    first: int
    moments: Moments
    told: Moments | None = None


def hearings_of(recipe: Recipe) -> list[Hearing]:
    """States that a recipe trains, the usual one first."""
    shares = {
        Hearing.ALONE: recipe.train.alone_share,
        Hearing.CALIBRATED: recipe.train.calibrated_share,
    }
    return [Hearing.RUNNING, *(h for h, share in shares.items() if share)]


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
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    width = extractor.width
    gain = np.zeros(width) if extractor.gain is None else extractor.gain.astype(np.float64)
    if recipe.normalizer_state is NormalizerState.NONE:
        return FeatureStatistics(np.zeros(width, np.float32), np.ones(width, np.float32))
    rate = frames_per_s(recipe)
    count, total, square = 0, np.zeros(width), np.zeros(width)
    for utterance, row in zip(utterances, store.frames, strict=True):
        if recipe.statistics == "neutral" and utterance.emotion != "neutral":
            continue
        for frames in row:
            x = frames.features.astype(np.float64)
            if recipe.statistics == "voiced" or recipe.normalizer.level:
                voiced = voiced_frames(frames, recipe.normalizer, rate)[0]
                if recipe.normalizer.level and voiced.any():
                    x = x - float(frames.level_db[voiced].mean()) * gain
                if recipe.statistics == "voiced":
                    x = x[voiced]
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
    """Turn places into the network's inputs, by the very steps of `FrontEnd`."""

    def __init__(self, recipe: Recipe, store: FeatureStore, statistics: FeatureStatistics) -> None:
        self.recipe = recipe
        self.store = store
        self.extractor: Extractor = make_extractor(recipe.frontend, recipe.frontend_params)
        self.normalizer = make_normalizer(
            self.extractor,
            statistics,
            recipe.normalizer,
            recipe.normalizer_state,
            recipe.embedding,
        )
        # Frames of digital silence, for utterances that are padded with it.
        silent = np.zeros(self.extractor.samples_for(1), dtype=np.float32)
        self._silence = self.extractor(silent).features[:1]

    def train_places(
        self, utterances: Sequence[Utterance], rng: np.random.Generator
    ) -> list[Place]:
        """Places of one epoch.

        Every speaker is heard in a new order under one of the conditions through one normaliser,
        which now and then drops the speaker, so that the network meets all amounts of evidence.
        """
        train, windows, length = self.recipe.train, self.recipe.windows, self.recipe.window_frames
        places: list[Place] = []
        for group in by_speaker(utterances).values():
            clean = self.store.variants == 1 or rng.random() < train.clean_share
            variant = 0 if clean else int(rng.integers(1, self.store.variants))
            hearing = self._drawn_hearing(rng)
            order = rng.permutation(group).tolist()
            told = None
            if hearing is Hearing.CALIBRATED:
                told, _ = self._profile(utterances, rng.permutation(group).tolist(), variant)
            self.normalizer.reset()
            for i in order:
                forgets = train.forget_share and rng.random() < train.forget_share
                if forgets or hearing is Hearing.ALONE:
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
                places += self._places(i, variant, firsts, moments, told)
        return places

    def _drawn_hearing(self, rng: np.random.Generator) -> Hearing:
        train = self.recipe.train
        if not (train.alone_share or train.calibrated_share):
            return Hearing.RUNNING
        drawn = rng.random()
        if drawn < train.alone_share:
            return Hearing.ALONE
        known = drawn < train.alone_share + train.calibrated_share
        return Hearing.CALIBRATED if known else Hearing.RUNNING

    def _profile(
        self, utterances: Sequence[Utterance], order: list[int], variant: int
    ) -> tuple[Moments | None, list[int]]:
        """Moments of the neutral clips that make a profile, and which they are."""
        rate = self.extractor.sample_rate_hz / self.extractor.hop_length
        used = for_profile(utterances, order, lambda i: len(self.store[i, variant]) / rate)
        self.normalizer.reset()
        moments = None
        for i in used:
            moments = self.normalizer.accept(self.store[i, variant])[-1].copy()
        # Whispered clips may have no voice at all.
        return (moments if moments is not None and moments.weight > 0 else None), used

    def test_places(
        self,
        utterances: Sequence[Utterance],
        hearing: Hearing = Hearing.RUNNING,
        variant: int = 0,
    ) -> list[Place]:
        """Places of the clips as recorded; each speaker's come in one fixed random order.

        Args:
            utterances: what to evaluate.
            hearing: what the normaliser knows; ``COLD`` is a state of the recipe, not of a place.
            variant: another recording condition.
        """
        rng = np.random.default_rng(0)
        length = self.recipe.window_frames
        places: list[Place] = []
        for group in by_speaker(utterances).values():
            order = rng.permutation(group).tolist()
            told = None
            if hearing is Hearing.CALIBRATED:
                told, used = self._profile(utterances, order, variant)
                order = [i for i in order if i not in used]
            # With a profile, the running statistics are kept beside it.
            running = hearing is Hearing.CALIBRATED
            for stream in streams(utterances, order, Hearing.RUNNING if running else hearing):
                self.normalizer.reset()
                for i in stream.before:
                    self.normalizer.accept(self.store[i, variant])
                for i in stream.scored:
                    frames = self.store[i, variant]
                    moments = self.normalizer.accept(frames)
                    room = max(1, len(frames) - length + 1)
                    step = room if self.recipe.windows.draw == "utterance" else None
                    firsts = range(0, room, step or self.recipe.window_hop_frames)
                    places += self._places(i, variant, list(firsts), moments, told)
        return places

    def _places(
        self, i: int, variant: int, firsts: list[int], moments: Moments, told: Moments | None
    ) -> list[Place]:
        length = self.recipe.window_frames
        if self.recipe.windows.short == "drop" and len(moments) < length:
            return []
        last = len(moments) - 1
        # Copies: a view would keep the moments of all the utterance's frames.
        return [
            Place(i, variant, f, moments[min(f + length - 1, last)].copy(), told) for f in firsts
        ]

    def present(self, places: Sequence[Place]) -> Inputs:
        """Build the inputs of ``places``, each with an axis of places in front."""
        windows = []
        for place in places:
            self.normalizer.use_profile(place.told)
            features, own = self._window(place)
            window: dict[str, NDArray[Any]] = {"features": features}
            if self.recipe.windows.masked:
                window["lengths"] = np.array(own)
            if self.recipe.embedding:
                window["embedding"] = self.normalizer.embedding(place.moments)
            elif self.recipe.speaker:
                window["embedding"] = self.store.speakers[place.utterance]
            windows.append(window)
        inputs = stacked(windows)
        if tokens := self.recipe.text.tokens:
            words = [self.store.words[place.utterance] for place in places]
            inputs.update(word_inputs(words, tokens))
        return inputs

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
