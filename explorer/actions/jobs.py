"""What people and pages do with jobs: start, cancel, retry, keep watching."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least, Now

from explorer import doorbell, kinds
from explorer.events import publish_progress
from explorer.models import Job
from explorer.models.jobs import UNFINISHED, JobState

# How long a watched job goes on after the last stream that showed it has gone: until each stream's
# next renewal (WATCH_RENEWAL) could have come, and at first until a page could have opened one.
WATCH_LEASE = timedelta(seconds=1.4)
WATCH_RENEWAL = 0.6
WATCH_LEFT = timedelta(seconds=0.8)
WATCH_OPENING = timedelta(seconds=15)
AT_ONCE = timedelta()


@dataclass(frozen=True)
class Child:
    """A job that a plan asks for."""

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    total: int = 0
    unit: str = ""


class NotPossible(Exception):
    """What was asked does not fit the job's state; the message is for the person who asked."""


def start(
    kind: str,
    arguments: dict[str, Any] | None = None,
    *,
    by: User | None = None,
    after: timedelta = AT_ONCE,
    watched: bool = True,
) -> Job:
    """Inserts the row and rings once it is committed. A lost ring is made good by the sweeper, who rings for what is
    to start later, too. Of a kind that ends when nobody looks, one that is not `watched` goes on."""
    known = kinds.get(kind)
    job = Job.objects.create(
        kind=kind,
        queue=known.queue,
        arguments=arguments or {},
        created_by=by,
        watched_until=Now() + WATCH_OPENING if known.watched and watched else None,
        not_before=Now() + after,
    )
    if not after:
        transaction.on_commit(partial(doorbell.ring, job))
    return job


def add_children(parent: Job, children: Iterable[Child]) -> list[Job]:
    """For a plan's transaction: the rows of the children, rung for when it commits."""
    made = Job.objects.bulk_create(
        Job(
            kind=child.kind,
            queue=kinds.get(child.kind).queue,
            arguments=child.arguments,
            total=child.total,
            unit=child.unit,
            parent=parent,
            created_by_id=parent.created_by_id,
        )
        for child in children
    )
    transaction.on_commit(partial(doorbell.ring, *made))
    return made


@transaction.atomic
def cancel(job_id: int) -> Job:
    """Queued jobs end at once; running ones when their body next looks, which is between two batches."""
    job = lock_family(job_id)
    if not job.unfinished:
        raise NotPossible(f"This job has already ended ({job.get_state_display().lower()}).")
    cancel_children(job)
    Job.objects.filter(pk=job_id, state__in=UNFINISHED).update(cancel_requested=True)
    Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(state=JobState.CANCELLED, finished_at=Now())
    job.refresh_from_db()
    publish_progress(job)
    settle(job.pk)
    if job.parent_id and not job.unfinished:
        settle(job.parent_id)
    job.refresh_from_db()
    return job


@transaction.atomic
def retry(job_id: int) -> Job:
    """Queues a failed or cancelled job again. Of a planned one the children that are done stay done."""
    job = lock_family(job_id)
    if job.parent_id:
        return retry(job.parent_id)
    if not job.retryable:
        raise NotPossible(f"Only a failed or cancelled job can be retried; this one is {job.state}.")
    again = {
        "failures": 0,
        "cancel_requested": False,
        "error": "",
        "traceback": "",
        "message": "",
        "started_at": None,
        "finished_at": None,
        "not_before": Now(),
        "rung_at": Now(),
        "rings": 0,
        "watched_until": Now() + WATCH_OPENING if kinds.get(job.kind).watched else None,
    }
    ended = job.children.filter(state__in=(JobState.FAILED, JobState.CANCELLED))
    to_ring = list(ended) or [job]
    ended.update(**again | {"state": JobState.QUEUED, "watched_until": None})
    state = JobState.WAITING if job.children.filter(state__in=UNFINISHED).exists() else JobState.QUEUED
    Job.objects.filter(pk=job_id).update(**again | {"state": state})
    transaction.on_commit(partial(doorbell.ring, *to_ring))
    job.refresh_from_db()
    publish_progress(job)
    return job


def keep_watching(job_ids: Iterable[int]) -> None:
    """A stream shows these jobs; those of a watched kind may go on."""
    watched = Job.objects.filter(pk__in=list(job_ids), state__in=UNFINISHED, watched_until__isnull=False)
    watched.update(watched_until=Now() + WATCH_LEASE)


def stop_watching(job_ids: Iterable[int]) -> None:
    """A stream was closed. Others that show the same job renew before this runs out."""
    watched = Job.objects.filter(pk__in=list(job_ids), state__in=UNFINISHED, watched_until__isnull=False)
    watched.update(watched_until=Least(F("watched_until"), Now() + WATCH_LEFT))


def lock_family(job_id: int) -> Job:
    """Locks a job, its parent before it: one order for everyone, or two workers wait for each other."""
    parent_id = Job.objects.values_list("parent_id", flat=True).get(pk=job_id)
    if parent_id:
        Job.objects.select_for_update().get(pk=parent_id)
    return Job.objects.select_for_update().get(pk=job_id)


def cancel_children(parent: Job) -> None:
    unfinished = parent.children.filter(state__in=UNFINISHED)
    unfinished.update(cancel_requested=True)
    parent.children.filter(state=JobState.QUEUED).update(state=JobState.CANCELLED, finished_at=Now())


def settle(parent_id: int) -> None:
    """Moves a waiting parent on once its last child has ended; the caller holds the parent's lock.

    Whoever ends a child calls this in the same transaction. Of two that end at once the second waits
    for the lock and then sees both.
    """
    parent = Job.objects.select_for_update().get(pk=parent_id)
    if parent.state != JobState.WAITING or parent.children.filter(state__in=UNFINISHED).exists():
        return
    failed = parent.children.filter(state=JobState.FAILED).order_by("pk").first()
    parent.not_before = parent.rung_at = Now()
    parent.rings = 0
    if parent.cancel_requested:
        parent.state, parent.finished_at = JobState.CANCELLED, Now()
    elif failed:
        parent.state, parent.finished_at = JobState.FAILED, Now()
        parent.error = f"Part {failed.pk} of this job failed: {failed.error}"
    elif parent.children.filter(state=JobState.CANCELLED).exists():
        parent.state, parent.finished_at = JobState.CANCELLED, Now()
    else:
        parent.state = JobState.QUEUED
        transaction.on_commit(partial(doorbell.ring, parent))
    parent.save()
    parent.refresh_from_db()
    publish_progress(parent)
