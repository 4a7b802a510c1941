"""Run many cases and print what became of them."""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .kinds import KINDS
from .pool import BAD, OUTCOMES, Result, Worker

KEEP = Path("build/fuzz")


@dataclass
class Tally:
    """What became of the cases of a kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    memory: int = 0

    def add(self, seed: int, result: Result) -> None:
        """Count a case."""
        self.outcomes[result.outcome] += 1
        self.slowest = max(self.slowest, (result.seconds, seed))
        self.memory = max(self.memory, result.memory)


def shares(cases: int, kinds: list[str]) -> dict[str, int]:
    """Cases by kind, as many as `KINDS` weighs them and ``cases`` in all."""
    total = sum(KINDS[kind] for kind in kinds)
    ends = [round(cases * end / total) for end in itertools.accumulate(KINDS[k] for k in kinds)]
    return {kind: b - a for kind, a, b in zip(kinds, [0, *ends], ends, strict=False)}


def run_all(counts: dict[str, int], first_seed: int, jobs: int, keep: Path) -> dict[str, Tally]:
    """Run the cases; each thread has a worker, and takes a kind's cases in pieces."""
    tallies = {kind: Tally() for kind in counts}
    pieces = [
        (kind, range(first, min(first + 100, first_seed + count)))
        for kind, count in counts.items()
        for first in range(first_seed, first_seed + count, 100)
    ]
    queue, lock = iter(pieces), threading.Lock()

    def work() -> None:
        with Worker(keep) as worker:
            while True:
                with lock:
                    kind, seeds = next(queue, ("", range(0)))
                if not kind:
                    return
                for seed in seeds:
                    result = worker.run(kind, seed)
                    with lock:
                        tallies[kind].add(seed, result)
                        if result.bad:
                            tell(kind, seed, result)

    with concurrent.futures.ThreadPoolExecutor(jobs) as executor:
        for future in [executor.submit(work) for _ in range(jobs)]:
            future.result()
    return tallies


def tell(kind: str, seed: int | None, result: Result) -> None:
    """Print one case on stderr."""
    last = result.detail.strip().splitlines()[-1:] or [""]
    where = f", kept as {result.kept}" if result.kept else ""
    name = kind if seed is None else f"{kind}:{seed}"
    sys.stderr.write(f"{name}: {result.outcome}: {last[0][:200]}{where}\n")


def table(tallies: dict[str, Tally]) -> str:
    """A table in Markdown: a row per kind, and their sum."""
    head = ["kind", "cases", *OUTCOMES, "slowest", "memory"]
    rows = []
    total: Counter[str] = Counter()
    for kind, tally in tallies.items():
        total += tally.outcomes
        seconds, seed = tally.slowest
        rows.append([kind, *_counts(tally.outcomes), f"{seconds:.2f} s ({seed})",
                     f"{tally.memory >> 20} MiB"])  # fmt: skip
    rows.append(["all", *_counts(total), "", ""])
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _counts(outcomes: Counter[str]) -> list[str]:
    return [str(outcomes.total()), *(str(outcomes[name]) for name in OUTCOMES)]


def replay(what: str, keep: Path) -> bool:
    """Repeat a case, KIND:SEED or a file that was kept; whether it is bad."""
    kind, colon, seed = what.partition(":")
    with Worker(keep) as worker:
        if colon and seed.isdecimal():
            result = worker.run(kind, int(seed))
        else:
            kind = Path(what).name.partition("-")[0]
            result = worker.run(kind, file=Path(what).resolve())
    sys.stdout.write(f"{what}: {result.outcome}, {result.seconds:.2f} s\n{result.detail}\n")
    return result.bad


def main() -> int:
    """Run the command; 1 if any case is bad."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10000, help="over all kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the first case of each kind")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="all without")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder for bad cases")
    parser.add_argument("--replay", metavar="KIND:SEED|FILE", help="repeat one case")
    options = parser.parse_args()
    if options.replay:
        return int(replay(options.replay, options.keep))
    counts = shares(options.cases, options.kind or list(KINDS))
    tallies = run_all(counts, options.seed, options.jobs, options.keep)
    sys.stdout.write(table(tallies))
    bad = sum(tally.outcomes[name] for tally in tallies.values() for name in BAD)
    if bad:
        sys.stderr.write(f"{bad} bad cases, kept in {options.keep}\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
