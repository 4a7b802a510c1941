"""Scores of recordings in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gui.recordings.time_axis import clock_text
from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason, replacing
from ser_stream.scoring.formats import format_of
from ser_stream.scoring.recordings import FileScore
from ser_stream.scoring.wording import perhaps
from ser_stream.types import State


def summary_of(score: FileScore, labels: Sequence[str]) -> str:
    """One line about a recording as a whole."""
    if score.error is not None:
        return f"{score.path.name}: {score.error}"
    said = score.label or str(score.state)
    if score.posterior is not None:
        if score.state is State.UNSURE:
            said += f", {perhaps(labels, score.posterior)}"
        else:
            said += f" {100 * float(score.posterior.max()):.0f} %"
    parts = [said, clock_text(score.duration_s or 0.0, 1), score.path.name]
    if score.profile is not None:
        parts.append(f"by the profile {score.profile}")
    return "  \N{MIDDLE DOT}  ".join(parts)


def write_scores(path: Path, scores: Sequence[FileScore], labels: Sequence[str]) -> int:
    """Write a row for each score; return their number.

    Raises:
        SerStreamError: no name of a table, or the file cannot be written.
    """
    open_table = format_of(path).open
    try:
        with replacing(path) as part, open_table(part) as writer:
            for score in scores:
                writer.write(score.row(labels))
    except OSError as error:
        raise SerStreamError(f"{path}: cannot write ({os_reason(error)})") from error
    return len(scores)
