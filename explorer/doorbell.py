"""Ringing for a worker: one Celery message with a job's id, sent by task name."""

import logging

from explorer.celery_app import app
from explorer.models import Job

log = logging.getLogger(__name__)


def ring(*jobs: Job) -> bool:
    """False when the broker is away; the sweeper rings again, so nothing is lost and nobody waits."""
    return all(_ring(job.pk, job.queue) for job in jobs)


def _ring(job_id: int, queue: str) -> bool:
    try:
        app.send_task("explorer.run_job", args=[job_id], queue=queue)
    except Exception as wrong:  # each transport raises its own, and none of them may cost the row
        log.warning("job %s: the broker took no message (%s); the sweeper will ring", job_id, wrong)
        return False
    return True
