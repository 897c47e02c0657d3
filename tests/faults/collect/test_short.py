"""Faults 9 and 14: a worker for which the disk, or memory, does not do, by limits that the system puts on it."""

import resource

import psutil
import pytest
from django.conf import settings

from explorer.actions import jobs
from explorer.models import Artifact, Collection
from explorer.models.jobs import JobState
from tests.faults.collect.ground import PARTS, Ground, ended, holds, nothing_over, partitions
from tests.processes import Process, Workers
from tests.work.added import Added

pytestmark = pytest.mark.slow
MIB = 1 << 20


def limit(worker: Process, what: int, at: int = resource.RLIM_INFINITY) -> None:
    resource.prlimit(worker.popen.pid, what, (at, resource.RLIM_INFINITY))


def test_a_full_disk(workers: Workers, added: Added, ground: Ground) -> None:
    """Fault 9: while a part is written, then while the evidence is; with room again it goes on from what there is."""
    worker = workers.start()
    tables, files = partitions(), set(Artifact.objects.values_list("pk", flat=True))
    limit(worker, resource.RLIMIT_FSIZE, ground.part_bytes // 2)
    job = jobs.start("collect", added.arguments(parts=PARTS))
    failed = ended(job)
    assert (failed.state, failed.failures) == (JobState.FAILED, 0)
    assert failed.error.startswith("Part ")
    assert "File too large" in failed.error
    assert set(Artifact.objects.values_list("pk", flat=True)) == files
    nothing_over()

    limit(worker, resource.RLIMIT_FSIZE, ground.evidence_bytes - 1)
    failed = ended(jobs.retry(job.pk))
    assert (failed.state, failed.failures) == (JobState.FAILED, 1)
    assert "File too large" in failed.error
    assert set(job.children.values_list("state", flat=True)) == {JobState.DONE}
    assert not Collection.objects.exists()
    assert partitions() == tables

    read = dict(job.children.values_list("pk", "attempt"))
    limit(worker, resource.RLIMIT_FSIZE)
    jobs.retry(job.pk)
    holds(job, ground.evidence)
    assert dict(job.children.values_list("pk", "attempt")) == read


def test_want_of_memory(workers: Workers, added: Added, ground: Ground) -> None:
    """Fault 14: the job says so, the worker serves the next, and with memory again the job succeeds."""
    worker = workers.start()
    opened = ended(jobs.start("test_open", {"sae": added.saes[0].pk}))
    assert opened.state == JobState.DONE, opened.error
    limit(worker, resource.RLIMIT_AS, psutil.Process(worker.popen.pid).memory_info().vms + 4 * MIB)
    job = jobs.start("collect", added.arguments(parts=PARTS))
    failed = ended(job)
    assert failed.state == JobState.FAILED
    assert "There is not enough memory for this" in failed.error
    assert list(job.children.filter(state=JobState.FAILED).values_list("failures", flat=True)) == [1]
    assert list(settings.PLACES.scratch.iterdir()) == []

    following = jobs.start("test_count", {"n": 3})
    assert ended(following).result == {"sum": 6}
    assert worker.popen.poll() is None
    limit(worker, resource.RLIMIT_AS)
    jobs.retry(job.pk)
    holds(job, ground.evidence)
