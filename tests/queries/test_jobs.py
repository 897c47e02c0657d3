import pytest
from pytest_django import DjangoAssertNumQueries

from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.queries import jobs as job_queries

pytestmark = pytest.mark.django_db


def parent_of(*children: tuple[JobState, int, int]) -> Job:
    parent = Job.objects.create(kind="test_parts", queue="batch", state=JobState.WAITING, planned=True)
    for state, done, total in children:
        Job.objects.create(
            kind="test_part", queue="batch", state=state, parent=parent, done=done, total=total, unit="tokens"
        )
    return parent


def progress(parent: Job) -> tuple[int, int, str]:
    found = job_queries.detail(parent.pk)
    assert found
    return found.done, found.total, found.unit


def test_a_waiting_job_is_as_far_as_its_parts() -> None:
    parent = parent_of((JobState.DONE, 100, 100), (JobState.CANCELLED, 30, 100), (JobState.QUEUED, 0, 50))
    assert progress(parent) == (130, 250, "tokens")


def test_parts_of_unknown_size_are_counted() -> None:
    parent = parent_of((JobState.DONE, 100, 100), (JobState.QUEUED, 0, 0), (JobState.QUEUED, 0, 0))
    assert progress(parent) == (1, 3, "parts")


def test_a_page_of_jobs_takes_as_many_queries_for_many_as_for_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for expected in (1, 3):
        parent_of((JobState.QUEUED, 0, 5))
        if expected == 3:
            parent_of((JobState.QUEUED, 0, 5))
        with django_assert_num_queries(2):
            assert len(job_queries.listing().jobs) == expected


def test_older_jobs_are_a_page_away() -> None:
    Job.objects.bulk_create(Job(kind="test_count", queue="batch") for _ in range(job_queries.PAGE + 2))
    first = job_queries.listing()
    assert first.older == first.jobs[-1].pk
    second = job_queries.listing(below=first.older)
    assert (len(second.jobs), second.older) == (2, None)
    assert {job.pk for job in first.jobs} | {job.pk for job in second.jobs} == set(
        Job.objects.values_list("pk", flat=True)
    )


def test_a_state_is_filtered_by_itself() -> None:
    parent = parent_of((JobState.QUEUED, 0, 5))
    assert [job.pk for job in job_queries.listing("waiting").jobs] == [parent.pk]
    assert job_queries.listing("queued").jobs == []
