"""What a worker writes about the job it holds. Every write carries the attempt, so a stale one writes nothing."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from explorer import doorbell
from explorer.actions.jobs import Child, add_children, cancel_children, lock_family, settle
from explorer.events import CHANNEL, encode, progress, publish_progress
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.plain import plain


class Lost(Exception):
    """Another attempt holds the job now; this one has nothing more to say."""


@dataclass(frozen=True)
class Standing:
    """What a report brings back."""

    cancel_requested: bool
    unwatched: bool


class Tail(NamedTuple):
    """Text that the row may not hold yet. Where it belongs is said too, so that writing it again,
    after a connection that broke before the answer came, does not double it."""

    at: int = 0  # characters before it
    text: str = ""

    def onto(self, whole: str) -> str:
        return whole[: self.at] + self.text if self.text else whole


NO_TAIL = Tail()


def lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE)


def claim(job_id: int, worker: str) -> Job | None:
    """Takes a queued job that is due; None when it is taken, ended, cancelled, not due yet or gone."""
    due = Job.objects.filter(pk=job_id, state=JobState.QUEUED, not_before__lte=Now(), cancel_requested=False)
    watched = Q(watched_until__isnull=True) | Q(watched_until__gt=Now())
    with transaction.atomic():
        claimed = due.filter(watched).update(
            state=JobState.RUNNING,
            attempt=F("attempt") + 1,
            worker=worker[:200],
            lease_until=Now() + lease(),
            started_at=Coalesce("started_at", Now()),
            done=0,
            text="",
        )
        if not claimed:
            return None
        job = Job.objects.get(pk=job_id)
        publish_progress(job)
        return job


def renew(job_id: int, attempt: int) -> bool:
    mine = Job.objects.filter(pk=job_id, attempt=attempt, state=JobState.RUNNING)
    return bool(mine.update(lease_until=Now() + lease()))


REPORT = """
    WITH written AS (
        UPDATE explorer_job
        SET done = %(done)s, total = %(total)s, unit = %(unit)s, message = %(message)s,
            text = CASE WHEN %(text)s = '' THEN text ELSE left(text, %(at)s) || %(text)s END
        WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
        RETURNING cancel_requested, coalesce(watched_until < statement_timestamp(), false) AS unwatched
    )
    SELECT cancel_requested, unwatched, pg_notify(%(channel)s, %(event)s) FROM written
"""


def report(job: Job, tail: Tail) -> Standing:
    """Writes the job's progress and goes on with its text, tells the streams, and says how it stands."""
    values: dict[str, Any] = {
        "id": job.pk,
        "attempt": job.attempt,
        "done": job.done,
        "total": job.total,
        "unit": job.unit,
        "message": job.message,
        "text": tail.text,
        "at": tail.at,
        "channel": CHANNEL,
        "event": encode(progress(job)),
    }
    with connection.cursor() as cursor:
        cursor.execute(REPORT, values)
        row = cursor.fetchone()
    if row is None:
        raise Lost
    return Standing(cancel_requested=row[0], unwatched=row[1])


def held(job: Job) -> Job:
    """For a transaction: locks the row, and its parent's, while this attempt holds it."""
    current = lock_family(job.pk)
    if current.attempt != job.attempt or current.state != JobState.RUNNING:
        raise Lost
    return current


@transaction.atomic
def plan(job: Job, children: list[Child]) -> None:
    """Gives the job its children; it waits for them, or goes straight on where there are none."""
    current = held(job)
    add_children(current, children)
    _leave(current, JobState.WAITING if children else JobState.QUEUED, planned=True)
    if not children:
        transaction.on_commit(partial(doorbell.ring, job))


@transaction.atomic
def finish(job: Job, tail: Tail, result: Any) -> None:
    current = held(job)
    total = job.total or job.done
    _end(current, JobState.DONE, text=tail.onto(current.text), result=result, done=total, total=total, unit=job.unit)


@transaction.atomic
def cancelled(job: Job, tail: Tail, why: str = "") -> None:
    current = held(job)
    _end(current, JobState.CANCELLED, text=tail.onto(current.text), message=why or current.message)


@transaction.atomic
def give_back(job: Job) -> None:
    """The worker is asked to stop: the job is queued again, as if it had not been claimed."""
    current = held(job)
    _leave(current, JobState.QUEUED)
    transaction.on_commit(partial(doorbell.ring, job))


@transaction.atomic
def fail(job: Job, error: str, traceback: str = "", *, for_good: bool = False, tail: Tail = NO_TAIL) -> None:
    """A failure: queued again after a pause, parked after the last one that is allowed."""
    current = held(job)
    current.failures += 1
    current.error = plain(error)
    current.traceback = plain(traceback)
    current.text = tail.onto(current.text)
    if current.cancel_requested:
        _end(current, JobState.CANCELLED)
    elif for_good or current.failures >= settings.JOB_FAILURES:
        _end(current, JobState.FAILED)
    else:
        sweep = timedelta(seconds=settings.JOB_SWEEP)
        pause = sweep * current.failures
        # The sweeper rings one sweep after rung_at, which is when the pause is over.
        _leave(current, JobState.QUEUED, not_before=Now() + pause, rung_at=Now() + pause - sweep)


def _leave(job: Job, state: JobState, **changes: Any) -> None:
    """Gives the job up without ending it."""
    fresh = {"lease_until": None, "worker": "", "rings": 0, "rung_at": Now(), "not_before": Now()}
    _write(job, state=state, **fresh | changes)


def _end(job: Job, state: JobState, **changes: Any) -> None:
    _write(job, state=state, lease_until=None, finished_at=Now(), **changes)
    if job.parent_id:
        if state == JobState.FAILED:  # the whole cannot succeed any more: spare the work
            cancel_children(Job.objects.get(pk=job.parent_id))
        settle(job.parent_id)


def _write(job: Job, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(job, name, value)
    job.save()
    job.refresh_from_db()
    publish_progress(job)
