"""docs/reliability.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "reliability.md"
NAME = re.compile(r"((?:\w+/)*test_\w+\.py)?::(\w+)")


def test_every_test_that_a_promise_names_is_there():
    rows = [line for line in DOCUMENT.read_text("utf-8").splitlines() if "::" in line]
    assert rows
    for row in rows:
        file = ""
        for found in NAME.finditer(row):
            # "::name" is another test of the same file.
            file = found[1] or file
            text = (TESTS / file).read_text("utf-8")
            assert re.search(rf"^ *def {found[2]}\(", text, re.MULTILINE), found[0]
