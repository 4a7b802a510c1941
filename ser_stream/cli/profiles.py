"""Profiles of voices: a guided reading, or recordings of neutral speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser_stream.cli.assembly import open_bundle, recorder_of
from ser_stream.cli.options import DeviceOption, ModelOption, RateOption
from ser_stream.entry import EXIT_ERROR
from ser_stream.errors import ConfigError
from ser_stream.printable import echo

if TYPE_CHECKING:
    from ser_stream.models.bundle import ModelBundle
    from ser_stream.profiles import ProfileRecorder
    from ser_stream.types import AudioSource

# A calibration fails after this many times the speech that it needs.
PATIENCE = 4.0
# Speech that a profile may be made of.
LEAST_S, MOST_S = 5.0, 600.0


def calibrate(
    profile: Annotated[str, typer.Option("--profile", help="Name of the profile to make.")],
    device: DeviceOption = None,
    rate: RateOption = None,
    model: ModelOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Speech to listen to, from 5 to 600.")
    ] = 15.0,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Recordings of neutral speech instead of a microphone."),
    ] = None,
) -> None:
    """Learn what your neutral voice sounds like: read a text aloud in your everyday voice.

    Only statistics are kept, no audio.
    """
    from ser_stream.models.profile import check_profiles
    from ser_stream.profiles import profile_path, today

    if not LEAST_S <= seconds <= MOST_S:
        raise ConfigError(f"--seconds must be from {LEAST_S:g} to {MOST_S:g}, got {seconds}")
    path = profile_path(profile)
    bundle = open_bundle(model)
    check_profiles(bundle)
    if file:
        recorder = recorder_of(bundle, file)
    else:
        from ser_stream.audio.microphone import Microphone

        with Microphone(device, rate) as microphone:
            recorder = _guided(microphone, bundle, seconds)
    recorder.finish(profile, today()).save(path)
    echo(f"profile {profile!r}: {recorder.speech_s:.1f} s of speech, {path}")


def profiles(
    unlearn: Annotated[
        str | None, typer.Option("--unlearn", help="Take back what was learnt of a voice last.")
    ] = None,
) -> None:
    """List the voices that are known: profiles, and what was learnt of voices with --learn."""
    from ser_stream.models.profile import Profile, ProfileError
    from ser_stream.profiles import list_known, profile_path, voice_path
    from ser_stream.profiles import unlearn as take_back

    if unlearn is not None:
        left = take_back(unlearn)
        echo(f"voice {unlearn!r}: {'as it was before' if left else 'nothing is left'}")
        return
    known = list_known()
    damaged = 0
    for name in known:
        told = []
        for path, how in ((profile_path(name), "read"), (voice_path(name), "learnt")):
            if not path.exists():
                continue
            try:
                voice = Profile.load(path)
                told.append(f"{how} {voice.created}: {voice.voiced_s:.0f} s")
            except ProfileError as error:
                damaged += 1
                echo(f"error: {error}", err=True)
        if told:
            echo(f"{name}  {', '.join(told)}")
    if damaged:
        raise typer.Exit(EXIT_ERROR)
    if not known:
        echo("no profile yet; make one with ser-stream calibrate", err=True)


def _guided(source: AudioSource, bundle: ModelBundle, wanted_s: float) -> ProfileRecorder:
    """Show a text to read, and listen until there is enough of it."""
    from rich.console import Console
    from rich.live import Live

    from ser_stream.cli.terminal import CalibrationView
    from ser_stream.profiles import ProfileRecorder

    console = Console(stderr=True)
    recorder = ProfileRecorder(bundle)
    told_s = 0.0
    with Live(console=console, auto_refresh=False) as screen:
        for _ in recorder.listen(source):
            if console.is_terminal:
                view = CalibrationView(
                    recorder.speech_s, wanted_s, recorder.level_dbfs, recorder.advice()
                )
                screen.update(view, refresh=True)
            elif recorder.heard_s - told_s >= 1.0:
                told_s = recorder.heard_s
                line = (
                    f"{recorder.speech_s:.1f} of {wanted_s:g} s of speech, "
                    f"{recorder.level_dbfs:.0f} dBFS"
                )
                advice = recorder.advice()
                console.print(
                    f"{line}; {advice}" if advice else line, markup=False, highlight=False
                )
            if recorder.speech_s >= wanted_s or recorder.heard_s >= PATIENCE * wanted_s:
                break
    return recorder
