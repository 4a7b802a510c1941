"""A synthetic tree in IEMOCAP's format, with everything in it that has misled readers.

The emotions differ in pitch, brightness and words, so that what is trained on it can learn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16000

# Label: this project's word, pitch in Hz, spectral tilt, valence and activation, words.
SOUNDS = {
    "ang": ("angry", 300, 0.5, 1.5, 4.5, "enough stop shouting"),
    "hap": ("happy", 250, 2.0, 4.5, 3.5, "lovely glad smile"),
    "exc": ("excited", 270, 1.2, 4.5, 4.5, "amazing hurray wow"),
    "neu": ("neutral", 140, 1.0, 3.0, 2.5, "paper counter number"),
    "sad": ("sad", 110, 3.0, 1.5, 1.5, "lost alone gone"),
    "fru": ("frustrated", 190, 0.8, 2.0, 3.0, "again useless form"),
    "fea": ("fear", 330, 1.5, 1.5, 4.0, "help dark hide"),
    "sur": ("surprised", 350, 1.0, 3.0, 4.0, "really what oh"),
    "dis": ("disgust", 160, 0.7, 1.5, 3.0, "rotten smell yuck"),
    "oth": ("other", 200, 2.5, 3.0, 3.0, "hm well so"),
    "xxx": ("undecided", 220, 1.7, 3.0, 3.0, "maybe perhaps whatever"),
}
EMOTION = {label: sound[0] for label, sound in SOUNDS.items()}
FREQUENT = ("ang", "hap", "exc", "neu", "sad")
RARE = ("fru", "fea", "sur", "dis", "oth", "xxx")

# Letters after the number are part of a name, and two names may differ in nothing else.
DIALOGUES = {
    "improvised": ("F_impro01", "M_impro05a", "M_impro05b"),
    "scripted": ("F_script01_1", "M_script02_2b"),
}
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
# What a Mac leaves beside every file of an archive: neither text nor audio.
JUNK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X \xff\xfe\n[ATTR;\x00 ]:\n"


@dataclass(frozen=True, slots=True)
class ExpectedTurn:
    """A labelled turn as a reader must find it."""

    name: str
    dialogue: str
    speaker: str
    session: str
    part: str
    label: str
    text: str
    start_s: float
    end_s: float
    vad: tuple[float, float, float]
    audio: Path

    @property
    def emotion(self) -> str:
        return EMOTION[self.label]


@dataclass(frozen=True, slots=True)
class Expected:
    """All that a reader must find in a tree, by name of the turn."""

    folder: Path
    turns: dict[str, ExpectedTurn]

    @property
    def counts(self) -> Counter[str]:
        return Counter(turn.emotion for turn in self.turns.values())

    @property
    def speakers(self) -> list[str]:
        return sorted({turn.speaker for turn in self.turns.values()})

    @property
    def sessions(self) -> list[str]:
        return sorted({turn.session for turn in self.turns.values()})

    @property
    def texts(self) -> dict[str, str]:
        return {name: turn.text for name, turn in self.turns.items()}


def make_tree(root: Path, utterances_per_cell: int = 2, seed: int = 0) -> Expected:
    """Write ``root``/IEMOCAP_full_release and tell what is in it.

    A cell is one of the 10 speakers in one of the 2 parts with one of the 5 frequent labels: the
    tree holds 100 * ``utterances_per_cell`` turns of these and one of every rare label per session,
    30 together. Clips take 0.6 to 3 s.
    """
    rng = np.random.default_rng(seed)
    release = root / "IEMOCAP_full_release"
    turns: dict[str, ExpectedTurn] = {}
    for number in range(1, 6):
        session = f"Ses{number:02d}"
        folder = release / f"Session{number}"
        planned: dict[str, list[tuple[str, str]]] = {
            session + d: [] for part in DIALOGUES.values() for d in part
        }
        for part in DIALOGUES.values():
            jobs = [
                (gender, label)
                for _ in range(utterances_per_cell)
                for label in FREQUENT
                for gender in "FM"
            ]
            rng.shuffle(jobs)
            for i, (gender, label) in enumerate(jobs):
                planned[session + part[i % len(part)]].append((str(gender), str(label)))
        for i, label in enumerate(RARE):
            dialogue = session + DIALOGUES["improvised" if i % 2 else "scripted"][0]
            planned[dialogue].append(("FM"[(i + number) % 2], label))
        for part, dialogues in DIALOGUES.items():
            for dialogue in (session + d for d in dialogues):
                made = _write_dialogue(folder, dialogue, part, planned[dialogue], rng)
                turns |= {turn.name: turn for turn in made}
    return Expected(release, turns)


def _write_dialogue(
    folder: Path,
    dialogue: str,
    part: str,
    planned: list[tuple[str, str]],
    rng: np.random.Generator,
) -> list[ExpectedTurn]:
    session = dialogue.split("_", maxsplit=1)[0][:-1]
    counter: Counter[str] = Counter()
    clock_s = 6.0
    turns = []
    for i, (gender, label) in enumerate(planned):
        name = f"{dialogue}_{gender}{counter[gender]:03d}"
        counter[gender] += 1
        audio = folder / "sentences" / "wav" / dialogue / f"{name}.wav"
        length_s = _write_audio(audio, label, gender, rng)
        start_s, end_s = round(clock_s, 4), round(clock_s + length_s, 4)
        clock_s += length_s + 0.5
        # Whole quarters, as means of four evaluators are.
        valence, activation = (
            float(np.clip(float(SOUNDS[label][k]) + rng.integers(-2, 3) / 4, 1, 5)) for k in (3, 4)
        )
        turns.append(
            ExpectedTurn(
                name, dialogue, f"iemocap/{session}{gender}", f"iemocap/{session}", part,
                label, _text(label, i, rng), start_s, end_s, (valence, activation, 2.5), audio,
            )
        )  # fmt: skip
    _write_labels(folder / "dialog" / "EmoEvaluation", dialogue, turns)
    _write_transcript(folder / "dialog" / "transcriptions", dialogue, turns, clock_s)
    audio_folder = folder / "sentences" / "wav"
    (audio_folder / f"._{dialogue}").write_bytes(JUNK)
    for turn in turns:
        (audio_folder / dialogue / f"._{turn.name}.wav").write_bytes(JUNK)
    return turns


def _write_audio(path: Path, label: str, gender: str, rng: np.random.Generator) -> float:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, pitch, tilt, *_ = SOUNDS[label]
    t = np.arange(int(RATE_HZ * rng.uniform(0.6, 3.0))) / RATE_HZ
    f = pitch * rng.uniform(0.9, 1.1) * (1.1 if gender == "F" else 0.95)
    x = sum(np.sin(2 * np.pi * f * k * t) / k**tilt for k in range(1, 12))
    x = 0.1 * x / np.abs(x).max() + rng.normal(0, 1e-3, len(t))
    soundfile.write(path, x, RATE_HZ, subtype="PCM_16")
    return len(t) / RATE_HZ


def _text(label: str, i: int, rng: np.random.Generator) -> str:
    words = [*SOUNDS[label][5].split(), "the", "you", "and"]
    text = " ".join(rng.choice(words, size=int(rng.integers(2, 8)))).capitalize() + "."
    if i % 5 == 1:
        return f"[LAUGHTER] {text} [BREATHING]"
    if i % 5 == 2:
        return f"{text} He said [so]: {text}"
    return "" if i == 3 else text


def _write_labels(folder: Path, dialogue: str, turns: list[ExpectedTurn]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for i, turn in enumerate(turns):
        v, a, d = turn.vad
        word = turn.emotion.capitalize()
        records.append(
            f"[{turn.start_s:.4f} - {turn.end_s:.4f}]\t{turn.name}\t{turn.label}\t"
            f"[{v:.4f}, {a:.4f}, {d:.4f}]\n"
            f"C-E2:\t{word};\t()\n"
            f"C-E4:\tAnger; {word};\t([LAUGHTER] in it)\n"
            f"C-F1:\tNeutral;\t(self-evaluation)\n"
            + ("A-E3:\tval 3; act 2; dom  2;\t()\n" if i % 3 else "A-E3:\tval ; act ; dom  ;\t()\n")
            + "A-E4:\tval 2; act 3; dom  ;\t()\n\n"
        )
    (folder / f"{dialogue}.txt").write_text(HEADER + "".join(records))
    (folder / f"._{dialogue}.txt").write_bytes(JUNK)
    # Single evaluators' files, here in the same form and with another label, where none may look.
    wrong = f"[1.0000 - 2.0000]\t{dialogue}_F900\tsad\t[1.0000, 1.0000, 1.0000]\n"
    for below, suffix in (("Attribute", "_atr"), ("Categorical", "_cat"), ("Self-evaluation", "")):
        (folder / below).mkdir(exist_ok=True)
        (folder / below / f"{dialogue}{suffix}.txt").write_text(HEADER + wrong)


def _write_transcript(
    folder: Path, dialogue: str, turns: list[ExpectedTurn], clock_s: float
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{turn.name} [{turn.start_s:08.4f}-{turn.end_s:08.4f}]: {turn.text}"
        for turn in turns
        if turn.text
    ]
    # Turns that nobody labelled, with no audio, and lines that belong to no turn.
    for i, gender in enumerate("MF"):
        span = f"[{clock_s + i:08.4f}-{clock_s + i + 0.4:08.4f}]"
        lines.insert(1 + 2 * i, f"{dialogue}_{gender}XX{i} {span}: Short.")
    lines.insert(2, "M: stray words [here]: and there")
    lines.append("")
    (folder / f"{dialogue}.txt").write_text("\n".join(lines))
    (folder / f"._{dialogue}.txt").write_bytes(JUNK)
