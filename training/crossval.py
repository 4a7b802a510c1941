"""Cross-validation: every fold and seed of a recipe, resumable, and the sums over them.

A run's folder holds ``run.json`` (what is run), one folder per seed and fold, and the report. A
fold that has its ``result.json`` is finished and never trained again; one that was interrupted goes
on after its last epoch.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch

from ser_stream.errors import SerStreamError
from training.fit import Epoch
from training.fold import train_fold
from training.occupancy import end_with_parent
from training.run import FoldJob


def run_jobs(
    jobs: Sequence[FoldJob],
    workers: int = 1,
    on_epoch: Callable[[FoldJob, Epoch], None] = lambda job, epoch: None,
    keep_going: bool = False,
) -> Iterator[tuple[FoldJob, dict[str, Any]]]:
    """Train what is not finished yet, and yield every fold with its result as it gets ready.

    Args:
        jobs: folds, of one run or of several.
        workers: processes that train at the same time, one thread each; 1 trains in this process
            and is the only one that reports epochs.
        on_epoch: called with every epoch.
        keep_going: yield ``{"error": ...}`` for a fold that cannot be trained, and go on.

    Raises:
        SerStreamError: a fold cannot be trained, and ``keep_going`` is off.
    """
    todo = []
    for job in jobs:
        if (result := job.result) is not None:
            yield job, result
        else:
            todo.append(job)
    if workers <= 1:
        for job in todo:
            yield (
                job,
                _result_of(lambda job=job: train_fold(job, lambda e: on_epoch(job, e)), keep_going),
            )
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        futures = {pool.submit(train_fold, job): job for job in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], _result_of(future.result, keep_going)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # What they write is whole or not there, and leaving the pool waits for their folds.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _result_of(call: Callable[[], dict[str, Any]], keep_going: bool) -> dict[str, Any]:
    try:
        return call()
    except SerStreamError as error:
        if not keep_going:
            raise
        return {"error": str(error)}


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
