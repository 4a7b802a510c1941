"""Voiced frames of speakers, and crops of them to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_stream.features.extractor import Extractor
from ser_stream.models.embedder import Presentation, Voicing, centred
from ser_stream.types import Float32
from training.data.corpora import Utterance
from training.data.features import FeatureStore, build_features
from training.data.folds import split_by_speaker
from training.recipe.config import AugmentConfig, Recipe
from training.speakers.recipe import SpeakerRecipe


def divide(
    utterances: Sequence[Utterance], *, final: bool
) -> tuple[list[Utterance], list[Utterance]]:
    """Speakers of the training, and those held out: no speaker is in both.

    The division is fold 0 of `training.data.folds.split_by_speaker`, by the speakers' names alone.
    Its test speakers are touched only by a ``final`` training, which learns from the validation
    speakers too; otherwise those are held out.
    """
    split = split_by_speaker(utterances)
    if final:
        return [*split.train, *split.validation], split.test
    return split.train, split.validation


def load_speaker_features(
    utterances: Sequence[Utterance],
    recipe: SpeakerRecipe,
    noises: Sequence[Path],
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[FeatureStore, FeatureStore | None]:
    """Frames of all utterances, clean and disturbed, and at other speeds; see `build_features`."""

    def build(augment: AugmentConfig) -> FeatureStore:
        # Of a recipe the features depend on these alone.
        asked = Recipe(
            recipe.name, (), "", {}, recipe.frontend, recipe.frontend_params, 1, 1, augment=augment
        )
        return build_features(utterances, asked, noises, cache, progress)

    train = recipe.train
    disturbed = build(recipe.augment)
    if not train.speed_copies:
        return disturbed, None
    # Another seed than the disturbances have, so that the two are not drawn alike.
    other_speeds = AugmentConfig(
        variants=train.speed_copies,
        speed_share=1.0,
        speed=train.speed,
        seed=recipe.augment.seed + 1,
    )
    return disturbed, build(other_speeds)


@dataclass(frozen=True, slots=True)
class VoicedClip:
    """One recording under one condition: all frames, and which of them are voiced.

    The frames stay mapped from the cache.
    """

    features: Float32
    voiced: NDArray[np.intp]

    def __call__(self) -> Float32:
        """The voiced frames, (frames, features)."""
        return self.features[self.voiced]


class Voices:
    """Voiced frames of a feature store.

    Args:
        store: frames of recordings under conditions.
        voicing: which count.
        frames_per_s: frame rate.
    """

    def __init__(self, store: FeatureStore, voicing: Voicing, frames_per_s: float) -> None:
        self.clips = [
            [VoicedClip(f.features, np.flatnonzero(voicing.of(f, frames_per_s)[0])) for f in row]
            for row in store.frames
        ]

    def joined(self, recordings: Sequence[int], variant: int = 0) -> Float32:
        """Voiced frames of recordings one after another, (frames, width)."""
        return np.concatenate([self.clips[i][variant]() for i in recordings])


class Crops:
    """Draw training crops: a stretch of one speaker's voiced frames under one condition.

    Args:
        recipe: how.
        speakers: of each recording.
        voices: of each recording.
        copies: the same at other speeds, after the clean variant; None without.
        bands: features that are levels of frequency bands, see `Extractor`.
    """

    def __init__(
        self,
        recipe: SpeakerRecipe,
        speakers: Sequence[str],
        voices: Voices,
        copies: Voices | None,
        bands: int,
    ) -> None:
        self._config = recipe.train
        self._bands = bands
        # Class by class, recording by recording, variant by variant.
        by_class: dict[str, list[list[VoicedClip]]] = {}
        for i, speaker in enumerate(speakers):
            if not len(voices.clips[i][0].voiced):
                continue
            by_class.setdefault(speaker, []).append(voices.clips[i])
            for v in range(1, recipe.train.speed_copies + 1):
                if copies is not None and len(copies.clips[i][v].voiced):
                    by_class.setdefault(f"{speaker}@{v}", []).append([copies.clips[i][v]])
        self.names = tuple(sorted(by_class))
        self._clips = [by_class[name] for name in self.names]

    @property
    def n_recordings(self) -> int:
        """Recordings of all classes."""
        return sum(len(clips) for clips in self._clips)

    def statistics(self, centring: str, extractor: Extractor) -> Presentation:
        """Presentation by the mean and deviation of all clean recordings, each centred."""
        x = np.concatenate(
            [
                centred(clip[0](), centring, extractor.gain)
                for clips in self._clips
                for clip in clips
            ]
        )
        std = np.maximum(x.std(axis=0, dtype=np.float64), 1e-3)
        return Presentation(
            centring, x.mean(axis=0, dtype=np.float64).astype(np.float32), std.astype(np.float32)
        )

    def draw(self, which: int, frames: int, rng: np.random.Generator) -> Float32:
        """Raw frames of class ``which``, (frames, width)."""
        clips = self._clips[which]
        variants = len(clips[0])
        variant = 0
        if variants > 1 and rng.random() < self._config.disturbed_share:
            variant = int(rng.integers(1, variants))
        parts: list[Float32] = []
        total = 0
        while total < frames:
            part = clips[int(rng.integers(len(clips)))][variant]()
            # A disturbance may have left nothing of it.
            part = part if len(part) else clips[0][0]()
            parts.append(part)
            total += len(part)
        first = int(rng.integers(total - frames + 1))
        x = np.concatenate(parts)[first : first + frames]
        if self._config.channel_db:
            x[:, : self._bands] += self._channel(rng)
        return x

    def _channel(self, rng: np.random.Generator) -> Float32:
        # The lowest cosines along the bands: what a microphone or a telephone adds.
        order = np.arange(1, 5)[:, None]
        along = np.linspace(0.0, 1.0, self._bands)
        response = rng.normal(0.0, self._config.channel_db, 4) @ np.cos(np.pi * order * along)
        return response.astype(np.float32)

    def mask(self, x: Float32, rng: np.random.Generator) -> None:
        """Blank a stripe of features and one of frames in a crop (frames, features), in place."""
        for axis, most in ((1, self._config.feature_mask), (0, self._config.time_mask)):
            size = x.shape[axis]
            length = int(rng.integers(min(most, size) + 1))
            first = int(rng.integers(size - length + 1))
            np.moveaxis(x, axis, 0)[first : first + length] = 0.0
