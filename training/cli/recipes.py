"""``ser-train list``: the shipped recipes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from ser_stream.printable import echo

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from training.recipe.book import PaperRow, RecipeBook


def list_recipes(
    rows: Annotated[
        bool, typer.Option("--rows", help="The tables of the papers, with published figures.")
    ] = False,
) -> None:
    """List the recipes that ship with the package, with their variants and protocols."""
    from training.recipe.book import load_book, shipped_recipes

    for name in shipped_recipes():
        book = load_book(name)
        recipe = book.recipe(protocol=next(iter(book.protocols)))
        protocols = ", ".join(book.protocols)
        echo(f"{name}: {recipe.model} on {recipe.frontend}; protocols {protocols}")
        if recipe.source:
            echo(f"    {recipe.source}")
        if rows:
            for row in book.rows:
                figures = "" if math.isnan(row.wa) else f"WA {row.wa}, UA {row.ua}: "
                echo(f"    {place_of(row)}: {figures}{full_name(book, row.variant)}")
        else:
            for variant in book.variants:
                echo(f"    {full_name(book, variant)}")


def place_of(row: PaperRow) -> str:
    """Where a row stands in its paper."""
    return f"{row.table}, {row.row}" + (f" ({row.part})" if row.part else "")


def full_name(book: RecipeBook, variant: str) -> str:
    """What a variant is called on the command line."""
    return f"{book.name}/{variant}" if variant else book.name
