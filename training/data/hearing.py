"""How much of a speaker is known when a clip comes: the states in which networks are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from training.data.corpora import Utterance
from training.errors import TrainingError


class Hearing(StrEnum):
    """How much of a speaker the normaliser knows when a clip comes.

    ``COLD`` normalises by the training statistics. ``ALONE`` hears each clip as if it were the
    first, as ``ser-stream score`` does. The others hear a speaker's clips one after another through
    one normaliser: ``RUNNING`` in one fixed random order, ``ONE_EMOTION`` those of each class as a
    stream of its own, ``NEUTRAL_FIRST`` the neutral ones before all others, ``KNOWN`` all of them
    once before any is scored. ``CALIBRATED`` has a profile of half of the speaker's neutral clips,
    at most 15 s, which are left out of the score. ``LONG`` is a stream of ten minutes of neutral
    speech and then a minute of each emotion in turn, five times; see `training.long_stream`.
    """

    COLD = "cold"
    ALONE = "alone"
    RUNNING = "running"
    ONE_EMOTION = "one-emotion"
    NEUTRAL_FIRST = "neutral-first"
    KNOWN = "known"
    CALIBRATED = "calibrated"
    LONG = "long"


NEUTRAL = "neutral"
PROFILE_S = 15.0


@dataclass(frozen=True, slots=True)
class ClipStream:
    """Clips that one normaliser hears one after another, by their indices.

    Attributes:
        before: heard before any is scored.
        scored: heard and scored.
    """

    before: list[int]
    scored: list[int]


def by_speaker(utterances: Sequence[Utterance]) -> dict[str, list[int]]:
    """Indices of each speaker's utterances."""
    groups: dict[str, list[int]] = {}
    for i, utterance in enumerate(utterances):
        groups.setdefault(utterance.speaker, []).append(i)
    return groups


def streams(
    utterances: Sequence[Utterance], order: Sequence[int], hearing: Hearing
) -> list[ClipStream]:
    """Streams of one speaker's clips ``order``; none if the speaker cannot be heard so.

    A profile, which ``CALIBRATED`` has, and the training statistics of ``COLD`` are the
    normaliser's: their clips come alone.
    """
    if hearing is Hearing.RUNNING:
        return [ClipStream([], list(order))]
    if hearing is Hearing.KNOWN:
        return [ClipStream(list(order), list(order))]
    if hearing is Hearing.ONE_EMOTION:
        kinds = dict.fromkeys(utterances[i].emotion for i in order)
        return [ClipStream([], [i for i in order if utterances[i].emotion == k]) for k in kinds]
    if hearing is Hearing.NEUTRAL_FIRST:
        neutral = [i for i in order if utterances[i].emotion == NEUTRAL]
        others = [i for i in order if utterances[i].emotion != NEUTRAL]
        return [ClipStream([], neutral + others)] if neutral and others else []
    if hearing is Hearing.LONG:
        raise ValueError("a long stream is no order of clips")
    return [ClipStream([], [i]) for i in order]


def why_not(utterances: Sequence[Utterance], hearing: Hearing) -> str | None:
    """Why nobody in ``utterances`` can be heard in this state; None if somebody can.

    Speakers who cannot, by themselves, are left out of the score.
    """
    groups = [{utterances[i].emotion for i in g} for g in by_speaker(utterances).values()]
    if not groups:
        return "there is no clip"
    if hearing is Hearing.CALIBRATED and not any(NEUTRAL in kinds for kinds in groups):
        return "no speaker has a neutral clip to calibrate with"
    if hearing in (Hearing.NEUTRAL_FIRST, Hearing.LONG) and not any(
        NEUTRAL in kinds and len(kinds) > 1 for kinds in groups
    ):
        return "no speaker has neutral clips and others"
    return None


def check_hearing(utterances: Sequence[Utterance], hearing: Hearing) -> None:
    """See to it that somebody can be heard in this state.

    Raises:
        TrainingError: nobody can.
    """
    if (reason := why_not(utterances, hearing)) is not None:
        raise TrainingError(f"{hearing}: {reason}")


def for_profile(
    utterances: Sequence[Utterance], order: Sequence[int], length_s: Callable[[int], float]
) -> list[int]:
    """Which of ``order`` make a profile: the first half of the neutral ones, at most 15 s."""
    neutral = [i for i in order if utterances[i].emotion == NEUTRAL]
    chosen: list[int] = []
    total_s = 0.0
    for i in neutral[: max(1, len(neutral) // 2)]:
        total_s += length_s(i)
        if chosen and total_s > PROFILE_S:
            break
        chosen.append(i)
    return chosen
