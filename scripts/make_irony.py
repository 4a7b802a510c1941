#!/usr/bin/env python
"""Make a check corpus whose label needs the voice and the words: real clips, made-up sentences.

    python scripts/make_irony.py CREMA-D-FOLDER -o OUT

writes ``OUT/manifest.csv``, which `training.data.corpora.manifest` reads, and ``OUT/vectors.txt``,
word vectors in GloVe's text format. No audio is copied.

Voices are CREMA-D's happy and sad clips. Each gets a sentence that its actor does not say, of
positive or negative words. The label says both polarities; further columns have either, and as
``tone`` whether they agree ("sincere") or not ("ironic"), which is their exclusive or. By
construction, of the four labels the better half of a network gets every second one right, and of
the two tones too, which is no more than chance there:

- every sentence comes twice with each actor, in a happy and in a sad voice;
- half of an actor's happy clips, and half of the sad ones, have positive words.

The actors of each fold of the recipe's protocol "strict" have nouns and adjectives of their own, so
the words of a test are not in the training. Their vectors are near those of other words of their
kind, as they would be if they were learnt from text: all are drawn around one centre per kind. Some
sentences negate. The vectors say nothing about English.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_stream.words.tokens import tokenize
from training.data.corpora import CorpusError, Utterance, crema_d
from training.data.folds import make_splits
from training.recipe.book import load_book

VOICES = {"happy": "positive", "sad": "negative"}
POLARITIES = ("positive", "negative")
# By the polarity of the voice and of the words.
LABELS = {
    ("positive", "positive"): "joy",
    ("positive", "negative"): "teasing",
    ("negative", "positive"): "sarcasm",
    ("negative", "negative"): "sorrow",
}
# How many of a polarity's sentences say it by negating the other's words.
NEGATED = 0.25
TEMPLATES = (
    "the {noun} was {adjective}",
    "i think the {noun} is {adjective}",
    "they said the {noun} is {adjective} again",
    "this {noun} of yours was {adjective} you know",
    "well the {noun} that we had today was {adjective}",
    "it was {adjective} that {noun}",
)
# One line per fold.
ADJECTIVES = {
    "positive": (
        "good splendid charming delicious clever kind",
        "great lovely cheerful brilliant elegant safe",
        "wonderful pleasant superb gentle sunny useful",
        "excellent delightful perfect friendly fresh honest",
        "marvellous beautiful fantastic graceful warm fair",
    ),
    "negative": (
        "bad dreadful boring filthy stupid cruel",
        "awful ugly gloomy rotten clumsy dangerous",
        "terrible nasty lousy harsh dreary useless",
        "horrible disgusting broken hostile stale false",
        "appalling hideous pathetic messy bitter rude",
    ),
}
# One noun of each topic per line.
NOUNS = (
    "soup train meeting film garden coat",
    "dinner flight report concert kitchen jacket",
    "breakfast journey office novel cellar hat",
    "cake bus contract song balcony dress",
    "salad ferry project play bathroom scarf",
)
DIMENSION = 50
# Length of what sets a word apart, where the centre of its kind has length 1.
SPREAD = 1.0


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """A row of the manifest.

    Attributes:
        path: the audio.
        speaker: the actor.
        voice: polarity of the voice.
        words: polarity of the sentence.
        text: the sentence.
    """

    path: Path
    speaker: str
    voice: str
    words: str
    text: str

    @property
    def label(self) -> str:
        """What voice and words say together."""
        return LABELS[self.voice, self.words]

    @property
    def tone(self) -> str:
        """Whether they agree."""
        return "sincere" if self.voice == self.words else "ironic"


def make_clips(utterances: Iterable[Utterance], seed: int = 0) -> list[SpokenClip]:
    """Pair the happy and sad ones of ``utterances`` with sentences.

    An actor with n usable clips of the rarer voice gives n of both, or n - 1 where n is odd.

    Raises:
        CorpusError: no actor has two happy and two sad clips.
        FoldError: too few actors for the folds.
    """
    by_actor: dict[str, dict[str, list[Path]]] = {}
    for u in utterances:
        if u.emotion in VOICES:
            actor = by_actor.setdefault(
                u.speaker.rpartition("/")[2], {polarity: [] for polarity in POLARITIES}
            )
            actor[VOICES[u.emotion]].append(u.path)
    rng = random.Random(seed)
    pairs: dict[str, list[tuple[Path, Path]]] = {}
    for actor, voices in sorted(by_actor.items()):
        n = min(map(len, voices.values())) // 2 * 2
        if n:
            drawn = (rng.sample(sorted(voices[polarity]), n) for polarity in POLARITIES)
            pairs[actor] = list(zip(*drawn, strict=True))
    if not pairs:
        raise CorpusError("no actor has two happy and two sad clips")
    clips = []
    for actor, fold in folds_of(pairs).items():
        n = len(pairs[actor]) // 2
        sentences = [
            (words, text) for words in POLARITIES for text in _sentences(words, fold, n, rng)
        ]
        for paths, (words, text) in zip(pairs[actor], sentences, strict=True):
            for voice, path in zip(POLARITIES, paths, strict=True):
                clips.append(SpokenClip(path, actor, voice, words, text))
    return clips


def folds_of(actors: Iterable[str]) -> dict[str, int]:
    """The fold of the protocol "strict" that tests each actor."""
    named = [Utterance(Path(a), "manifest", f"manifest/{a}", "") for a in actors]
    splits = make_splits(load_book("mscnn_spu").protocol("strict").folds, named, seed=0)
    tested_by = {u.path.name: fold for fold, split in enumerate(splits) for u in split.test}
    return {u.path.name: tested_by[u.path.name] for u in named}


def _sentences(words: str, fold: int, n: int, rng: random.Random) -> list[str]:
    """Different sentences of one polarity."""
    negate = {
        polarity: [f"not {a}" for a in lines[fold].split()]
        for polarity, lines in ADJECTIVES.items()
    }
    other = POLARITIES[1 - POLARITIES.index(words)]
    found: dict[str, None] = {}
    while len(found) < n:
        adjectives = negate[other] if rng.random() < NEGATED else ADJECTIVES[words][fold].split()
        sentence = rng.choice(TEMPLATES).format(
            noun=rng.choice(NOUNS[fold].split()), adjective=rng.choice(adjectives)
        )
        found[sentence] = None
    return list(found)


def make_vectors(seed: int = 0) -> dict[str, np.ndarray]:
    """Vectors (DIMENSION,) of every word that a sentence may have.

    A noun lies around its topic's centre, an adjective around its polarity's; any other word is by
    itself.
    """
    kinds: list[tuple[str, ...]] = [
        tuple(word for line in lines for word in line.split()) for lines in ADJECTIVES.values()
    ]
    kinds += zip(*(line.split() for line in NOUNS), strict=True)
    others = tokenize(" ".join(TEMPLATES).format(noun="", adjective="not"))
    kinds += [(word,) for word in dict.fromkeys(others)]
    rng = np.random.default_rng(seed)
    vectors = {}
    for kind in kinds:
        centre = rng.normal(size=DIMENSION) / np.sqrt(DIMENSION)
        for word in kind:
            own = rng.normal(size=DIMENSION) / np.sqrt(DIMENSION)
            vectors[word] = centre + SPREAD * own
    return vectors


def write(clips: Iterable[SpokenClip], folder: Path) -> None:
    """Write manifest.csv and vectors.txt into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "emotion", "speaker", "text", "voice", "words", "tone"])
        for c in clips:
            table.writerow([c.path.resolve(), c.label, c.speaker, c.text, c.voice, c.words, c.tone])
    lines = [
        f"{word} {' '.join(f'{value:.5f}' for value in vector)}\n"
        for word, vector in make_vectors().items()
    ]
    (folder / "vectors.txt").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description="Make a corpus whose label needs voice and words.")
    parser.add_argument("corpus", type=Path, help="folder of CREMA-D")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    clips = make_clips(crema_d.read(args.corpus), args.seed)
    write(clips, args.output)
    sentences = len({(c.speaker, c.text) for c in clips})
    actors = len({c.speaker for c in clips})
    print(f"{args.output}: {len(clips)} clips of {actors} actors, {sentences} sentences")


if __name__ == "__main__":
    main()
