"""Damage: to bytes, to JSON values, and texts with all that spoils them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

# Where most formats keep rates, channels and lengths.
HEADER = 128
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
EXTREMES_64 = (0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF)
MOST = 1 << 20  # bytes; no mutation makes a file longer

NUMBERS = (
    "0", "-0", "1", "-1", "1e-320", "1e308", "-1e308", "1e400", "-1e400", "nan", "inf", "-inf",
    "NaN", "Infinity", "1e20", "0x10", "1_000", "1,5", "٣", "²", "", " ", "1 2", "9" * 400,
    "9" * 5000, "0." + "0" * 400 + "1", "2147483648", "4294967296", "18446744073709551616",
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\t", "\0", "\x1b[2J", "\x07", "\u202e", "\u2028", "\u00a0", "\ufeff", "\ufffd",
    "a" * 300, "'" * 50, '"', '""', ",", ";", "=1+1", "@SUM(A1)", "../" * 20, "/", "/dev/null", ".",
    "\U0010ffff", "e\u0301", "ﷺ" * 20, "\u0300\u0316" * 40, "<unk>", "[laughter]", "&#65;",
    "&#" + "9" * 5000 + ";", "&#x110000;", "%s%n", "{0}", "\\", "$HOME", "CON", "İ", "ß", "ǆ", "ﬃ",
    "'s" * 60, "1" * 5000, "-->", "\r", "日本語", "مرحبا",
)  # fmt: skip


def damaged(data: bytes, rng: Random, other: bytes = b"") -> bytes:
    """``data`` with one to six mutations, mostly one; some of them splice in ``other``."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(_MUTATIONS)(data, rng, other)[:MOST]
    return data


def _truncated(data: bytes, rng: Random, other: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _flipped(data: bytes, rng: Random, other: bytes) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 64))):
        if result:
            result[_place(result, rng)] ^= 1 << rng.randrange(8)
    return bytes(result)


def _edited(data: bytes, rng: Random, other: bytes) -> bytes:
    """An integer field with an extreme value."""
    size = rng.choice((1, 2, 4, 4, 4, 8))
    value = rng.choice(EXTREMES_64 if size == 8 and rng.random() < 0.5 else EXTREMES)
    field = (value & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    at = _place(data, rng)
    return data[:at] + field + data[at + size :]


def _doubled(data: bytes, rng: Random, other: bytes) -> bytes:
    a, b = _part(data, rng)
    return data[:b] + data[a:b] * rng.choice((1, 1, 2, 100)) + data[b:]


def _cut(data: bytes, rng: Random, other: bytes) -> bytes:
    a, b = _part(data, rng)
    return data[:a] + data[b:]


def _moved(data: bytes, rng: Random, other: bytes) -> bytes:
    a, b = _part(data, rng)
    rest = data[:a] + data[b:]
    at = rng.randint(0, len(rest))
    return rest[:at] + data[a:b] + rest[at:]


def _spliced(data: bytes, rng: Random, other: bytes) -> bytes:
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _noisy(data: bytes, rng: Random, other: bytes) -> bytes:
    a, b = _part(data, rng)
    return data[:a] + rng.randbytes(b - a) + data[b:]


def _blanked(data: bytes, rng: Random, other: bytes) -> bytes:
    a, b = _part(data, rng)
    return data[:a] + rng.choice((b"\0", b"\xff")) * (b - a) + data[b:]


def _longer(data: bytes, rng: Random, other: bytes) -> bytes:
    return data + rng.randbytes(rng.choice((1, 7, 4096)))


_MUTATIONS = (
    _truncated, _flipped, _edited, _edited, _edited, _doubled, _cut, _moved, _spliced, _noisy,
    _blanked, _longer,
)  # fmt: skip


def _place(data: bytes | bytearray, rng: Random) -> int:
    """A position, in the header as often as anywhere."""
    end = min(HEADER, len(data)) if rng.random() < 0.5 else len(data)
    return rng.randrange(end) if end else 0


def _part(data: bytes, rng: Random) -> tuple[int, int]:
    start = _place(data, rng)
    length = rng.choice((1, 4, 16, 256, len(data)))
    return start, min(len(data), start + rng.randint(0, length))


def damaged_json(value: Any, rng: Random) -> bytes:
    """A JSON value with some of its values replaced, left out, nested or of another length."""
    holes: list[str] = []
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng, holes)
    text = json.dumps(value)
    for i, literal in enumerate(holes):
        text = text.replace(f'"<hole {i}>"', literal, 1)
    return text.encode("utf-8", "surrogatepass")


def _changed(value: Any, rng: Random, holes: list[str]) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return _changed_table(value, rng, holes)
    if isinstance(value, list) and value and rng.random() < 0.8:
        return _changed_list(value, rng, holes)
    return _literal(value, rng, holes)


def _changed_table(value: dict[str, Any], rng: Random, holes: list[str]) -> dict[str, Any]:
    key = rng.choice(sorted(value))
    draw = rng.random()
    if draw < 0.1:
        return {k: v for k, v in value.items() if k != key}
    if draw < 0.15:
        return {**value, rng.choice(ODD_TEXTS): 0}
    return {**value, key: _changed(value[key], rng, holes)}


def _changed_list(value: list[Any], rng: Random, holes: list[str]) -> list[Any]:
    draw = rng.random()
    if draw < 0.15:
        return value[: rng.randint(0, len(value))]
    if draw < 0.3:
        return value + value[: rng.randint(1, len(value))]
    at = rng.randrange(len(value))
    return [*value[:at], _changed(value[at], rng, holes), *value[at + 1 :]]


def _literal(value: Any, rng: Random, holes: list[str]) -> Any:
    """Something else in the place of ``value``; numbers that JSON cannot hold too."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.4:
        return (
            value * rng.uniform(0.5, 2.0)
            if isinstance(value, float)
            else value + rng.choice((-1, 1))
        )
    draw = rng.random()
    if draw < 0.35:
        number = rng.choice([n for n in NUMBERS if n.lstrip("-")[:1].isascii() and n.strip()])
        number = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(number, number)
        holes.append(number)
        return f"<hole {len(holes) - 1}>"
    if draw < 0.4:
        depth = rng.choice((10, 500, 3000, 100000))
        holes.append(rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "0" + "}" * depth)))
        return f"<hole {len(holes) - 1}>"
    if draw < 0.6:
        return rng.choice(ODD_TEXTS)
    if draw < 0.7 and isinstance(value, (int, float)):
        return -value
    others = (None, True, [], {}, [value], {"a": value}, str(value), "\ud800", 0, 1.5, [[0.0]])
    return rng.choice(others)


def odd_number(rng: Random) -> str:
    """A number, often no good one."""
    if rng.random() < 0.6:
        return f"{rng.uniform(-0.2, 4.0):.3f}"
    return rng.choice(NUMBERS)


def odd_words(rng: Random) -> str:
    """Some words of a transcript, often strange ones."""
    plain = ("the", "don't", "I", "it's", "twenty-five", "U.S.", "1,000", "10:30", "ja", "Ann:")
    count = rng.choice((0, 1, 3, 8, 8, 40))
    pick = [rng.choice(ODD_TEXTS if rng.random() < 0.2 else plain) for _ in range(count)]
    if rng.random() < 0.02:
        pick.append(repeated(rng))
    return rng.choice((" ", " ", "", "\u00a0")).join(pick)


def repeated(rng: Random, most: int = 50_000) -> str:
    """One short pattern very often, as regular expressions and recursion dislike it."""
    pieces = (
        "'s", "n't", "'", ".", "a.", "1,", "1", "<", "[", "<a", "++", "++a", "a(1)", "(", "-", ":",
        "<unk>", "&", "&amp;", "&#", "%", "\u0300", "\u0316\u0300", "ﷺ", "I-", "'tis", "cannot",
        "\u200d", "{\\", "<i>", "</", ">>", "A:", "a b ", "\t", "日",
    )  # fmt: skip
    pattern = "".join(rng.choice(pieces) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    return (pattern * rng.choice((10, 500, 3000, 20_000)))[:most]


def encoded(text: str, rng: Random) -> bytes:
    """``text`` as bytes: UTF-8 mostly, else another encoding, or with a mark before it."""
    draw = rng.random()
    if draw < 0.8:
        return text.encode("utf-8", "surrogatepass")
    if draw < 0.9:
        return b"\xef\xbb\xbf" * rng.choice((1, 2)) + text.encode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-16-le", "latin-1", "utf-32", "utf-7", "cp1252"))
    return text.encode(encoding, "replace")


def with_line_ends(lines: list[str], rng: Random) -> str:
    """Lines joined by one kind of end, or by any."""
    ends = ("\n", "\r\n", "\r", "\n\n", "\u2028", "\x85", "\x0b", "\n\r")
    if rng.random() < 0.85:
        return rng.choice(ends[:3]).join(lines) + rng.choice(("", "\n"))
    return "".join(line + rng.choice(ends) for line in lines)
