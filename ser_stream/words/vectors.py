"""Words as numbers: tokens of a transcript and their GloVe vectors.

Peng et al., "Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention", section 4:
the text branch reads one GloVe vector per token of the transcript. Training, scoring and the live
meter tokenise with the same function, whether a person or a recogniser wrote the text.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.files import os_reason, replacing
from ser_stream.printable import excerpt
from ser_stream.types import Float32

UNKNOWN = "<unk>"
_MAGIC = b"SERWORD1"
_HEAD = struct.Struct("<8sII")  # magic, length and CRC-32 of the JSON behind it
_HEAD_BYTES = 4096
_SAMPLE_BYTES = 1 << 16
_LINES_TO_COUNT = 100
_PROGRESS_LINES = 10000
# A vector has some thousand values at most; a file without line ends is not read whole.
_LONGEST_LINE = 1 << 20
_HEADER = re.compile(rb"(\d{1,18})\s+(\d{1,18})\s*")
_NOT_UTF8 = "not UTF-8; save it as UTF-8"
_COMPRESSED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


class WordVectorsError(ConfigError):
    """A file of word vectors that cannot be read, or a cache of it that cannot be written."""


class WordVectors:
    """Vectors of words from a GloVe text file, read once and mapped into memory from then on.

    The cache holds float32 rather than float16: its vectors are then exactly those of the text, so
    it makes no difference who reads which, and at four bytes a value it is already half of the
    text. Rows stay in the file's order, the most frequent words first, so that a talk touches few
    pages. Words are found by binary search among sorted 64-bit hashes; the words themselves are not
    kept (for two million words and an unknown one, the odds of a wrong hit are about 1 in 10^13).

    A word that is not in the file has the vector of ``<unk>``, if the file has one, else the mean
    of all vectors (**Decision**, as GloVe's authors advise for their files, which have none).

    Attributes:
        path: the text file.
        dimension: values per vector, d.
        digest: SHA-256 of the text file, hexadecimal; says which vectors a model was made for.
    """

    def __init__(self, path: Path, cache: Path, contents: _Cache) -> None:
        self.path = path
        self._cache = cache
        self._contents = contents
        self.dimension = contents.matrix.shape[1]
        self.digest = contents.digest

    def __len__(self) -> int:
        return len(self._contents.hashes)

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
            on_progress: told of the share that is read, 0 to 1; not called where the cache is used.

        Raises:
            WordVectorsError: no such file, empty, compressed, not UTF-8, or a line that is not a
                word and d numbers, told by its number; or the cache cannot be written.
        """
        path, folder = Path(path), Path(cache_folder)
        cache = folder / f"{path.stem}-{_fingerprint(path)}.vectors"
        contents = _Cache.load(cache)
        if contents is None:
            _make(path, cache, on_progress)
            contents = _Cache.load(cache)
        if contents is None:
            raise WordVectorsError(f"{cache}: cannot be read back; is the disk sound?")
        return cls(path, cache, contents)

    def known(self, word: str) -> bool:
        """Whether the file has this very word, in this case."""
        return self._contents.find([word])[0] >= 0

    def vectors(self, words: Sequence[str]) -> Float32:
        """Vectors of ``words``, float32 (n, d); (0, d) for none.

        Raises:
            WordVectorsError: the cache was damaged meanwhile and cannot be made again.
        """
        vectors = self._contents.vectors(words)
        if vectors is None:
            _make(self.path, self._cache, lambda share: None)
            contents = _Cache.load(self._cache)
            vectors = None if contents is None else contents.vectors(words)
            if contents is None or vectors is None or contents.digest != self.digest:
                raise WordVectorsError(f"{self._cache}: damaged, and {self.path} has changed")
            self._contents = contents
        return vectors


@dataclass(frozen=True, slots=True)
class _Cache:
    """A cache file: head, then the arrays in this order; all but the head are mapped.

    The head vouches for all arrays but the matrix, which may have gigabytes: its rows are checked
    as they are used.
    """

    digest: str
    matrix: Float32  # (n, d)
    unknown: Float32  # (d,)
    checks: NDArray[np.uint32]  # (n,), CRC-32 of each row
    rows: NDArray[np.uint32]  # (n,), row of each hash
    hashes: NDArray[np.uint64]  # (n,), ascending; the first row of a word that comes twice is first

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Map a cache; None where there is none that is whole."""
        try:
            with path.open("rb") as file:
                magic, length, check = _HEAD.unpack(file.read(_HEAD.size))
                text = file.read(min(length, _HEAD_BYTES))
            if magic != _MAGIC or zlib.crc32(text) != check:
                return None
            head = json.loads(text)
            n, d = head["words"], head["dimension"]
            ends = _ends(n, d)
            if path.stat().st_size != ends[-1]:
                return None
            whole = np.asarray(np.memmap(path, np.uint8, "r"))
        except (OSError, ValueError, struct.error):
            return None
        index = whole[ends[1] :]
        if zlib.crc32(index.data) != head["check"]:
            return None
        _, matrix, unknown, checks, rows, hashes = np.split(whole, ends[:-1])
        return cls(
            head["digest"],
            matrix.view(np.float32).reshape(n, d),
            unknown.view(np.float32)[:d],
            checks.view(np.uint32),
            rows.view(np.uint32),
            hashes.view(np.uint64),
        )

    def find(self, words: Sequence[str]) -> list[int]:
        """Row of every word, -1 for those that are not there."""
        # "surrogatepass": a word that no file can hold is unknown, not an error.
        wanted = np.array(
            [_hash(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint64
        )
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[places] == wanted, self.rows[places].astype(int), -1).tolist()

    def vectors(self, words: Sequence[str]) -> Float32 | None:
        """Vectors of ``words``, float32 (n, d); None if one of them is damaged."""
        vectors = np.empty((len(words), self.matrix.shape[1]), dtype=np.float32)
        for vector, row in zip(vectors, self.find(words), strict=True):
            vector[:] = self.unknown if row < 0 else self.matrix[row]
            if row >= 0 and zlib.crc32(vector.data) != self.checks[row]:
                return None
        return vectors


def _ends(n: int, d: int) -> list[int]:
    """Where the head and each array of a cache end, in bytes."""
    ends = [_HEAD_BYTES]
    for size in (4 * n * d, 4 * d, 4 * n, 4 * n, 8 * n):
        ends.append(ends[-1] + size)
    # Hashes are aligned by room behind the unknown vector: numpy copies what is not.
    room = -ends[2] % 8
    return [*ends[:2], *(end + room for end in ends[2:])]


def _hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def _fingerprint(path: Path) -> str:
    # A digest of all of five gigabytes at every start would take longer than all else.
    try:
        with path.open("rb") as file:
            told = os.stat(file.fileno())
            ends = file.read(_SAMPLE_BYTES)
            file.seek(max(0, told.st_size - _SAMPLE_BYTES))
            ends += file.read(_SAMPLE_BYTES)
    except OSError as error:
        raise WordVectorsError(f"{path}: cannot read ({os_reason(error)})") from error
    key = hashlib.sha256(f"{told.st_size} {told.st_mtime_ns} ".encode() + ends)
    return key.hexdigest()[:16]


def _make(path: Path, cache: Path, on_progress: Callable[[float], None]) -> None:
    """Write the cache of ``path`` in one step."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as part, part.open("wb") as out:
            _write(_TextFile(path, on_progress), out)
    except OSError as error:
        raise WordVectorsError(f"{cache}: cannot write ({os_reason(error)})") from error


def _write(text: _TextFile, out: BinaryIO) -> None:
    hashes, checks = array("Q"), array("I")
    total = np.zeros(text.dimension)
    unknown: Float32 | None = None
    out.write(bytes(_HEAD_BYTES))
    for word, vector in text:
        out.write(vector.data)
        hashes.append(_hash(word))
        checks.append(zlib.crc32(vector.data))
        total += vector
        if unknown is None and word == UNKNOWN.encode():
            unknown = vector
    n, d = len(hashes), text.dimension
    if unknown is None:
        unknown = (total / n).astype(np.float32)
    sorted_hashes = np.array(hashes, dtype=np.uint64)
    order = np.argsort(sorted_hashes, kind="stable")
    index = b"".join(
        (
            unknown.tobytes(),
            bytes(-(_HEAD_BYTES + 4 * d * (n + 1)) % 8),
            np.array(checks, dtype=np.uint32).tobytes(),
            order.astype(np.uint32).tobytes(),
            sorted_hashes[order].tobytes(),
        )
    )
    out.write(index)
    head = json.dumps(
        {"words": n, "dimension": d, "digest": text.digest, "check": zlib.crc32(index)}
    ).encode()
    out.seek(0)
    out.write(_HEAD.pack(_MAGIC, len(head), zlib.crc32(head)) + head)


class _TextFile:
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
