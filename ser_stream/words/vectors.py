"""Words as numbers: the GloVe vectors of a transcript's tokens.

Peng et al., "Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention", section 4:
the text branch reads one GloVe vector per token of the transcript. Training, scoring and the live
meter tokenise with the same function, whether a person or a recogniser wrote the text.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from ser_stream.files import os_reason
from ser_stream.types import Float32
from ser_stream.words.glove import GloveFile, WordVectorsError
from ser_stream.words.vector_cache import VectorCache, write_cache

UNKNOWN = "<unk>"
_SAMPLE_BYTES = 1 << 16


class WordVectors:
    """Vectors of words from a GloVe text file, read once and mapped into memory from then on.

    The cache holds float32 rather than float16: its vectors are then exactly those of the text, so
    it makes no difference who reads which, and at four bytes a value it is already half of the
    text.

    A word that is not in the file has the vector of ``<unk>``, if the file has one, else the mean
    of all vectors (**Decision**, as GloVe's authors advise for their files, which have none).

    Attributes:
        path: the text file.
        dimension: values per vector, d.
        digest: SHA-256 of the text file, hexadecimal; says which vectors a model was made for.
    """

    def __init__(self, path: Path, stem: Path, cache: VectorCache) -> None:
        self.path = path
        self._stem = stem
        self._cache = cache
        self.dimension = cache.matrix.shape[1]
        self.digest = cache.digest

    def __len__(self) -> int:
        return len(self._cache)

    def __repr__(self) -> str:
        return f"WordVectors({self.path.name!r}, words={len(self)}, dimension={self.dimension})"

    @classmethod
    def open(
        cls,
        path: str | Path,
        cache_folder: str | Path,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> Self:
        """Open the vectors of a text file.

        The file is UTF-8, a word and its numbers per line. Words may contain spaces (those of
        glove.840B do), a first line "words dimension" as word2vec writes it is understood. Of a
        word that comes twice the first vector counts; blank lines are passed over.

        Args:
            path: the text file; it is read whole the first time, and again when it has changed (by
                size, time, beginning or end).
            cache_folder: where the cache is, made if need be; a damaged cache is made again.
            on_progress: called with the share that is read, 0 to 1; not where the cache is used.

        Raises:
            WordVectorsError: no such file, empty, compressed, not UTF-8, or a line that is not a
                word and d numbers (the message has its number); or the cache cannot be written.
        """
        path, folder = Path(path), Path(cache_folder)
        stem = folder / f"{path.stem}-{_fingerprint(path)}"
        cache = VectorCache.load(stem)
        if cache is None:
            _make(path, stem, on_progress)
            cache = VectorCache.load(stem)
        if cache is None:
            raise WordVectorsError(f"{stem}: cannot be read back; is the disk sound?")
        return cls(path, stem, cache)

    def known(self, word: str) -> bool:
        """Whether the file has this very word, in this case."""
        return self._cache.find([word])[0] >= 0

    def vectors(self, words: Sequence[str]) -> Float32:
        """Vectors of ``words``, float32 (n, d); (0, d) for none.

        Raises:
            WordVectorsError: the cache was damaged meanwhile and cannot be made again.
        """
        vectors = self._cache.vectors(words)
        if vectors is None:
            _make(self.path, self._stem, lambda share: None)
            cache = VectorCache.load(self._stem)
            vectors = None if cache is None else cache.vectors(words)
            if cache is None or vectors is None or cache.digest != self.digest:
                raise WordVectorsError(f"{self._stem}: damaged, and {self.path} has changed")
            self._cache = cache
        return vectors


def _fingerprint(path: Path) -> str:
    # A digest of all of five gigabytes at every start would take longer than all else.
    try:
        with path.open("rb") as file:
            status = os.stat(file.fileno())
            ends = file.read(_SAMPLE_BYTES)
            file.seek(max(0, status.st_size - _SAMPLE_BYTES))
            ends += file.read(_SAMPLE_BYTES)
    except OSError as error:
        raise WordVectorsError(f"{path}: cannot read ({os_reason(error)})") from error
    key = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} ".encode() + ends)
    return key.hexdigest()[:16]


def _make(path: Path, stem: Path, on_progress: Callable[[float], None]) -> None:
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        text = GloveFile(path, on_progress)
        write_cache(stem, text, text.dimension, UNKNOWN.encode(), lambda: text.digest)
    except OSError as error:
        raise WordVectorsError(f"{stem}: cannot write ({os_reason(error)})") from error
