"""Tokens as GloVe has them, word vectors from a text file and its cache, padding."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.errors import ConfigError
from ser_stream.models.inputs import pad
from ser_stream.types import Word
from ser_stream.words import glove as module
from ser_stream.words.tokens import spoken_words, tokenize, words_between
from ser_stream.words.vectors import WordVectors, WordVectorsError

SMALL = "the 1 2 3\nof -0.5 0.25 1e-3\n. . . 4 5 6\n\u00a0 7 8 9\n"


def written(folder: Path, content: str | bytes, name: str = "glove.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Tokens

HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't know", "i do n't know"),
        ("can't won't ain't", "ca n't wo n't ai n't"),
        ("we'd've said; they'll, I'm sure you're", "we 'd 've said they 'll i 'm sure you 're"),
        ("It\u2019s", "it 's"),
        ("cannot gonna 'Tis", "can not gon na 't is"),
        ("'hello' the boys' 'em y'all O'Brien's", "hello the boys 'em y'all o'brien 's"),
        ("Mr. Smith of the U.S.: so do I. He left.", "mr. smith of the u.s. so do i he left"),
        ("twenty-five I- I-I mean\u2014wait... what?!", "twenty five i i i mean wait what"),
        ("25 1,000.50 10:30am 1990s 3rd", "25 1,000.50 10:30 am 1990s 3rd"),
        ("50% $5 R&B", "50 % $ 5 r & b"),
        ("[LAUGHTER] so <sil> <unk> [UNK] ++noise++ a(2) </s>", "so <unk> <unk> a"),
        ("x<unk>y [background noise]", "x <unk> y"),
        ("a < b > c [", "a b c"),
        ("na\u00efve nai\u0308ve \u00c9T\u00c9", "na\u00efve na\u00efve \u00e9t\u00e9"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u4f60\u597d\uff0c", f"{HINDI} \u4f60\u597d"),
        ("so\u00adfa \ufeffyes \U0001f600", "sofa yes"),
        ("", ""),
        (" \t\n -- ... \" ' \u0301 \ud800", ""),
    ],
)  # fmt: skip
def test_tokens(text, tokens):
    assert tokenize(text) == tokens.split()


PIECES = ["don't", "cannot", "'tis", "Mr.", "U.S.", "<unk>", "[UNK]", "[X]", "n't", "'s", "a(2)"]
PIECES += [
    "++x++",
    "10:30",
    "$5",
    "I-I",
    "'",
    " ",
    ".",
    "x",
    "\u0301",
    "\u00ad",
    "\u00bd",
    "\u03a3",
]
texts = st.one_of(
    st.text(),
    st.text(st.sampled_from("aAbnstmrdvel'\u2019.,:-<>[]()+u k152$%_\u0301\u00ad\u03a3\u0130")),
    st.lists(st.sampled_from(PIECES)).map("".join),
)


@given(texts)
def test_any_text_has_tokens_that_are_their_own_tokens(text):
    tokens = tokenize(text)
    assert all(token and not any(c.isspace() for c in token) for token in tokens)
    assert tokenize(" ".join(tokens)) == tokens


@given(texts)
def test_a_text_has_the_tokens_of_its_words(text):
    words = spoken_words(text)
    assert [token for word in words for token in tokenize(word)] == tokenize(text)
    assert all(tokenize(word) for word in words)


# Words in time


def test_words_of_a_window_are_those_whose_middle_is_in_it():
    words = [Word("a", 0.0, 1.0), Word("b", 0.8, 1.2), Word("c", 1.5, 3.0), Word("d", 1.9, 2.0)]
    assert [w.text for w in words_between(words, 0.0, 1.0)] == ["a"]
    assert [w.text for w in words_between(words, 1.0, 2.0)] == ["b", "d"]
    assert words_between(words, 1.0, 1.0) == []


times = st.floats(0, 20)


@given(st.lists(st.tuples(times, times)), st.lists(times, min_size=2))
def test_windows_that_touch_share_no_word_and_lose_none(spans, cuts):
    words = [Word(str(i), min(span), max(span)) for i, span in enumerate(spans)]
    cuts = [-1.0, *sorted(cuts), 21.0]
    found = [w for a, b in pairwise(cuts) for w in words_between(words, a, b)]
    assert sorted(found, key=lambda w: int(w.text)) == words


# Padding

lengths = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def sequences_of(sizes: list[int], d: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, d)).astype(np.float32) + 5 for n in sizes]


@given(lengths, st.integers(0, 9))
def test_padding_leaves_the_words_as_they_are(sizes, more):
    sequences = sequences_of(sizes)
    length = max(1, *sizes) + more
    padded, valid = pad(sequences, length)
    assert padded.shape == (len(sizes), length, 3)
    assert padded.dtype == np.float32
    assert valid.dtype == bool
    for row, mask, sequence in zip(padded, valid, sequences, strict=True):
        np.testing.assert_array_equal(mask, np.arange(length) < len(sequence))
        np.testing.assert_array_equal(row[mask], sequence)
        assert not row[~mask].any()


@given(lengths, st.integers(1, 6))
def test_the_newest_words_are_kept(sizes, length):
    sequences = sequences_of(sizes)
    padded, valid = pad(sequences, length)
    for row, mask, sequence in zip(padded, valid, sequences, strict=True):
        np.testing.assert_array_equal(row[mask], sequence[max(0, len(sequence) - length) :])


def test_what_cannot_be_padded_is_told():
    one = np.zeros((1, 3), np.float32)
    for sequences, length, match in (
        ([one], 0, "length"), ([], 2, "no sequences"), ([one[0]], 2, "one d"),
        ([one, one[:, :2]], 2, "one d"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=match):
            pad(sequences, length)


# Vectors


def test_vectors_of_a_file(tmp_path):
    vectors = WordVectors.open(written(tmp_path, SMALL), tmp_path / "new" / "cache")
    assert (len(vectors), vectors.dimension) == (4, 3)
    assert [vectors.known(w) for w in ("the", "The", ". . .", "\u00a0", "", "\ud800")] == [
        True, False, True, True, False, False,
    ]  # fmt: skip
    found = vectors.vectors(["of", "nowhere", ". . .", "of", "\u00a0"])
    mean = np.mean([[1, 2, 3], [-0.5, 0.25, 1e-3], [4, 5, 6], [7, 8, 9]], axis=0)
    want = [[-0.5, 0.25, 1e-3], mean, [4, 5, 6], [-0.5, 0.25, 1e-3], [7, 8, 9]]
    np.testing.assert_array_equal(found, np.array(want, np.float32))
    assert found.dtype == np.float32
    found[:] = 0.0  # the caller's own
    np.testing.assert_array_equal(vectors.vectors(["the"]), [[1, 2, 3]])
    assert vectors.vectors([]).shape == (0, 3)
    assert repr(vectors) == "WordVectors('glove.txt', words=4, dimension=3)"


def test_the_unknown_vector_of_the_file_is_used(tmp_path):
    vectors = WordVectors.open(written(tmp_path, "a 1 2\n<unk> 3 4\n"), tmp_path)
    np.testing.assert_array_equal(vectors.vectors(["a", "zzz", "<unk>"]), [[1, 2], [3, 4], [3, 4]])


@pytest.mark.parametrize(
    "content",
    [
        "a 1 2 3\nb 4 5 6",
        "2 3\na 1 2 3\nb 4 5 6\n",
        "\ufeffa 1 2 3\nb 4 5 6\n",
        "\ufeff2 3\na 1 2 3\nb 4 5 6\n",
        "a 1 2 3 \r\n\r\nb\t4\t5 6\r\n",
        "a 1 2 3\nb 4 5 6\na 7 8 9\n",
    ],
)
def test_ways_to_write_the_same(tmp_path, content):
    vectors = WordVectors.open(written(tmp_path, content), tmp_path)
    np.testing.assert_array_equal(vectors.vectors(["a", "b"]), [[1, 2, 3], [4, 5, 6]])


def test_of_a_word_that_comes_twice_the_first_counts(tmp_path):
    lines = [f"{word} {i} {i}\n" for i, word in enumerate(["a", "<unk>", "b"] * 100)]
    vectors = WordVectors.open(written(tmp_path, "".join(lines)), tmp_path)
    np.testing.assert_array_equal(vectors.vectors(["a", "b", "c"])[:, 0], [0, 2, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("a 1 2\nb 1\nc 3 4\n", "line 2: 1 numbers, want 2: 'b 1'"),
        ("a 1 2\nb 1 2 3\nc 3 4\n", "line 2: 3 numbers, want 2: 'b 1 2 3'"),
        ("a 1 2\nb 1 x\nc 3 4\n", "line 2: 'x' is not a number: 'b 1 x'"),
        ("a 1 2\nb 1 2\nc 3 nan\n", "line 3: 'nan' is not a finite number"),
        ("a 1 2\nb 1e300 2\n", "line 2: '1e300' is not a finite number"),
        ("a 1 2\n 3 4\n", "line 2: 1 numbers, want 2"),
        ("a 1 2\nb 3 4\nc 5", "line 3: 1 numbers, want 2: 'c 5'"),
        ("once upon a time\nthere was\n", "line 1: no numbers behind the word: 'once upon a time'"),
        ("3 2\na 1 2\nb 3 4\n", "2 words, its first line says 3"),
        ("3 2\n", "0 words, its first line says 3"),
        ("a 1 2\ncaf\u00e9 3 4\n".encode("latin-1"), "line 2: not UTF-8"),
        ("a 1 2\nb 3 4\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"PK\x03\x04 and so on", "compressed; unpack it"),
        ("a 1 2\n" + "b" * 99 + " 1\n", f"want 2: '{'b' * 40}...'"),
    ],
)
def test_files_that_are_broken_are_told(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(WordVectorsError) as error:
        WordVectors.open(path, tmp_path / "cache")
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert isinstance(error.value, ConfigError)
    assert not any((tmp_path / "cache").iterdir())


def test_a_file_that_is_missing_is_told(tmp_path):
    with pytest.raises(WordVectorsError, match=r"gone\.txt: cannot read"):
        WordVectors.open(tmp_path / "gone.txt", tmp_path)


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    path = written(tmp_path, SMALL)
    with pytest.raises(WordVectorsError, match="cannot write"):
        WordVectors.open(path, path)


class Reads:
    """Counts how often a text file is read whole."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def __call__(self, share: float) -> None:
        self.shares.append(share)

    @property
    def count(self) -> int:
        return self.shares.count(1.0)


def test_the_file_is_read_once_until_it_changes(tmp_path):
    path, reads = written(tmp_path, SMALL), Reads()
    first = WordVectors.open(path, tmp_path / "cache", reads)
    again = WordVectors.open(path, tmp_path / "cache", reads)
    assert reads.count == 1
    assert again.digest == first.digest
    written(tmp_path, SMALL.replace("7", "6"))
    other = WordVectors.open(path, tmp_path / "cache", reads)
    assert reads.count == 2
    assert other.digest != first.digest
    np.testing.assert_array_equal(other.vectors(["\u00a0"]), [[6, 8, 9]])
    np.testing.assert_array_equal(first.vectors(["\u00a0"]), [[7, 8, 9]])


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PROGRESS_LINES", 1)
    reads = Reads()
    WordVectors.open(written(tmp_path, "a 1 2\nb 3 4\n"), tmp_path, reads)
    assert reads.shares == [0.5, 1.0, 1.0]


def cache_of(folder: Path, file: str) -> Path:
    (index,) = folder.glob("*.index.npy")
    return index if file == "index" else index.with_name(index.name.replace(".index", ""))


DAMAGES = ("gone", "empty", "half", "longer", "text", "head")


@pytest.mark.parametrize(
    ("file", "damage"),
    [*(("vectors", d) for d in DAMAGES), *(("index", d) for d in (*DAMAGES, "end"))],
)
def test_a_damaged_cache_is_made_again(tmp_path, file, damage):
    path, reads = written(tmp_path, SMALL), Reads()
    WordVectors.open(path, tmp_path / "cache", reads)
    cache = cache_of(tmp_path / "cache", file)
    whole = cache.read_bytes()
    cache.write_bytes(
        {
            "gone": b"",
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "longer": whole + b"\0",
            "text": b"no cache at all" * 500,
            "head": whole[:20] + bytes([whole[20] ^ 1]) + whole[21:],
            "end": whole[:-1] + bytes([whole[-1] ^ 1]),
        }[damage]
    )
    if damage == "gone":
        cache.unlink()
    vectors = WordVectors.open(path, tmp_path / "cache", reads)
    assert reads.count == 2
    np.testing.assert_array_equal(vectors.vectors(["the"]), [[1, 2, 3]])
    assert cache.read_bytes() == whole


def test_the_cache_is_numpys_own(tmp_path):
    WordVectors.open(written(tmp_path, SMALL), tmp_path / "cache")
    matrix = np.load(cache_of(tmp_path / "cache", "vectors"))
    mean = matrix[:-1].mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(
        matrix[:3], [[1, 2, 3], [-0.5, 0.25, np.float32(1e-3)], [4, 5, 6]]
    )
    np.testing.assert_array_equal(matrix[-1], mean)
    (record,) = np.load(cache_of(tmp_path / "cache", "index"))
    assert sorted(record["rows"].tolist()) == [0, 1, 2, 3]
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".npy", ".npy"]


def damage_first_vector(cache: Path) -> None:
    # In place: the file stays the one that is mapped.
    with cache.open("r+b") as file:
        file.seek(128)
        file.write(b"\x00\x00\xc0\x7f")


def test_a_damaged_vector_is_found_when_it_is_used(tmp_path):
    path = written(tmp_path, SMALL)
    WordVectors.open(path, tmp_path / "cache")
    damage_first_vector(cache_of(tmp_path / "cache", "vectors"))
    vectors = WordVectors.open(path, tmp_path / "cache")
    np.testing.assert_array_equal(vectors.vectors(["the", "of"])[0], [1, 2, 3])
    assert vectors.known("of")


def test_a_damaged_vector_is_not_replaced_from_another_file(tmp_path):
    path = written(tmp_path, SMALL)
    vectors = WordVectors.open(path, tmp_path / "cache")
    damage_first_vector(cache_of(tmp_path / "cache", "vectors"))
    written(tmp_path, SMALL.replace("7", "6"))
    with pytest.raises(WordVectorsError, match="has changed"):
        vectors.vectors(["the"])


def test_nothing_is_left_of_a_read_that_is_broken_off(tmp_path, monkeypatch):
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_PROGRESS_LINES", 1)
    path = written(tmp_path, SMALL)
    with pytest.raises(KeyboardInterrupt):
        WordVectors.open(path, tmp_path / "cache", stop)
    assert os.listdir(tmp_path / "cache") == []


# A word of a GloVe file: no line break, no space at its ends, not ending in a number.
word_parts = st.text(
    st.characters(codec="utf-8", exclude_characters=" \t\n\r\x0b\x0c\x00"), min_size=1
)
file_words = st.lists(word_parts, min_size=1, max_size=3).map(" ".join).map(lambda w: f"{w}_")
values = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=50)
@given(st.data(), st.integers(1, 5), st.booleans())
def test_the_cache_agrees_with_the_text(data, dimension, header):
    vector = st.lists(values, min_size=dimension, max_size=dimension)
    table = data.draw(st.dictionaries(file_words, vector, min_size=2, max_size=8))
    lines = [" ".join([word, *map(repr, numbers)]) for word, numbers in table.items()]
    if header:
        lines.insert(0, f"{len(table)} {dimension}")
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "\n".join(lines) + "\n")
        want = np.array(list(table.values())).astype(np.float32)
        for _ in range(2):
            vectors = WordVectors.open(path, folder)
            np.testing.assert_array_equal(vectors.vectors(list(table)), want)
            assert all(map(vectors.known, table))
            assert not vectors.known("no such word")
        unknown = vectors.vectors(["no such word"])[0]
        np.testing.assert_allclose(unknown, want.mean(axis=0, dtype=np.float64), 1e-6, 1e-30)
        del vectors
