"""Berlin EMO-DB (Burkhardt et al., Interspeech 2005): ``wav/03a01Fa.wav``.

Characters of a name: two of the speaker, three of the text, one of the emotion (from its German
word), one of the version.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.data.corpora.base import Utterance, audio_files

EMOTIONS = {
    "W": "angry",
    "L": "bored",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[WLEAFTN])[a-z]")


def read(folder: Path) -> list[Utterance]:
    """Read the clips below ``folder`` (the corpus root or wav itself)."""
    utterances = []
    for path in audio_files(folder):
        if match := NAME.fullmatch(path.stem):
            utterances.append(
                Utterance(path, "emodb", f"emodb/{match['speaker']}", EMOTIONS[match["emotion"]])
            )
    return utterances
