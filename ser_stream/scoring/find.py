"""Recordings among files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ser_stream.audio.sound_file import HEADERLESS

# Audio by its name, though libsndfile cannot read it: worth a row that says so.
UNREADABLE_SUFFIXES = {".m4a", ".mp4", ".aac", ".wma", ".webm"}


@dataclass(slots=True)
class PassedOver:
    """How much of folders was not listed as audio."""

    not_audio: int = 0
    hidden: int = 0
    links: int = 0

    def __str__(self) -> str:
        """As "3 not audio, 1 link to a folder"; empty if nothing was passed over."""
        links = "link to a folder" if self.links == 1 else "links to folders"
        counts = ((self.not_audio, "not audio"), (self.hidden, "hidden"), (self.links, links))
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def find_audio(paths: Iterable[Path], passed_over: PassedOver | None = None) -> Iterator[Path]:
    """List the files among ``paths``, and below those that are folders the ones named as audio.

    In the order of ``paths``, each folder's in the order of their names; what is named twice is
    listed twice. Of a folder, hidden files and folders and links to folders are passed over, so no
    loop of links is walked. A path that does not exist or is no file, and a folder that cannot be
    listed, come too: scoring them reports why not.

    Args:
        paths: files and folders.
        passed_over: counts what is left out.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    formats = {name for name in soundfile.available_formats() if name not in HEADERLESS}
    suffixes = {f".{name.lower()}" for name in formats} | UNREADABLE_SUFFIXES
    suffixes |= {".aif", ".mp2", ".opus", ".oga"}
    for path in paths:
        if os.path.isdir(path):  # which does not raise where a folder above may not be entered
            yield from _below(path, suffixes, passed_over)
        else:
            yield path


def _below(top: Path, suffixes: Set[str], passed_over: PassedOver) -> Iterator[Path]:
    # What is still to be looked at, the next one last, and whether it is a folder.
    todo = [(top, True)]
    while todo:
        path, is_folder = todo.pop()
        if not is_folder:
            yield path
            continue
        try:
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name, reverse=True)
        except OSError:
            yield path
            continue
        for entry in entries:
            if entry.name.startswith("."):
                passed_over.hidden += 1
            elif entry.is_dir(follow_symlinks=False):
                todo.append((path / entry.name, True))
            elif os.path.isdir(entry):
                passed_over.links += 1
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                todo.append((path / entry.name, False))
            else:
                passed_over.not_audio += 1
