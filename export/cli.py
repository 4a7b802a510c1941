"""``ser-export``: a trained checkpoint becomes one verified file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from export.to_onnx import describe, example_windows, export
from ser_stream.batch import find_audio
from ser_stream.entry import run_command
from ser_stream.frontend import make_extractor
from training.checkpoint import Checkpoint
from training.dataset import load_audio

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def run(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file.")] = Path(
        "model.onnx"
    ),
    audio: Annotated[
        list[Path] | None,
        typer.Option("--audio", help="Check parity on these files, not on the run's windows."),
    ] = None,
) -> None:
    """Write one .onnx file, if PyTorch and ONNX Runtime agree on real audio."""
    loaded = Checkpoint.load(checkpoint)
    if audio:
        extractor = make_extractor(loaded.recipe.frontend, loaded.recipe.frontend_params)
        rate = extractor.sample_rate_hz
        clips = [load_audio(path, rate) for path in find_audio(audio)]
        loaded = replace(loaded, examples=example_windows(clips, loaded))
    difference = export(loaded, output)
    typer.echo(describe(output, difference, len(loaded.examples)))


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
