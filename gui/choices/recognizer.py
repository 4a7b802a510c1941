"""The recogniser of words: which are installed, and one that loads late."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ser_stream.types import Float32, Word
from ser_stream.words.live import WordTap
from ser_stream.words.recognizers import Asr, PocketsphinxAsr, make_asr

POCKETSPHINX = PocketsphinxAsr.name
# Sound that may wait while a recogniser is read or falls behind.
MOST_LAG_S = 10.0


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(package) is not None


class LateAsr:
    """A recogniser that is read at its first reset, on the session's thread.

    So a stream begins at once, and one that does not load is reported as one that fails later.

    Args:
        choice: "pocketsphinx", or the folder of a streaming transducer.
    """

    def __init__(self, choice: str) -> None:
        self.name = choice if choice == POCKETSPHINX else Path(choice).name
        self._choice = choice
        self._asr: Asr | None = None

    @property
    def settled(self) -> int:
        return 0 if self._asr is None else self._asr.settled

    def accept(self, samples: Float32) -> None:
        """Take the next samples, float32 (n,)."""
        if self._asr is not None:
            self._asr.accept(samples)

    def words(self) -> list[Word]:
        return [] if self._asr is None else self._asr.words()

    def flush(self) -> None:
        if self._asr is not None:
            self._asr.flush()

    def reset(self) -> None:
        """Begin another stream.

        Raises:
            AsrError: it does not load.
        """
        if self._asr is None:
            self._asr = make_asr(self._choice)
        self._asr.reset()


def listen_for_words(choice: str, sample_rate_hz: int) -> WordTap:
    """What recognises the words of a stream; an error of ``choice`` is in its `error`."""
    return WordTap(LateAsr(choice), sample_rate_hz, max_lag_s=MOST_LAG_S)
