"""Word vectors as people publish them: GloVe's text files."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.files import os_reason
from ser_stream.printable import excerpt
from ser_stream.types import Float32

_LINES_TO_COUNT = 100
_PROGRESS_LINES = 10000
# A vector has some thousand values at most; a file without line ends is not read whole.
_LONGEST_LINE = 1 << 20
_HEADER = re.compile(rb"(\d{1,18})\s+(\d{1,18})\s*")
_NOT_UTF8 = "not UTF-8; save it as UTF-8"
_COMPRESSED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


class WordVectorsError(ConfigError):
    """A file of word vectors that cannot be read, or a cache of it that cannot be written."""


class GloveFile:
    """Words and vectors of a GloVe text file, to be iterated once.

    Lines are split as bytes: as text, a word that is a no-break space would be taken for none.

    Attributes:
        dimension: values per vector, as most of the first lines have it.
        digest: SHA-256 of the file, hexadecimal, after it was iterated.
    """

    def __init__(self, path: Path, on_progress: Callable[[float], None]) -> None:
        self._path = path
        self._on_progress = on_progress
        self.digest = ""
        self._announced: int | None = None
        with self._reading() as file:
            first = list(islice(self._lines(file), _LINES_TO_COUNT + 1))
        start = b"".join(first)
        if not start.strip():
            raise WordVectorsError(f"{path}: empty")
        if start.startswith(_COMPRESSED):
            raise WordVectorsError(f"{path}: compressed; unpack it first")
        if b"\0" in start:
            raise WordVectorsError(f"{path}, line 1: {_NOT_UTF8}")
        self.dimension = _dimension(first)
        if header := _HEADER.fullmatch(first[0].removeprefix(codecs.BOM_UTF8)):
            words, dimension = int(header[1]), int(header[2])
            others = first[1:]
            if not b"".join(others).strip():
                raise self._wrong_count(0, words)
            if _dimension(others) == dimension:
                self._announced, self.dimension = words, dimension
        if self.dimension < 1:
            raise self._error(1, "no numbers behind the word", first[0])

    def __iter__(self) -> Iterator[tuple[bytes, Float32]]:
        digest = hashlib.sha256()
        done = words = 0
        with self._reading() as file:
            size = max(1, os.stat(file.fileno()).st_size)
            for number, line in enumerate(self._lines(file), start=1):
                digest.update(line)
                done += len(line)
                if number % _PROGRESS_LINES == 0:
                    self._on_progress(min(1.0, done / size))
                if not line.strip() or (number == 1 and self._announced is not None):
                    continue
                try:
                    yield _word_and_vector(
                        line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, self.dimension
                    )
                except ValueError as error:
                    raise self._error(number, str(error), line) from error
                words += 1
        if words == 0 or self._announced not in (None, words):
            raise self._wrong_count(words, self._announced)
        self.digest = digest.hexdigest()
        self._on_progress(1.0)

    @contextmanager
    def _reading(self) -> Iterator[BinaryIO]:
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise WordVectorsError(f"{self._path}: cannot read ({os_reason(error)})") from error
        with file:
            yield file

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), b""), start=1):
            if len(line) == _LONGEST_LINE:
                raise self._error(number, f"a line of {_LONGEST_LINE} bytes or more", line)
            yield line

    def _wrong_count(self, words: int, announced: int | None) -> WordVectorsError:
        return WordVectorsError(
            f"{self._path}: {words} words, its first line says {announced}; is the file whole?"
        )

    def _error(self, number: int, reason: str, line: bytes) -> WordVectorsError:
        return WordVectorsError(f"{self._path}, line {number}: {reason}: {_quoted(line.strip())}")


def _dimension(lines: Sequence[bytes]) -> int:
    """Numbers at the end of most of ``lines``: words may hold spaces, and a line may be broken."""
    counts = Counter(_numbers_at_end(line.split()) for line in lines if line.strip())
    return counts.most_common(1)[0][0] if counts else 0


def _numbers_at_end(fields: Sequence[bytes]) -> int:
    return sum(1 for _ in takewhile(_is_number, reversed(fields[1:])))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _quoted(data: bytes) -> str:
    return excerpt(data.decode("utf-8", "replace"))


def _word_and_vector(line: bytes, dimension: int) -> tuple[bytes, Float32]:
    """The word and the vector of a line.

    Raises:
        ValueError: with the reason why it is no such line.
    """
    fields = line.rsplit(None, dimension)
    if len(fields) <= dimension:
        raise ValueError(f"{len(fields) - 1} numbers, want {dimension}")
    word = fields[0].strip()
    try:
        # Too large for float32 is infinite, which is told below.
        with np.errstate(over="ignore"):
            vector = np.fromiter(map(float, fields[1:]), np.float32, dimension)
    except ValueError:
        wrong = next(field for field in fields[1:] if not _is_number(field))
        raise ValueError(f"{_quoted(wrong)} is not a number") from None
    if not np.isfinite(vector).all():
        wrong = fields[1 + int(np.flatnonzero(~np.isfinite(vector))[0])]
        raise ValueError(f"{_quoted(wrong)} is not a finite number")
    parts = word.split()
    if len(parts) > 1 and _is_number(parts[-1]):
        numbers = dimension + _numbers_at_end(parts)
        raise ValueError(f"{numbers} numbers, want {dimension}")
    try:
        word.decode()
    except UnicodeDecodeError:
        raise ValueError(_NOT_UTF8) from None
    return word, vector
