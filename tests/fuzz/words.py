"""Texts: tokens of anything that may be written."""

from __future__ import annotations

from pathlib import Path
from random import Random

from ser_stream.words.tokens import spoken_words, tokenize

from .kinds import FuzzKind, require
from .mutations import damaged, odd_words, repeated

# Tokens of a megabyte take a second or two, and every case is tokenised four times.
LONGEST = 100_000


class Fuzz(FuzzKind):
    """Text as a transcript or a recogniser has it."""

    def make(self, rng: Random) -> tuple[str, bytes]:
        text = "".join(
            repeated(rng) if rng.random() < 0.4 else odd_words(rng)
            for _ in range(rng.choice((1, 1, 2, 5)))
        )
        data = text.encode()
        if rng.random() < 0.2:
            data = damaged(data, rng, data)
        return ".text", data[:LONGEST]

    def check(self, path: Path) -> str | None:
        text = path.read_bytes().decode("utf-8", "replace")
        check_words(text)
        return None


def check_words(text: str) -> None:
    """Hold what `tokenize` and `spoken_words` promise."""
    tokens = tokenize(text)
    require(tokenize(" ".join(tokens)) == tokens, "tokens of tokens are the same")
    words = spoken_words(text)
    require([t for w in words for t in tokenize(w)] == tokens, "tokens of words are those of text")
