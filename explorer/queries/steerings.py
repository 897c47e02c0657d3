"""Steerings, and what of features their strength is measured by."""

from explorer.models import Activity, Job, Sae, Steering
from explorer.models.jobs import UNFINISHED, JobState
from explorer.queries import library


def steering(key: str) -> Steering | None:
    return Steering.objects.select_related("job", "created_by").filter(key=key).first()


def activity(sae: Sae, index: int) -> Activity | None:
    """`sae` as queries.library gives it."""
    collection = library.newest(sae)
    return Activity.objects.filter(collection=collection, index=index).first() if collection else None


def under_way(who: str) -> int:
    return Steering.objects.filter(who=who, job__state__in=UNFINISHED).count()


def waiting() -> int:
    return Job.objects.filter(kind="steer", state=JobState.QUEUED).count()
