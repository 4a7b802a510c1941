"""Train every row of a plan, measure what it costs, and write docs/results.md.

    python benchmarks/bench_results.py --corpus crema-d=DIR -o runs/results --jobs 2

The command can be killed and given again: finished folds are kept, an interrupted one goes on after
its last epoch. ``--table-only`` trains nothing and writes the table of what is finished.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from contextlib import ExitStack
from pathlib import Path

# One thread per process: folds are trained side by side, and costs are quoted for one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent

import numpy as np
import torch

from export.to_onnx import export
from ser_stream.files import write_text
from ser_stream.models.bundle import ModelBundle
from training.checkpoint import CHECKPOINT, Checkpoint
from training.crossval import run_jobs
from training.fold import load_features
from training.models.cost import count_parameters, multiply_adds
from training.report import write_json
from training.results import (
    Cost,
    Line,
    finished,
    judge,
    load_plan,
    median_ms,
    notes_of,
    plan_jobs,
    table_of,
    verdict_table,
)
from training.run import read_utterances

INTRODUCTION = """\
Four classes (angry, happy, neutral, sad), intended labels. Protocol `strict`: speaker-independent
folds, the epoch chosen on other speakers than those that test, 2 s windows, short clips repeated,
no clip left out, features standardised by the training speakers, posteriors averaged over an
utterance. `strict` also trains for fewer epochs than the papers, papers 4 and 5 with a higher
learning rate, paper 3 with AdamW and small batches (its SGD learns nothing in so few epochs),
because the networks stream 2 s and the machine is a CPU; the recipes have the numbers, and what the
plan changes in them stands below. Only `mscnn_spu/embedding` adapts to the
speaker: it is given statistics of the speaker's clips so far. A row marked `paper` uses the paper's
own protocol: random splits, which share speakers, and the epoch chosen on the test fold.

Every figure is the mean over folds (seeds averaged) and half its 95 % interval (Student). Folds
share training data, which makes such intervals a little too narrow.

Made by `python benchmarks/bench_results.py --corpus crema-d=DIR` from
`benchmarks/bench_results.toml`; {finished} of {planned} folds are finished. Networks were trained
in {precision} (forward passes) and tested in full precision. Times are medians for one window:
ONNX Runtime as the engine runs it, and PyTorch eager, the network as trained; {machine}, one
thread, all rows in one run."""

READING = """\
UAR of one row minus the other's, fold by fold (the same speakers; where a row is marked `paper`,
the two means), with the 95 % interval of the difference. "Holds" and "does not hold" need an
interval without 0; with two folds hardly anything can be decided. Many comparisons are made: one in
twenty would be decided by chance. Paper 2 publishes its comparison of poolings for sound and text
together, paper 5 its order of attentions for the whole of IEMOCAP; here sound alone is compared.
Paper 3's networks are far from trained after four epochs: its rows tell which learns faster."""


WORDS = """\
The corpus of this table has few sentences, each in every emotion, so words tell nothing here: the
variants of `mscnn_spu` that read them are not in it. Whether these use both halves of what they are
given is checked on a corpus that needs both, made of real voices and made-up sentences:
[irony.md](irony.md). That is a test of the architecture, no result about emotion."""


def processor() -> str:
    """Name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure(folder: Path) -> Cost:
    """Export a finished fold and time one window both ways, one thread."""
    checkpoint = Checkpoint.load(folder / CHECKPOINT)
    path = folder / "model.onnx"
    if not path.exists():
        export(checkpoint, path)
    bundle = ModelBundle.load(path)
    window = {n: np.ascontiguousarray(checkpoint.examples[n][:1]) for n in bundle.inputs}
    inputs = {name: torch.from_numpy(value) for name, value in window.items()}
    net = checkpoint.net.eval()

    def eager() -> None:
        with torch.inference_mode():
            net(**inputs)

    beside = {name: value for name, value in inputs.items() if name != "features"}
    counted = multiply_adds(net, inputs["features"], **beside)
    return Cost(count_parameters(net), counted, median_ms(lambda: bundle(window)), median_ms(eager))


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description="Train every row of a plan, and write the table.")
    parser.add_argument("--corpus", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--plan", type=Path, default=HERE / "bench_results.toml")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/results"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--document", type=Path, default=HERE.parent / "docs" / "results.md")
    args = parser.parse_args()
    torch.set_num_threads(1)

    plan = load_plan(args.plan)
    cache = args.cache or args.output / "cache"
    corpus = args.corpus.partition("=")[0]
    utterances = read_utterances([args.corpus])
    with ExitStack() as held:
        claims = None if args.table_only else held
        planned = plan_jobs(plan, utterances, args.output, cache, args.precision, claims)
        if not args.table_only:
            jobs = [job for _, _, some in planned.values() for job in some]
            # Each set of features once, before several processes want it.
            for _, run, some in planned.values():
                if any(job.result is None for job in some):
                    load_features(run)
            began = time.monotonic()
            for n, (job, result) in enumerate(run_jobs(jobs, args.jobs), 1):
                one = result["test"][corpus]
                print(
                    f"{n}/{len(jobs)} {time.monotonic() - began:6.0f} s  {job.run.folder.name} "
                    f"{job.folder.name}: WA {one['wa']:.3f} UAR {one['uar']:.3f} "
                    f"({result['seconds']:.0f} s, epoch {result['best_epoch']} of "
                    f"{result['epochs']})",
                    flush=True,
                )

    done = finished(planned, corpus)
    lines = []
    for key, (row, run, _) in planned.items():
        if key not in done:
            continue
        summary, results = done[key]
        first = run.folder / f"seed{results[0]['seed']}-fold{results[0]['fold']}"
        print(f"measuring {key}", file=sys.stderr)
        lines.append(
            Line(
                row,
                summary,
                run.recipe.train.epochs,
                float(np.mean([r["seconds"] for r in results])),
                measure(first),
            )
        )
    text = "\n".join(
        [
            f"# Every model on {corpus}",
            "",
            INTRODUCTION.format(
                finished=sum(len(results) for _, results in done.values()),
                planned=sum(len(some) for _, _, some in planned.values()),
                machine=processor(),
                precision=args.precision,
            ),
            "",
            table_of(lines),
            "",
            "What the plan changes in the recipes, for want of time or as the row asks for:",
            "",
            notes_of(lines),
            "",
            "## What the papers claim, and what these folds say",
            "",
            READING,
            "",
            verdict_table(judge(plan, done)),
            "",
            "## Sound and words",
            "",
            WORDS,
            "",
        ]
    )
    write_text(args.document, text)
    write_json(
        args.document.with_suffix(".json"),
        {
            line.row.key: {
                "wa": line.summary.wa.round(4).tolist(),
                "uar": line.summary.uar.round(4).tolist(),
                "recall": line.summary.recall.round(4).tolist(),
                "confusion": line.summary.confusion.tolist(),
                "epochs": line.epochs,
                "seconds_per_fold": round(line.seconds, 1),
            }
            for line in lines
        },
    )


if __name__ == "__main__":
    main()
