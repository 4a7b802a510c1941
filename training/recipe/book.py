"""Recipes as TOML files, with their variants, protocols and the tables of their papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from ser_stream.errors import ConfigError
from ser_stream.typed import FieldError, sized, typed, within
from training.data.folds import FoldsConfig
from training.recipe.config import Recipe
from training.recipe.parse import merged, parse_recipe, read_recipe_file

Percent = Annotated[float, within(0.0, 100.0)]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a recipe is judged.

    Attributes:
        folds: who trains, validates and tests.
        seeds: repetitions of every fold.
        choose_on: the epoch is chosen on "validation" utterances, on the "test" fold itself, which
            flatters, or on "none": the last epoch is kept.
        changes: what it changes in the recipe.
    """

    folds: FoldsConfig
    seeds: Annotated[int, within(1, 1000)] = 1
    choose_on: Literal["validation", "test", "none"] = "validation"
    changes: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.choose_on == "validation" and self.folds.validation <= 0.0:
            raise FieldError("choose_on", "choosing on validation needs folds.validation > 0")

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
class PaperRow:
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

    table: Annotated[str, sized(1, 200)]
    row: Annotated[str, sized(1, 200)]
    variant: str = ""
    part: Literal["", "improvised", "scripted"] = ""
    transcripts: Literal["", "asr"] = ""
    wa: Percent = float("nan")
    ua: Percent = float("nan")


@dataclass(frozen=True, slots=True)
class _Tables:
    """What a recipe file holds beside the recipe itself."""

    protocols: Annotated[dict[str, dict[str, Any]], sized(1, 100)]
    variants: Annotated[dict[str, dict[str, Any]], sized(0, 1000)] = field(default_factory=dict)
    rows: Annotated[tuple[PaperRow, ...], sized(0, 1000)] = ()


@dataclass(frozen=True, slots=True)
class RecipeBook:
    """One recipe file: a recipe, its variants, its protocols, and the published figures.

    Attributes:
        table: the recipe as plain values, as published.
        variants: changes to it by name.
        protocols: ways of judging it, by name.
        rows: of the paper's tables.
    """

    table: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    protocols: dict[str, Protocol]
    rows: tuple[PaperRow, ...]

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
        table = merged(table, self.protocol(protocol).changes)
        try:
            return parse_recipe(merged(table, changes or {}))
        except ConfigError as error:
            raise ConfigError(f"recipe {self.name}: {error}") from error

    def protocol(self, name: str) -> Protocol:
        """Look up a protocol by name.

        Raises:
            ConfigError: the recipe has no such protocol.
        """
        if name not in self.protocols:
            raise ConfigError(
                f"recipe {self.name} has no protocol {name!r}; known: {', '.join(self.protocols)}"
            )
        return self.protocols[name]


def load_book(name: str | Path) -> RecipeBook:
    """Read a recipe file by the name of a shipped one or by path.

    Raises:
        ConfigError: no such recipe, or it is not valid.
    """
    path = Path(name)
    shipped = resources.files("training.recipes") / f"{name}.toml"
    if path.suffix != ".toml" and str(name) not in shipped_recipes():
        known = ", ".join(shipped_recipes())
        raise ConfigError(f"recipe {name}: there is none; name a .toml file, or one of {known}")
    try:
        return _book(read_recipe_file(path if path.suffix == ".toml" else shipped))
    except ConfigError as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def _book(table: dict[str, Any]) -> RecipeBook:
    """Read a recipe file's values; whatever is wrong in them shows here, not after hours."""
    tables = typed(
        {f: table.pop(f) for f in ("protocols", "variants", "rows") if f in table}, _Tables
    )
    protocols = {
        name: typed(protocol, Protocol, where=f"protocols.{name}")
        for name, protocol in tables.protocols.items()
    }
    for i, row in enumerate(tables.rows):
        if row.variant and row.variant not in tables.variants:
            raise FieldError(f"rows[{i}].variant", f"there is no variant {row.variant!r}")
    parse_recipe(table)
    book = RecipeBook(table, tables.variants, protocols, tables.rows)
    for name, protocol in protocols.items():
        _check(merged(table, protocol.changes), f"protocols.{name}.changes")
        for variant, changes in tables.variants.items():
            # In the order of `RecipeBook.recipe`: a protocol's changes come last.
            _check(merged(merged(table, changes), protocol.changes), f"variants.{variant}")
    return book


def _check(table: Mapping[str, Any], where: str) -> None:
    try:
        parse_recipe(table)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


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
