"""Making good what was lost: workers that died with their jobs, messages that never arrived."""

from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Least, Now, Power

from explorer import doorbell
from explorer.actions import attempts, limits
from explorer.actions.jobs import cancel as cancel_job
from explorer.models import Job
from explorer.models.jobs import JobState

ADVISORY_LOCK = 0x5AE  # any number; one sweeper at a time is enough
IN_VAIN = 3  # rings; a busy worker may have fetched the first ahead of its turn
LONGEST_SILENCE = 300.0  # seconds between two rings for a job that waits in a long queue
AT_ONCE = 200

DIED = "The worker stopped answering while it had this job: it was killed, or ran out of memory."


def sweep() -> None:
    with transaction.atomic():
        if not _alone():
            return
        _requeue_expired()
        _cancel_unwatched()
        limits.forget_full()
        due = list(_due_for_a_ring())
    for job in due:
        if not doorbell.ring(job):
            return  # the broker is away; the next sweep tries again
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(rung_at=Now(), rings=F("rings") + 1)


def rung_in_vain(queues: tuple[str, ...], silence: float) -> bool:
    """Whether a queued job was rung for again and again within so many seconds, the last time a sweep ago or more."""
    sweep_ago, silence_began = timedelta(seconds=settings.JOB_SWEEP), timedelta(seconds=silence)
    waiting = Job.objects.filter(state=JobState.QUEUED, queue__in=queues, rings__gte=IN_VAIN, not_before__lte=Now())
    return waiting.filter(rung_at__lt=Now() - sweep_ago, rung_at__gt=Now() - silence_began).exists()


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        return bool(cursor.fetchone()[0])


def _requeue_expired() -> None:
    for job in Job.objects.filter(state=JobState.RUNNING, lease_until__lt=Now()).order_by("pk")[:AT_ONCE]:
        try:
            with transaction.atomic():
                current = attempts.held(job)
                if Job.objects.filter(pk=job.pk, lease_until__lt=Now()).exists():  # not renewed meanwhile
                    attempts.fail(current, DIED)
        except attempts.Lost:
            continue


def _cancel_unwatched() -> None:
    unwatched = Job.objects.filter(state=JobState.QUEUED, watched_until__lt=Now())
    for job_id in unwatched.values_list("pk", flat=True)[:AT_ONCE]:
        cancel_job(job_id)


def _due_for_a_ring() -> list[Job]:
    """Queued jobs that nobody came for, asked again ever more rarely: most of them merely wait their turn."""
    silence = ExpressionWrapper(
        Least(Value(LONGEST_SILENCE), settings.JOB_SWEEP * Power(Value(2.0), F("rings"))) * Value(timedelta(seconds=1)),
        output_field=DurationField(),
    )
    queued = Job.objects.filter(state=JobState.QUEUED, not_before__lte=Now(), cancel_requested=False)
    return list(
        queued.annotate(silence=silence).filter(rung_at__lte=Now() - F("silence")).order_by("rung_at")[:AT_ONCE]
    )
