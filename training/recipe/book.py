"""Recipes as TOML files, with their variants, protocols and the tables of their papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ser_stream.errors import ConfigError
from ser_stream.features.registry import check_front_end
from ser_stream.typed import TableError, parse_toml
from training.data.folds import FoldsConfig
from training.models import check_model
from training.recipe.config import LIMITS, Recipe, _one_of, _section, merged, parse_recipe


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a recipe is judged.

    Attributes:
        folds: who trains, validates and tests.
        seeds: repetitions of every fold.
        choose_on: the epoch is chosen on "validation" utterances, on the "test" fold itself, which
            flatters, or on "none": the last epoch is kept.
    """

    folds: FoldsConfig
    seeds: int = 1
    choose_on: str = "validation"

    def __post_init__(self) -> None:
        _one_of("protocol.choose_on", self.choose_on, ("validation", "test", "none"))
        if self.choose_on == "validation" and self.folds.validation <= 0.0:
            raise ConfigError("recipe: choosing on validation needs folds.validation > 0")

    def describe(self) -> str:
        """Say in words what a figure under this protocol means."""
        chosen = {
            "validation": "epoch chosen on validation utterances",
            "test": "EPOCH CHOSEN ON THE TEST FOLD, as published: flatters",
            "none": "last epoch",
        }[self.choose_on]
        f = self.folds
        division = {
            "speaker": f"{f.n_folds} speaker-independent folds",
            "leave-one-speaker-out": "leave one speaker out",
            "leave-one-session-out": "leave one session out",
            "random-k-fold": f"RANDOM {f.n_folds} folds, speakers are in train and test: flatters",
            "random-ratio": f"RANDOM {1 - f.test - f.validation:.2f}/{f.validation:.2f}/"
            f"{f.test:.2f}, speakers are in train and test: flatters",
        }[f.kind]
        return f"{division}; {chosen}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a paper's tables.

    Attributes:
        table: where it stands.
        row: its name there.
        variant: the recipe's variant that it reports; "" is the recipe itself.
        part: of IEMOCAP: "improvised", "scripted" or "" for both.
        transcripts: where the words come from: "" is the corpus itself, "asr" a recogniser.
        wa: published accuracy in percent; nan where the paper gives none.
        ua: published unweighted accuracy in percent.
    """

    table: str
    row: str
    variant: str = ""
    part: str = ""
    transcripts: str = ""
    wa: float = float("nan")
    ua: float = float("nan")

    def __post_init__(self) -> None:
        _one_of("rows.transcripts", self.transcripts, ("", "asr"))


@dataclass(frozen=True, slots=True)
class RecipeBook:
    """One recipe file: a recipe, its variants, its protocols, and the published figures.

    Attributes:
        table: the recipe as plain values, as published.
        variants: changes to it by name.
        protocols: changes and `Protocol` by name.
        rows: of the paper's tables.
    """

    table: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    protocols: dict[str, tuple[dict[str, Any], Protocol]]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return str(self.table["name"])

    def recipe(
        self, variant: str = "", protocol: str = "strict", changes: Mapping[str, Any] | None = None
    ) -> Recipe:
        """Build the recipe of a variant under a protocol; ``changes`` come last.

        Raises:
            ConfigError: no such variant or protocol, or a change that the recipe does not know.
        """
        table = self.table
        if variant:
            if variant not in self.variants:
                raise ConfigError(
                    f"recipe {self.name} has no variant {variant!r}; "
                    f"known: {', '.join(self.variants) or 'none'}"
                )
            table = merged(table, {**self.variants[variant], "name": f"{self.name}/{variant}"})
        table = merged(table, self.protocol_changes(protocol))
        return parse_recipe(merged(table, changes or {}))

    def protocol(self, name: str) -> Protocol:
        """Look up a protocol by name.

        Raises:
            ConfigError: the recipe has no such protocol.
        """
        self.protocol_changes(name)
        return self.protocols[name][1]

    def protocol_changes(self, name: str) -> dict[str, Any]:
        """What a protocol changes in the recipe."""
        if name not in self.protocols:
            raise ConfigError(
                f"recipe {self.name} has no protocol {name!r}; known: {', '.join(self.protocols)}"
            )
        return self.protocols[name][0]


def load_book(name: str | Path) -> RecipeBook:
    """Read a recipe file by the name of a shipped one or by path.

    Raises:
        ConfigError: no such recipe, or it is not valid.
    """
    path = Path(name)
    try:
        if path.suffix == ".toml":
            text = path.read_text(encoding="utf-8")
        else:
            text = (resources.files("training.recipes") / f"{name}.toml").read_text("utf-8")
        table = parse_toml(text, LIMITS)
    except (OSError, UnicodeDecodeError, TableError) as error:
        raise ConfigError(f"recipe {name}: {error}") from error
    try:
        variants = table.pop("variants", {})
        protocols = {
            key: (value.pop("changes", {}), _protocol(value, key))
            for key, value in table.pop("protocols", {}).items()
        }
        rows = tuple(_section(Row, row, "rows") for row in table.pop("rows", []))
        book = RecipeBook(table, variants, protocols, rows)
        # Whatever is wrong in it shows here, not after hours.
        for protocol in book.protocols:
            for variant in ("", *book.variants):
                recipe = book.recipe(variant, protocol)
                check_model(recipe.model, recipe.model_params)
                check_front_end(recipe.frontend, recipe.frontend_params)
        if unknown := {r.variant for r in rows} - {"", *variants}:
            raise ConfigError(f"recipe: rows of unknown variants {sorted(unknown)}")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"recipe {name}: {type(error).__name__}: {error}") from error
    return book


def _protocol(table: dict[str, Any], name: str) -> Protocol:
    where = f"protocols.{name}"
    folds = _section(FoldsConfig, table.get("folds", {}), f"{where}.folds")
    return _section(Protocol, {**table, "folds": folds}, where)


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files("training.recipes").iterdir()
        if entry.name.endswith(".toml")
    )


def load_recipe(name: str | Path, protocol: str = "strict") -> Recipe:
    """Read "recipe" or "recipe/variant" of a shipped recipe, or a recipe file by path.

    Raises:
        ConfigError: no such recipe, or it is not valid.
    """
    book, variant = find_recipe(name)
    return book.recipe(variant, protocol)


def find_recipe(name: str | Path) -> tuple[RecipeBook, str]:
    """Split "recipe/variant" or "file.toml/variant" into the file's contents and the variant."""
    text = str(name)
    if ".toml" in text:
        base, suffix, variant = text.rpartition(".toml")
        return load_book(base + suffix), variant.removeprefix("/")
    base, _, variant = text.partition("/")
    return load_book(base), variant
