"""Recipe files."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from random import Random

from training.recipe.book import load_book, shipped_recipes

from .kinds import FuzzKind, require
from .mutations import NUMBERS, ODD_TEXTS, damaged, encoded

VALUE = re.compile(r"(?<=[=\[,] )[^,\]\n]+|(?<=\[)[^,\]\[\n]+")
HEADERS = ("[a]", "[[rows]]", "[variants.x]", "[protocols.strict]", "[train]", "[[variants]]")


class Fuzz(FuzzKind):
    """The shipped recipes with other values, other tables, or other bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shipped = resources.files("training.recipes")
        self._texts = [(shipped / f"{name}.toml").read_text("utf-8") for name in shipped_recipes()]

    def make(self, rng: Random) -> tuple[str, bytes]:
        text = rng.choice(self._texts)
        draw = rng.random()
        if draw < 0.25:
            data = text.encode()
            return ".toml", damaged(data, rng, rng.choice(self._texts).encode())
        for _ in range(rng.randint(1, 4)):
            places = list(VALUE.finditer(text))
            if rng.random() < 0.7 and places:
                place = rng.choice(places)
                text = text[: place.start()] + _value(rng) + text[place.end() :]
            else:
                lines = text.split("\n")
                lines.insert(rng.randrange(len(lines)), _line(rng))
                text = "\n".join(lines)
        return ".toml", encoded(text, rng)

    def check(self, path: Path) -> str | None:
        book = load_book(path)
        for protocol in book.protocols:
            recipe = book.recipe("", protocol)
            require(bool(recipe.labels), "a recipe has labels")
            require(bool(book.protocol(protocol).describe()), "a protocol is told")
        return None


def _value(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.4:
        return rng.choice(NUMBERS)
    if draw < 0.5:
        depth = rng.choice((5, 300, 2000, 50000))
        return rng.choice(("[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth))
    if draw < 0.7:
        return '"' + rng.choice(ODD_TEXTS) + '"'
    return rng.choice(
        ("true", "[]", "{}", '""', "1979-05-27", "0000-00-00", "07:32:00", "[[1]]", "[1, 'a']",
         "{a = 1}", "0b1", "0xffffffffffffffffffff", "1e999", '["angry", "angry"]', "'''x'''")
    )  # fmt: skip


def _line(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(HEADERS)
    if draw < 0.4:
        return ".".join("a" * rng.choice((3, 400, 5000))) + " = 1"
    return f"{rng.choice(('x', 'name', 'labels', 'model', 'variants', 'rows'))} = {_value(rng)}"
