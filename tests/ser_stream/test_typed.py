"""Typed tables: errors name the key."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest

from ser_stream.errors import ConfigError
from ser_stream.typed import (
    FieldError,
    Limits,
    TableError,
    parse_json,
    parse_toml,
    sized,
    typed,
    within,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    share: Annotated[float, within(0.0, 1.0)] = 0.5
    most: int = 3

    def __post_init__(self) -> None:
        if self.most == 13:
            raise ConfigError("most must not be 13")
        if self.most == 14:
            raise FieldError("most", "must not be 14")


@dataclass(frozen=True, slots=True)
class Outer:
    name: Annotated[str, sized(1, 5)]
    sizes: tuple[int, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    other: Inner | None = None
    more: tuple[Inner, ...] = ()
    free: dict[str, Any] = field(default_factory=dict)


def test_a_table_becomes_a_dataclass():
    table = parse_toml(
        'name = "a"\nsizes = [1, 2]\npair = [1, 2.5]\ncolour = "blue"\n[inner]\nshare = 1\n'
        "[[more]]\nmost = 4\n[free]\nx = [{ y = 1 }]\n"
    )
    found = typed(table, Outer)
    assert found == Outer(
        "a", (1, 2), (1.0, 2.5), Colour.BLUE, "a", Inner(1.0), None, (Inner(most=4),),
        {"x": [{"y": 1}]},
    )  # fmt: skip
    assert isinstance(found.inner.share, float)
    assert typed({"name": "b"}, Outer) == Outer("b")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "name is missing"),
        ({"name": 1}, "name: expected text, got an integer"),
        ({"name": ""}, "name: expected text of length >= 1"),
        ({"sizes": "12"}, "sizes: expected a list, got text"),
        ({"sizes": [1, 2.0]}, "sizes[1]: expected an integer, got a number"),
        ({"sizes": [True]}, "sizes[0]: expected an integer, got true or false"),
        ({"pair": [1.0]}, "pair: expected a list of length 2, got 1"),
        ({"colour": "green"}, "colour: got 'green'; choose from 'red', 'blue'"),
        ({"inner": {"share": 1.5}}, "inner.share: expected a number <= 1.0"),
        ({"inner": {"share": "x"}}, "inner.share: expected a number, got text"),
        ({"inner": {"shore": 1}}, "inner: unknown 'shore'; known: share, most"),
        ({"inner": {"most": 13}}, "inner: most must not be 13"),
        ({"more": [{}, {"most": 14}]}, "more[1].most: must not be 14"),
        ({"kind": "c"}, "kind: got 'c'; choose from 'a', 'b'"),
        ({"other": []}, "other: expected a table, got a list"),
        ({"more": [{}, {"x": 1}]}, "more[1]: unknown 'x'; known: share, most"),
        ({"more": [{}, {"most": None}]}, "more[1].most: expected an integer, got nothing"),
        ({"x\x1b\n": 1}, r"unknown 'x\x1b\n'; known: name, sizes"),
    ],
)
def test_errors_name_the_key(table, message):
    with pytest.raises(ConfigError) as caught:
        typed({"name": "a"} | table if table else table, Outer)
    assert str(caught.value).startswith(message)
    with pytest.raises(TableError) as caught:
        typed({"name": "a"} | table if table else table, Outer, where="top")
    assert str(caught.value).startswith("top")


def test_a_part_may_have_other_keys():
    assert typed({"share": 0.1, "x": 1}, Inner, others=True) == Inner(0.1)
    with pytest.raises(TableError, match="expected a table, got a list"):
        typed([], Inner)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a table"),
        ("1", "not a table"),
        (b"\xff\xfe{", "not"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": NaN}', "a: nan is not a finite number"),
        ('{"a": [0, -Infinity]}', r"a\[1\]: -inf is not a finite number"),
        ('{"a": 1e400}', "a: inf is not"),
        ('{"a": ' + "9" * 400 + "}", "a: integer out of range"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ('{"a": {"b": 1, "b": 2}}', "key 'b' comes twice"),
        ('{"a": "\\ud800"}', "a: holds half of a surrogate pair"),
        ('{"\\udfff": 1}', "holds half of a surrogate pair"),
        ('{"a": "\\u0000"}', "a: holds a zero character"),
        ("[" * 100_000, "nested|not JSON"),
        ('{"a":' * 100_000, "nested|not JSON"),
        ('{"a":' * 30 + "1" + "}" * 30, "nested more than 16 deep"),
        ('{"a": "' + "x" * 20_001 + '"}', "a: 20001 characters, 20000 at most"),
    ],
)
def test_json_that_is_none_or_too_large_is_one_line(text, message):
    with pytest.raises(TableError, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("a = nan", "a: nan is not a finite number"),
        ("a = " + "9" * 400, "a: integer out of range"),
        ("a = " + "9" * 5000, "not TOML"),
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested"),
        ("a = " + "[" * 30 + "]" * 30, "nested more than 16 deep"),
    ],
)
def test_toml_that_is_none_or_too_large_is_one_line(text, message):
    with pytest.raises(TableError, match=message) as caught:
        parse_toml(text)
    assert len(str(caught.value).splitlines()) == 1


def test_limits_are_exact():
    limits = Limits(text=20, depth=2, values=4, string=3, integer=9)
    assert parse_json('{"a": [9, 0.5]}', limits) == {"a": [9, 0.5]}
    for text in (
        '{"a": [1, 2, 3]}',
        '{"a": [[1]]}',
        '{"a": "1234"}',
        '{"a": 10}',
        '{"a":' + 20 * " ",
    ):
        with pytest.raises(TableError):
            parse_json(text, limits)
    assert math.isfinite(parse_json('{"a": 1e308}')["a"])
