"""A slice of the cases, the faults that were found once, and the harness itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import __main__ as program
from . import pool
from .found import FOUND
from .kinds import KINDS
from .pool import Worker

# The suite's slice; `python -m tests.fuzz` runs what `KINDS` weighs. These take the longest.
SLICE = dict.fromkeys(KINDS, 40) | {"command": 6, "recipes": 12, "words": 12}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("bad")) as worker:
        yield worker


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_of_this_kind_is_a_fault(worker, kind):
    results = {seed: worker.run(kind, seed) for seed in range(SLICE[kind])}
    bad = {f"{kind}:{seed}": r for seed, r in results.items() if r.bad}
    assert not bad
    assert {"fine", "error"} & {r.outcome for r in results.values()}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_a_fault_is_read_or_refused(worker, tmp_path, name):
    kind, suffix, content, reason = FOUND[name]
    file = tmp_path / f"{kind}{suffix}"
    file.write_bytes(content)
    result = worker.run(kind, file=file)
    if reason is None:
        assert (result.outcome, result.detail) == ("fine", "")
    else:
        assert result.outcome == "error"
        assert reason in result.detail


@pytest.mark.parametrize("fault", ["fine", "error", *pool.BAD])
def test_every_outcome_is_told(tmp_path, fault):
    file = tmp_path / "it.fault"
    file.write_text(fault)
    with Worker(tmp_path / "kept", limit_s=0.2) as worker:
        result = worker.run("faulty", file=file)
        assert result.outcome == fault
        assert worker.run("faulty", 1).outcome == "fine"
    assert result.bad == (result.kept is not None) == (fault in pool.BAD)
    if result.kept is not None:
        assert result.kept.read_text() == fault
        assert result.kept.with_suffix(".why").read_text().startswith(fault)
    if fault in ("hang", "crash", "traceback"):
        assert "faulty.py" in result.detail


def test_a_case_that_waits_for_ever_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "STUCK_S", 0.5)
    file = tmp_path / "it.fault"
    file.write_text("wait")
    with Worker(tmp_path / "kept") as worker:
        assert worker.run("faulty", 1).outcome == "fine"
        assert worker.run("faulty", file=file).outcome == "hang"


def test_a_case_is_repeated_by_its_seed_and_by_its_file(tmp_path, capsys):
    assert not program.replay("words:3", tmp_path)
    file = tmp_path / "faulty-7.fault"
    file.write_text("traceback")
    assert program.replay(str(file), tmp_path)
    words, faulty = capsys.readouterr().out.split(f"{file}: ")
    assert words.startswith("words:3: fine")
    assert faulty.startswith("traceback")
    assert "ValueError: traceback" in faulty


def test_cases_are_shared_by_weight_and_counted(tmp_path: Path) -> None:
    counts = program.shares(10_001, list(KINDS))
    assert sum(counts.values()) == 10_001
    assert counts["audio"] == 3000
    tallies = program.run_all({"words": 3, "profiles": 2}, 5, 2, tmp_path)
    lines = program.table(tallies).splitlines()
    assert lines[2].startswith("| words | 3 | 3 | 0 |")
    assert lines[-1].startswith("| all | 5 |")
