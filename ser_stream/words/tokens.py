"""Words as tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import chain

from ser_stream.types import Word
from ser_stream.words.vectors import UNKNOWN

# What stands in brackets is no word, but what a recogniser did not understand was one.
_MARKER = re.compile(
    r"[<\[]/?[a-z][^<>\[\]]{0,38}[>\]]"  # <s>, [laughter], [background noise]
    r"|\+\+\w+\+\+"  # Sphinx's fillers, ++noise++
    r"|(?<=\w)\(\d+\)",  # Sphinx's second pronunciation, a(2)
    re.IGNORECASE,
)
_NOT_UNDERSTOOD = {"<unk>", "[unk]"}
# Marks that stand for a spoken word; so do currency signs.
_SPOKEN = "%&@"
# Marks that belong to a token in some places: don't, u.s., 10:30, 1,000.
_INNER = "'.,:"
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ`´", "'"))
# After `_plain` anything else is part of a word; `\w` would leave out vowel signs of many scripts.
_W = r"[^\s'.,:<>]"
_TOKEN = re.compile(
    rf"{UNKNOWN}"
    r"|\d+(?:[.,:]\d+)+"
    rf"|[^\W\d_](?:\.[^\W\d_])+(?!{_W})\.?"  # initials
    r"|(?:mr|mrs|ms|dr)\."
    rf"|{_W}+(?:'{_W}+)*"
    rf"|'(?:s|m|re|ve|ll|d|t|tis|twas|em|cause|til)(?!'|{_W})"
)
_ENDINGS = ("n't", "'s", "'m", "'re", "'ve", "'ll", "'d")
# GloVe's corpora were tokenised as the Penn Treebank is, which takes these apart.
_TAKEN_APART = {
    "cannot": ["can", "not"],
    "gonna": ["gon", "na"],
    "wanna": ["wan", "na"],
    "gotta": ["got", "ta"],
    "gimme": ["gim", "me"],
    "lemme": ["lem", "me"],
    "'tis": ["'t", "is"],
    "'twas": ["'t", "was"],
}
_LONGEST_TAKEN_APART = max(map(len, _TAKEN_APART))
# No script puts more marks onto a letter. Unicode's normalisation sorts the marks of a letter, in
# quadratic time.
_MOST_MARKS = 30


def words_between(words: Iterable[Word], start_s: float, end_s: float) -> list[Word]:
    """Words whose middle lies in [start_s, end_s), so that windows that touch share none."""
    return [w for w in words if start_s <= (w.start_s + w.end_s) / 2 < end_s]


def tokenize(text: str) -> list[str]:
    """Lower-case tokens of ``text``, as the vocabulary of GloVe has them.

    GloVe's corpora were tokenised by Stanford's PTBTokenizer: "don't" is "do" and "n't", "it's" is
    "it" and "'s", "cannot" is "can" and "not", "u.s." and "mr." keep their full stops.

    **Decision**, where training text and a recogniser's text would differ otherwise:

    - Punctuation is left out: recognisers write none. Signs that are spoken stay, such as % and $.
    - Hyphenated words and stutters are taken apart: twenty-five, I-I.
    - A number stays as it is written, one token: 25, 1,000, 10:30, 3rd.
    - Markers such as [LAUGHTER] or <s> are left out: they are notes of a transcriber. <unk> and
      [unk] stay as "<unk>", which is a word that was not understood.

    Any text will do, in any script; tokens joined by spaces give the same tokens again.
    """
    tokens = chain.from_iterable(map(_split, _TOKEN.findall(_plain(text))))
    # Nothing but a mark that belongs over a letter is no token.
    return [t for t in tokens if any(c.isalnum() or _is_sign(c) for c in t)]


def spoken_words(text: str) -> list[str]:
    """Words of ``text`` between spaces, as they are written, without markers and lone punctuation.

    The tokens of all of them are the tokens of ``text``.
    """
    return [word for word in _without_markers(text).split() if tokenize(word)]


def _without_markers(text: str) -> str:
    text = _without_invisible(text).translate(_APOSTROPHES)
    # Normalisation may bring marks and apostrophes: "\u0149" is one character.
    text = _without_invisible(unicodedata.normalize("NFKC", text)).translate(_APOSTROPHES)
    return _MARKER.sub(lambda m: f" {UNKNOWN} " if m[0].lower() in _NOT_UNDERSTOOD else " ", text)


def _without_invisible(text: str) -> str:
    """``text`` without what says nothing about its words.

    That is soft hyphens, joiners and direction marks (Cf), and marks beyond 30 on a letter.
    """
    if text.isascii():
        return text
    kept = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        if category == "Cf":
            continue
        marks = marks + 1 if category[0] == "M" else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def _plain(text: str) -> str:
    """``text`` in lower case; what is part of no token is a space."""
    text = unicodedata.normalize("NFKC", _without_markers(text).lower())
    parts = ("".join(map(_kept, part)) for part in text.split(UNKNOWN))
    return f" {UNKNOWN} ".join(parts)


def _kept(char: str) -> str:
    if _is_sign(char):
        return f" {char} "
    return char if unicodedata.category(char)[0] in "LMN" or char in _INNER else " "


def _is_sign(char: str) -> bool:
    return char in _SPOKEN or unicodedata.category(char) == "Sc"


def _split(word: str) -> list[str]:
    """Take endings off ``word``: it may have any number of them, so there is no recursion."""
    endings: list[str] = []
    length = len(word)
    while True:
        if length <= _LONGEST_TAKEN_APART and (parts := _TAKEN_APART.get(word[:length])):
            return [*parts, *reversed(endings)]
        for end in _ENDINGS:
            if word.endswith(end, 0, length) and (stem := _stem_end(word, length - len(end))):
                endings.append(end)
                length = stem
                break
        else:
            return [word[:length], *reversed(endings)]


def _stem_end(word: str, end: int) -> int:
    """Length of ``word[:end]`` without the apostrophes at its end."""
    while end and word[end - 1] == "'":
        end -= 1
    return end
