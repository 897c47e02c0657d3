"""Faults 1, 2 and 5 while an SAE is collected: the evidence is the same to the last byte, whoever read what."""

import signal

import pytest
from django.conf import settings

from explorer import doorbell
from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from tests.faults.collect.ground import PARTS, Ground, holds, in_the_midst
from tests.processes import Workers, until
from tests.work.added import Added

pytestmark = pytest.mark.slow


def attempts_of(job: Job) -> dict[int, int]:
    return dict(job.children.values_list("pk", "attempt"))


def test_another_worker_goes_on_from_the_last_whole_part(workers: Workers, added: Added, ground: Ground) -> None:
    """Fault 1: kill -9 in the middle of a part."""
    first = workers.start()
    job = jobs.start("collect", added.arguments(parts=PARTS))
    in_the_midst(job)
    first.send(signal.SIGKILL)
    first.popen.wait()
    at_work = set(job.children.filter(state=JobState.RUNNING).values_list("pk", flat=True))
    workers.start(wait=False)
    holds(job, ground.evidence)
    assert attempts_of(job) == {part: 2 if part in at_work else 1 for part in attempts_of(job)}


def test_two_workers_and_messages_that_come_twice(workers: Workers, added: Added, ground: Ground) -> None:
    """Fault 2: each part is read once, and what two have read is what one would have."""
    both = [workers.start(wait=False) for _ in range(2)]
    until(lambda: all(" ready." in each.said for each in both))
    job = jobs.start("collect", added.arguments(parts=PARTS))
    children = until(lambda: list(job.children.all()))
    assert doorbell.ring(job, *children, *children)
    holds(job, ground.evidence)
    assert set(attempts_of(job).values()) == {1}
    assert Job.objects.get(pk=job.pk).attempt == 2  # to plan, and to put together
    assert len(set(job.children.values_list("worker", flat=True))) == 2


def test_a_worker_that_is_asked_to_end_gives_its_part_back(workers: Workers, added: Added, ground: Ground) -> None:
    """Fault 5: SIGTERM. It is given back after the batch that is at work; had that been its last, it is done."""
    first = workers.start()
    job = jobs.start("collect", added.arguments(parts=PARTS))
    in_the_midst(job)
    assert first.end(within=10) == 0
    assert list(settings.PLACES.scratch.iterdir()) == []
    children = job.children.order_by("pk")
    assert set(children.values_list("state", "failures")) == {(JobState.DONE, 0), (JobState.QUEUED, 0)}
    given_back = {part.pk for part in children if part.state == JobState.QUEUED and part.attempt}
    workers.start(wait=False)
    holds(job, ground.evidence)
    assert attempts_of(job) == {part: 2 if part in given_back else 1 for part in attempts_of(job)}
