"""What a kind of file offers, and the list of kinds."""

from __future__ import annotations

import importlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

# Share of the cases of a run, by kind: modules of this package with a class `Fuzz`.
KINDS: dict[str, int] = {
    "audio": 30,
    "models": 15,
    "profiles": 8,
    "transcripts": 8,
    "subtitles": 10,
    "manifests": 7,
    "corpora": 4,
    "vectors": 8,
    "recipes": 5,
    "words": 3,
    "command": 2,
}

LONGEST_MESSAGE = 2000  # characters
# Characters that move the cursor, change the direction of writing, or cannot be encoded.
CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class NotFiniteError(Exception):
    """A number of a result is NaN or infinite."""


class BrokenLawError(Exception):
    """A result contradicts what is documented."""


class FuzzKind(ABC):
    """A kind of file: makes cases and checks them.

    Args:
        folder: for valid files that cases are made of; not watched.

    Attributes:
        outputs: names of files that `check` may leave beside the case's.
    """

    outputs: frozenset[str] = frozenset()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, path: Path) -> None:
        """Put the files that the case's file is about beside it, before `check`."""
        return None

    @abstractmethod
    def make(self, rng: Random) -> tuple[str, bytes]:
        """Suffix and content of a case's file, determined by ``rng`` alone."""

    @abstractmethod
    def check(self, path: Path) -> str | None:
        """Read the file as the product does.

        Returns:
            None if it was read, or the error as users see it.

        Raises:
            SerStreamError: the file is refused, which is as good as returning the error.
            Exception: anything else is a fault.
        """


def load_kind(name: str, folder: Path) -> FuzzKind:
    """The kind ``name``, with a folder of its own below ``folder``."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    return importlib.import_module(f".{name}", __package__).Fuzz(own)


def require_finite(values: Any, where: str) -> None:
    """Raise NotFiniteError for a NaN or an infinity anywhere in plain values or arrays."""
    if isinstance(values, (float, np.ndarray, np.floating)):
        if not np.isfinite(values).all():
            raise NotFiniteError(f"{where}: {values}")
    elif isinstance(values, dict):
        for key, value in values.items():
            require_finite(value, f"{where}, {key}")
    elif isinstance(values, Iterable) and not isinstance(values, (str, bytes)):
        for i, value in enumerate(values):
            require_finite(value, f"{where}, {i}")


def require(holds: bool, law: str) -> None:
    """Raise BrokenLawError where a law does not hold."""
    if not holds:
        raise BrokenLawError(law)


def message_fault(message: str) -> str | None:
    """What is wrong with the words of an error; None if nothing is."""
    if not message.strip():
        return "an error without words"
    if len(message) > LONGEST_MESSAGE:
        return f"an error of {len(message)} characters: {message[:200]}..."
    if any(unicodedata.category(char) in CONTROL for char in message):
        return f"an error of several lines or with control characters: {message!r}"
    return None
