"""``ser-train``: folds that are resumed, reports, the papers' tables, several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.iemocap_tree import SOUNDS, make_tree
from tests.helpers.places import ROOT
from tests.helpers.toy_corpus import make_toy_corpus

torch = pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from training.checkpoint import Checkpoint
from training.cli import app
from training.crossval import run_jobs
from training.recipe.book import load_book
from training.run import RESULT, claimed, jobs_of, read_utterances

TOY = "crema-d=TOY"
FOLD = {"attention_pooling": 1}
PAPERS = ("head_fusion", "mscnn_spu", "attention_pooling", "ilt_cat", "context_attention")

TINY = """
name = "tiny"
labels = ["angry", "happy", "neutral", "sad"]
model = "head_fusion"
model_params = {{ n_head = 2, n_size = 16, n_layers = 2 }}
frontend = "mfcc"
frontend_params = {{ hop_length = 512 }}
window_frames = 40
window_hop_frames = 20
calibrate = true
[windows]
draw = "crops"
[train]
epochs = {epochs}
batch_size = 16
lr = 2e-3
[protocols.strict]
folds = {{ kind = "speaker", n_folds = 3, validation = 0.2 }}
seeds = 2
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"))


def write_recipe(folder: Path, epochs: int = 6) -> Path:
    path = folder / "tiny.toml"
    path.write_text(TINY.format(epochs=epochs))
    return path


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory) -> Path:
    """A whole cross-validation from the command line: 3 folds, 2 seeds."""
    folder = tmp_path_factory.mktemp("run")
    result = invoke("run", write_recipe(folder), "--corpus", f"crema-d={toy}", "-o", folder / "run")
    assert result.exit_code == 0, result.output
    assert "3 folds x 2 seeds" in result.stdout
    return folder / "run"


# Cross-validation


def test_a_run_learns_and_leaves_its_report(finished):
    report = json.loads((finished / "report.json").read_text())
    one = report["corpora"]["crema-d"]
    assert np.shape(one["uar"]) == (2, 3)
    assert np.mean(one["uar"]) > 0.5
    # Every utterance tests once per seed.
    assert np.sum(one["confusion"]) == 2 * 7 * 3 * 4
    assert one["uar_sd"] == pytest.approx(np.std(one["uar"]))
    assert set(one["recall"]) == {"angry", "happy", "neutral", "sad"}
    text = (finished / "report.md").read_text()
    assert "3 speaker-independent folds" in text
    assert "standard deviation" in text
    assert (finished / "confusion-crema-d.png").read_bytes()[:4] == b"\x89PNG"
    tested = [s for r in report["folds"] if r["seed"] == 0 for s in r["speakers"]["test"]]
    assert sorted(tested) == [f"crema-d/{n}" for n in range(1001, 1008)]
    for r in report["folds"]:
        assert not set(r["speakers"]["test"]) & set(r["speakers"]["validation"])
        assert len(r["history"]) == r["epochs"] == 6


def test_every_fold_leaves_a_checkpoint_and_a_learning_curve(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = sorted(finished.glob("seed*-fold*"))
    assert [f.name for f in folders] == [f"seed{s}-fold{k}" for s in (0, 1) for k in (0, 1, 2)]
    for folder in folders:
        checkpoint = Checkpoint.load(folder)
        assert checkpoint.training_data[0].corpus == "CREMA-D"
        assert checkpoint.recipe.train.seed == int(folder.name[4])
        assert checkpoint.metrics["test crema-d"]["protocol"].startswith("crema-d: fold")
        assert len(checkpoint.examples["features"]) >= 3
        assert not (folder / "last.pt").exists()
    events = EventAccumulator(str(folders[0]))
    events.Reload()
    assert [e.step for e in events.Scalars("loss/train")] == [1, 2, 3, 4, 5, 6]
    assert len(events.Scalars("UAR/chooser")) == 6


def test_finished_folds_are_not_trained_again(finished, toy):
    stamps = {p: p.stat().st_mtime_ns for p in finished.rglob(RESULT)}
    assert len(stamps) == 6
    recipe = finished.parent / "tiny.toml"
    again = invoke("run", recipe, "--corpus", f"crema-d={toy}", "-o", finished)
    assert again.exit_code == 0, again.output
    assert {p: p.stat().st_mtime_ns for p in finished.rglob(RESULT)} == stamps


def test_another_run_does_not_go_into_the_same_folder(finished, toy):
    recipe = finished.parent / "tiny.toml"
    result = invoke("run", recipe, "--corpus", f"crema-d={toy}", "-o", finished, "--epochs", "7")
    assert isinstance(result.exception, ConfigError)
    assert "other settings" in str(result.exception)


def test_a_later_fold_joins_the_report(toy, tmp_path):
    recipe = write_recipe(tmp_path, epochs=1)
    for fold in (0, 1):
        result = invoke(
            "run", recipe, "--corpus", f"crema-d={toy}", "-o", tmp_path / "run", "--seed", 0,
            "--fold", fold,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [r["fold"] for r in report["folds"]] == [0, 1]


def manifest_of(toy: Path, path: Path, swap: dict[str, str]) -> Path:
    rows = [
        f"{u.path},{swap.get(u.emotion, u.emotion)},{u.speaker}"
        for u in read_utterances([f"crema-d={toy}"])
    ]
    path.write_text("path,emotion,speaker\n" + "\n".join(rows) + "\n")
    return path


def test_changed_labels_are_another_run(toy, tmp_path):
    recipe = write_recipe(tmp_path, epochs=1)
    arguments = [
        "run", recipe, "--corpus", f"manifest={tmp_path / 'm.csv'}", "-o", tmp_path / "run",
        "--seed", 0, "--fold", 0,
    ]  # fmt: skip
    manifest_of(toy, tmp_path / "m.csv", {})
    assert invoke(*arguments).exit_code == 0
    assert invoke(*arguments).exit_code == 0
    manifest_of(toy, tmp_path / "m.csv", {"angry": "happy", "happy": "angry"})
    assert "other settings or data" in str(invoke(*arguments).exception)


def test_a_fold_that_cannot_be_trained_does_not_take_the_others_along(toy, tmp_path):
    # One speaker alone is ever sad: the fold that tests her has nobody to learn it from.
    rows = []
    for u in read_utterances([f"crema-d={toy}"]):
        if u.emotion != "sad" or u.speaker == "crema-d/1003":
            rows.append(f"{u.path},{u.emotion},{u.speaker}")
    (tmp_path / "m.csv").write_text("path,emotion,speaker\n" + "\n".join(rows) + "\n")
    result = invoke(
        "run", write_recipe(tmp_path, epochs=1), "--corpus", f"manifest={tmp_path / 'm.csv'}",
        "-o", tmp_path / "run", "--seeds", 1,
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    assert "no training utterance is sad" in result.stderr
    folds = json.loads((tmp_path / "run" / "report.json").read_text())["folds"]
    assert 0 < len(folds) < 3


@pytest.mark.slow
def test_workers_give_what_one_process_gives(finished, toy, tmp_path):
    result = invoke(
        "run", write_recipe(tmp_path), "--corpus", f"crema-d={toy}", "-o", tmp_path / "run",
        "--seed", 0, "--fold", 0, "--fold", 1, "--jobs", 2,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for fold in (0, 1):
        name = f"seed0-fold{fold}/{RESULT}"
        theirs, ours = (json.loads((f / name).read_text()) for f in (tmp_path / "run", finished))
        # Threads differ, and with them the last bits of sums.
        assert theirs["history"][0]["loss"] == pytest.approx(ours["history"][0]["loss"], abs=0.02)
        assert theirs["speakers"] == ours["speakers"]


@pytest.mark.slow
def test_a_killed_run_keeps_finished_folds_and_goes_on(toy, tmp_path):
    recipe = write_recipe(tmp_path, epochs=40)
    command = [
        sys.executable, "-m", "training.cli", "run", str(recipe), "--corpus", f"crema-d={toy}",
        "-o", str(tmp_path / "run"), "--seeds", "1", "--device", "cpu",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        first, second = (tmp_path / "run" / f"seed0-fold{k}" for k in (0, 1))
        deadline = time.monotonic() + 120
        while not ((first / RESULT).exists() and (second / "last.pt").exists()):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (second / RESULT).exists()
    done = (first / RESULT).stat().st_mtime_ns
    left = torch.load(second / "last.pt", weights_only=True)["history"]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (first / RESULT).stat().st_mtime_ns == done
    history = json.loads((second / RESULT).read_text())["history"]
    assert len(history) == 40
    assert [h["loss"] for h in history[: len(left)]] == [round(e["loss"], 4) for e in left]
    epochs = [line for line in again.stderr.splitlines() if "seed0-fold1: epoch" in line]
    assert len(epochs) == 40 - len(left)


SHARED_BATCHES = """
name = "shared"
labels = ["angry", "happy", "neutral", "sad"]
model = "mscnn_spu"
model_params = { n_filters = 8, n_hidden = 16, dropout = 0.0 }
frontend = "mfcc"
frontend_params = { hop_length = 512 }
window_frames = 40
window_hop_frames = 20
[windows]
draw = "crops"
[train]
epochs = 2
batch_size = 12
lr = 1e-3
[protocols.strict]
folds = { kind = "speaker", n_folds = 3, validation = 0.2 }
"""


@pytest.mark.slow
def test_torchrun_shares_the_batches(toy, tmp_path):
    # Without batch normalisation and dropout, halves of each batch in two processes give the
    # gradient of the whole batch in one.
    recipe = tmp_path / "shared.toml"
    recipe.write_text(SHARED_BATCHES)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    nets = {}
    for n in (1, 2):
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n),
            "--master-port", str(29517 + n), "-m", "training.cli", "run", str(recipe),
            "--corpus", f"crema-d={toy}", "-o", str(tmp_path / str(n)), "--fold", "0",
            "--device", "cpu",
        ]  # fmt: skip
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stderr
        # One process reports.
        assert done.stdout.count("shared on crema-d") == 1
        result = json.loads((tmp_path / str(n) / "seed0-fold0" / RESULT).read_text())
        assert result["utterances"][0] % 12 == 0  # no batch of another size
        nets[n] = Checkpoint.load(tmp_path / str(n) / "seed0-fold0").net.state_dict()
    for name, weight in nets[1].items():
        torch.testing.assert_close(nets[2][name], weight, rtol=1e-3, atol=1e-4)


LEAVES_NOTHING = """
import gc, pathlib, torch
from training.launch import finish, launch
launch("cpu")
net = torch.nn.Linear(3, 3)
shared = torch.nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.AdamW(net.parameters())
shared(torch.ones(2, 3)).sum().backward()
optimizer.step()
def threads():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return sum("gloo" in (task / "comm").read_text() for task in tasks)
before = threads()
finish()
del shared
gc.collect()
print(f"<{before > 0} {threads()}>")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_nothing_of_a_group_outlives_it(tmp_path):
    # What does may abort the interpreter when it ends, after all work is done.
    script = tmp_path / "script.py"
    script.write_text(LEAVES_NOTHING)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
         "29531", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<True 0>") == 2, done.stdout


@pytest.mark.slow
def test_refit_learns_from_everybody_but_the_test(finished, toy, tmp_path):
    result = invoke(
        "run", finished.parent / "tiny.toml", "--corpus", f"crema-d={toy}", "-o", tmp_path / "re",
        "--seed", 0, "--fold", 0, "--refit", finished / "seed0-fold0", "--epochs", 2,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    wrong = invoke(
        "run", finished.parent / "tiny.toml", "--corpus", f"crema-d={toy}", "-o", tmp_path / "no",
        "--seed", 0, "--fold", 1, "--refit", finished / "seed0-fold0",
    )  # fmt: skip
    assert wrong.exit_code == 1
    assert "its temperature scaling would have seen the test" in wrong.stderr
    many = invoke(
        "run", finished.parent / "tiny.toml", "--corpus", f"crema-d={toy}", "-o", tmp_path / "no",
        "--refit", finished / "seed0-fold0",
    )  # fmt: skip
    assert "--refit is for one fold" in str(many.exception)
    (report,) = json.loads((tmp_path / "re" / "report.json").read_text())["folds"]
    before = json.loads((finished / "seed0-fold0" / RESULT).read_text())
    train, validation, test = before["utterances"]
    assert report["utterances"] == [train + validation, 0, test]
    assert report["temperature"] == before["temperature"] != 1.0
    assert report["best_epoch"] == 2


@pytest.mark.slow
def test_the_paper_protocol_mixes_speakers_and_says_so(toy, tmp_path):
    result = invoke(
        "run", "head_fusion/layers-1", "--protocol", "paper", "--corpus", f"crema-d={toy}",
        "--labels", "angry,happy,neutral,sad", "--part", "full", "--seeds", 1, "--fold", 0,
        "--epochs", 1, "-o", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "RANDOM 5 folds, speakers are in train and test: flatters" in result.stdout
    assert "EPOCH CHOSEN ON THE TEST FOLD" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert "flatters" in report["protocol"]
    assert report["folds"][0]["test"]["crema-d"]["left_out"] > 0  # clips under 2 s


# The papers' tables


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory) -> Path:
    return make_tree(tmp_path_factory.mktemp("iemocap"), utterances_per_cell=1).folder


@pytest.fixture(scope="module")
def words(iemocap, tmp_path_factory) -> list[object]:
    """What rows with words need: vectors, and what a recogniser made of the sound."""
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    known = sorted({w for sound in SOUNDS.values() for w in sound[5].split()})
    with (folder / "vectors.txt").open("w") as file:
        for word in known:
            file.write(f"{word} {' '.join(f'{v:.3f}' for v in rng.normal(0, 0.3, 300))}\n")
    # Every fifth word is wrong, of every tenth recording nothing was heard, every seventh is left
    # out.
    rows = ["path,text"]
    for i, u in enumerate(read_utterances([f"iemocap={iemocap}"])):
        heard = [
            str(rng.choice(known)) if k % 5 == i % 5 else w for k, w in enumerate(u.text.split())
        ]
        if i % 7:
            rows.append(f'{u.path},"{" ".join(heard) if i % 10 else ""}"')
    (folder / "asr.csv").write_text("\n".join(rows))
    return ["--vectors", folder / "vectors.txt", "--asr-transcripts", folder / "asr.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_reproduce_runs_the_tables_of_every_paper(paper, iemocap, words, tmp_path, monkeypatch):
    book = load_book(paper)
    # All rows of the tables; of the figures' sweeps, which only repeat a network, one.
    rows, seen = [], set()
    for row in book.rows:
        if not row.table.startswith("Fig") or row.table not in seen:
            rows.append(row)
        seen.add(row.table)
    small = {"train": {"epochs": 1}}
    if paper == "attention_pooling":
        # 80 000 values a window: a few will do.
        small["windows"] = {"train_hop_frames": 400}
        small["window_hop_frames"] = 400
    if paper == "mscnn_spu":
        small |= {"window_frames": 200, "model_params": {"n_filters": 8, "n_hidden": 16}}
    # A speaker of the little tree who speaks for 2 s at least, where shorter clips are dropped.
    fold = FOLD.get(paper, 0)
    monkeypatch.setattr(
        "training.recipe.book.load_book",
        lambda name: type(book)(merged_table(book.table, small), book.variants, book.protocols,
                                tuple(rows)),
    )  # fmt: skip
    result = invoke(
        "reproduce", paper, "--iemocap", iemocap, "-o", tmp_path, "--seeds", 1, "--fold", fold,
        "--epochs", 1, "--device", "cpu", *(words if paper == "mscnn_spu" else ()),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = (tmp_path / "reproduction.md").read_text()
    assert table in result.stdout
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        cells = [c.strip() for c in line.strip("|").split("|")]
        assert cells[:3] == [row.table, row.row, row.part or "full"]
        assert cells[3] == ("" if row.wa != row.wa else f"{row.wa:.2f}")
        assert 0.0 <= float(cells[4]) <= 100.0
        assert 0.0 <= float(cells[6]) <= 100.0
        assert cells[7] == "1 x 1 x 1"


@pytest.fixture
def three_rows(monkeypatch) -> None:
    """Paper 2 in a small size, with one row of each kind: sound, words, a recogniser's words."""
    book = load_book("mscnn_spu")
    small = {"window_frames": 200, "model_params": {"n_filters": 8, "n_hidden": 16}}
    rows = tuple(book.rows[i] for i in (0, 2, 5))
    few = type(book)(merged_table(book.table, small), book.variants, book.protocols, rows)
    monkeypatch.setattr("training.recipe.book.load_book", lambda name: few)


@pytest.mark.slow
def test_rows_that_need_an_option_are_named_and_run_once_it_is_there(
    three_rows, iemocap, words, tmp_path
):
    command = [
        "reproduce", "mscnn_spu", "--iemocap", iemocap, "-o", tmp_path, "--seeds", 1, "--fold", 0,
        "--epochs", 1, "--device", "cpu", "--cache", tmp_path / "cache",
    ]  # fmt: skip
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert "| Table 1 | Text-CNN | full | 67.80 | -- | 67.70 | -- |  |" in result.stdout
    assert "\n`--` needs --vectors: Table 1, Text-CNN.\n" in result.stdout
    assert (
        "\n`--` needs --vectors and --asr-transcripts: Table 1, Text-CNN, ASR transcript.\n"
        in result.stdout
    )
    assert "Audio-CNN | full | 65.40 | --" not in result.stdout
    first = (tmp_path / "main-full" / "seed0-fold0" / RESULT).stat().st_mtime_ns

    result = invoke(*command, *words[:2])
    assert result.exit_code == 0, result.output
    assert "`--` needs --asr-transcripts: Table 1, Text-CNN, ASR transcript." in result.stdout
    assert "Text-CNN | full | 67.80 | --" not in result.stdout

    result = invoke(*command, *words)
    assert result.exit_code == 0, result.output
    assert "--` needs" not in result.stdout
    assert "| -- |" not in result.stdout
    assert "asr.csv: no words for " in result.stderr
    # What is finished is not trained again, and the recogniser's words are told of and other ones.
    assert (tmp_path / "main-full" / "seed0-fold0" / RESULT).stat().st_mtime_ns == first
    own, asr = (
        json.loads((tmp_path / n / "run.json").read_text()) for n in ("text-full", "text-full-asr")
    )
    assert own.pop("words") != asr.pop("words")
    assert own == asr
    reports = [
        json.loads((tmp_path / n / "report.json").read_text())["protocol"]
        for n in ("text-full", "text-full-asr")
    ]
    assert reports[1] == f"{reports[0]}; words of asr.csv"


def test_a_table_of_another_corpus_is_refused(iemocap, tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "asr.csv").write_text("path,text\na.wav,hello\n")
    result = invoke(
        "reproduce", "mscnn_spu", "--iemocap", iemocap, "-o", tmp_path,
        "--asr-transcripts", tmp_path / "asr.csv",
    )  # fmt: skip
    assert "names none of the corpus's recordings" in str(result.exception)


def merged_table(table, changes):
    from training.recipe.parse import merged

    return merged(table, changes)


@pytest.mark.slow
def test_reproduce_goes_on_where_a_row_is_impossible(iemocap, tmp_path):
    # Of this speaker's improvised turns none is as long as a window, and no scripted one is given.
    shutil.copytree(iemocap, tmp_path / "part")
    for path in (tmp_path / "part").glob("Session*/dialog/EmoEvaluation/*script*"):
        path.unlink()
    result = invoke(
        "reproduce", "attention_pooling", "--iemocap", tmp_path / "part", "-o", tmp_path / "out",
        "--fold", 0, "--epochs", 1, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    assert "as long as a window, and the recipe drops shorter ones" in result.stderr
    text = (tmp_path / "out" / "reproduction.md").read_text()
    assert "| Table 1 | CNN_TF_GAP | improvised | 71.35 | -- | 67.54 | -- |  |" in text
    result = invoke(
        "reproduce", "head_fusion", "--iemocap", tmp_path / "part", "-o", tmp_path / "heads",
        "--fold", 0, "--seeds", 1, "--epochs", 1, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    assert "about the scripted part of a corpus, and these have none" in result.stderr
    text = (tmp_path / "heads" / "reproduction.md").read_text()
    assert "| Table III | scripted | scripted | 65.90 | -- | 63.92 | -- |  |" in text
    assert "| Table III | improvised | improvised | 76.18 | -- |" not in text


@pytest.mark.slow
def test_divisions_and_labels_can_be_told(iemocap, tmp_path):
    result = invoke(
        "run", "context_attention/mean", "--corpus", f"iemocap={iemocap}", "-o", tmp_path,
        "--labels", "angry,excited,neutral,sad", "--merge", "none", "--part", "improvised",
        "--folds", "leave-one-session-out", "--fold", 2, "--seeds", 1, "--epochs", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "leave one session out" in result.stdout
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["utterances"] == {"iemocap": 10 * 4}
    (fold,) = json.loads((tmp_path / "report.json").read_text())["folds"]
    assert fold["speakers"]["test"] == ["iemocap/Ses03F", "iemocap/Ses03M"]
    assert fold["speakers"]["validation"] == ["iemocap/Ses04F"]


@pytest.mark.slow
def test_excited_counts_as_happy_only_where_told(iemocap, tmp_path):
    counts = {}
    for name, told in (("merged", []), ("apart", ["--merge", "none"])):
        result = invoke(
            "run", "mscnn_spu/max-pool", "--corpus", f"iemocap={iemocap}", "-o", tmp_path / name,
            "--fold", 0, "--seeds", 1, "--epochs", 1, *told,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        run = json.loads((tmp_path / name / "run.json").read_text())
        counts[name] = run["utterances"]["iemocap"]
    assert counts == {"merged": 10 * 2 * 5, "apart": 10 * 2 * 4}


# The command


def test_list_names_recipes_variants_and_tables():
    result = invoke("list")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    for name in (*PAPERS, "default"):
        assert any(line.startswith(f"{name}:") for line in lines)
    assert "ilt_cat/ilt-trainable-pe" in lines
    rows = invoke("list", "--rows").stdout
    assert "Table IV, 1 convolutional layer (improvised): WA 63.94, UA 60.14" in rows


def test_folds_that_do_not_exist_are_told(toy, tmp_path):
    result = invoke(
        "run", write_recipe(tmp_path), "--corpus", f"crema-d={toy}", "-o", tmp_path / "run",
        "--fold", 3,
    )  # fmt: skip
    assert "the protocol has folds 0 to 2" in str(result.exception)


def test_jobs_yield_finished_results_first(finished, toy):
    from training.run import Run, select

    book = load_book(finished.parent / "tiny.toml")
    recipe = book.recipe()
    utterances = select(read_utterances([f"crema-d={toy}"]), recipe)
    run = Run(
        recipe,
        book.protocol("strict"),
        "strict",
        utterances,
        (),
        finished.parent / "cache",
        finished,
    )
    with claimed(run):
        jobs = jobs_of(run, [0], [2, 0])
        assert [job.fold for job, _ in run_jobs(jobs)] == [2, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "default"], "name a corpus"),
        (
            ["run", "default", "--corpus", TOY, "--device", "tpu"],
            "want auto, cpu or cuda",
        ),
        (["run", "nonsense"], "recipe nonsense"),
        (["run", "default", "--corpus", "crema-d"], "want NAME=FOLDER"),
        (
            ["run", "head_fusion", "--corpus", TOY, "--protocol", "x"],
            "known: paper, strict",
        ),
        (
            [
                "run",
                "head_fusion",
                "--corpus",
                "crema-d=TOY",
                "--protocol",
                "paper",
                "--part",
                "full",
            ],
            "no utterance is excited",
        ),
        (["reproduce", "default", "--iemocap", "TOY"], "reproduces no paper"),
        (["run", "head_fusion", "--corpus", TOY, "--merge", "excited"], "want NAME=OTHER"),
        (["run", "head_fusion", "--corpus", TOY, "--folds", "by-moon"], "unknown kind of folds"),
        (
            ["run", "head_fusion", "--corpus", TOY, "--folds", "leave-one-session-out"],
            "have no session",
        ),
        (["evaluate", "--corpus", "emodb=missing"], "no folder missing"),
    ],
)
def test_wrong_commands_are_one_line(arguments, message, toy, tmp_path, capsys, monkeypatch):
    from training.cli import main

    arguments = [a.replace("TOY", str(toy)) for a in arguments]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ser-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
