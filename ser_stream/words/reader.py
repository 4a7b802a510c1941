"""The words of a window for a network that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ser_stream.errors import ConfigError
from ser_stream.files import cache_folder
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.inputs import Inputs, word_inputs
from ser_stream.models.metadata import WordInput
from ser_stream.types import Float32, Word
from ser_stream.words.tokens import tokenize
from ser_stream.words.vectors import WordVectors


class WordSource(Protocol):
    """The words of a stream: a transcript, or a running recogniser."""

    def words_between(self, start_s: float, end_s: float) -> list[Word]:
        """Words of the window [start_s, end_s), in seconds of the stream."""
        ...


class WordReader:
    """Turn words into the vectors that a model reads.

    Args:
        reads: what the model reads.
        vectors: where its vectors are from.

    Raises:
        ConfigError: these are not the vectors that the model was trained with.
    """

    def __init__(self, reads: WordInput, vectors: WordVectors) -> None:
        if vectors.dimension != reads.width or (reads.digest and vectors.digest != reads.digest):
            raise ConfigError(
                f"{vectors.path}: not the word vectors that the model was trained with; "
                f"it wants {reads.vectors or 'those of its training'} ({reads.width} values a "
                f"word, SHA-256 {reads.digest[:12]}...), this file has {vectors.dimension} values "
                f"and {vectors.digest[:12]}..."
            )
        self._reads = reads
        self._vectors = vectors

    def inputs(self, words: Sequence[Word]) -> Inputs:
        """What a window's words are to the network: the newest tokens that it has room for."""
        batch = word_inputs([self.vectors(words)], self._reads.tokens)
        return {name: value[0] for name, value in batch.items()}

    def vectors(self, words: Sequence[Word]) -> Float32:
        """Vectors of the newest tokens that the model has room for, float32 (n, width)."""
        tokens: list[str] = []
        # Every window of a recording without times has all words of it.
        for word in reversed(words):
            tokens[:0] = tokenize(word.text)
            if len(tokens) >= self._reads.tokens:
                break
        return self._vectors.vectors(tokens[-self._reads.tokens :])


def open_reader(bundle: ModelBundle, vectors: Path | None) -> WordReader | None:
    """Read word vectors for a model; None without a file: it then goes by the sound alone.

    Raises:
        ConfigError: the model reads no words, or others; or the file cannot be read.
    """
    if vectors is None:
        return None
    if bundle.meta.words is None:
        raise ConfigError(f"model {bundle.meta.name} reads no words, so it needs no vectors")
    return WordReader(bundle.meta.words, WordVectors.open(vectors, cache_folder("vectors")))
