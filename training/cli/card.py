"""``ser-train card``: report cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_stream.errors import ConfigError
from ser_stream.printable import echo
from training.data.corpora import card_corpora
from training.data.noises import NOISE_FOLDER

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    pass


def card_command(
    models: Annotated[
        list[Path] | None, typer.Argument(help="Bundles; the shipped one without.")
    ] = None,
    data: Annotated[
        Path,
        typer.Option("--data", help=f"Folder with {', '.join((*card_corpora(), NOISE_FOLDER))}."),
    ] = Path("data"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("card"),
    robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Measure bad channels too.")
    ] = True,
) -> None:
    """Write a report card: accuracy, reliability, robustness, silence, responsiveness.

    Several models get a folder each, named after the file, and a table side by side; a card of the
    very same file and speech gate that lies there already is kept.
    """
    from rich.console import Console

    from ser_stream.models.bundle import ModelBundle
    from training.card.card import make_card, measured
    from training.card.report import write_card, write_comparison
    from training.occupancy import occupied

    names = [path.stem for path in models or ()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two models are called {', '.join(twice)}: copy one to another name")
    cards = {}
    with occupied(output):
        for path in models or [None]:
            bundle = ModelBundle.load(path)
            several = models is not None and len(models) > 1
            name = bundle.path.stem if several else bundle.meta.name
            folder = output / name if several else output
            card = _kept_card(folder / "card.json") if several else {}
            if card.get("measured") == measured(bundle) and bool(card["robustness"]) >= robustness:
                echo(f"{name}: {folder / 'README.md'} is of this file already")
            else:
                with Console(stderr=True).status("") as status:
                    card = make_card(
                        bundle, data, lambda step, s=status: s.update(step), robustness=robustness
                    )
                write_card(folder, card)
                echo(f"{name}: {folder / 'README.md'}")
            cards[name] = card
        if len(cards) > 1:
            write_comparison(output / "README.md", cards)


def _kept_card(path: Path) -> dict[str, Any]:
    """A card that lies there from before; empty without one that can be read."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}
