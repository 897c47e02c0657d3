"""Asking for a feature to be computed again, and what came out, beside what is stored."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import jobs
from explorer.actions.accounts import set_role
from explorer.actions.limits import Limit
from explorer.models import Job
from explorer.models.access import Role
from explorer.models.jobs import JobState
from explorer.views import recompute
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db
ROW: dict[str, object] = {"tokens": 16, "counted": 15, "stored": 1.5, "fresh": 1.25, "apart": 0.25, "apart_at": 3}


@pytest.fixture
def asking(client: Client, viewer: User, explored: Explored) -> Client:
    set_role(viewer.pk, Role.ANNOTATOR, by=viewer)
    client.force_login(viewer)
    return client


def started(explored: Explored, **changes: object) -> Job:
    asked = {"sae": explored.sae.slug, "collection": explored.collection.pk, "index": 5}
    return jobs.start("recompute", asked | changes)


def done(explored: Explored, examples: list[dict[str, object]]) -> str:
    said = {"formula": "f = max(h, 0)", "mask_ids": [0], "device": "cpu", "dtype": "float32", "program": "print('<b>')"}
    job = started(explored)
    Job.objects.filter(pk=job.pk).update(state=JobState.DONE, result=said | {"examples": examples})
    return f"{explored.page}features/5/recompute/{job.pk}/"


def test_it_is_asked_for_from_the_page(asking: Client, viewer: User, explored: Explored) -> None:
    address = f"{explored.page}features/5/recompute/"
    assert f'action="{address}"' in asking.get(f"{explored.page}features/5/").content.decode()
    answer = asking.post(address)
    job = Job.objects.get()
    assert answer.headers["Location"] == f"{address}{job.pk}/"
    assert (job.kind, job.queue, job.created_by) == ("recompute", "interactive", viewer)
    asked = {"sae": explored.sae.slug, "collection": explored.collection.pk, "index": 5}
    assert job.arguments == asked | {"examples": "top"}
    page = asking.get(answer.headers["Location"]).content.decode()
    assert f'data-live data-url="{answer.headers["Location"]}"' in page


@pytest.mark.parametrize("which", ["strip", "top", "intervals"])
def test_any_list_of_examples_may_be(asking: Client, explored: Explored, which: str) -> None:
    address = f"{explored.page}features/5/recompute/"
    assert f'name="examples" value="{which}"' in asking.get(f"{explored.page}features/5/").content.decode()
    asking.post(address, {"examples": which})
    assert Job.objects.get().arguments["examples"] == which


@pytest.mark.parametrize("which", ["near_misses", "\0", "top "])
def test_no_other_list_may_be(asking: Client, explored: Explored, which: str) -> None:
    assert asking.post(f"{explored.page}features/5/recompute/", {"examples": which}).status_code == 400
    assert not Job.objects.exists()


def test_viewers_are_not_asked(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    assert "Compute again" not in client.get(f"{explored.page}features/5/").content.decode()


def test_without_examples_there_is_nothing_to_compute(asking: Client, explored: Explored) -> None:
    assert asking.post(f"{explored.page}features/{SILENT}/recompute/").status_code == 404
    assert not Job.objects.exists()


def test_nobody_floods_the_worker(asking: Client, explored: Explored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "RECOMPUTING", Limit("recompute", capacity=2, per_second=0.001))
    address = f"{explored.page}features/5/recompute/"
    assert [asking.post(address).status_code for _ in range(3)] == [302, 302, 429]


def test_stored_and_fresh_are_shown_with_the_text(
    asking: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    top = asking.get(f"/api/v1/saes/{explored.sae.slug}/features/5").json()["examples"]["top"]
    rows = [ROW | {"context": each["context"], "position": each["position"]} for each in top[:3]]
    addresses = [done(explored, rows[:1]), done(explored, rows)]
    asking.get(addresses[0])
    for address, number in zip(addresses, (1, 3), strict=True):
        with django_assert_num_queries(8):  # session, user; the feature's five; the job
            page = asking.get(address).content.decode()
        assert page.count('<td class="number">1.5</td><td class="number">1.25</td>') == number
        assert page.count('class="tokens"') == number
        assert "15 of 16" in page
        assert "print(&#x27;&lt;b&gt;&#x27;)" in page


@pytest.mark.parametrize("which", ["strip", "intervals"])
def test_texts_are_those_of_the_list_that_was_asked_for(asking: Client, explored: Explored, which: str) -> None:
    found = asking.get(f"/api/v1/saes/{explored.sae.slug}/features/5").json()["examples"]
    of_list = found["strip"] if which == "strip" else [one for each in found["intervals"] for one in each["examples"]]
    address = done(explored, [ROW | {"context": each["context"], "position": each["position"]} for each in of_list])
    Job.objects.update(arguments=Job.objects.get().arguments | {"examples": which})
    assert asking.get(address).content.decode().count('class="tokens"') == len(of_list) > 0


def test_what_is_stored_no_more_is_named_by_its_place(asking: Client, explored: Explored) -> None:
    page = asking.get(done(explored, [ROW | {"context": 10**6, "position": 2}])).content.decode()
    assert "context 1,000,000, position 2" in page


def test_a_job_of_something_else_is_not_found(asking: Client, explored: Explored) -> None:
    others = [started(explored, index=6), started(explored, sae="another"), jobs.start("diagnose")]
    for job_id in [each.pk for each in others] + [10**9, 10**17]:
        assert asking.get(f"{explored.page}features/5/recompute/{job_id}/").status_code == 404


def test_why_it_failed_is_said(asking: Client, explored: Explored) -> None:
    job = started(explored)
    Job.objects.filter(pk=job.pk).update(state=JobState.FAILED, error="The weights <b> are gone.")
    page = asking.get(f"{explored.page}features/5/recompute/{job.pk}/").content.decode()
    assert "The weights &lt;b&gt; are gone." in page
