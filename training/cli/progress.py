"""What a command shows while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# PyTorch takes seconds to import, so the commands import what needs it.
if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def bars_on_stderr(hidden: bool = False) -> Iterator[Progress]:
    """Progress bars on a terminal; nothing elsewhere, or where they are ``hidden``."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bars:
        yield bars


def teller(bars: Progress, task: Any) -> Callable[[int, int], None]:
    """A function that shows how much is done, and of how much, as the bar ``task``."""
    return lambda done, total: bars.update(task, completed=done, total=total)
