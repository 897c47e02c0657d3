"""Jobs that jobs start."""

from datetime import timedelta
from typing import Any

from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import UNFINISHED
from explorer.work.attempt import Attempt

BEHIND = timedelta(seconds=1)  # the parts of what was started just now


def start_or_find(attempt: Attempt, kind: str, arguments: dict[str, Any], after: timedelta = jobs.AT_ONCE) -> int:
    """A stale attempt starts nothing, and what one before this has started goes on."""
    with attempt.transaction():
        under_way = Job.objects.filter(kind=kind, arguments=arguments, state__in=UNFINISHED).first()
        return (under_way or jobs.start(kind, arguments, by=attempt.job.created_by, after=after)).pk
