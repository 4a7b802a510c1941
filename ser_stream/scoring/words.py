"""The words of a recording: from a table, a file beside it, or a recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ser_stream.audio.sound_file import FileSource
from ser_stream.words.live import WordTap
from ser_stream.words.recognizers import Asr
from ser_stream.words.transcripts import Transcript, find_transcript


class Transcripts:
    """Find the words of a recording: in a table, in a file beside it, or with a recogniser.

    Args:
        table: by `Path.resolve`, see `ser_stream.words.transcripts.read_transcripts_csv`.
        asr: writes down what neither has.
    """

    def __init__(
        self, table: Mapping[Path, Transcript] | None = None, asr: Asr | None = None
    ) -> None:
        self._table = table or {}
        self._asr = asr

    def find(self, path: Path) -> tuple[Transcript | None, str]:
        """The words and where they are from, see `FileScore`.

        Raises:
            TranscriptError: the file beside it cannot be read.
            AsrError: the recogniser failed.
            AudioError: there was nothing to recognise words in.
        """
        if (found := self._table.get(path.resolve())) is not None:
            return found, "table"
        if (found := find_transcript(path)) is not None:
            return found, "file"
        if self._asr is not None:
            return recognize(path, self._asr), "recognised"
        return None, "missing"


def recognize(path: Path, asr: Asr) -> Transcript:
    """Words of a whole recording with their times.

    Raises:
        AsrError: the recogniser failed.
        AudioError: the recording cannot be read.
    """
    source = FileSource(path)
    tap = WordTap(asr, source.sample_rate_hz, patient=True)
    try:
        for block in source:
            tap.hear(block)
    finally:
        tap.close(timeout_s=None)
    if tap.error is not None:
        raise tap.error
    return Transcript(tuple(tap.words()), timed=True)
