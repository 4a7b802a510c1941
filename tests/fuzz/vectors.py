"""Files of word vectors, and the caches that are made of them."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import numpy as np

from ser_stream.files import cache_folder
from ser_stream.words.vectors import WordVectors

from .kinds import FuzzKind, require, require_finite
from .mutations import NUMBERS, ODD_TEXTS, damaged, encoded, with_line_ends

WORDS = ("the", "of", "n't", "<unk>", ".", "new york", "\u00a0", "25", "don't", "日本")


class Fuzz(FuzzKind):
    """GloVe's text files; then the cache, damaged as the file's content says."""

    def make(self, rng: Random) -> tuple[str, bytes]:
        width = rng.choice((1, 2, 3, 50, 300))
        strange = rng.choice((0.0, 0.0, 0.01, 0.1))
        lines = []
        for _ in range(rng.choice((0, 1, 2, 10, 150))):
            word = rng.choice(ODD_TEXTS) if rng.random() < strange else rng.choice(WORDS)
            values = [
                rng.choice(NUMBERS) if rng.random() < strange / 10 else f"{rng.gauss(0, 1):.4f}"
                for _ in range(width if rng.random() >= strange / 4 else rng.randint(0, 2 * width))
            ]
            lines.append(" ".join([word, *values]))
        if rng.random() < 0.3:
            count = rng.choice(NUMBERS) if rng.random() < 0.3 else len(lines)
            lines = [f"{count} {rng.choice(NUMBERS) if rng.random() < 0.3 else width}", *lines]
        data = encoded(with_line_ends(lines, rng), rng)
        return ".txt", damaged(data, rng, data) if rng.random() < 0.3 else data

    def check(self, path: Path) -> str | None:
        folder = cache_folder("vectors")
        try:
            first = _vectors(WordVectors.open(path, folder))
            caches = sorted(folder.iterdir())
            require(len(caches) == 2, f"two files, not {caches}")
            rng = Random(zlib.crc32(path.read_bytes()))
            for _ in range(3):
                cache = rng.choice(caches)
                cache.write_bytes(damaged(cache.read_bytes(), rng))
                again = _vectors(WordVectors.open(path, folder))
                require(np.array_equal(first, again), "a damaged cache changes nothing")
        finally:
            for file in folder.glob("*.npy"):
                file.unlink()
        return None


def _vectors(words: WordVectors) -> np.ndarray:
    found = words.vectors([*WORDS, "", "not there", "\ud800", "a" * 1000])
    require(found.shape == (len(WORDS) + 4, words.dimension), f"shape {found.shape}")
    require_finite(found, "vectors")
    repr(words)
    return found
