"""CREMA-D (Cao et al., IEEE Trans. Affective Computing 5, 2014): ``AudioWAV/1001_DFA_ANG_XX.wav``.

The label is the emotion that the actor intended.
"""

from __future__ import annotations

from pathlib import Path

from training.data.corpora.base import Utterance, audio_files

EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
# What each sentence code of a name stands for.
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}


def read(folder: Path) -> list[Utterance]:
    """Read the clips below ``folder`` (the corpus root or AudioWAV itself)."""
    utterances = []
    for path in audio_files(folder):
        parts = path.stem.split("_")
        if len(parts) == 4 and parts[0].isdigit() and parts[2] in EMOTIONS:
            speaker, emotion = f"crema-d/{parts[0]}", EMOTIONS[parts[2]]
            text = SENTENCES.get(parts[1], "")
            utterances.append(Utterance(path, "crema-d", speaker, emotion, text=text))
    return utterances
