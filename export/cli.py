"""``ser-export``: a trained checkpoint becomes one verified file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ser_stream.entry import run_command, version_option
from ser_stream.errors import ConfigError, SerStreamError
from ser_stream.printable import echo

# PyTorch takes seconds to import, so the functions import what needs it.
app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)

# Exit code when some of several exports failed.
PARTIAL = 3


@app.command()
def run(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A fold's folder, its checkpoint, a run's folder, or an embedder's; with "
            "--settings a model file."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The .onnx file; with --all a folder. model.onnx without."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Export every checkpoint below the folder.")
    ] = False,
    audio: Annotated[
        list[Path] | None,
        typer.Option("--audio", help="Check parity on these files, not on the run's windows."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings",
            metavar="RECIPE",
            help="Give a model file the smoothing, gate and `sure` of a recipe; its weights stay.",
        ),
    ] = None,
    version: Annotated[bool, version_option("ser-export")] = False,
) -> None:
    """Write .onnx files, if PyTorch and ONNX Runtime agree on real audio.

    Of a run's folder the first fold is taken; with --all every one gets a file, next to its
    checkpoint or in the folder --output.
    """
    if settings is not None:
        from export.settings import write_settings
        from training.recipe.book import load_recipe

        target = output or checkpoint
        digest = write_settings(checkpoint, load_recipe(settings), target)
        typer.echo(f"{target}: settings of {settings}; weights as they were, SHA-256 {digest}")
        return
    from export.speaker import export_speaker, is_speaker_checkpoint
    from export.to_onnx import describe
    from training.checkpoint import CHECKPOINT
    from training.speakers.checkpoint import SpeakerCheckpoint

    if is_speaker_checkpoint(checkpoint):
        target = output or Path("speaker.onnx")
        embedder = SpeakerCheckpoint.load(checkpoint)
        difference = export_speaker(embedder, target)
        echo(describe(target, difference, len(embedder.examples)))
        return
    if not everything:
        _export(_first(checkpoint, CHECKPOINT), output or Path("model.onnx"), audio)
        return
    found = sorted(checkpoint.rglob(CHECKPOINT))
    if not found:
        raise ConfigError(f"{checkpoint}: no {CHECKPOINT} below it")
    failed = 0
    for path in found:
        target = path.with_name("model.onnx")
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            name = "-".join(path.parent.relative_to(checkpoint).parts) or "model"
            target = output / f"{name}.onnx"
        try:
            _export(path, target, audio)
        except SerStreamError as error:
            failed += 1
            echo(f"{path}: {error}", err=True)
    if failed:
        raise typer.Exit(1 if failed == len(found) else PARTIAL)


def _first(path: Path, name: str) -> Path:
    if path.is_dir() and not (path / name).exists():
        found = sorted(path.glob(f"seed*-fold*/{name}"))
        if found:
            return found[0]
    return path


def _export(path: Path, target: Path, audio: list[Path] | None) -> None:
    from export.to_onnx import describe, example_inputs, export
    from ser_stream.features.registry import make_extractor
    from ser_stream.scoring.find import find_audio
    from training.checkpoint import Checkpoint
    from training.data.audio import load_audio

    loaded = Checkpoint.load(path)
    if audio:
        extractor = make_extractor(loaded.recipe.frontend, loaded.recipe.frontend_params)
        rate = extractor.sample_rate_hz
        clips = [load_audio(clip, rate) for clip in find_audio(audio)]
        loaded = replace(loaded, examples=example_inputs(clips, loaded))
    difference = export(loaded, target)
    echo(describe(target, difference, len(loaded.examples["features"])))


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
