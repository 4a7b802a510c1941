"""A training of a speaker embedder from corpora to a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_stream.errors import ConfigError
from training.data.corpora import Utterance, credits_of
from training.data.noises import NOISE_CREDIT
from training.launch import Launch
from training.occupancy import occupied
from training.speakers.checkpoint import CHECKPOINT, SpeakerCheckpoint, parity_examples
from training.speakers.fit import SpeakerEpoch, train_speakers
from training.speakers.recipe import SpeakerRecipe
from training.speakers.trials import JOINED, held_out_error_rate
from training.speakers.voices import divide, load_speaker_features


@dataclass(frozen=True, slots=True)
class SpeakerRun:
    """A recipe on some utterances.

    Attributes:
        recipe: what to train.
        utterances: of all corpora.
        noises: recordings of background noise.
        cache: folder of cached features.
        folder: where the checkpoint goes.
        final: see `divide`.
        launch: device.
    """

    recipe: SpeakerRecipe
    utterances: Sequence[Utterance]
    noises: Sequence[Path]
    cache: Path
    folder: Path
    final: bool = False
    launch: Launch = field(default_factory=Launch)


def run_speakers(
    run: SpeakerRun,
    on_features: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[SpeakerEpoch, float], None] = lambda epoch, eer: None,
) -> SpeakerCheckpoint:
    """Train, measure on the speakers held out, and write the checkpoint into the run's folder.

    Args:
        run: what to do.
        on_features: called with clips done, and of all.
        on_epoch: told of every epoch, with the equal error rate on the validation speakers; nan
            where the test speakers are held out, who are scored at the end alone.

    Raises:
        ConfigError: nothing to train on, or the folder is in use or cannot be written.
        TrainingError: see `train_speakers`.
    """
    if run.launch.world_size > 1:
        raise ConfigError("ser-train speakers is for one process; start it without torchrun")
    with occupied(run.folder):
        return _train_and_save(run, on_features, on_epoch)


def _train_and_save(
    run: SpeakerRun,
    on_features: Callable[[int, int], None],
    on_epoch: Callable[[SpeakerEpoch, float], None],
) -> SpeakerCheckpoint:
    recipe, utterances = run.recipe, list(run.utterances)
    train, held = divide(utterances, final=run.final)
    store, copies = load_speaker_features(utterances, recipe, run.noises, run.cache, on_features)
    index = {id(u): i for i, u in enumerate(utterances)}
    learnt, left_out = ([index[id(u)] for u in part] for part in (train, held))
    held_store = store.subset(left_out)
    held_speakers = [u.speaker for u in held]

    def tell(epoch: SpeakerEpoch) -> None:
        eer = math.nan
        if not run.final:
            eer = held_out_error_rate(epoch.trained, recipe, held_speakers, held_store)
        on_epoch(epoch, eer)

    trained = train_speakers(
        recipe,
        [u.speaker for u in train],
        store.subset(learnt),
        None if copies is None else copies.subset(learnt),
        run.launch,
        tell,
    )
    part = "test" if run.final else "validation"
    metrics: dict[str, Any] = {}
    for corpus in sorted({u.corpus for u in held}):
        of = [i for i, u in enumerate(held) if u.corpus == corpus]
        names = [held_speakers[i] for i in of]
        for n in JOINED:
            eer = held_out_error_rate(trained, recipe, names, held_store.subset(of), n)
            metrics[f"{corpus} {part}, {n} {'clip' if n == 1 else 'clips'} each"] = {
                "eer": None if math.isnan(eer) else round(eer, 4),
                "protocol": f"{part} speakers, cosine, all pairs of clean recordings",
                "speakers": sorted(set(names)),
            }
    checkpoint = SpeakerCheckpoint(
        recipe,
        trained,
        (*credits_of(u.corpus for u in train), *([NOISE_CREDIT] if run.noises else [])),
        metrics,
        parity_examples(trained, recipe, store),
    )
    checkpoint.save(run.folder / CHECKPOINT)
    return checkpoint
