"""Whose recordings they are: what one of them tells of a voice is known in all of them.

A folder of one person's recordings is worth more than as many strangers: their statistics are
gathered in a first pass, without the network, and every recording is scored as if the speaker had
been heard before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ser_stream.audio.resample import resampled
from ser_stream.audio.sound_file import STANDARD_INPUT, FileSource
from ser_stream.errors import AudioError, ConfigError, SerStreamError
from ser_stream.features.frontend import FrontEnd
from ser_stream.features.normalizer import Moments, NormalizerState
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import check_adapts
from ser_stream.printable import excerpt
from ser_stream.tables import file_in_table, table_rows

# Names the speaker of a recording; None for one of whom nothing else is known.
SpeakerOf: TypeAlias = Callable[[Path], str | None]

KINDS = ("file", "folder", "all")
COLUMN = "speaker"
PIECE = 8192
# Sums are counted in these, as integers: then the order in which they come does not matter.
_UNIT = 2.0**-32
# Nothing is forgotten.
_FOR_EVER_S = 1e12


def speaker_of(how: str) -> SpeakerOf:
    """What names the speaker of a recording, as it is typed.

    Args:
        how: "file": each recording is one person's; "folder": all in a folder; "all"; or a CSV
            table with ``path`` and ``speaker``, or another column as in ``talks.csv:who``.

    Raises:
        ConfigError: none of these.
        SerStreamError: the table cannot be read, or names a recording that is not there.
    """
    if how == "file":
        return str
    if how == "folder":
        return lambda path: str(path.parent)
    if how == "all":
        return lambda path: "all"
    table, dot, column = how.rpartition(".csv:")
    path = Path(f"{table}.csv" if dot else how)
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"--speaker {how}: name {', '.join(KINDS)} or a .csv table")
    column = column.strip().lower() if dot else COLUMN
    speakers: dict[Path, str] = {}
    for number, row in table_rows(path, ("path", column), ConfigError):
        audio = file_in_table(path.parent, row["path"])
        if audio is None:
            raise ConfigError(f"{path}, line {number}: no file {excerpt(row['path'], 200)}")
        who, known = row[column], speakers.get(audio.resolve())
        if who and known not in (None, who):
            raise ConfigError(
                f"{path}, line {number}: {excerpt(row['path'], 200)} again, of {excerpt(who)}; "
                f"it was of {excerpt(str(known))}"
            )
        if who:
            speakers[audio.resolve()] = who
    if not speakers:
        raise ConfigError(f"{path}: names no speaker of any recording")
    return lambda path: speakers.get(path.resolve())


class Speakers:
    """What was heard of speakers before any of their recordings is scored.

    Args:
        bundle: the model that will score.
        speaker_of: names the speaker of a recording.

    Raises:
        ProfileError: the model adapts to nobody.
    """

    def __init__(self, bundle: ModelBundle, speaker_of: SpeakerOf) -> None:
        check_adapts(bundle)
        self.of = speaker_of
        self._bundle = bundle
        self._sums: dict[str, list[int]] = {}

    def hear(self, files: Iterable[Path]) -> None:
        """Gather the statistics of recordings, in any order.

        Those that cannot be read are passed over: scoring them tells why.

        Raises:
            ConfigError: a recording comes from standard input, which is there only once.
        """
        for path in files:
            if path == STANDARD_INPUT:
                raise ConfigError("--speaker hears recordings twice, standard input comes once")
            speaker = self.of(path)
            if speaker is not None:
                with suppress(SerStreamError, OSError):
                    self._add(speaker, self._heard(path))

    def known(self, speaker: str | None) -> Moments | None:
        """What was heard of a speaker; None for nothing."""
        sums = None if speaker is None else self._sums.get(speaker)
        return None if sums is None else Moments(np.array(sums, dtype=np.float64) * _UNIT)

    def _heard(self, path: Path) -> Moments:
        normalizer = self._bundle.make_normalizer(NormalizerState.RUNNING, _FOR_EVER_S)
        front_end = FrontEnd(self._bundle.extractor, normalizer, PIECE, PIECE)
        for block in resampled(FileSource(path), self._bundle.meta.sample_rate_hz):
            if not block.usable:
                raise AudioError(f"{path}: samples that are not usable")
            front_end.gather(block.samples)
        return front_end.heard

    def _add(self, speaker: str, heard: Moments) -> None:
        if heard.weight == 0:
            return
        counted = [round(value) for value in (heard.rows / _UNIT).tolist()]
        known = self._sums.get(speaker, [0] * len(counted))
        self._sums[speaker] = [a + b for a, b in zip(known, counted, strict=True)]
