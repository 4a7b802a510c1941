"""RAVDESS speech (Livingstone & Russo, PLoS ONE 13(5), 2018).

Names are ``Actor_01/03-01-05-01-02-01-01.wav``: modality, channel, emotion, intensity, statement,
repetition, actor.

Licensed CC BY-NC-SA 4.0: used to look at models, never to train the one that is shipped.
"""

from __future__ import annotations

from pathlib import Path

from training.data.corpora.base import Utterance, audio_files

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprised",
}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


def read(folder: Path) -> list[Utterance]:
    """Read the audio-only speech clips below ``folder``."""
    utterances = []
    for path in audio_files(folder):
        parts = path.stem.split("-")
        if len(parts) == 7 and parts[:2] == ["03", "01"] and parts[2] in EMOTIONS:
            speaker, emotion = f"ravdess/{parts[6]}", EMOTIONS[parts[2]]
            text = STATEMENTS.get(parts[4], "")
            utterances.append(Utterance(path, "ravdess", speaker, emotion, text=text))
    return utterances
