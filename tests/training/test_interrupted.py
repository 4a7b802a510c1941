"""Ctrl-C while training: at once, with what is kept and how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.helpers.toy_corpus import make_toy_corpus

HANG_S = 300.0
ENDLESS = ("--epochs", "1000000")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"), takes=1)


def interrupted(folder: Path, *arguments: object, epoch_is_over) -> str:
    """Interrupt ser-train as a terminal does, all of its processes, and return what it told."""
    with (folder.parent / "told").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.cli", *map(str, arguments), "-o", str(folder)],
            stdout=told, stderr=told, start_new_session=True,
        )  # fmt: skip
        began = time.monotonic()
        while not epoch_is_over():
            assert process.poll() is None, (folder.parent / "told").read_text()
            assert time.monotonic() - began < HANG_S
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        # Epochs do not end by themselves, so waiting for a fold would be a hang.
        assert process.wait(HANG_S) == 130
    return (folder.parent / "told").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_a_run_at_once_and_keeps_what_is_finished(tmp_path, toy):
    folder = tmp_path / "run"
    text = interrupted(
        folder, "run", "default", "--corpus", f"crema-d={toy}", "--fold", 0, "--fold", 1,
        "--jobs", 2, *ENDLESS,
        epoch_is_over=lambda: len(list(folder.rglob("last.pt"))) == 2,
    )  # fmt: skip
    assert text.splitlines()[-1] == (
        "interrupted: 0 of 2 folds are finished, the others keep their last whole epoch, "
        f"all in {folder}; the same command goes on"
    )
    assert "Traceback" not in text
    assert len(list(folder.rglob("last.pt"))) == 2


@pytest.mark.slow
def test_ctrl_c_ends_the_training_of_an_embedder(tmp_path, toy):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    told = tmp_path / "told"
    text = interrupted(
        folder, "speakers", "--corpus", f"crema-d={toy}", "--cache", cache, *ENDLESS,
        epoch_is_over=lambda: "epoch 1 of" in told.read_text(),
    )  # fmt: skip
    assert text.splitlines()[-1] == (
        f"interrupted: nothing is kept in {folder}, finished features are in {cache}; "
        "the same command begins anew"
    )
    assert "Traceback" not in text
