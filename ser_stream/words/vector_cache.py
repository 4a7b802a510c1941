"""The vectors of a text file as NumPy's arrays on disk, mapped into memory."""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ser_stream.files import replacing
from ser_stream.types import Float32

# NumPy's header of an array of two dimensions.
_HEADER_BYTES = 128
_CHECK_BYTES = 4


@dataclass(frozen=True, slots=True)
class VectorCache:
    """Two files, named by ``stem``.

    ``.npy`` holds the vectors in the text's order, the most frequent words first, so that a talk
    touches few pages; the last is that of all unknown words. ``.index.npy`` holds one record of
    what follows, and behind the array its CRC-32. The index vouches for all but the vectors, which
    may have gigabytes: they are checked as they are used.

    Words are found by binary search among sorted 64-bit hashes; the words themselves are not kept
    (for two million words and an unknown one, the odds of a wrong hit are about 1 in 10^13).

    Attributes:
        digest: SHA-256 of the text, hexadecimal.
        matrix: vectors, (n + 1, d).
        hashes: of the words, ascending, (n,); the first row of a word that comes twice is first.
        rows: row of each hash, (n,).
        checks: CRC-32 of each row, (n + 1,).
    """

    digest: str
    matrix: Float32
    hashes: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    checks: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def load(cls, stem: Path) -> Self | None:
        """Map a cache; None where there is none that is whole."""
        vectors, index = _files(stem)
        try:
            whole = np.asarray(np.memmap(index, np.uint8, "r"))
            content, check = whole[:-_CHECK_BYTES], whole[-_CHECK_BYTES:]
            if check.tobytes() != _check_of(content):
                return None
            # What was damaged is not parsed.
            record = np.load(index, mmap_mode="r")[0]
            header = np.fromfile(vectors, np.uint8, _HEADER_BYTES)
            if header.tobytes() != record["header"].tobytes():
                return None
            mapped = np.load(vectors, mmap_mode="r")
            if vectors.stat().st_size != _HEADER_BYTES + mapped.nbytes:
                return None
        except (OSError, ValueError):
            return None
        return cls(
            record["digest"].tobytes().hex(),
            np.asarray(mapped),
            *(np.asarray(record[name]) for name in ("hashes", "rows", "checks")),
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
            # -1 is the last row, that of unknown words.
            vector[:] = self.matrix[row]
            if zlib.crc32(vector.data) != self.checks[row]:
                return None
        return vectors


def write_cache(
    stem: Path,
    words: Iterable[tuple[bytes, Float32]],
    dimension: int,
    unknown_word: bytes,
    digest: Callable[[], str],
) -> None:
    """Write the cache of words and their vectors, each file in one step.

    Args:
        stem: of the files, in a folder that exists.
        words: a word in UTF-8 and its vector (dimension,), float32; at least one. The vectors of a
            word that comes again are never found.
        dimension: of the vectors.
        unknown_word: whose vector is that of words that are not there; without it, it is the mean
            of all.
        digest: SHA-256 of the text, hexadecimal, once all words are taken.

    Raises:
        OSError: a file cannot be written.
    """
    vectors, index = _files(stem)
    with replacing(vectors) as part, part.open("wb") as out:
        hashes, checks = _write_vectors(out, words, dimension, unknown_word)
    n = len(hashes)
    order = np.argsort(hashes, kind="stable")
    # Aligned, because NumPy copies what is not.
    kind = np.dtype(
        [
            ("hashes", "<u8", (n,)),
            ("rows", "<u4", (n,)),
            ("checks", "<u4", (n + 1,)),
            ("digest", "u1", (32,)),
            ("header", "u1", (_HEADER_BYTES,)),
        ],
        align=True,
    )
    record = np.zeros(1, kind)
    record["hashes"], record["rows"], record["checks"] = hashes[order], order, checks
    record["digest"] = np.frombuffer(bytes.fromhex(digest()), np.uint8)
    record["header"] = np.fromfile(vectors, np.uint8, _HEADER_BYTES)
    with replacing(index) as part:
        with part.open("wb") as out:
            np.save(out, record)
        check = _check_of(np.fromfile(part, np.uint8))
        with part.open("ab") as out:
            out.write(check)


def _write_vectors(
    out: BinaryIO, words: Iterable[tuple[bytes, Float32]], dimension: int, unknown_word: bytes
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Write the vectors, and that of unknown words; return the words' hashes and all checks."""
    hashes, checks = array("Q"), array("I")
    total = np.zeros(dimension)
    unknown: Float32 | None = None
    _write_header(out, 0, dimension)
    for word, vector in words:
        out.write(vector.data)
        hashes.append(_hash(word))
        checks.append(zlib.crc32(vector.data))
        total += vector
        if unknown is None and word == unknown_word:
            unknown = vector
    if unknown is None:
        unknown = (total / len(hashes)).astype(np.float32)
    out.write(unknown.data)
    checks.append(zlib.crc32(unknown.data))
    out.seek(0)
    _write_header(out, len(checks), dimension)
    return np.array(hashes, dtype=np.uint64), np.array(checks, dtype=np.uint32)


def _write_header(out: BinaryIO, rows: int, dimension: int) -> None:
    # NumPy leaves room for any number of rows, which is known at the end only.
    shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(out, shape)


def _files(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(f"{stem.name}.npy"), stem.with_name(f"{stem.name}.index.npy")


def _check_of(content: NDArray[np.uint8]) -> bytes:
    return zlib.crc32(content.data).to_bytes(_CHECK_BYTES, "little")


def _hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
