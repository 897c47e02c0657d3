"""Steering by the API: started within what everybody is allowed, looked at by its key."""

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from explorer.actions import steerings
from explorer.actions.accounts import set_role
from explorer.actions.limits import TooMany
from explorer.models import Job, LanguageModel, Sae, Steering
from explorer.models.access import Role
from explorer.models.jobs import JobState
from explorer.steering import Asked
from tests.explored import SILENT, Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/steerings"


@pytest.fixture
def steering(client: Client, viewer: User) -> Client:
    client.force_login(viewer)
    return client


def sent(explored: Explored, **options: Any) -> dict[str, Any]:
    change = {"sae": explored.sae.slug, "index": 5, "method": "add", "strength": 2.0}
    return {"prompt": "Once upon a time", "changes": [change], "new_tokens": 8} | options


def post(client: Client, what: Any) -> Any:
    return client.post(ADDRESS, what, content_type="application/json")


def end(state: JobState = JobState.DONE) -> None:
    Job.objects.update(state=state)


def test_it_is_started_and_looked_at(steering: Client, viewer: User, explored: Explored) -> None:
    answer = post(
        steering, sent(explored, prompt="a\x00b", texts=[{"times": 0}, {"times": 1, "seed": 3, "control": 1}])
    )
    assert answer.status_code == 202, answer.content
    row = Steering.objects.get()
    assert row.job
    assert (row.job.kind, row.job.queue, row.job.created_by, row.job.watched_until) == (
        "steer",
        "interactive",
        viewer,
        None,
    )
    said = answer.json()
    assert said["address"] == f"{ADDRESS}/{row.key}"
    assert (said["key"], said["state"], said["result"]) == (row.key, "queued", None)
    assert said["events"] == f"/events/?job={row.job.pk}"
    asked = said["asked"]
    p99 = asked["changes"][0]["value"] / 2
    assert p99 > 0
    assert asked["prompt"] == "a\ufffdb"
    assert asked["lm"] == explored.sae.lm.fingerprint
    assert asked["texts"] == [
        {"times": 0, "seed": 0, "control": None, "prompted": False},
        {"times": 1, "seed": 3, "control": 1, "prompted": False},
    ]

    Steering.objects.update(result={"texts": []})
    end()
    looked_at = steering.get(said["address"]).json()
    assert (looked_at["state"], looked_at["result"], looked_at["events"]) == ("done", {"texts": []}, None)
    assert looked_at["asked"] == asked


def test_what_is_wrong_is_told_at_its_field_and_nothing_queued(steering: Client, explored: Explored) -> None:
    other_lm = LanguageModel.objects.create(
        slug="other", name="other", source="x", fingerprint="1" * 64, kind="gpt2", n_layers=1, d_model=1, n_vocab=1
    )
    about = {"hookpoint": "x", "family": "relu", "d_in": 1, "d_out": 1, "n_latents": 99, "config": {}}
    Sae.objects.create(slug="of-another", name="of another", lm=other_lm, fingerprint="2" * 64, **about)
    change = sent(explored)["changes"][0]
    foreign = change | {"sae": "of-another", "unit": "raw"}
    for where, what in (
        (["changes", 0, "index"], {"changes": [change | {"index": 37}]}),
        (["changes", 0, "strength"], {"changes": [change | {"strength": 51}]}),
        (["changes", 0, "unit"], {"changes": [change | {"index": SILENT}]}),
        (["changes", 1, "sae"], {"changes": [change, foreign]}),
        (["changes", 1, "index"], {"changes": [change, change | {"method": "clamp"}]}),
        (["changes", 0, "method"], {"changes": [change | {"method": "multiply"}]}),
        (["changes", 0, "strengh"], {"changes": [change | {"strengh": 3}]}),
        (["changes"], {"changes": []}),
        (["prompt"], {"prompt": "  "}),
        (["prompt"], {"prompt": "x" * 4_001}),
        (["instruction"], {"texts": [{"prompted": True}]}),
        (["instruction"], {"instruction": "x" * 4_001}),
        (["texts"], {"texts": []}),
        (["texts"], {"texts": [{}] * 9}),
        (["texts", 0, "seed"], {"texts": [{"seed": -1}]}),
        (["sampling", "temperature"], {"sampling": {"temperature": 11}}),
        (["new_tokens"], {"new_tokens": 65}),
    ):
        answer = post(steering, sent(explored, **what))
        assert answer.status_code == 422, what
        (error,) = answer.json()["errors"]
        assert error["where"][2:] == where, answer.json()
        assert error["message"]
    assert post(steering, sent(explored, changes=[change | {"sae": "none-such"}])).status_code == 404
    assert not Steering.objects.exists()
    assert not Job.objects.exists()


def test_one_at_a_time_but_for_researchers(steering: Client, viewer: User, explored: Explored) -> None:
    assert post(steering, sent(explored)).status_code == 202
    again = post(steering, sent(explored))
    assert (again.status_code, again.headers["Retry-After"]) == (429, "2")
    end()
    assert post(steering, sent(explored)).status_code == 202
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    assert post(steering, sent(explored, new_tokens=256)).status_code == 202
    assert Steering.objects.count() == 3


def test_nobody_waits_for_what_another_steers(steering: Client, explored: Explored) -> None:
    assert post(steering, sent(explored)).status_code == 202
    other = Client()
    other.force_login(User.objects.create_user("another"))
    assert post(other, sent(explored)).status_code == 202
    assert post(other, sent(explored)).status_code == 429


def test_so_many_tokens_a_minute(steering: Client, explored: Explored, settings: Settings) -> None:
    settings.STEER_RATE = 60
    for _ in range(3):
        assert post(steering, sent(explored, new_tokens=10)).status_code == 202  # two texts of ten
        end()
    over = post(steering, sent(explored, new_tokens=10))
    assert over.status_code == 429
    assert 15 <= int(over.headers["Retry-After"]) <= 20
    assert post(steering, sent(explored, new_tokens=10, texts=[{}])).status_code == 429
    assert Steering.objects.count() == 3


def test_no_more_wait_than_there_is_room_for(
    steering: Client, client: Client, explored: Explored, settings: Settings, admin: User
) -> None:
    settings.STEER_QUEUE = 1
    assert post(steering, sent(explored)).status_code == 202
    other = Client()
    other.force_login(admin)
    full = post(other, sent(explored))
    assert (full.status_code, full.headers["Retry-After"]) == (429, "10")
    Job.objects.update(state=JobState.RUNNING, lease_until="2100-01-01T00:00:00Z")
    assert post(other, sent(explored)).status_code == 202


def test_nobody_who_has_not_signed_in(client: Client, explored: Explored) -> None:
    assert post(client, sent(explored)).status_code == 401
    assert client.get(f"{ADDRESS}/abc").status_code == 401


def test_there_is_none_of_that_key(steering: Client, explored: Explored) -> None:
    assert steering.get(f"{ADDRESS}/none-such").status_code == 404
    assert steering.get(f"{ADDRESS}/{'x' * 17}").status_code in (404, 422)


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_is_started(viewer: User, explored: Explored) -> None:
    asked = Asked.from_json(_asked_of(viewer, explored))
    outcomes: list[str] = []

    def start() -> None:
        try:
            steerings.start(asked, by=viewer, who="person 1", watched=False)
            outcomes.append("started")
        except TooMany:
            outcomes.append("one too many")
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(outcomes) == ["one too many"] * 5 + ["started"]


def _asked_of(viewer: User, explored: Explored) -> dict[str, Any]:
    client = Client()
    client.force_login(viewer)
    asked: dict[str, Any] = post(client, sent(explored)).json()["asked"]
    end()
    return asked
