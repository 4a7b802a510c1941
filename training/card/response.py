"""How soon a label follows a change of emotion, and how steady it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ser_stream.audio.sources import ArraySource
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.stream.listening import Listening, predictions_of
from ser_stream.stream.smoothing import Smoother
from ser_stream.types import Float32
from training.data.audio import load_audio
from training.data.corpora import Utterance
from training.data.hearing import by_speaker
from training.errors import TrainingError

STEADY_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class EmotionStretch:
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


def stretches(bundle: ModelBundle, utterances: Sequence[Utterance]) -> list[EmotionStretch]:
    """Join each speaker's clips: each emotion alone, and after each other one."""
    rate, labels = bundle.meta.sample_rate_hz, bundle.meta.labels
    found: list[EmotionStretch] = []
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


def _stretch(
    bundle: ModelBundle, samples: Float32, change_s: float | None, target: int
) -> EmotionStretch:
    rate = bundle.meta.sample_rate_hz
    engine = Listening(bundle, LIVE_HOP_S).engine()
    predictions = predictions_of(engine, ArraySource(samples, rate, block_s=None))
    ends = [p.end / rate for p in predictions]
    return EmotionStretch(ends, [p.posterior for p in predictions], change_s, target)


def live_hop_s(bundle: ModelBundle) -> float:
    """Step between the windows of a stretch, `LIVE_HOP_S` in whole frames."""
    return bundle.hop_frames(LIVE_HOP_S) * bundle.hop_s


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


def respond(found: Sequence[EmotionStretch], smoother: Smoother, hop_s: float) -> Response:
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


def _replay(
    stretch: EmotionStretch, smoother: Smoother, hop_s: float
) -> list[tuple[int | None, bool]]:
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
