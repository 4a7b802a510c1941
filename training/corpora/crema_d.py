"""CREMA-D (Cao et al., IEEE Trans. Affective Computing 5, 2014): ``AudioWAV/1001_DFA_ANG_XX.wav``.

The label is the emotion that the actor intended.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.base import Utterance, audio_files

EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}


def read(folder: Path) -> list[Utterance]:
    """Read the clips below ``folder`` (the corpus root or AudioWAV itself)."""
    utterances = []
    for path in audio_files(folder):
        parts = path.stem.split("_")
        if len(parts) == 4 and parts[0].isdigit() and parts[2] in EMOTIONS:
            utterances.append(Utterance(path, "crema-d", f"crema-d/{parts[0]}", EMOTIONS[parts[2]]))
    return utterances
