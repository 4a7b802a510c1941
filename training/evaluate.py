"""Measure a bundle with the runtime that users run: file by file through the engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.audio.resample import resampled
from ser_stream.audio.sources import ArraySource
from ser_stream.features.normalizer import NormalizerState
from ser_stream.labels import canonical
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import Profile
from ser_stream.profiles import ProfileRecorder
from ser_stream.stream.listening import Listening, predictions_of
from ser_stream.types import Float32, Float64
from training.data.audio import load_audio, load_span
from training.data.corpora import Utterance
from training.data.hearing import Hearing, by_speaker, check_hearing, for_profile, streams
from training.long_stream import hear_long, long_figures
from training.metrics import expected_calibration_error, score

# Bounds of evidence for which recall is reported, in seconds of a speaker's clips.
EVIDENCE_S = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the runtime made of some utterances.

    Attributes:
        utterances: those that were scored.
        truth: their classes (n,).
        posterior: mean posterior over an utterance's windows (n, classes); even where there was
            none.
        answered: the utterance had a window with speech (n,).
        known_s: seconds of the speaker's clips before (n,).
    """

    utterances: list[Utterance]
    truth: NDArray[np.int64]
    posterior: Float64
    answered: NDArray[np.bool_]
    known_s: Float64

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable class (n,); an utterance without an answer counts as the next wrong one."""
        wrong = (self.truth + 1) % self.posterior.shape[1]
        return np.where(self.answered, self.posterior.argmax(axis=1), wrong)


def as_trained(utterances: Sequence[Utterance], bundle: ModelBundle) -> list[Utterance]:
    """Utterances of the bundle's classes, emotions merged as its recipe merges them."""
    merge = {canonical(k): canonical(v) for k, v in bundle.meta.recipe.get("merge", {}).items()}
    own = {canonical(label): label for label in bundle.meta.labels}
    merged = [(u, merge.get(u.emotion, u.emotion)) for u in utterances]
    return [replace(u, emotion=own[emotion]) for u, emotion in merged if emotion in own]


def hearings(bundle: ModelBundle) -> tuple[Hearing, ...]:
    """States that a model can be heard in: only what adapts can know a speaker."""
    if bundle.meta.normalizer_state in (NormalizerState.NONE, NormalizerState.COLD):
        return (Hearing.COLD, Hearing.LONG)
    return tuple(h for h in Hearing if h is not Hearing.CALIBRATED or bundle.meta.profiles)


def evaluate(
    bundle: ModelBundle,
    utterances: Sequence[Utterance],
    hearing: Hearing,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score ``utterances``: mean posterior over windows with the bundle's hop, no speech gate.

    Returns:
        UAR, WA, recalls, confusion, ECE and more, see `figures` and `long_figures`; the state.

    Raises:
        TrainingError: no speaker can be heard in this state.
    """
    labels = bundle.meta.labels
    if hearing is Hearing.LONG:
        found = hear_long(bundle, utterances, on_progress=on_progress)
        return {**long_figures(found, labels), "hearing": str(hearing)}
    heard = hear(bundle, utterances, hearing, on_progress=on_progress)
    return {**figures(heard, labels), "hearing": str(hearing)}


def figures(heard: Heard, labels: tuple[str, ...]) -> dict[str, Any]:
    """UAR, WA, recalls, confusion, ECE and recall by evidence, as plain values.

    ``by_evidence`` has a row for each part of `EVIDENCE_S` in which clips were scored: at least
    ``from_s`` seconds of the speaker's clips were heard before, and less than the next row's.
    """
    result = score(heard.truth, heard.predicted, len(labels)).as_dict(labels)
    result["ece"] = round(expected_calibration_error(heard.posterior, heard.truth), 4)
    stretch = np.searchsorted(EVIDENCE_S, heard.known_s, side="right") - 1
    rows = []
    for k in np.unique(stretch).tolist():
        own = stretch == k
        one = score(heard.truth[own], heard.predicted[own], len(labels)).as_dict(labels)
        recalls = {name: one[name] for name in ("uar", "recall")}
        rows.append({"from_s": EVIDENCE_S[k], "clips": int(own.sum()), **recalls})
    result["by_evidence"] = rows
    return result


def hear(
    bundle: ModelBundle,
    utterances: Sequence[Utterance],
    hearing: Hearing,
    channel: Callable[[Float32, int, Utterance], tuple[Float32, int]] | None = None,
    gate: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Heard:
    """Run utterances through the engine as users do.

    Args:
        bundle: the model.
        utterances: clips, or spans of files.
        hearing: what the normaliser knows.
        channel: what happens to a clip on its way, (samples, rate, utterance) -> (samples, rate).
        gate: with the bundle's speech gate; without, every window passes.
        on_progress: called with utterances done and in all.

    Raises:
        TrainingError: no speaker can be heard in this state.
        ValueError: for a long stream, see `training.long_stream`.
    """
    check_hearing(utterances, hearing)
    labels = bundle.meta.labels
    clip = _Clip(bundle.meta.sample_rate_hz, channel)
    rng = np.random.default_rng(0)
    scored: list[int] = []
    posterior = np.full((len(utterances), len(labels)), 1.0 / len(labels))
    answered = np.zeros(len(utterances), dtype=np.bool_)
    known_s = np.zeros(len(utterances))
    done = 0
    for group in by_speaker(utterances).values():
        order = rng.permutation(group).tolist()
        profile = None
        if hearing is Hearing.CALIBRATED:
            calibrated = _calibrate(bundle, clip, utterances, order)
            if calibrated is None:
                continue
            profile, order, used = calibrated
            done += used
        engine = Listening(
            bundle, gate=gate, normalizer=_state(bundle, hearing), profile=profile
        ).engine()
        for stream in streams(utterances, order, hearing):
            engine.reset()
            heard_s = 0.0
            for k, i in enumerate((*stream.before, *stream.scored)):
                samples, rate = clip(utterances[i])
                predictions = predictions_of(engine, ArraySource(samples, rate, block_s=None))
                before, heard_s = heard_s, heard_s + len(samples) / rate
                if k < len(stream.before):
                    continue
                found = [p.posterior for p in predictions if p.posterior is not None]
                if found:
                    posterior[i] = np.mean(found, axis=0)
                    answered[i] = True
                known_s[i] = before
                scored.append(i)
                done += 1
                on_progress(done, len(utterances))
    scored.sort()
    kept = [utterances[i] for i in scored]
    truth = np.array([labels.index(u.emotion) for u in kept])
    return Heard(kept, truth, posterior[scored], answered[scored], known_s[scored])


def _state(bundle: ModelBundle, hearing: Hearing) -> NormalizerState | None:
    """State of the normaliser, None for the bundle's own, that ``hearing`` stands for."""
    # Without a normaliser no speaker is known in any state; one would limit features to deviations.
    if hearing is Hearing.CALIBRATED or bundle.meta.normalizer_state is NormalizerState.NONE:
        return None
    return NormalizerState.COLD if hearing is Hearing.COLD else NormalizerState.RUNNING


def _calibrate(
    bundle: ModelBundle, clip: _Clip, utterances: Sequence[Utterance], order: list[int]
) -> tuple[Profile, list[int], int] | None:
    """A profile of the first half of the neutral clips and the other clips; None without any."""
    rate = bundle.meta.sample_rate_hz
    samples = functools.cache(lambda i: _resampled(clip(utterances[i]), rate))
    used = for_profile(utterances, order, lambda i: len(samples(i)) / rate)
    if not used:
        return None
    recorder = ProfileRecorder(bundle)
    for i in used:
        recorder.feed(samples(i))
    profile = recorder.finish("neutral clips", least_s=0.0)
    return profile, [i for i in order if i not in used], len(used)


class _Clip:
    """An utterance's samples as they reach the microphone, with their rate."""

    def __init__(
        self,
        rate_hz: int,
        channel: Callable[[Float32, int, Utterance], tuple[Float32, int]] | None,
    ) -> None:
        self._rate_hz = rate_hz
        self._channel = channel

    def __call__(self, utterance: Utterance) -> tuple[Float32, int]:
        u = utterance
        if self._channel is None:
            return load_span(u.path, u.start_s, u.end_s)
        return self._channel(
            load_audio(u.path, self._rate_hz, u.start_s, u.end_s), self._rate_hz, u
        )


def _resampled(clip: tuple[Float32, int], rate_hz: int) -> Float32:
    blocks = resampled(ArraySource(*clip, block_s=None), rate_hz)
    return np.concatenate([block.samples for block in blocks])
