import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("other")


def started_by(user: User, state: JobState = JobState.QUEUED, **fields: object) -> Job:
    return Job.objects.create(kind="test_count", queue="batch", created_by=user, state=state, **fields)


def test_who_started_a_job_may_cancel_it(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    job = started_by(viewer)
    assert client.post(f"/jobs/{job.pk}/cancel/").status_code == 302
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_others_may_look_and_not_touch(client: Client, viewer: User, other: User) -> None:
    client.force_login(other)
    job = started_by(viewer)
    page = client.get(f"/jobs/{job.pk}/")
    assert page.status_code == 200
    assert b"Cancel" not in page.content
    assert client.post(f"/jobs/{job.pk}/cancel/").status_code == 403
    job.refresh_from_db()
    assert (job.state, job.cancel_requested) == (JobState.QUEUED, False)


def test_an_administrator_may(client: Client, viewer: User, admin: User) -> None:
    client.force_login(admin)
    job = started_by(viewer, JobState.FAILED, failures=3, error="it failed")
    assert b"Retry" in client.get(f"/jobs/{job.pk}/").content
    client.post(f"/jobs/{job.pk}/retry/")
    job.refresh_from_db()
    assert (job.state, job.failures, job.error) == (JobState.QUEUED, 0, "")


def test_tracebacks_are_for_administrators(client: Client, viewer: User, admin: User) -> None:
    job = started_by(
        viewer, JobState.FAILED, error="ValueError: no", traceback="File secret.py", arguments={"prompt": "mine"}
    )
    for user, sees in ((viewer, False), (admin, True)):
        client.force_login(user)
        page = client.get(f"/jobs/{job.pk}/").content.decode()
        assert "ValueError: no" in page
        assert ("File secret.py" in page) is sees
        assert ("mine" in page) is sees


def test_what_cannot_be_is_said(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    job = started_by(viewer, JobState.DONE)
    for act, said in (("cancel", "already ended"), ("retry", "Only a failed or cancelled job can be retried")):
        page = client.post(f"/jobs/{job.pk}/{act}/", follow=True)
        assert said in page.content.decode()


def test_a_change_by_get_is_refused(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    job = started_by(viewer)
    assert client.get(f"/jobs/{job.pk}/cancel/").status_code == 405


def test_a_post_from_another_site_is_refused(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(viewer)
    job = started_by(viewer)
    answer = client.post(f"/jobs/{job.pk}/cancel/", headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert b"This form has expired" in answer.content


def test_a_foreign_host_is_refused(client: Client) -> None:
    assert client.get("/sign-in/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", [f"/jobs/{name}/" for name in ("0", 10**30, "1%00", "..%2f1", "1%5c", "-1")])
def test_jobs_that_are_not_there(client: Client, viewer: User, path: str) -> None:
    client.force_login(viewer)
    answer = client.get(path)
    assert answer.status_code == 404
    assert b"Back to the library" in answer.content


@pytest.mark.parametrize("query", ["state=nonsense", "below=x", "below=-1", f"below={10**30}", "state=%00", "state="])
def test_a_filter_that_is_none_shows_all(client: Client, viewer: User, query: str) -> None:
    client.force_login(viewer)
    job = started_by(viewer)
    page = client.get(f"/jobs/?{query}")
    assert page.status_code == 200
    assert f'data-job="{job.pk}"' in page.content.decode()


def test_what_a_job_says_is_escaped(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    evil = "<script>alert(1)</script>"
    job = started_by(viewer, JobState.FAILED, text=evil, message=evil, unit=evil[:32], error=evil, done=1)
    for path in (f"/jobs/{job.pk}/", f"/jobs/{job.pk}/row/", f"/jobs/{job.pk}/panel/", "/jobs/"):
        page = client.get(path).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_a_job_of_a_kind_that_is_gone_keeps_its_page(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    job = Job.objects.create(kind="of_an_older_release", queue="batch", state=JobState.DONE)
    assert b"of_an_older_release" in client.get(f"/jobs/{job.pk}/").content


def test_who_checks_the_installation_is_noted(client: Client, admin: User) -> None:
    client.force_login(admin)
    assert client.post("/jobs/diagnose/").status_code == 302
    assert Job.objects.values_list("kind", "created_by__username").get() == ("diagnose", "admin")


def test_a_list_takes_as_many_queries_for_three_as_for_one(
    client: Client, viewer: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(viewer)
    for count in (1, 2):
        for _ in range(count):
            started_by(viewer)
        with django_assert_num_queries(3):  # session, user, jobs
            client.get("/jobs/")


def test_an_unknown_kind_starts_nothing() -> None:
    with pytest.raises(LookupError, match=r"no kind of job is called 'nonsense'; there are .*diagnose"):
        jobs.start("nonsense")
    assert not Job.objects.exists()
