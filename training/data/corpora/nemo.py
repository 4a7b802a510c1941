"""nEMO (Christop, LREC-COLING 2024), Polish: ``samples/SK0_happiness_15.wav``.

Parts of a name: speaker, emotion, number of the sentence. ``data.tsv`` beside the samples holds
what was said.

Licensed CC BY-NC-SA 4.0: used to look at models, never to train the one that is shipped.
"""

from __future__ import annotations

import re
from pathlib import Path

from ser_stream.labels import canonical
from ser_stream.tables import utf8_text
from training.data.corpora.base import CorpusError, Utterance, audio_files

# The words of the names, and this project's for them.
EMOTIONS = {
    word: canonical(word)
    for word in ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
}
NAME = re.compile(rf"(?P<speaker>[A-Z]{{2}}\d)_(?P<emotion>{'|'.join(EMOTIONS)})_\d{{1,3}}")
TABLE = "data.tsv"


def read(folder: Path) -> list[Utterance]:
    """Read the clips below ``folder`` (the corpus root or samples itself).

    The text is "" where the table is not in ``folder`` or does not name the clip.

    Raises:
        CorpusError: the table cannot be read, or is another one.
    """
    texts = _texts(folder / TABLE)
    utterances = []
    for path in audio_files(folder):
        if match := NAME.fullmatch(path.stem):
            speaker, emotion = f"nemo/{match['speaker']}", EMOTIONS[match["emotion"]]
            text = texts.get(path.stem, "")
            utterances.append(Utterance(path, "nemo", speaker, emotion, text=text))
    return utterances


def _texts(table: Path) -> dict[str, str]:
    """Text by the stem of a clip's name."""
    if not table.is_file():
        return {}
    # Tabs and no quotes: a quotation mark is a part of the sentence.
    rows = [line.split("\t") for line in utf8_text(table, CorpusError).splitlines()]
    head = rows[0] if rows else []
    if missing := [column for column in ("file_id", "raw_text") if column not in head]:
        raise CorpusError(f"{table}: no column {', '.join(missing)}")
    name, text = head.index("file_id"), head.index("raw_text")
    return {
        Path(row[name]).stem: row[text].strip() for row in rows[1:] if len(row) > max(name, text)
    }
