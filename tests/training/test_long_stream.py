"""Long streams: what is heard when, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from training.data.corpora import Utterance
from training.errors import TrainingError
from training.long_stream import LongStream, hear_long, long_figures

RATE_HZ = 16000
LABELS = ("angry", "happy", "neutral", "sad")


@pytest.fixture
def short(monkeypatch):
    """Streams of seconds."""
    monkeypatch.setattr("training.long_stream.NEUTRAL_S", 6.0)
    monkeypatch.setattr("training.long_stream.STRETCH_S", 5.0)


def clips(folder, speech, speaker, emotions):
    found = []
    for k, emotion in enumerate(emotions):
        path = folder / f"{speaker}{k}.wav"
        soundfile.write(path, speech[k * RATE_HZ : int((k + 1.5) * RATE_HZ)], RATE_HZ)
        found.append(Utterance(path, "toy", f"toy/{speaker}", emotion))
    return found


def test_each_emotion_comes_in_each_round(tmp_path, bundle, speech, short):
    spoken = clips(tmp_path, speech, "a", ["neutral", "sad", "neutral", "angry"])
    heard = hear_long(bundle, spoken + clips(tmp_path, speech, "b", ["sad", "angry"]))
    # The second speaker has no neutral clip.
    assert heard.speakers == 1
    pairs = set(zip(heard.round.tolist(), heard.truth.tolist(), strict=True))
    assert pairs == {(k, LABELS.index(e)) for k in range(5) for e in ("angry", "neutral", "sad")}
    # Windows of 2 s that lie within a stretch of 5 to 6.5 s, one every 0.4 s.
    counts = [int(((heard.round == k) & (heard.truth == c)).sum()) for k, c in pairs]
    assert all(7 <= n <= 13 for n in counts), counts
    np.testing.assert_allclose(heard.posterior.sum(axis=1), 1.0, atol=1e-5)
    assert long_figures(heard, LABELS)["speakers"] == 1
    with pytest.raises(TrainingError, match="no speaker has neutral clips and others"):
        hear_long(bundle, clips(tmp_path, speech, "b", ["sad", "angry"]))


def test_shares_and_drift_are_counted():
    truth = np.array([0, 3] * 10)
    rounds = np.repeat(np.arange(5), 4)
    posterior = np.eye(4)[truth]
    # In the last round sad is taken for neutral.
    posterior[(rounds == 4) & (truth == 3)] = np.eye(4)[2]
    shown = truth.copy()
    shown[:4] = -1
    shown[4] = 1
    told = long_figures(LongStream(truth, rounds, posterior, shown, 2), LABELS)
    assert told["rounds"] == [1.0, 1.0, 1.0, 1.0, 0.5]
    assert told["drift"] == 0.5
    assert (told["right"], told["wrong"], told["unsure"]) == (0.75, 0.05, 0.2)
    assert told["windows"] == 20
