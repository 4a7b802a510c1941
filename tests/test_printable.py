"""Text from outside on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.printable import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("happy", "happy"),
        ("Ärger, 怒り, غضب, 😀, क्‍ष, C:\\new", "Ärger, 怒り, غضب, 😀, क्‍ष, C:\\new"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("\x07\x7f\x00", "\\x07\\x7f\\x00"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\u202etxt.wav", "a\\u202etxt.wav"),
        ("\u2028\u2029\u2066\u2069\u200f", "\\u2028\\u2029\\u2066\\u2069\\u200f"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff.wav", "\\xff.wav"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_steers_is_escaped(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_it_is_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


def test_a_message_is_cut():
    assert one_line("x" * 2000 + "\n") == "x" * 1000 + "..."
    assert one_line("a\nb") == "a\\nb"
