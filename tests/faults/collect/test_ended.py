"""Cancelled, its SAE taken away, or made to wait for others: nothing is half-loaded, and no page is held up."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from explorer.actions import attempts, collections, jobs
from explorer.models import Artifact, Collection, Job
from explorer.models.jobs import JobState
from explorer.queries import features, library
from explorer.work.collect import PART
from tests.faults.collect.ground import PARTS, Ground, ended, holds, in_the_midst, nothing_over, of, partitions
from tests.processes import Workers, environment, until
from tests.work.added import Added

pytestmark = pytest.mark.slow
FEW = {"contexts": 300, "parts": 2}  # contexts, for what does not look at the parts


@contextmanager
def in_the_midst_of_loading() -> Iterator[None]:
    """Waits until rows are there, in a transaction that is under way, and keeps it from going on for a while."""
    with psycopg.connect(environment(None)["DATABASE_URL"]) as other:
        other.execute("LOCK TABLE explorer_tokenindex IN ACCESS EXCLUSIVE MODE")
        waiting = "SELECT FROM pg_locks WHERE relation = 'explorer_tokenindex'::regclass AND NOT granted"
        until(lambda: other.execute(waiting).rowcount, within=90)
        yield


def test_cancelled_in_whatever_phase_it_leaves_nothing(workers: Workers, added: Added) -> None:
    before, files = partitions(), set(Artifact.objects.values_list("pk", flat=True))

    def nothing_of(job: Job) -> None:
        assert ended(job).state == JobState.CANCELLED
        assert not Collection.objects.exists()
        assert partitions() == before
        assert set(Artifact.objects.exclude(media_type=PART).values_list("pk", flat=True)) == files

    queued = jobs.start("collect", added.arguments(parts=PARTS))
    jobs.cancel(queued.pk)
    nothing_of(queued)

    workers.start()
    reading = jobs.start("collect", added.arguments(parts=PARTS))
    in_the_midst(reading, whole=1)
    jobs.cancel(reading.pk)
    nothing_of(reading)
    assert set(reading.children.values_list("state", flat=True)) == {JobState.DONE, JobState.CANCELLED}

    merging = jobs.start("collect", added.arguments(**FEW))
    until(lambda: Job.objects.filter(pk=merging.pk, state=JobState.RUNNING, planned=True).exists(), within=90)
    jobs.cancel(merging.pk)
    nothing_of(merging)

    loaded = jobs.start("collect", added.arguments(**FEW))
    with in_the_midst_of_loading():
        jobs.cancel(loaded.pk)
    nothing_of(loaded)

    following = ended(jobs.start("collect", added.arguments(**FEW)))
    assert following.state == JobState.DONE, following.error
    assert partitions() == of(Collection.objects.get())
    nothing_over()


def test_what_is_taken_away_is_not_collected(workers: Workers, added: Added) -> None:
    (sae,) = added.saes
    workers.start()
    job = jobs.start("collect", added.arguments(parts=PARTS))
    in_the_midst(job, whole=1)
    collections.remove_sae(sae.pk)
    failed = ended(job)
    assert failed.state == JobState.FAILED
    assert failed.error.endswith(": An SAE that this was about has been removed.")
    assert partitions() == {f"explorer_{table}_{added.corpus.pk}" for table in ("context", "document")}
    assert set(Artifact.objects.values_list("pk", flat=True)) >= set(added.corpus.files.values())

    collections.remove_corpus(added.corpus.pk)
    again = ended(jobs.retry(job.pk))
    assert again.error.endswith(": The corpus that this was to read has been removed.")
    assert partitions() == set()
    nothing_over()


def test_two_at_once_of_the_same(workers: Workers, added: Added, ground: Ground) -> None:
    """Two workers, two jobs: one collection, whichever is the last."""
    both = [workers.start(wait=False) for _ in range(2)]
    until(lambda: all(" ready." in each.said for each in both), within=90)
    first, second = (jobs.start("collect", added.arguments(parts=PARTS)) for _ in range(2))
    assert ended(second).state == JobState.DONE
    holds(first, ground.evidence)


def test_a_long_load_keeps_its_lease_and_holds_up_no_page(workers: Workers, added: Added) -> None:
    """The older collection is there until the new one is, whole; nobody takes the job for dead."""
    workers.start()
    assert ended(jobs.start("collect", added.arguments(**FEW))).state == JobState.DONE
    old = Collection.objects.get()
    job = jobs.start("collect", added.arguments(**FEW))
    with in_the_midst_of_loading():
        lease = Job.objects.values_list("lease_until", flat=True).get(pk=job.pk)
        assert lease
        sae = library.sae(added.saes[0].slug)
        assert sae
        page = features.feature(sae, 5)
        assert page
        assert page.collection == old
        assert page.examples
        # Renewed for longer than it was given for at first.
        until(lambda: Job.objects.filter(pk=job.pk, lease_until__gt=lease + attempts.lease()).exists())
    done = ended(job)
    assert (done.state, done.failures, done.attempt) == (JobState.DONE, 0, 2)
    assert Collection.objects.get() != old
    assert partitions() == of(Collection.objects.get())
    nothing_over()
