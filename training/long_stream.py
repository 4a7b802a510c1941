"""A voice over half an hour: ten minutes of neutral speech, then each emotion in turn.

What a live user is: neutral for minutes, then in a mood for one. A normaliser that learns the mood
away, or a belief that hangs on to what was, shows here and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.models.bundle import ModelBundle
from ser_stream.stream.engine import Engine
from ser_stream.stream.listening import Listening
from ser_stream.types import AudioBlock, Float32, Float64, Prediction
from training.data.audio import load_audio
from training.data.corpora import Utterance
from training.data.hearing import NEUTRAL, Hearing, by_speaker, check_hearing
from training.errors import TrainingError
from training.metrics import expected_calibration_error, score

NEUTRAL_S = 600.0
STRETCH_S = 60.0
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class LongStream:
    """Windows with speech of the stretches after the neutral minutes, all speakers' together.

    Attributes:
        truth: class of the stretch that a window lies in (n,).
        round: which of the five times it is, from 0 (n,).
        posterior: (n, classes).
        shown: class of the label after smoothing; -1 for unsure (n,).
        speakers: how many there are.
    """

    truth: NDArray[np.int64]
    round: NDArray[np.int64]
    posterior: Float64
    shown: NDArray[np.int64]
    speakers: int


def hear_long(
    bundle: ModelBundle,
    utterances: Sequence[Utterance],
    gate: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LongStream:
    """Run each speaker's long stream through an engine with the bundle's hop.

    Clips are joined without a pause and come again, in another order, until a stretch is full.
    Speakers without neutral clips, or with nothing else, are left out.

    Args:
        bundle: the model.
        utterances: clips of its classes.
        gate: with the bundle's speech gate.
        on_progress: called with utterances done and in all; a speaker's count as done together.

    Raises:
        TrainingError: no speaker has neutral clips and others, or no window has speech.
    """
    check_hearing(utterances, Hearing.LONG)
    labels, rate = bundle.meta.labels, bundle.meta.sample_rate_hz
    rng = np.random.default_rng(0)
    truth: list[int] = []
    rounds: list[int] = []
    shown: list[int] = []
    posteriors: list[Float32] = []
    speakers = done = 0
    for group in by_speaker(utterances).values():
        kinds: dict[str, list[Float32]] = {}
        for i in group:
            u = utterances[i]
            clip = load_audio(u.path, rate, u.start_s, u.end_s)
            kinds.setdefault(u.emotion, []).append(clip)
        if NEUTRAL in kinds and len(kinds) > 1:
            speakers += 1
            engine = Listening(bundle, gate=gate).engine()
            for emotion, number, prediction in _windows(engine, kinds, rng):
                if prediction.posterior is not None:
                    truth.append(labels.index(emotion))
                    rounds.append(number)
                    posteriors.append(prediction.posterior)
                    label = prediction.label
                    shown.append(-1 if label is None else labels.index(label))
        done += len(group)
        on_progress(done, len(utterances))
    if not truth:
        raise TrainingError(f"{Hearing.LONG}: no window has speech")
    posterior = np.array(posteriors, dtype=np.float64).reshape(-1, len(labels))
    return LongStream(np.array(truth), np.array(rounds), posterior, np.array(shown), speakers)


def _windows(
    engine: Engine, kinds: dict[str, list[Float32]], rng: np.random.Generator
) -> Iterator[tuple[str, int, Prediction]]:
    """Emotion, round and prediction of each window that lies within a stretch."""
    rate = engine.bundle.meta.sample_rate_hz
    at = 0
    stretches = [(NEUTRAL, -1, NEUTRAL_S)]
    stretches += [(kind, k, STRETCH_S) for k in range(ROUNDS) for kind in sorted(kinds)]
    for emotion, number, seconds in stretches:
        began = at
        for clip in _again_and_again(kinds[emotion], rng):
            # The last clip of a stretch is heard to its end.
            if at - began >= seconds * rate:
                break
            for prediction in engine.feed(AudioBlock(clip, at)):
                if number >= 0 and prediction.start >= began:
                    yield emotion, number, prediction
            at += len(clip)


def _again_and_again(clips: list[Float32], rng: np.random.Generator) -> Iterator[Float32]:
    return itertools.chain.from_iterable(
        [clips[i] for i in rng.permutation(len(clips))] for _ in itertools.count()
    )


def long_figures(heard: LongStream, labels: tuple[str, ...]) -> dict[str, Any]:
    """UAR, WA, recalls, confusion and ECE over windows, and what is shown, as plain values.

    ``right``, ``wrong`` and ``unsure`` are shares of the windows with speech, by the label that is
    shown; ``rounds`` is the UAR of each minute of an emotion, and ``drift`` how much of it is lost
    from the first to the last.
    """
    predicted = heard.posterior.argmax(axis=1)
    result = score(heard.truth, predicted, len(labels)).as_dict(labels)
    result["windows"] = result.pop("utterances")
    result["speakers"] = heard.speakers
    result["ece"] = round(expected_calibration_error(heard.posterior, heard.truth), 4)
    right, unsure = heard.shown == heard.truth, heard.shown < 0
    for name, which in (("right", right), ("wrong", ~right & ~unsure), ("unsure", unsure)):
        result[name] = round(float(which.mean()), 4)
    rounds = [
        score(heard.truth[own], predicted[own], len(labels)).uar
        for own in (heard.round == k for k in range(ROUNDS))
        if own.any()
    ]
    result["rounds"] = [round(uar, 4) for uar in rounds]
    result["drift"] = round(rounds[0] - rounds[-1], 4)
    return result
