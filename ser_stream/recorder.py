"""Sound on disk, when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from ser_stream.errors import SerStreamError
from ser_stream.types import AudioBlock

SUFFIXES = (".wav", ".flac")
# Silence that stands for lost samples is written in pieces of this many.
PIECE = 1 << 16


class AudioRecorder:
    """A session's tap that writes what its source delivers, 16 bits, at the source's own rate.

    Samples that were lost become silence, so that times in the file are times of the stream.

    Args:
        path: a .wav or .flac file; one that exists is replaced.
        sample_rate_hz: of the blocks.

    Raises:
        SerStreamError: another suffix, or the file cannot be written.
    """

    def __init__(self, path: Path, sample_rate_hz: int) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise SerStreamError(f"{path}: name a .wav or a .flac file")
        self.path = path
        self._next: int | None = None
        try:
            self._file = soundfile.SoundFile(path, "w", sample_rate_hz, 1, "PCM_16")
        except (OSError, soundfile.LibsndfileError) as error:
            raise SerStreamError(f"{path}: cannot write ({error})") from error

    def hear(self, block: AudioBlock) -> None:
        """Write ``block``, after silence for what is missing before it.

        Raises:
            SerStreamError: the file cannot be written.
        """
        missing = 0 if self._next is None else block.start - self._next
        try:
            while missing > 0:
                piece = min(missing, PIECE)
                self._file.write(np.zeros(piece, dtype=np.float32))
                missing -= piece
            self._file.write(np.clip(block.samples, -1.0, 1.0))
        except (OSError, soundfile.LibsndfileError) as error:
            raise SerStreamError(f"{self.path}: cannot write ({error})") from error
        self._next = block.end

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
