"""Which embedder tells a model who speaks."""

from __future__ import annotations

from pathlib import Path

from gui.choices.file import Kind, Wanted
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.embedder import SpeakerEmbedder, check_embedder


def _wanted(bundle: ModelBundle) -> Wanted | None:
    speaker = bundle.meta.speaker
    return None if speaker is None else Wanted(speaker.embedder, speaker.digest)


def _read(bundle: ModelBundle, path: Path) -> SpeakerEmbedder:
    embedder = SpeakerEmbedder.load(path)
    check_embedder(bundle, embedder)
    return embedder


EMBEDDER = Kind(
    "embedder",
    "speaker embedder",
    "Speaker embedder...",
    "Speaker embedders (*.onnx);;All files (*)",
    _wanted,
    _read,
)
