"""What the live page says of a stream: its state, and what is wrong with its words."""

from __future__ import annotations

from collections.abc import Sequence

from gui.live.stream import Status, StreamState
from ser_stream.scoring.wording import confidence, perhaps, said, word_trouble
from ser_stream.types import Snapshot, State
from ser_stream.words.reader import WordReader

START_HINT = "Start listens (Ctrl+Space)"


def describe(status: Status, labels: Sequence[str], source: str) -> tuple[str, str, str | None]:
    """What the headline says: a large word, a smaller line, and the class that it names, if any."""
    gone = f"{source} gives no sound for {status.still_s:.0f} s; it goes on when it does"
    idle = {
        StreamState.STARTING: ("opening", source),
        StreamState.PAUSED: ("paused", "nothing is heard until you go on"),
        StreamState.STILL: ("no audio", f"{gone}, or choose another"),
        StreamState.STOPPED: ("stopped", START_HINT),
        StreamState.FAILED: ("stopped", str(status.error)),
    }
    if status.state in idle:
        return (*idle[status.state], None)
    prediction = status.snapshot.prediction
    if prediction is None:
        return str(State.WARMING_UP), f"{status.snapshot.warm_up_s:.1f} s to go", None
    detail = ""
    if prediction.label is not None:
        detail = f"{100 * (confidence(prediction) or 0.0):.0f} % sure"
    elif prediction.state is State.NO_SPEECH:
        detail = "nobody speaks"
    elif prediction.smoothed is not None:
        detail = perhaps(labels, prediction.smoothed)
    return said(prediction), detail, prediction.label


def words_note(snapshot: Snapshot, listens: bool, reads: bool, reader: WordReader | None) -> str:
    """What is wrong with the words of a stream; empty if nothing is.

    Args:
        snapshot: the stream's newest.
        listens: whether a recogniser was asked for.
        reads: whether the model reads words.
        reader: its vectors.
    """
    if (trouble := word_trouble(snapshot)) is not None:
        return trouble
    if reads and not listens:
        return "words: the model reads them, but nobody listens; going by the sound alone"
    if reads and reader is None:
        return "words: the model lacks its word vectors; going by the sound alone"
    return ""
