"""Tables of files (JSON, TOML) as frozen dataclasses: types, ranges, and no unknown keys.

What a file may hold is said once, by the annotations of a dataclass: `Annotated[int, within(1, 9)]`
for ranges and lengths, and ``__post_init__`` for what concerns several fields. `parse_json` and
`parse_toml` give plain values whose size is limited; `typed` makes a dataclass of them. Errors name
the key by its path, such as ``smoothing.enter`` or ``labels[2]``.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from ser_stream.errors import ConfigError
from ser_stream.printable import one_line

if TYPE_CHECKING:
    from msgspec import Meta

T = TypeVar("T")

# In a line of TOML: Python takes quadratic time for a key of many parts.
_MOST_DOTS = 200
# Ends msgspec's messages: " - at `$.labels[0]`".
_AT = re.compile(r" - at `\$\.?(.*)`$")
# Its words, and those of a person who wrote the file.
_WORDS = [
    (re.compile(before), after)
    for before, after in (
        (r"`(\w+) \| null`", r"`\1`"),
        (r"`array`", "a list"),
        (r"`object`", "a table"),
        (r"`str`", "text"),
        (r"`int`", "an integer"),
        (r"`float`", "a number"),
        (r"`bool`", "true or false"),
        (r"`null`", "nothing"),
        (r"Object missing required field `(\w+)`", r"\1 is missing"),
    )
]


class TableError(ConfigError):
    """A table that does not fit what it is read as; the message begins with the key's path."""


class FieldError(ConfigError):
    """A value that a dataclass refuses in ``__post_init__``, with the name of its field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a table may be.

    Attributes:
        text: characters.
        depth: tables and lists within each other.
        values: tables, lists and what is in them, all together.
        string: characters of a string or a key.
        integer: largest magnitude of an integer.
    """

    text: int = 4_000_000
    depth: int = 16
    values: int = 100_000
    string: int = 20_000
    integer: int = 2**64


def within(least: float, most: float) -> Meta:
    """For annotations: a number from ``least`` to ``most``, both included."""
    from msgspec import Meta

    return Meta(ge=least, le=most)


def sized(least: int, most: int) -> Meta:
    """For annotations: a string, list or table of ``least`` to ``most`` items."""
    from msgspec import Meta

    return Meta(min_length=least, max_length=most)


def parse_json(text: str | bytes, limits: Limits | None = None) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        TableError: not JSON (duplicate keys, NaN and Infinity are none), not an object, or larger
            than ``limits``.
    """
    limits = Limits() if limits is None else limits
    _check_length(text, limits)
    try:
        table = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise TableError(f"nested more than {limits.depth} deep") from None
    except UnicodeDecodeError as error:
        raise TableError(f"not UTF-8 (byte {error.start})") from error
    except ValueError as error:
        raise TableError(f"not JSON: {error}") from error
    return _limited(table, limits)


def parse_toml(text: str, limits: Limits | None = None) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        TableError: not TOML, not finite, or larger than ``limits``.
    """
    limits = Limits() if limits is None else limits
    _check_length(text, limits)
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise TableError(f"nested more than {limits.depth} deep, or a line too long")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise TableError(f"nested more than {limits.depth} deep") from None
    except ValueError as error:
        raise TableError(f"not TOML: {error}") from error
    return _limited(table, limits)


def typed(table: object, kind: type[T], *, where: str = "", others: bool = False) -> T:
    """Make a ``kind`` of plain values.

    Lists become tuples and strings members of an enumeration where ``kind`` says so, integers
    become floats; nothing else is converted.

    Args:
        table: what `parse_json` or `parse_toml` gave, or a part of it.
        kind: a dataclass.
        where: path of ``table`` in its file, for errors.
        others: keys that ``kind`` does not have are passed over, not refused.

    Raises:
        TableError: a key is missing or unknown, a value has another type or is out of range, or
            ``kind`` raised a `ConfigError`.
    """
    import msgspec

    try:
        value = msgspec.convert(table, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        message = str(error)
        at = _AT.search(message)
        message, path = _AT.sub("", message), at[1] if at else ""
        if isinstance(error.__cause__, FieldError):
            message = error.__cause__.message
            path = f"{path}.{error.__cause__.field}".lstrip(".")
        elif message.startswith("Invalid enum value") and (known := _choices(kind, path)):
            got = message.removeprefix("Invalid enum value")
            message = f"got{got}; choose from {', '.join(map(repr, known))}"
        raise _error(message, where, path) from error
    if not others:
        for path, names, known in _unknown(table, value, ""):
            unknown = ", ".join(repr(name) for name in names)
            raise _error(f"unknown {unknown}; known: {', '.join(known)}", where, path)
    return value


def _error(message: str, where: str, path: str) -> TableError:
    for theirs, ours in _WORDS:
        message = theirs.sub(ours, message)
    message = message[:1].lower() + message[1:]
    whole = ".".join(part for part in (where, path) if part).replace(".[", "[")
    return TableError(one_line(f"{whole}: {message}" if whole else message))


def _choices(kind: Any, path: str) -> tuple[str, ...]:
    """What the field of ``kind`` at ``path`` may be, if that is one of some texts."""
    for part in path.split("."):
        name, *indices = part.split("[")
        if not is_dataclass(kind):
            return ()
        kind = _bare(get_type_hints(kind, include_extras=True)[name])
        for _ in indices:
            kind = _bare(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(map(str, kind)) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _unknown(
    table: object, value: object, path: str
) -> Iterator[tuple[str, list[str], Sequence[str]]]:
    """Path, unknown keys and known ones of each table that a dataclass in ``value`` is of."""
    if is_dataclass(value) and isinstance(table, Mapping):
        known = [field.name for field in fields(value)]
        if names := [str(key) for key in table if key not in known]:
            yield path, names, known
        for key, part in table.items():
            yield from _unknown(part, getattr(value, key, None), f"{path}.{key}".lstrip("."))
    elif isinstance(value, dict) and isinstance(table, Mapping):
        for key, part in table.items():
            yield from _unknown(part, value.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)) and isinstance(table, (list, tuple)):
        for i, (part, item) in enumerate(zip(table, value, strict=True)):
            yield from _unknown(part, item, f"{path}[{i}]")


def _check_length(text: str | bytes, limits: Limits) -> None:
    if len(text) > limits.text:
        raise TableError(f"{len(text)} characters long, {limits.text} at most")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:40]!r} comes twice")
    return table


def _limited(table: object, limits: Limits) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise TableError("not a table")
    count = 0
    # A stack of its own: the depth is what is being checked.
    rest: list[tuple[str, object, int]] = [("", table, 1)]
    while rest:
        path, value, depth = rest.pop()
        count += 1
        if count > limits.values:
            raise TableError(f"more than {limits.values} values")
        if depth > limits.depth and isinstance(value, (dict, list)):
            raise _error(f"nested more than {limits.depth} deep", "", path)
        if isinstance(value, dict):
            for key, part in value.items():
                _check_string(key, path, limits)
                rest.append((f"{path}.{key}".lstrip("."), part, depth + 1))
        elif isinstance(value, list):
            rest.extend((f"{path}[{i}]", part, depth + 1) for i, part in enumerate(value))
        elif isinstance(value, str):
            _check_string(value, path, limits)
        elif isinstance(value, float) and not math.isfinite(value):
            raise _error(f"{value} is not a finite number", "", path)
        elif isinstance(value, int) and abs(value) > limits.integer:
            raise _error("integer out of range", "", path)
    return table


def _check_string(text: str, path: str, limits: Limits) -> None:
    if len(text) > limits.string:
        raise _error(f"{len(text)} characters, {limits.string} at most", "", path)
    if "\0" in text:
        raise _error("holds a zero character", "", path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _error("holds half of a surrogate pair", "", path) from None
