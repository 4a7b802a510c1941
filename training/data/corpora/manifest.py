"""A user's own recordings: a manifest as `ser_stream.scoring.manifest` describes it."""

from __future__ import annotations

from pathlib import Path

from ser_stream.scoring.manifest import FILE, Clip, ManifestError, read_clips
from training.data.corpora.base import CorpusError, Utterance


def read(path: Path) -> list[Utterance]:
    """Read the CSV file ``path``, or the one ``manifest.csv`` in or below a folder.

    Rows keep their order. Audio is only looked up, not opened.

    Raises:
        CorpusError: no or several files, no rows, or what `read_clips` refuses.
    """
    file = _only_file(path) if path.is_dir() else path
    try:
        utterances = [_utterance(clip) for clip in read_clips(file)]
    except ManifestError as error:
        raise CorpusError(str(error)) from error
    if not utterances:
        raise CorpusError(f"{file}: no clips, only a header")
    return utterances


def _only_file(folder: Path) -> Path:
    found = sorted(folder.rglob(FILE))
    if len(found) != 1:
        raise CorpusError(
            f"manifest: {folder} holds {len(found)} files {FILE}, want one; name the file itself"
        )
    return found[0]


def _utterance(clip: Clip) -> Utterance:
    return Utterance(
        clip.path,
        "manifest",
        f"manifest/{clip.speaker}",
        clip.emotion,
        f"manifest/{clip.session}" if clip.session else "",
        clip.part,
        clip.text,
        clip.start_s,
        clip.end_s,
    )
