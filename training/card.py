"""A report card: what a shipped file is worth, measured through the runtime that users run.

Nothing here looks at PyTorch. A model is heard as live use and ``ser-stream score`` run it, with
speech gate and smoothing, by speakers that it was not trained on and on corpora that it never saw.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser_stream.features.normalizer import NormalizerState
from ser_stream.files import sha256
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.network import models_folder
from ser_stream.stream.detector import SileroDetector
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.smoothing import Smoother
from ser_stream.types import AudioBlock, Float32, Prediction, State
from training.augment import Condition, apply_condition
from training.corpora import CORPORA, Utterance
from training.dataset import load_audio
from training.errors import TrainingError
from training.evaluate import Heard, Hearing, as_trained, figures, hear
from training.noises import split_noises
from training.windows import by_speaker

# Of what is measured; a card of another one is made anew.
VERSION = 2
# As often as the meter is updated.
LIVE_HOP_S = 0.1
STEADY_AFTER_S = 3.0
EVIDENCE_S = (0.0, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
RELIABILITY_BINS = 10

Channel = Callable[[Float32, int, Utterance], tuple[Float32, int]]


def hearings(bundle: ModelBundle) -> tuple[Hearing, ...]:
    """States that a model can be heard in: only what adapts can know a speaker."""
    if bundle.meta.normalizer_state in (NormalizerState.NONE, NormalizerState.COLD):
        return (Hearing.COLD,)
    adapting = (Hearing.ALONE, Hearing.RUNNING)
    return (*adapting, Hearing.CALIBRATED) if bundle.meta.profiles else adapting


def unseen(bundle: ModelBundle, corpus: str, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances of the model's classes by speakers that it was not trained on.

    Raises:
        TrainingError: it was trained on the corpus and does not tell whom it left out.
    """
    known = as_trained(utterances, bundle)
    trained = {d.corpus for d in bundle.meta.training_data}
    left_out = {s for m in bundle.meta.metrics.values() for s in m.get("speakers", ())}
    kept = [u for u in known if u.speaker in left_out]
    if kept:
        return kept
    if any(corpus.replace("-", "") in name.replace("-", "").lower() for name in trained):
        raise TrainingError(
            f"{bundle.meta.name} was trained on {corpus} and does not tell which speakers it left "
            "out; train and export it again"
        )
    return known


# Robustness


def _rng(utterance: Utterance) -> np.random.Generator:
    return np.random.default_rng([3, zlib.crc32(utterance.path.name.encode())])


def _gain(gain_db: float) -> Channel:
    factor = np.float32(10 ** (gain_db / 20))
    return lambda x, rate, u: (np.clip(x * factor, -1.0, 1.0), rate)


def _under(condition: Condition, noises: Sequence[Float32] = ()) -> Channel:
    def channel(x: Float32, rate: int, u: Utterance) -> tuple[Float32, int]:
        rng = _rng(u)
        drawn = replace(condition, noise=int(rng.integers(len(noises)))) if noises else condition
        return apply_condition(x, rate, drawn, noises, rng), rate

    return channel


def _at_rate(rate_hz: int) -> Channel:
    def channel(x: Float32, rate: int, u: Utterance) -> tuple[Float32, int]:
        import soxr

        return soxr.resample(x, rate, rate_hz).astype(np.float32), rate_hz

    return channel


def channels(noises: Sequence[Float32]) -> dict[str, Channel]:
    """What may happen to speech on its way, by name; ``noises`` at the model's rate."""
    named: dict[str, Channel] = {f"gain {g:+d} dB": _gain(g) for g in (-40, -20, 10)}
    named["automatic gain control"] = _under(Condition(agc=1.0))
    if noises:
        for snr in (20, 10, 5):
            named[f"environmental noise, {snr} dB SNR"] = _under(Condition(snr_db=snr), noises)
    named["telephone band, 300-3400 Hz"] = _under(Condition(band_hz=(300.0, 3400.0)))
    named["room, 0.4 s reverberation"] = _under(Condition(reverb_s=0.4))
    named["MP3, 24 kbit/s"] = _under(Condition(codec="mp3", codec_kbps=24.0))
    named["Opus, 24 kbit/s"] = _under(Condition(codec="opus", codec_kbps=24.0))
    named["8 kHz"] = _at_rate(8000)
    named["48 kHz"] = _at_rate(48000)
    return named


# What is no speech


def no_speech_sounds(rate_hz: int, noise: Path | None) -> dict[str, list[Float32]]:
    """Sounds that have no emotion, by kind, at ``rate_hz``; ``noise`` is a folder of recordings."""
    rng = np.random.default_rng(0)
    n = 20 * rate_hz
    t = np.arange(n) / rate_hz
    white = 0.1 * rng.standard_normal(n)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), n)
    sounds = {
        "silence": [np.zeros(n)],
        "hiss of a quiet room": [1e-4 * rng.standard_normal(n)],
        "white noise": [white],
        "pink noise": [0.1 * pink / pink.std()],
        "tones": [0.2 * np.sin(2 * np.pi * f * t) for f in (110.0, 220.0, 440.0, 1000.0)],
        "chords": [_chords(t, root) for root in (110.0, 164.8, 220.0)],
    }
    named = {name: [x.astype(np.float32) for x in many] for name, many in sounds.items()}
    if noise is not None:
        named["environmental sound"] = _recordings(noise, rate_hz)
    return named


def _chords(t: np.ndarray[Any, Any], root_hz: float) -> np.ndarray[Any, Any]:
    """A progression of major triads, half a second each, struck and decaying like a piano's."""
    steps = (0, 5, 7, 0, -3, 5, 7, 12)
    which = (t // 0.5).astype(int) % len(steps)
    base = root_hz * 2 ** (np.array(steps)[which] / 12)
    sound = np.zeros(len(t))
    for semitones in (0, 4, 7):
        for harmonic in (1, 2, 3, 4):
            # The phase is a running sum: the pitch may jump, the wave may not.
            hz = base * 2 ** (semitones / 12) * harmonic
            phase = 2 * np.pi * np.cumsum(hz) * (t[1] - t[0])
            sound += np.sin(phase) / harmonic**1.5
    return 0.08 * sound * np.exp(-3.0 * (t % 0.5))


def _recordings(folder: Path, rate_hz: int) -> list[Float32]:
    return [load_audio(p, rate_hz) for p in split_noises(folder)[1]]


def called_an_emotion(bundle: ModelBundle, sounds: Sequence[Float32]) -> tuple[int, int]:
    """Windows that the meter would call an emotion, and windows in all."""
    engine = Engine(bundle, EngineConfig(hop_s=LIVE_HOP_S))
    called = total = 0
    for sound in sounds:
        engine.reset()
        predictions = _all(engine, sound)
        called += sum(p.state is State.EMOTION for p in predictions)
        total += len(predictions)
    return called, total


def _all(engine: Engine, samples: Float32) -> list[Prediction]:
    return engine.feed(AudioBlock(samples, 0, True, None)) + engine.flush()


# Responsiveness


@dataclass(frozen=True, slots=True)
class Stretch:
    """Posteriors of a live stream over joined clips of one speaker.

    Attributes:
        ends_s: where each window ends.
        posteriors: (classes,) per window; None without speech.
        change_s: where the emotion changes; None where it never does.
        target: class after the change, or of the whole stretch.
    """

    ends_s: list[float]
    posteriors: list[Float32 | None]
    change_s: float | None
    target: int


def stretches(bundle: ModelBundle, utterances: Sequence[Utterance]) -> list[Stretch]:
    """Let each speaker's clips be heard joined: each emotion alone, and after each other one."""
    rate, labels = bundle.meta.sample_rate_hz, bundle.meta.labels
    found: list[Stretch] = []
    for group in by_speaker(utterances).values():
        clips: dict[str, list[Float32]] = {}
        rng = np.random.default_rng(0)
        for i in rng.permutation(group).tolist():
            u = utterances[i]
            samples = load_audio(u.path, rate, u.start_s, u.end_s)
            clips.setdefault(u.emotion, []).append(samples)
        for emotion, own in clips.items():
            target = labels.index(emotion)
            for other, theirs in clips.items():
                if other != emotion and len(theirs) >= 2 and len(own) >= 2:
                    before = np.concatenate(theirs[:4])
                    joined = np.concatenate([before, *own[:4]])
                    found.append(_stretch(bundle, joined, len(before) / rate, target))
            if len(own) >= 3:
                found.append(_stretch(bundle, np.concatenate(own[:8]), None, target))
    return found


def _stretch(bundle: ModelBundle, samples: Float32, change_s: float | None, target: int) -> Stretch:
    engine = Engine(bundle, EngineConfig(hop_s=LIVE_HOP_S))
    predictions = _all(engine, samples)
    ends = [p.end / bundle.meta.sample_rate_hz for p in predictions]
    return Stretch(ends, [p.posterior for p in predictions], change_s, target)


def live_hop_s(bundle: ModelBundle) -> float:
    """Step between the windows of a stretch, `LIVE_HOP_S` in whole frames."""
    return max(1, round(LIVE_HOP_S / bundle.hop_s)) * bundle.hop_s


@dataclass(frozen=True, slots=True)
class Response:
    """How a smoother behaves on speech whose emotion is known.

    Attributes:
        right: share of speech with the right label while the emotion stays the same...
        wrong: ...with another label...
        unsure: ...and with none; the three make 1. Windows without speech are left out.
        delay_s: median time from a change to the right label; infinite if most never come.
        found: share of the changes whose label came at all.
        changes_per_minute: of what is shown (a label, or unsure) while the emotion stays the same.
        outweighed: share of the labels, in all stretches, whose class had not the largest belief.
    """

    right: float
    wrong: float
    unsure: float
    delay_s: float
    found: float
    changes_per_minute: float
    outweighed: float

    def as_dict(self) -> dict[str, float]:
        """Rounded plain values for JSON."""
        digits = {"delay_s": 2, "changes_per_minute": 2}
        return {name: round(value, digits.get(name, 3)) for name, value in asdict(self).items()}


def respond(found: Sequence[Stretch], smoother: Smoother, hop_s: float) -> Response:
    """Replay ``found`` through ``smoother``, which is reset for each.

    Raises:
        TrainingError: no stretch changes, or none stays the same.
    """
    delays: list[float] = []
    changes = windows = wrong = right = labelled = outweighed = 0
    for stretch in found:
        shown = _replay(stretch, smoother, hop_s)
        labels = [label for label, _ in shown]
        labelled += sum(label is not None for label in labels)
        outweighed += sum(over for _, over in shown)
        if stretch.change_s is not None:
            came = (
                end - stretch.change_s
                for end, label in zip(stretch.ends_s, labels, strict=True)
                if end > stretch.change_s and label == stretch.target
            )
            delays.append(next(came, np.inf))
        else:
            steady = [
                label
                for end, label, posterior in zip(
                    stretch.ends_s, labels, stretch.posteriors, strict=True
                )
                if end >= STEADY_AFTER_S and posterior is not None
            ]
            changes += sum(a != b for a, b in itertools.pairwise(steady))
            windows += len(steady)
            right += sum(label == stretch.target for label in steady)
            wrong += sum(label not in (None, stretch.target) for label in steady)
    if not delays or len(delays) == len(found):
        raise TrainingError("too few clips per speaker to join: no change, or nothing steady")
    # Without any speech nothing is shown and nothing changes.
    windows = max(windows, 1)
    return Response(
        right / windows,
        wrong / windows,
        1.0 - (right + wrong) / windows,
        float(np.median(delays)),
        float(np.mean(np.isfinite(delays))),
        changes / (windows * hop_s / 60.0),
        outweighed / max(labelled, 1),
    )


def _replay(stretch: Stretch, smoother: Smoother, hop_s: float) -> list[tuple[int | None, bool]]:
    """Label of each window, and whether another class had a larger belief."""
    smoother.reset()
    shown: list[tuple[int | None, bool]] = []
    for posterior in stretch.posteriors:
        if posterior is None:
            smoother.pause(hop_s)
            shown.append((None, False))
        else:
            belief, label = smoother.update(posterior, hop_s)
            shown.append((label, label is not None and bool(belief[label] < belief.max())))
    return shown


# The card


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
        data: folder with crema-d, emodb, ravdess and esc10; what is absent is left out.
        on_step: told what is being measured.
        robustness: measure what happens on bad channels too, which takes longest.

    Returns:
        Plain values for JSON: ``corpora``, ``robustness``, ``no_speech``, ``response``, and what
        was `measured`.

    Raises:
        TrainingError: no corpus is there.
    """
    corpora: dict[str, list[Utterance]] = {}
    for name in ("crema-d", "emodb", "ravdess"):
        if (data / name).is_dir():
            corpora[name] = unseen(bundle, name, CORPORA[name](data / name))
    if not corpora:
        raise TrainingError(f"{data}: no folder crema-d, emodb or ravdess there")
    noise = data / "esc10" if (data / "esc10").is_dir() else None
    usual = hearings(bundle)
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
            on_step(f"{name}, {hearing}")
            heard = hear(bundle, utterances, hearing, gate=True)
            told[str(hearing)] = {
                **figures(heard, labels),
                "unanswered": int((~heard.answered).sum()),
                "reliability": reliability(heard),
            }
            if hearing is live:
                clean[name] = told[str(hearing)]["uar"]
    rate = bundle.meta.sample_rate_hz
    if robustness:
        noises = _recordings(noise, rate) if noise is not None else []
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
