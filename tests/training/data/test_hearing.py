"""States of knowing a speaker: which clips are heard before which."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.corpora import Utterance
from training.data.hearing import Hearing, check_hearing, streams, why_not
from training.errors import TrainingError

EMOTIONS = ["sad", "neutral", "angry", "sad", "neutral"]
CLIPS = [Utterance(Path(f"{i}.wav"), "toy", "toy/a", e) for i, e in enumerate(EMOTIONS)]
ORDER = [3, 1, 2, 0, 4]


@pytest.mark.parametrize(
    ("hearing", "found"),
    [
        (Hearing.ALONE, [([], [3]), ([], [1]), ([], [2]), ([], [0]), ([], [4])]),
        (Hearing.RUNNING, [([], ORDER)]),
        (Hearing.KNOWN, [(ORDER, ORDER)]),
        (Hearing.ONE_EMOTION, [([], [3, 0]), ([], [1, 4]), ([], [2])]),
        (Hearing.NEUTRAL_FIRST, [([], [1, 4, 3, 2, 0])]),
    ],
)
def test_streams_of_a_speaker(hearing, found):
    assert [(s.before, s.scored) for s in streams(CLIPS, ORDER, hearing)] == found


@pytest.mark.parametrize("hearing", [Hearing.CALIBRATED, Hearing.NEUTRAL_FIRST, Hearing.LONG])
def test_a_state_needs_what_it_is_made_of(hearing):
    others = [c for c in CLIPS if c.emotion != "neutral"]
    assert why_not(CLIPS, hearing) is None
    with pytest.raises(TrainingError, match=rf"{hearing}: no speaker has (a )?neutral clip"):
        check_hearing(others, hearing)
    assert why_not([], hearing) == "there is no clip"


def test_a_speaker_of_one_kind_is_not_heard_neutral_first():
    assert streams(CLIPS, [1, 4], Hearing.NEUTRAL_FIRST) == []
