"""What commands run on: a model, a voice, words and the engine over them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ser_stream.printable import echo

if TYPE_CHECKING:
    from ser_stream.models.bundle import ModelBundle
    from ser_stream.models.profile import Profile
    from ser_stream.profiles import ProfileRecorder
    from ser_stream.stream.engine import Engine
    from ser_stream.words.reader import WordReader

# Said where a model that reads words has none.
SOUND_ALONE = "going by the sound alone"


def open_bundle(path: Path | None) -> ModelBundle:
    """Open a model file; the shipped one without."""
    from ser_stream.models.bundle import ModelBundle

    return ModelBundle.load(path)


def open_profile(bundle: ModelBundle, name: str | None) -> Profile | None:
    """Find a profile by its name; None without."""
    from ser_stream.profiles import load_profile

    return None if name is None else load_profile(name, bundle)


def recorder_of(bundle: ModelBundle, paths: list[Path]) -> ProfileRecorder:
    """Listen to recordings."""
    from ser_stream.audio.resample import StreamingResampler
    from ser_stream.audio.sound_file import FileSource
    from ser_stream.profiles import ProfileRecorder
    from ser_stream.scoring.find import find_audio

    recorder = ProfileRecorder(bundle)
    for path in find_audio(paths):
        source = FileSource(path)
        resampler = StreamingResampler(source.sample_rate_hz, bundle.meta.sample_rate_hz)
        for block in source:
            recorder.feed(resampler.push(block).samples)
        recorder.feed(resampler.flush().samples)
    return recorder


def today() -> str:
    """Date of today, ISO 8601, UTC."""
    return datetime.now(UTC).date().isoformat()


def make_engine(
    bundle: ModelBundle,
    hop_s: float | None,
    smoothing_s: float | None,
    gate: bool,
    profile: Profile | None = None,
    reader: WordReader | None = None,
    embedder: Path | None = None,
) -> Engine:
    """Engine over ``bundle``; a note where it has to do without an embedder."""
    from ser_stream.models.embedder import SpeakerEmbedder
    from ser_stream.stream.engine import Engine, EngineConfig

    speaker = bundle.meta.speaker
    if speaker is not None and embedder is None:
        told = f"{bundle.meta.name} is told who speaks by --embedder {speaker.embedder}"
        echo(f"note: {told}; hearing nobody in particular", err=True)
    smoothing = bundle.meta.smoothing
    if smoothing_s is not None:
        smoothing = smoothing.with_evidence(smoothing_s)
    return Engine(
        bundle,
        EngineConfig(
            hop_s=hop_s,
            smoothing=smoothing,
            gate=gate,
            profile=profile,
        ),
        reader=reader,
        embedder=None if embedder is None else SpeakerEmbedder.load(embedder),
    )


def make_reader(bundle: ModelBundle, vectors: Path | None, listens: bool) -> WordReader | None:
    """Vectors for a model that reads words; a note where it has to do without."""
    from ser_stream.words.reader import open_reader

    reads = bundle.meta.words
    if reads is not None and vectors is None:
        missing = f"--vectors {reads.vectors}" if listens else "--asr and --vectors"
        echo(f"note: {bundle.meta.name} reads words too, see {missing}; {SOUND_ALONE}", err=True)
    return open_reader(bundle, vectors)
