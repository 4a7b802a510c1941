"""A report card: what a shipped file is worth, measured through the runtime that users run.

Nothing here looks at PyTorch. A model is heard as live use and ``ser-stream score`` run it, with
speech gate and smoothing, by speakers that it was not trained on and on corpora that it never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ser_stream.files import sha256
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.network import models_folder
from ser_stream.stream.detector import SileroDetector
from ser_stream.stream.smoothing import Smoother
from training.card.channels import channels
from training.card.no_speech import called_an_emotion, no_speech_sounds, noise_recordings
from training.card.response import live_hop_s, respond, stretches
from training.data.corpora import CORPORA, Utterance, card_corpora
from training.data.hearing import Hearing, why_not
from training.data.noises import NOISE_FOLDER
from training.errors import TrainingError
from training.evaluate import Heard, as_trained, figures, hear, hearings
from training.long_stream import hear_long, long_figures

# Of what is measured; a card of another one is made anew.
VERSION = 3
EVIDENCE_S = (0.0, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
RELIABILITY_BINS = 10


def unseen(bundle: ModelBundle, corpus: str, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances of the model's classes by speakers that it was not trained on.

    Raises:
        TrainingError: it was trained on the corpus and does not state which speakers it left out.
    """
    known = as_trained(utterances, bundle)
    trained = {d.corpus for d in bundle.meta.training_data}
    left_out = {s for m in bundle.meta.metrics.values() for s in m.get("speakers", ())}
    kept = [u for u in known if u.speaker in left_out]
    if kept:
        return kept
    if CORPORA[corpus].credit.corpus in trained:
        raise TrainingError(
            f"{bundle.meta.name} was trained on {corpus} and does not tell which speakers it left "
            "out; train and export it again"
        )
    return known


def measured(bundle: ModelBundle) -> dict[str, Any]:
    """What a card's figures are of, as plain values for JSON.

    `VERSION`, SHA-256 of the model and of the speech detector, and the gate.
    """
    return {
        "version": VERSION,
        "model": sha256(bundle.path),
        "detector": sha256(models_folder() / SileroDetector.FILE),
        "gate": asdict(bundle.meta.gate),
    }


def reliability(heard: Heard) -> list[dict[str, float]]:
    """Clips, mean confidence and accuracy per bin of confidence."""
    confidence = heard.posterior.max(axis=1)
    right = heard.predicted == heard.truth
    which = np.minimum((confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return [
        {
            "clips": int((which == b).sum()),
            "confidence": float(confidence[which == b].mean()),
            "accuracy": float(right[which == b].mean()),
        }
        for b in range(RELIABILITY_BINS)
        if (which == b).any()
    ]


def make_card(
    bundle: ModelBundle,
    data: Path,
    on_step: Callable[[str], None] = lambda step: None,
    robustness: bool = True,
) -> dict[str, Any]:
    """Measure ``bundle`` on the corpora that lie in ``data``, each in a folder of its name.

    Args:
        bundle: the model.
        data: folder with the `card_corpora` and `NOISE_FOLDER`; what is absent is left out.
        on_step: called with what is being measured.
        robustness: measure what happens on bad channels too, which takes longest.

    Returns:
        Plain values for JSON: ``corpora``, ``robustness``, ``no_speech``, ``response``, and what
        was `measured`.

    Raises:
        TrainingError: no corpus is there.
    """
    corpora: dict[str, list[Utterance]] = {}
    for name in card_corpora():
        if (data / name).is_dir():
            corpora[name] = unseen(bundle, name, CORPORA[name].read(data / name))
    if not corpora:
        raise TrainingError(f"{data}: no folder {' or '.join(card_corpora())} there")
    noise = data / NOISE_FOLDER if (data / NOISE_FOLDER).is_dir() else None
    states = hearings(bundle)
    # Each clip alone stands for what is not known of a speaker, where something can be.
    usual = [
        h for h in states if h is not Hearing.LONG and (h is not Hearing.COLD or len(states) == 2)
    ]
    live = Hearing.RUNNING if Hearing.RUNNING in usual else usual[0]
    labels = bundle.meta.labels
    card: dict[str, Any] = {
        "model": bundle.meta.name,
        "measured": measured(bundle),
        "labels": list(labels),
        "corpora": {},
        "robustness": {},
        "no_speech": {},
        "response": {},
    }
    clean: dict[str, float] = {}
    for name, utterances in corpora.items():
        told: dict[str, Any] = {"speakers": len({u.speaker for u in utterances})}
        card["corpora"][name] = told
        for hearing in usual:
            if why_not(utterances, hearing) is not None:
                continue
            on_step(f"{name}, {hearing}")
            heard = hear(bundle, utterances, hearing, gate=True)
            told[str(hearing)] = {
                **figures(heard, labels),
                "unanswered": int((~heard.answered).sum()),
                "reliability": reliability(heard),
            }
            if hearing is live:
                clean[name] = told[str(hearing)]["uar"]
        on_step(f"{name}, {Hearing.LONG}")
        # Without neutral clips, or without any that the gate calls speech, there is none.
        with suppress(TrainingError):
            told[str(Hearing.LONG)] = long_figures(hear_long(bundle, utterances, gate=True), labels)
    rate = bundle.meta.sample_rate_hz
    if robustness:
        noises = noise_recordings(noise, rate) if noise is not None else []
        for channel, change in channels(noises).items():
            row = {}
            for name, utterances in corpora.items():
                on_step(f"{name}, {channel}")
                heard = hear(bundle, utterances, live, change, gate=True)
                uar = figures(heard, labels)["uar"]
                row[name] = {"uar": uar, "loss": round(clean[name] - uar, 4)}
            card["robustness"][channel] = row
    for kind, sounds in no_speech_sounds(rate, noise).items():
        on_step(f"no speech: {kind}")
        called, total = called_an_emotion(bundle, sounds)
        card["no_speech"][kind] = {"windows": total, "called_an_emotion": called}
    for name, utterances in corpora.items():
        on_step(f"{name}, responsiveness")
        found = stretches(bundle, utterances)
        hop_s = live_hop_s(bundle)
        usual_smoothing = bundle.meta.smoothing
        card["response"][name] = {
            "default": respond(found, Smoother(usual_smoothing), hop_s).as_dict(),
            "curve": {
                str(seconds): respond(
                    found, Smoother(usual_smoothing.with_evidence(seconds)), hop_s
                ).as_dict()
                for seconds in EVIDENCE_S
            },
        }
    return card
