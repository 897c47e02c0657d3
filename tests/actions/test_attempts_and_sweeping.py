"""When the sweeper rings, and whom it leaves alone; times are the database's."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now

from explorer.actions import attempts, jobs, sweeping
from explorer.actions.attempts import Tail
from explorer.models import Job
from explorer.models.jobs import JobState

pytestmark = pytest.mark.django_db


def queued(silent_for: float, rings: int, **fields: object) -> int:
    job = Job.objects.create(kind="test_count", queue="batch", rings=rings, **fields)
    Job.objects.filter(pk=job.pk).update(rung_at=Now() - timedelta(seconds=silent_for * settings.JOB_SWEEP))
    return job.pk


@pytest.mark.parametrize(
    ("silent_for", "rings", "due"),
    [(0.5, 0, False), (1.1, 0, True), (1.9, 1, False), (2.1, 1, True), (7, 3, False), (8.2, 3, True)],
)
def test_it_rings_ever_more_rarely(silent_for: float, rings: int, due: bool) -> None:
    job_id = queued(silent_for, rings)
    assert [job.pk for job in sweeping._due_for_a_ring()] == [job_id] * due


def test_it_never_falls_silent() -> None:
    job_id = queued((sweeping.LONGEST_SILENCE + 1) / settings.JOB_SWEEP, rings=60)
    assert [job.pk for job in sweeping._due_for_a_ring()] == [job_id]


def test_it_leaves_jobs_alone_that_pause_or_are_cancelled() -> None:
    queued(5, 0, not_before=Now() + timedelta(seconds=60))
    queued(5, 0, cancel_requested=True)
    assert sweeping._due_for_a_ring() == []


def test_a_lease_that_ran_out_is_a_failure_and_the_third_parks() -> None:
    job = jobs.start("test_count", {"n": 1})
    for failures in (1, 2, 3):
        Job.objects.update(not_before=Now() - timedelta(seconds=1))
        assert attempts.claim(job.pk, "a worker")
        Job.objects.update(lease_until=Now() - timedelta(seconds=1))
        sweeping.sweep()
        job.refresh_from_db()
        assert (job.failures, job.error) == (failures, sweeping.DIED)
    assert (job.state, job.lease_until) == (JobState.FAILED, None)


def test_a_lease_that_runs_is_left_alone() -> None:
    job = jobs.start("test_count", {"n": 1})
    attempts.claim(job.pk, "a worker")
    sweeping.sweep()
    job.refresh_from_db()
    assert (job.state, job.failures) == (JobState.RUNNING, 0)


def test_a_cancelled_job_whose_worker_died_is_cancelled_not_failed() -> None:
    job = jobs.start("test_count", {"n": 1})
    attempts.claim(job.pk, "a worker")
    jobs.cancel(job.pk)
    Job.objects.update(lease_until=Now() - timedelta(seconds=1))
    sweeping.sweep()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_a_pause_after_a_failure_is_kept() -> None:
    job = jobs.start("test_count", {"n": 1})
    claimed = attempts.claim(job.pk, "a worker")
    assert claimed
    attempts.fail(claimed, "it failed")
    assert attempts.claim(job.pk, "a worker") is None
    Job.objects.update(not_before=Now() - timedelta(seconds=1))
    assert attempts.claim(job.pk, "a worker")


ACTS: dict[str, Callable[[Job], object]] = {
    "finish": lambda stale: attempts.finish(stale, Tail(0, "text"), {}),
    "fail": lambda stale: attempts.fail(stale, "error"),
    "cancelled": lambda stale: attempts.cancelled(stale, Tail(0, "text")),
    "give back": attempts.give_back,
    "plan": lambda stale: attempts.plan(stale, [jobs.Child("test_part")]),
    "report": lambda stale: attempts.report(stale, Tail(0, "text")),
}


def overtaken() -> Job:
    job = jobs.start("test_count", {"n": 1})
    stale = attempts.claim(job.pk, "the first")
    assert stale
    Job.objects.update(state=JobState.QUEUED, lease_until=None)
    assert attempts.claim(job.pk, "the second")
    return stale


@pytest.mark.parametrize("act", ACTS)
def test_a_stale_attempt_writes_nothing(act: str) -> None:
    stale = overtaken()
    before = Job.objects.values().get()
    with pytest.raises(attempts.Lost):
        ACTS[act](stale)
    assert Job.objects.values().get() == before


def test_a_stale_attempt_renews_nothing() -> None:
    stale = overtaken()
    before = Job.objects.values().get()
    assert attempts.renew(stale.pk, stale.attempt) is False
    assert Job.objects.values().get() == before


def test_a_text_that_is_written_again_is_not_doubled() -> None:
    """The connection broke before the answer came; the same tail is written once more, longer by then."""
    job = attempts.claim(jobs.start("test_stream", {"n": 1}).pk, "a worker")
    assert job
    attempts.report(job, Tail(0, "one é😀 "))
    for tail in (Tail(7, "two "), Tail(7, "two "), Tail(7, "two three ")):
        attempts.report(job, tail)
    attempts.report(job, Tail(17))
    assert Job.objects.get().text == "one é😀 two three "
    attempts.finish(job, Tail(7, "two three four"), None)
    assert Job.objects.get().text == "one é😀 two three four"
