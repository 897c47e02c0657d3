"""The demo, which fills an empty library once: what somebody has removed does not come back."""

from explorer.actions import jobs
from explorer.models import Job

KIND = "demo"


def start_once() -> None:
    if not Job.objects.filter(kind=KIND).exists():
        jobs.start(KIND)
