"""Two processes at one place: folders that are held, and files that are written by both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.places import ROOT
from tests.helpers.toy_corpus import make_toy_corpus

torch = pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from ser_stream.files import PART
from training.cli import main
from training.data.corpora import read_corpus
from training.data.features import build_features
from training.occupancy import OWNER, occupied
from training.recipe.book import load_recipe

HOLD = """
import sys
from pathlib import Path
from training.occupancy import occupied
with occupied(Path(sys.argv[1])):
    print("there", flush=True)
    sys.stdin.read()
"""
# A process that the holder forks, as a pool of workers does, inherits its open files. It tells that
# it is there, so that it is past the fork when the holder is killed.
HOLD_AND_FORK = """
import os, sys, time
from pathlib import Path
from training.occupancy import occupied
with occupied(Path(sys.argv[1])):
    if not os.fork():
        print("there", flush=True)
    time.sleep(600)
"""


@contextmanager
def started(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_second_process_is_told_who_is_there(tmp_path):
    with started(HOLD, tmp_path / "run") as holder:
        with pytest.raises(ConfigError) as told, occupied(tmp_path / "run"):
            pass
        text = str(told.value)
        assert text.startswith(f"{tmp_path / 'run'}: in use by `-c {tmp_path / 'run'}`, process ")
        assert f"process {holder.pid} on {os.uname().nodename} since 2" in text
        assert text.endswith("; wait for its end, or name another --output")
        assert "\n" not in text
        # Its end frees the folder.
        holder.communicate()
        with occupied(tmp_path / "run"):
            assert (tmp_path / "run" / OWNER).exists()
    assert not (tmp_path / "run" / OWNER).exists()


@pytest.mark.parametrize("program", [HOLD, HOLD_AND_FORK], ids=["alone", "with a forked worker"])
def test_a_killed_process_holds_nothing(program, tmp_path):
    with started(program, tmp_path) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / OWNER).exists()
        with occupied(tmp_path):
            pass


@pytest.mark.parametrize("left", ["", "[]", '{"command": 1}', "\udce4"])
def test_what_the_owner_left_need_not_be_whole(left, tmp_path):
    with started(HOLD, tmp_path):
        (tmp_path / OWNER).write_bytes(left.encode(errors="surrogateescape"))
        with (
            pytest.raises(ConfigError, match="in use by another process; wait"),
            occupied(tmp_path),
        ):
            pass


@pytest.mark.parametrize("command", ["run", "speakers", "card"])
def test_every_command_that_fills_a_folder_is_refused_in_one_line(
    command, tmp_path, toy, monkeypatch, capsys
):
    folder = tmp_path / "folder"
    data = ["--data", tmp_path] if command == "card" else ["--corpus", f"crema-d={toy}"]
    arguments = ["ser-train", command, *map(str, data), "-o", str(folder)]
    monkeypatch.setattr("sys.argv", arguments)
    with started(HOLD, folder), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}: in use by `-c ")
    assert sorted(p.name for p in folder.iterdir()) == [".lock", OWNER]


POOL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from training.occupancy import end_with_parent
pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent)
pool.submit(time.sleep, 0).result()
pool.submit(time.sleep, 600)
print("there", flush=True)
"""


def test_the_workers_of_a_killed_run_end_with_it():
    with started(POOL) as run:
        run.kill()
        # The end of the output comes when its last process has ended.
        run.communicate(timeout=120)


# Files

BOTH = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from ser_stream.models.profile import Profile
from ser_stream.words.vectors import WordVectors
from training.checkpoint import read_table, write_table
from training.data.corpora import read_corpus
from training.data.features import build_features
from training.recipe.book import load_recipe
folder, toy, own = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
recipe = load_recipe("default")
recipe = replace(recipe, augment=replace(recipe.augment, variants=0))
print("there", flush=True)
sys.stdin.readline()
store = build_features(read_corpus("crema-d", toy), recipe, [], folder / "features")
vectors = WordVectors.open(folder / "vectors.txt", folder / "words")
assert vectors.vectors(["b"]).tolist() == [[2.0, 3.0]]
for _ in range(20):
    Profile("p", "f", float(own), 0.0, (0.0,) * 999, (1.0,) * 999).save(folder / "p.json")
    assert Profile.load(folder / "p.json").voiced_s in (1.0, 2.0)
    write_table(folder / "c.pt", {"values": torch.full((9999,), own)})
    assert len(set(read_table(folder / "c.pt")["values"].tolist())) == 1
print(len(store), sum(float(store[u, 0].features.sum()) for u in range(len(store))))
"""


def test_two_processes_may_write_the_same_files(tmp_path, toy):
    (tmp_path / "vectors.txt").write_text("a 1 2\nb 2 3\n")
    with started(BOTH, tmp_path, toy, 1) as one, started(BOTH, tmp_path, toy, 2) as other:
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=300)[0] for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0)
    assert told[0] == told[1] != ""
    # Of the two folders of features one is left, and nothing temporary.
    names = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert not [name for name in names if PART in name]
    assert len([name for name in names if name == "lengths.npy"]) == 1


# As if the power failed when what is written is not yet on the disk, nor under its name.
KILLED = """
import os, sys
from dataclasses import replace
from pathlib import Path
import ser_stream.files
from export.graph import published
from ser_stream.scoring.manifest import Clip, keep
from ser_stream.models.profile import Profile
from ser_stream.words.vectors import WordVectors
from training.checkpoint import write_table
from training.data.corpora import read_corpus
from training.data.features import build_features
from training.recipe.book import load_recipe
from training.report import new_figure, save_figure, write_json
def export(path):
    with published(path) as part:
        part.write_text("new")
def features(path):
    recipe = load_recipe("default")
    recipe = replace(recipe, augment=replace(recipe.augment, variants=0))
    build_features(read_corpus("crema-d", Path(sys.argv[2]))[:2], recipe, [], path.parent / "cache")
writers = {
    "checkpoint": lambda path: write_table(path, {"a": 1}),
    "result": lambda path: write_json(path, {"a": 1}),
    "plot.png": lambda path: save_figure(new_figure(1, 1), path),
    "export": export,
    "profile": Profile("p", "f", 1.0, 0.0, (0.0,), (1.0,)).save,
    "manifest": lambda path: keep(path, Clip(Path("a.wav"), "sad", "ann")),
    "vectors.txt": lambda path: WordVectors.open(path, path.parent / "cache"),
    "features": features,
}
ser_stream.files._sync = lambda path: os.kill(os.getpid(), 9)
for name, write in writers.items():
    if not (child := os.fork()):
        write(Path(sys.argv[1]) / name)
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path, toy):
    old = b"path,emotion,speaker\n"
    files = ("checkpoint", "result", "plot.png", "export", "profile", "manifest")
    for name in files:
        (tmp_path / name).write_bytes(old)
    (tmp_path / "vectors.txt").write_text("a 1 2\n")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, toy],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True, check=True, timeout=300,
    )  # fmt: skip
    ended = dict(line.split() for line in done.stdout.splitlines())
    assert ended == dict.fromkeys([*files, "vectors.txt", "features"], str(-signal.SIGKILL))
    assert [name for name in files if (tmp_path / name).read_bytes() != old] == []
    # Caches: nothing has its name yet, and the next process removes the folder that is left.
    cache = tmp_path / "cache"
    left = [p.name for p in cache.iterdir() if p.suffix != ".lock"]
    assert len(left) == 2
    assert all(PART in name for name in left)
    recipe = load_recipe("default")
    recipe = replace(recipe, augment=replace(recipe.augment, variants=0))
    utterances = read_corpus("crema-d", toy)[:2]
    assert len(build_features(utterances, recipe, [], cache)) == 2
    (folder,) = (p for p in cache.iterdir() if p.is_dir())
    assert PART not in folder.name


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"), takes=1)
