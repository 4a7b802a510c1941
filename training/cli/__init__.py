"""``ser-train``: train recipes, reproduce the papers, and measure bundles with the runtime."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_stream.entry import run_command, version_option
from training.cli import card, evaluate, recipes, reproduce, run, speakers

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def _top(
    version: Annotated[bool, version_option("ser-train")] = False,
) -> None:
    """Train models on open corpora and measure them."""


app.command("list")(recipes.list_recipes)
app.command()(run.run)
app.command()(reproduce.reproduce)
app.command("evaluate")(evaluate.evaluate_command)
app.command("card")(card.card_command)
app.command("speakers")(speakers.speakers_command)


def main() -> None:
    """Run the command."""
    run_command(app)
