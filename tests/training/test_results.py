"""The table of all models: plan, verdicts, and the program that writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.places import ROOT
from tests.helpers.toy_corpus import make_toy_corpus

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ser_stream.errors import ConfigError
from training.recipe.book import load_book, shipped_recipes
from training.results import Claim, Plan, PlanRow, finished, judge, load_plan, plan_jobs
from training.run import read_utterances

PLAN = """
[[rows]]
recipe = "head_fusion/layers-1"
folds = 2
changes = {{ train = {{ epochs = {epochs} }} }}

[[rows]]
recipe = "mscnn_spu/embedding"
folds = 2
changes = {{ train = {{ epochs = {epochs} }} }}

[[claims]]
paper = "1"
text = "one is better"
better = "head_fusion/layers-1"
worse = "mscnn_spu/embedding"
"""


def test_the_plan_has_every_model_and_variant():
    plan = load_plan(ROOT / "benchmarks" / "bench_results.toml")
    planned = {row.recipe for row in plan.rows if row.protocol == "strict"}
    for name in shipped_recipes():
        book = load_book(name)
        if not book.table.get("source"):
            continue  # no paper's
        # The table is of sound alone.
        heard = [v for v in book.variants if not book.recipe(v).text.tokens]
        assert {name, *(f"{name}/{v}" for v in heard)} <= planned
    assert [row.recipe for row in plan.rows if row.protocol == "paper"] == ["head_fusion"]
    assert {c.paper for c in plan.claims} == {"1", "2", "3", "4", "5", "-"}


def result(fold: int, uar: float, seed: int = 0) -> dict:
    return {"seed": seed, "fold": fold, "test": {"toy": {"uar": uar}}}


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ([0.7, 0.8, 0.6], [0.6, 0.7, 0.5], "holds"),
        ([0.6, 0.71, 0.5], [0.7, 0.8, 0.6], "does not hold: the opposite"),
        ([0.7, 0.8, 0.6], [0.8, 0.7, 0.6], "cannot be decided"),
        ([0.7], [0.6], "cannot be decided"),
    ],
)
def test_verdicts_compare_fold_by_fold(a, b, word):
    claim = Claim("1", "text", "a", "b")
    plan = Plan((PlanRow("a"), PlanRow("b")), (claim,))
    done = {
        key: (None, [result(i, u) for i, u in enumerate(values)])
        for key, values in (("a", a), ("b", b))
    }
    (verdict,) = judge(plan, done)
    assert verdict.word == word
    assert verdict.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert verdict.folds == len(a)


def test_only_folds_that_both_rows_have_are_compared():
    plan = Plan((PlanRow("a"), PlanRow("b")), (Claim("1", "", "a", "b"),))
    done = {
        "a": (None, [result(0, 0.8), result(1, 0.8), result(0, 0.6, 1), result(1, 0.6, 1)]),
        "b": (None, [result(1, 0.6), result(2, 0.9)]),
    }
    (verdict,) = judge(plan, done)
    assert verdict.folds == 1
    assert verdict.difference == pytest.approx(0.1)
    assert judge(plan, {"a": done["a"]}) == []


def test_rows_with_other_folds_are_compared_by_their_means():
    claim = Claim("-", "", "a", "b", paired=False)
    plan = Plan((PlanRow("a"), PlanRow("b")), (claim,))
    values = {"a": [0.80, 0.82, 0.78, 0.80, 0.80], "b": [0.70, 0.60, 0.75, 0.65, 0.70]}
    done = {k: (None, [result(i, u) for i, u in enumerate(v)]) for k, v in values.items()}
    (verdict,) = judge(plan, done)
    from scipy.stats import ttest_ind

    interval = ttest_ind(values["a"], values["b"], equal_var=False).confidence_interval()
    assert verdict.difference - verdict.half == pytest.approx(interval.low)
    assert verdict.difference + verdict.half == pytest.approx(interval.high)
    assert verdict.word == "holds"
    turned = {k: (None, rows[::-1]) for k, (_, rows) in done.items()}
    assert judge(plan, turned)[0].half == pytest.approx(verdict.half)


def test_wrong_plans_are_told(tmp_path):
    path = tmp_path / "plan.toml"
    for text, message in (
        ("rows = 1", "plan"),
        ('[[rows]]\nrecipe = "a"\nspeed = 1\n', "speed"),
        ('[[rows]]\nrecipe = "a"\n[[rows]]\nrecipe = "a"\n', "twice"),
        (
            '[[rows]]\nrecipe = "a"\n[[claims]]\npaper = "1"\ntext = ""\n'
            'better = "a"\nworse = "b"\n',
            r"claims\[0\]\.worse: there is no row 'b'",
        ),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_plan(path)


@pytest.mark.slow
def test_the_program_writes_the_table_and_goes_on(tmp_path):
    toy = make_toy_corpus(tmp_path / "toy")
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.format(epochs=1))
    command = [
        sys.executable, str(ROOT / "benchmarks" / "bench_results.py"), "--corpus", f"crema-d={toy}",
        "--plan", str(plan), "-o", str(tmp_path / "runs"), "--jobs", "1",
        "--document", str(tmp_path / "results.md"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for again in (False, True):
        done = subprocess.run(
            command + ["--table-only"] * again,
            env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "results.md").read_text()
        assert "4 of 4 folds are finished" in " ".join(text.split())
        row = next(x for x in text.splitlines() if x.startswith("| `mscnn_spu/embedding`"))
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert cells[3] == "2 x 1 x 1"
        assert cells[4] == "493.19 k"
        assert float(cells[6]) > 0
        assert float(cells[7]) > 0
        assert "one is better" in text
        # What the plan changes is disclosed.
        assert "- `head_fusion/layers-1`, `mscnn_spu/embedding`: train.epochs = 1" in text
    values = json.loads((tmp_path / "results.json").read_text())
    assert np.shape(values["head_fusion/layers-1"]["uar"]) == (1, 2)
    planned = plan_jobs(
        load_plan(plan), read_utterances([f"crema-d={toy}"]), tmp_path / "runs",
        tmp_path / "runs" / "cache", "bf16", None,
    )  # fmt: skip
    # One fold is lost: its row counts the other, and no seed is mixed with fewer folds.
    lost = next(iter(planned.values()))[2][0]
    (lost.folder / "result.json").unlink()
    assert finished(planned, "crema-d")["head_fusion/layers-1"][0].uar.shape == (1, 1)
