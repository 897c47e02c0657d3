import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import api_tokens
from explorer.actions.accounts import set_role
from explorer.models import ApiToken, Bucket, Job
from explorer.models.access import Role, Scope
from explorer.models.jobs import JobState

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"
UNAUTHORIZED = {"type": "about:blank", "title": "Unauthorized", "status": 401,
                "detail": "A token or a session is wanted."}  # fmt: skip
FORBIDDEN = {"type": "about:blank", "title": "Forbidden", "status": 403,
             "detail": "This token or account may not do that."}  # fmt: skip


def bearing(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def token_of(user: User, *scopes: Scope) -> str:
    return api_tokens.make(user, "test", scopes, timedelta(days=1))[1]


def started_by(user: User, state: JobState = JobState.QUEUED) -> Job:
    return Job.objects.create(kind="test_count", queue="batch", created_by=user, state=state)


def told(answer: Any) -> tuple[int, str, Any]:
    return answer.status_code, answer.headers["Content-Type"], answer.json()


@pytest.mark.parametrize("fault", ["wrong", "unknown", "expired", "revoked", "closed", "empty", "odd", "basic", "none"])
def test_a_token_that_is_not_good_is_not_told_why(client: Client, viewer: User, fault: str) -> None:
    secret = token_of(viewer, Scope.READ)
    headers = bearing(secret)
    if fault == "wrong":
        headers = bearing(secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    elif fault == "unknown":
        headers = bearing("sae_" + "0" * 12 + "_" + "A" * 43)
    elif fault == "expired":
        ApiToken.objects.update(expires_at=Now())
    elif fault == "revoked":
        ApiToken.objects.update(revoked_at=Now())
    elif fault == "closed":
        User.objects.update(is_active=False)
    elif fault == "empty":
        headers = bearing("")
    elif fault == "odd":
        headers = bearing("é\x00 \x7f")
    elif fault == "basic":
        headers = {"authorization": f"Basic {secret}"}
    else:
        headers = {}
    answer = client.get("/api/v1/jobs", headers=headers)
    assert told(answer) == (401, PROBLEM, UNAUTHORIZED)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_bad_token_is_not_made_good_by_a_session(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    assert client.get("/api/v1/jobs", headers=bearing("sae_nonsense")).status_code == 401


def test_a_token_for_reading_changes_nothing(client: Client, viewer: User) -> None:
    job = started_by(viewer)
    answer = client.post(f"/api/v1/jobs/{job.pk}/cancel", headers=bearing(token_of(viewer, Scope.READ)))
    assert told(answer) == (403, PROBLEM, FORBIDDEN)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_token_does_no_more_than_its_owner_may(client: Client, viewer: User) -> None:
    headers = bearing(token_of(viewer, Scope.READ, Scope.WRITE))
    assert told(client.post("/api/v1/jobs/diagnose", headers=headers)) == (403, PROBLEM, FORBIDDEN)
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    answer = client.post("/api/v1/jobs/diagnose", headers=headers)
    job = Job.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/api/v1/jobs/{job.pk}")
    assert (answer.json()["kind"], answer.json()["created_by"]) == ("diagnose", "viewer")
    set_role(viewer.pk, Role.VIEWER, by=viewer)
    assert client.post("/api/v1/jobs/diagnose", headers=headers).status_code == 403


def test_a_session_needs_the_token_of_its_forms(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(viewer)
    job = started_by(viewer)
    path = f"/api/v1/jobs/{job.pk}/cancel"
    assert client.get("/api/v1/jobs").status_code == 200
    assert told(client.post(path)) == (403, PROBLEM, FORBIDDEN)
    assert told(client.post(path, headers={"origin": "https://evil.example"})) == (403, PROBLEM, FORBIDDEN)
    client.get("/account/")
    csrf = client.cookies[next(name for name in client.cookies if "csrf" in name)].value
    assert client.post(path, headers={"x-csrftoken": csrf, "origin": "http://testserver"}).status_code == 200


def test_a_token_needs_no_form(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    job = started_by(viewer)
    headers = bearing(token_of(viewer, Scope.READ, Scope.WRITE))
    answer = client.post(f"/api/v1/jobs/{job.pk}/cancel", headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


def test_who_one_is(client: Client, viewer: User, settings: Settings) -> None:
    expires = client.get("/api/v1/me", headers=bearing(token_of(viewer, Scope.READ))).json().pop("token_expires")
    assert expires.startswith(ApiToken.objects.get().expires_at.strftime("%Y-%m-%dT%H:%M:%S"))
    client.force_login(viewer)
    me = {"name": "viewer", "role": "viewer", "scopes": ["read", "write"], "token_expires": None}
    assert client.get("/api/v1/me").json() == me
    client.logout()
    settings.OPEN_READING = True
    assert client.get("/api/v1/me").json() == me | {"name": "", "role": "visitor"}


def test_a_job(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    parent = Job.objects.create(kind="test_plan", queue="batch", state=JobState.WAITING)
    parts = [Job.objects.create(kind="test_part", queue="batch", parent=parent, total=10, done=i) for i in (1, 4)]
    found = client.get(f"/api/v1/jobs/{parent.pk}").json()
    assert (found["done"], found["total"], found["parts"]) == (5, 20, [part.pk for part in parts])
    assert (found["parent"], found["created_by"], found["page"]) == (None, None, f"/jobs/{parent.pk}/")
    assert client.get(f"/api/v1/jobs/{parts[0].pk}").json()["parent"] == parent.pk


def test_pages_go_on_where_the_one_before_ended(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    jobs = [started_by(viewer).pk for _ in range(7)]
    seen: list[list[int]] = []
    after: dict[str, str] = {}
    while after != {"after": None}:
        page = client.get("/api/v1/jobs", {"limit": "3", **after}).json()
        seen.append([job["id"] for job in page["items"]])
        after = {"after": page["next"]}
        started_by(viewer)  # what is added meanwhile moves nothing
    assert seen == [jobs[:3:-1], jobs[3:0:-1], jobs[:1]]


def test_the_same_filter_as_the_page(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    started_by(viewer)
    failed = started_by(viewer, JobState.FAILED)
    found = client.get("/api/v1/jobs?state=failed").json()
    assert ([job["id"] for job in found["items"]], found["next"]) == ([failed.pk], None)


@pytest.mark.parametrize(
    ("query", "where"),
    [("state=nonsense", "state"), ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"),
     ("after=MQ==", "after")],
)  # fmt: skip
def test_what_is_not_as_described(client: Client, viewer: User, query: str, where: str) -> None:
    client.force_login(viewer)
    answer = client.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["where"][0], error["where"][-1]) == ("query", where)
    assert error["message"]


@pytest.mark.parametrize("after", ["", "x", "0", "-1", "1.5", " 1", "1\n", "\x00", "٣", "9" * 19, "1,2"])
def test_places_that_no_page_gave(client: Client, viewer: User, after: str) -> None:
    client.force_login(viewer)
    answer = client.get("/api/v1/jobs", {"after": after})
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM)


ODD_IDS = ["0", "999", f"{10**17}", f"{10**30}", "-1", "1%00", "..%2f..%2fetc", "1%5c", "1/nothing", "%23", "%3f"]


@pytest.mark.parametrize("path", ["nothing", "%2e%2e/", *(f"jobs/{odd}" for odd in ODD_IDS)])
def test_what_is_not_there(client: Client, viewer: User, path: str) -> None:
    client.force_login(viewer)
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code in (404, 422)
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json()["status"] == answer.status_code


def test_what_cannot_be_is_a_conflict(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    job = started_by(viewer, JobState.DONE)
    status, kind, found = told(client.post(f"/api/v1/jobs/{job.pk}/cancel"))
    assert (status, kind, found["detail"]) == (409, PROBLEM, "This job has already ended (done).")
    assert client.post(f"/api/v1/jobs/{job.pk}/retry").status_code == 409


def test_a_foreign_host_is_told_in_the_same_shape(client: Client) -> None:
    answer = client.get("/api/v1/me", headers={"host": "evil.example"})
    assert told(answer) == (400, PROBLEM, {"type": "about:blank", "title": "Bad Request", "status": 400})


def test_everyone_has_their_own_rate(client: Client, viewer: User, admin: User, settings: Settings) -> None:
    settings.API_RATE = 3
    headers = bearing(token_of(viewer, Scope.READ))
    assert [client.get("/api/v1/me", headers=headers).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get("/api/v1/me", headers=headers)
    assert (refused.headers["Content-Type"], refused.json()["status"]) == (PROBLEM, 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 20
    assert client.get("/api/v1/me", headers=bearing(token_of(admin, Scope.READ))).status_code == 200
    # Bad tokens are counted by where they come from.
    bad = [client.get("/api/v1/me", headers=bearing("nonsense")).status_code for _ in range(4)]
    assert bad == [401, 401, 401, 429]
    assert Bucket.objects.count() == 3


def test_a_list_takes_as_many_queries_for_three_as_for_one(
    client: Client, viewer: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(viewer)
    for count in (1, 2):
        for _ in range(count):
            started_by(viewer)
        with django_assert_num_queries(4):  # session, user, rate, jobs
            client.get("/api/v1/jobs")


def test_the_description_says_who_may_do_what(client: Client) -> None:
    schema = json.loads(client.get("/api/v1/openapi.json").content)
    operation = schema["paths"]["/api/v1/jobs/diagnose"]["post"]
    assert (operation["x-role"], operation["x-scope"]) == ("researcher", "write")
    assert set(operation["responses"]) == {"202", "401", "403", "422", "429", "default"}


def test_the_guide_names_every_operation(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    page = client.get("/api/").content.decode()
    for path, operations in json.loads(client.get("/api/v1/openapi.json").content)["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}" in page
