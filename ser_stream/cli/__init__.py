"""``ser-stream``: the meter in a terminal, folders of recordings, and what a bug report needs.

Data goes to stdout, everything else to stderr. Exit codes: 0 all is well, 1 an error that ends the
command, 2 wrong usage, 3 some of the files could not be scored.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

# The matrices of a frame are small: threads would spin for nothing. Read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from ser_stream.cli import about, live, profiles, score
from ser_stream.entry import exit_on_end_signals, run_command
from ser_stream.errors import CommandLineError


class _Commands(TyperGroup):
    """The commands; a recording in the place of one gets a hint."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and (os.path.exists(name) or Path(name).suffix):
            raise CommandLineError(
                f"{name} is no command; to score a recording: ser-stream score "
                f"{shlex.quote(name)}; to choose a microphone: ser-stream --device NAME"
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    help="What a voice sounds like while it speaks: a live meter for the microphone and a scorer "
    "for recordings. Nothing leaves the machine, and nothing is recorded unless asked for.",
)
app.callback(invoke_without_command=True)(live.live)
for command in (live.demo, score.score, score.transcribe, profiles.calibrate, profiles.profiles):
    app.command()(command)
# Its options are those of another command.
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(about.gui)
for command in (about.devices, about.info, about.doctor):
    app.command()(command)


def main() -> None:
    """Run the command."""
    exit_on_end_signals()
    run_command(app)
