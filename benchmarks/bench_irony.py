"""Check the network with words on a corpus that needs voice and words, and write docs/irony.md.

    python scripts/make_irony.py CREMA-D-FOLDER -o irony
    python benchmarks/bench_irony.py irony -o runs/irony

The command can be killed and given again: finished folds are kept, an interrupted one goes on after
its last epoch.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# One thread per process: folds are trained side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from ser_stream.errors import ConfigError
from ser_stream.files import write_text
from ser_stream.tables import table_rows
from ser_stream.types import Float64
from ser_stream.words.vectors import WordVectors
from training.crossval import run_jobs
from training.data.corpora import Utterance
from training.data.corpora.manifest import read
from training.fold import load_features
from training.metrics import t_interval
from training.recipe.book import load_book
from training.report import markdown_table, percent, write_json
from training.run import Run, claimed, jobs_of, select

# Columns of the manifest that can be asked for, and their values.
LABELS = {
    "emotion": ["joy", "teasing", "sarcasm", "sorrow"],
    "tone": ["sincere", "ironic"],
    "voice": ["positive", "negative"],
    "words": ["positive", "negative"],
}
# Tone of each emotion, in the order of both lists above.
TONES = [0, 1, 1, 0]
# Frames of 10 ms; 9 % of the clips are longer.
FRAMES = 320


@dataclass(frozen=True, slots=True)
class IronyRow:
    """A network and what it is asked.

    Attributes:
        variant: of the recipe ``mscnn_spu``.
        asked: a key of `LABELS`.
        hears: its inputs, in words.
    """

    variant: str
    asked: str
    hears: str

    @property
    def key(self) -> str:
        """Name of the row and of its folder."""
        return f"{self.asked}-{self.variant}"


VOICE = IronyRow("embedding", "voice", "sound")
WORDS = IronyRow("text", "words", "words")
ROWS = (
    VOICE,
    WORDS,
    IronyRow("embedding", "emotion", "sound"),
    IronyRow("text", "emotion", "words"),
    IronyRow("spu", "emotion", "both"),
    IronyRow("spu-att", "emotion", "both"),
    IronyRow("spu", "tone", "both"),
    IronyRow("spu-att", "tone", "both"),
)

TEXT = """\
# Voice against words: a test of the architecture

Made by `python benchmarks/bench_irony.py`. It asks whether the networks of `mscnn_spu` that are
given sound and words use both. It is no result about emotion or irony in speech: the sentences are
made up.

`scripts/make_irony.py` pairs {clips} happy and sad clips of {actors} actors of CREMA-D with
sentences that the actors do not say, of positive or negative words. The label has both polarities:
joy (positive voice, positive words), teasing (positive voice, negative words), sarcasm (negative
voice, positive words), sorrow. Its tone is sincere where the two agree, else ironic. Each actor has
as many happy clips as sad ones, half of either have positive words, and every sentence comes in
both voices. So whoever hears one half only can learn to get 50 % of the labels right at best, and
50 % of the tones, which is chance. A quarter of the sentences negate ("not boring"). Their word
vectors are drawn by the script, around one centre for each topic and polarity.

Protocol `strict`, folds by actor, {folds} of {all_folds}: the epoch is chosen on other actors than
those that test. The nouns and adjectives of a test are in no training sentence; the network knows
them by their vectors only. Validation actors share some with the training. Of each clip the first
{seconds:g} s are heard. Changes to the recipe, for a corpus of this size: {filters} filters a
scale, words of {width} values, {epochs} epochs. The network for sound is `mscnn_spu/embedding`, as
those for both are told the speaker's statistics too.

{table}

UAR, mean over folds and half its 95 % interval (Student); all classes are equally frequent. "Tone"
counts an answer of the four labels as its tone. "Possible" is what the construction leaves a
network that tells voices and words as well as those of the first two rows, fold by fold: one that
hears both is right where both are, one that hears a single half in every second case of those where
that is. The tone is right too where voice and words are both mistaken.
"""

# What stands below it is written by hand, and kept.
READING = "## What these figures say\n"


def columns(manifest: Path) -> dict[str, list[Utterance]]:
    """The corpus once for each key of `LABELS`, with that column as the emotion."""
    utterances = read(manifest)
    rows = [row for _, row in table_rows(manifest, tuple(LABELS), ConfigError)]
    return {
        name: [replace(u, emotion=row[name]) for u, row in zip(utterances, rows, strict=True)]
        for name in LABELS
    }


def make_run(
    row: IronyRow, data: Sequence[Utterance], vectors: Path, args: argparse.Namespace
) -> Run:
    """The run of a row."""
    book = load_book("mscnn_spu")
    params: dict[str, Any] = {"n_filters": args.filters}
    changes: dict[str, Any] = {
        "labels": LABELS[row.asked],
        "window_frames": FRAMES,
        "window_hop_frames": FRAMES,
        "windows": {"draw": "utterance", "short": "zero", "masked": True},
        "model_params": params,
        "train": {"epochs": args.epochs},
    }
    reads = bool(book.recipe(row.variant).text.tokens)
    if reads:
        width = WordVectors.open(vectors, args.cache).dimension
        changes["text"] = {"width": width}
    recipe = book.recipe(row.variant, "strict", changes)
    return Run(
        recipe,
        book.protocol("strict"),
        "strict",
        select(data, recipe),
        (),
        args.cache,
        args.output / row.key,
        "cpu",
        "fp32",
        vectors=vectors if reads else None,
    )


def uar_of(confusion: NDArray[np.int64]) -> float:
    """Mean recall of counts (true, predicted)."""
    return float(np.mean(np.diag(confusion) / confusion.sum(axis=1)))


def of_tones(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (true, predicted) of the tones from those of the emotions."""
    counts = np.zeros((2, 2), dtype=np.int64)
    np.add.at(counts, np.ix_(TONES, TONES), confusion)
    return counts


def table_of(uar: Mapping[str, Float64], tone: Mapping[str, Float64]) -> str:
    """The table in Markdown; values are per fold, (folds,)."""
    voice, words = uar[VOICE.key], uar[WORDS.key]
    # Who hears one half must get that right, and then guess the other.
    label = {"sound": voice / 2, "words": words / 2, "both": voice * words}
    tone_of_both = _mean(voice * words + (1 - voice) * (1 - words))
    lines = []
    for row in ROWS:
        cells = [row.asked, f"`{row.variant}`", row.hears, percent(*t_interval(uar[row.key]))]
        if row.asked == "emotion":
            cells.append(_mean(label[row.hears]))
            cells.append(percent(*t_interval(tone[row.key])))
            cells.append(tone_of_both if row.hears == "both" else "50.0")
        else:
            cells += [tone_of_both if row.asked == "tone" else "", "", ""]
        lines.append(cells)
    header = ["asked", "`mscnn_spu/`", "hears", "UAR %", "possible", "tone %", "possible"]
    return markdown_table(header, lines)


def _mean(values: Float64) -> str:
    return percent(float(values.mean()), np.nan)


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description="Check the network with words on made-up irony.")
    parser.add_argument("corpus", type=Path, help="folder that scripts/make_irony.py wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/irony"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--document", type=Path, default=Path(__file__).parents[1] / "docs" / "irony.md"
    )
    args = parser.parse_args()
    args.cache = args.cache or args.output / "cache"
    torch.set_num_threads(1)

    data = columns(args.corpus / "manifest.csv")
    vectors = args.corpus / "vectors.txt"
    runs = {row: make_run(row, data[row.asked], vectors, args) for row in ROWS}
    results: dict[str, dict[int, dict[str, Any]]] = {row.key: {} for row in ROWS}
    with ExitStack() as held:
        for run in runs.values():
            held.enter_context(claimed(run))
        # Once, before several processes want them: all rows hear the same clips.
        load_features(runs[VOICE])
        jobs = [job for run in runs.values() for job in jobs_of(run, (0,), range(args.folds))]
        for job, result in run_jobs(jobs, args.jobs):
            results[job.run.folder.name][job.fold] = result
            print(
                f"{job.run.folder.name} fold {job.fold}: "
                f"UAR {result['test']['manifest']['uar']:.3f}, epoch {result['best_epoch']} of "
                f"{result['epochs']}, loss {result['history'][-1]['loss']}, "
                f"{result['seconds']:.0f} s",
                flush=True,
            )

    confusion = {
        key: [np.array(found[fold]["test"]["manifest"]["confusion"]) for fold in range(args.folds)]
        for key, found in results.items()
    }
    uar = {key: np.array([uar_of(c) for c in some]) for key, some in confusion.items()}
    tone = {
        row.key: np.array([uar_of(of_tones(c)) for c in confusion[row.key]])
        for row in ROWS
        if row.asked == "emotion"
    }
    table = table_of(uar, tone)
    print(table)
    text = TEXT.format(
        clips=len(data["voice"]),
        actors=len({u.speaker for u in data["voice"]}),
        folds=args.folds,
        all_folds=runs[VOICE].protocol.folds.n_folds,
        seconds=FRAMES / 100,
        filters=args.filters,
        width=WordVectors.open(vectors, args.cache).dimension,
        epochs=args.epochs,
        table=table,
    )
    earlier = args.document.read_text(encoding="utf-8") if args.document.exists() else ""
    reading = earlier.partition(READING)[2]
    write_text(args.document, "\n".join([text, READING, reading.lstrip("\n")]))
    write_json(
        args.document.with_suffix(".json"),
        {
            key: {
                "uar": [round(float(x), 4) for x in uar[key]],
                "confusion": np.sum(confusion[key], axis=0).tolist(),
                "loss": [
                    round(found[fold]["history"][-1]["loss"], 3) for fold in range(args.folds)
                ],
            }
            for key, found in results.items()
        },
    )


if __name__ == "__main__":
    main()
