"""What commands run on: how they listen, by the options that users give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ser_stream.printable import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from ser_stream.models.bundle import ModelBundle
    from ser_stream.models.profile import Profile
    from ser_stream.profiles import ProfileRecorder
    from ser_stream.stream.listening import Listening
    from ser_stream.words.live import WordTap

# Said where a model that reads words has none.
SOUND_ALONE = "going by the sound alone"


def open_bundle(path: Path | None) -> ModelBundle:
    """Open a model file; the shipped one without."""
    from ser_stream.models.bundle import ModelBundle

    return ModelBundle.load(path)


def open_profile(
    bundle: ModelBundle, name: str | None, learns: bool = False
) -> tuple[Profile | None, Profile | None]:
    """Find what is known of a voice: its profile, and what was learnt of it; both None without.

    Raises:
        ProfileError: nothing is known and nothing will be learnt, or a file cannot be used.
    """
    from ser_stream.profiles import load_known

    return (None, None) if name is None else load_known(name, bundle, learns)


def recorder_of(bundle: ModelBundle, paths: list[Path]) -> ProfileRecorder:
    """Listen to recordings."""
    from ser_stream.audio.sound_file import FileSource
    from ser_stream.profiles import ProfileRecorder
    from ser_stream.scoring.find import find_audio

    recorder = ProfileRecorder(bundle)
    for path in find_audio(paths):
        for _ in recorder.listen(FileSource(path)):
            pass
    return recorder


def listening_of(
    bundle: ModelBundle,
    profile: Profile | None = None,
    voice: Profile | None = None,
    *,
    hop_s: float | None = None,
    smoothing_s: float | None = None,
    gate: bool = True,
    vectors: Path | None = None,
    embedder: Path | None = None,
    open_words: Callable[[int], WordTap] | None = None,
    hears_words: bool = True,
) -> Listening:
    """How options say that ``bundle`` listens; notes where it has to do without a file.

    Args:
        bundle: the model.
        profile: the speaker's neutral voice.
        voice: what was heard of it before.
        hop_s: as in `Listening`.
        smoothing_s: seconds of speech that count as one observation; the bundle's without.
        gate: as in `Listening`.
        vectors: file of the vectors of words, for models that read some.
        embedder: file of a speaker embedder, for models that take embeddings.
        open_words: as in `Listening`.
        hears_words: words are recognised or transcribed; the note says what to add.

    Raises:
        BundleError: the embedder cannot be used.
        ConfigError: a file is not what the model was trained with, or cannot be read.
    """
    from ser_stream.models.embedder import SpeakerEmbedder
    from ser_stream.stream.listening import Listening
    from ser_stream.words.reader import open_reader

    meta = bundle.meta
    if meta.words is not None and vectors is None:
        missing = f"--vectors {meta.words.vectors}" if hears_words else "--asr and --vectors"
        echo(f"note: {meta.name} reads words too, see {missing}; {SOUND_ALONE}", err=True)
    reader = open_reader(bundle, vectors)
    if meta.speaker is not None and embedder is None:
        told = f"{meta.name} is told who speaks by --embedder {meta.speaker.embedder}"
        echo(f"note: {told}; hearing nobody in particular", err=True)
    return Listening(
        bundle,
        hop_s,
        None if smoothing_s is None else meta.smoothing.with_evidence(smoothing_s),
        gate,
        profile=profile,
        voice=voice,
        reader=reader,
        embedder=None if embedder is None else SpeakerEmbedder.load(embedder),
        open_words=open_words,
    )
