"""Measure a bundle with the runtime that users run: file by file through the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from ser_stream.bundle import ModelBundle
from ser_stream.engine import Engine, EngineConfig
from ser_stream.normalizer import NormalizerState
from ser_stream.resample import StreamingResampler
from ser_stream.sources import FileSource
from ser_stream.types import AudioBlock, Float64
from training.corpora import Utterance
from training.dataset import load_audio
from training.metrics import expected_calibration_error, score
from training.windows import by_speaker


class Hearing(StrEnum):
    """How much of a speaker the normaliser knows when a clip comes.

    ``COLD`` normalises by the training statistics. ``ALONE`` hears each clip as if it were the
    first, as ``ser-stream score`` does. ``RUNNING`` hears a speaker's clips in one fixed random
    order through one normaliser.
    """

    COLD = "cold"
    ALONE = "alone"
    RUNNING = "running"


def evaluate(
    bundle: ModelBundle,
    utterances: Sequence[Utterance],
    hearing: Hearing,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score ``utterances``: mean posterior over windows with the bundle's hop, no speech gate.

    Returns:
        UAR, WA, recalls, confusion, ECE and the protocol in words.
    """
    labels = bundle.meta.labels
    state = NormalizerState.COLD if hearing is Hearing.COLD else NormalizerState.RUNNING
    engine = Engine(bundle, EngineConfig(gate=None, normalizer=state))
    posterior = np.zeros((len(utterances), len(labels)))
    rng = np.random.default_rng(0)
    done = 0
    for group in by_speaker(utterances).values():
        engine.reset()
        for i in rng.permutation(group):
            if hearing is not Hearing.RUNNING:
                engine.reset()
            posterior[i] = _mean_posterior(engine, utterances[int(i)])
            done += 1
            on_progress(done, len(utterances))
    truth = np.array([labels.index(u.emotion) for u in utterances])
    result = score(truth, posterior.argmax(axis=1), len(labels)).as_dict(labels)
    result["ece"] = round(expected_calibration_error(posterior, truth), 4)
    result["hearing"] = str(hearing)
    return result


def _mean_posterior(engine: Engine, utterance: Utterance) -> Float64:
    # A gap starts the features anew and keeps what is known of the speaker.
    rate = engine.bundle.meta.sample_rate_hz
    predictions = []
    if utterance.start_s or utterance.end_s is not None:
        span = load_audio(utterance.path, rate, utterance.start_s, utterance.end_s)
        predictions += engine.feed(AudioBlock(span, 0, True, None))
    else:
        source = FileSource(utterance.path)
        resampler = StreamingResampler(source.sample_rate_hz, rate)
        for block in source:
            gap = block.start == 0
            predictions += engine.feed(
                resampler.push(AudioBlock(block.samples, block.start, gap, None))
            )
        predictions += engine.feed(resampler.flush())
    predictions += engine.flush()
    posteriors = [p.posterior for p in predictions if p.posterior is not None]
    if not posteriors:
        # Too short for the runtime to say anything: counted as undecided, not left out.
        return np.full(len(engine.bundle.meta.labels), 1.0 / len(engine.bundle.meta.labels))
    return np.mean(posteriors, axis=0)
