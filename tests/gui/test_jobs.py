"""Jobs: work on a thread of its own, polled."""

from __future__ import annotations

import threading

import pytest

from gui.jobs import Cancelled, Job, JobControl

SOON_S = 20.0


def test_a_job_works_elsewhere_and_has_a_result():
    job = Job(lambda control: threading.current_thread())
    assert job.wait(SOON_S)
    assert job.done
    assert job.result is not threading.current_thread()
    assert job.result is not None
    assert job.result.daemon
    assert job.error is None


def test_progress_is_told_and_stays_between_0_and_1():
    told, seen = threading.Event(), threading.Event()

    def work(control: JobControl) -> None:
        control.progress(0.25)
        told.set()
        seen.wait(SOON_S)
        control.progress(7.0)

    job = Job(work)
    assert told.wait(SOON_S)
    assert (job.progress, job.done) == (0.25, False)
    seen.set()
    assert job.wait(SOON_S)
    assert job.progress == 1.0


def test_what_is_raised_is_kept():
    def work(control: JobControl) -> None:
        raise ValueError("no")

    job = Job(work)
    assert job.wait(SOON_S)
    assert isinstance(job.error, ValueError)
    assert job.result is None


def test_a_cancelled_job_ends_at_its_next_report():
    begun = threading.Event()
    cleaned = []

    def work(control: JobControl) -> str:
        begun.set()
        try:
            while True:
                control.progress(0.5)
        finally:
            cleaned.append(control.cancelled)

    job = Job(work)
    assert begun.wait(SOON_S)
    assert not job.cancelled
    job.cancel()
    assert job.wait(SOON_S)
    assert job.cancelled
    assert cleaned == [True]
    assert (job.result, job.error) == (None, None)


def test_work_that_ends_all_the_same_keeps_its_result():
    cancelled = threading.Event()

    def work(control: JobControl) -> int:
        cancelled.wait(SOON_S)
        assert control.cancelled
        return 3

    job = Job(work)
    job.cancel()
    cancelled.set()
    assert job.wait(SOON_S)
    assert job.result == 3


def test_a_control_raises_only_when_cancelled():
    control = JobControl()
    control.progress(0.5)
    control.cancel()
    with pytest.raises(Cancelled):
        control.progress(0.6)
