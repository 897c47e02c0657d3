"""The library: what it lists, what it says when there is nothing, and how a page of it learns of news."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions.accounts import set_role
from explorer.models import Job, Sae
from explorer.models.access import Role
from explorer.models.jobs import JobState
from sae_core.reading import reading
from tests.explored import Explored
from tests.laid_out import kept
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def version_of(page: bytes) -> str:
    found = re.search(rb'hx-get="/\?seen=([0-9a-f]{16})"', page)
    assert found
    return found[1].decode()


def test_an_empty_library_says_what_to_do_first(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    page = client.get("/").content.decode()
    assert "Nothing has been added yet" in page
    assert "/saes/add/" not in page
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    page = client.get("/").content.decode()
    assert page.count('href="/saes/add/"') == 2
    assert "Check this installation" in page


def test_an_sae_on_its_way_is_told_from_other_work(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    for kind, said in (("diagnose", "Nothing has been added yet"), ("explore", "The first SAE is on its way")):
        Job.objects.create(kind=kind, queue="batch", state=JobState.QUEUED)
        assert said in client.get("/").content.decode()


def test_saes_stand_under_their_lm_with_their_figures(client: Client, viewer: User, explored: Explored) -> None:
    explored.sae.metrics = {"l0": 5.0, "fvu": 0.25, "loss_recovered": 0.9, "tokens": 100}
    explored.sae.save()
    client.force_login(viewer)
    page = client.get("/").content.decode()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page.split("</thead>")[1].split("</tbody>")[0])
    assert cells == [
        f'<a id="sae-a-small-SAE" href="{explored.page}">a small SAE</a>',
        "<code>blocks.1.hook_resid_post</code>",
        "topk",
        "37",
        "5",
        "0.25",
        "90\u00a0%",
        f"{explored.collection.tokens:,}",
        f"{explored.collection.n_never_fired}",
        "",
    ]
    assert explored.corpus.name in page


def test_a_map_is_led_to_once_there_is_one(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    before = client.get("/").content.decode()
    kept([explored.sae], [explored.read.sae])
    (seen,) = set(re.findall(r"seen=([0-9a-f]{16})", before))
    part = client.get("/", {"seen": seen}, headers={"HX-Request": "true"})
    assert part.status_code == 200, "there is news"
    assert f'<a href="{explored.page}map/">Map' in part.content.decode()
    assert f'<a href="{explored.page}map/">' not in before


def test_what_is_not_there_yet_is_said(client: Client, viewer: User, explored: Explored) -> None:
    sae_row(explored.read.lm, explored.read.sae, "another")
    client.force_login(viewer)
    page = client.get("/").content.decode()
    assert page.count("not measured yet") == 2
    assert page.count("not collected yet") == 1


def test_a_page_asks_and_hears_only_news(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    seen = version_of(client.get("/").content)
    assert client.get(f"/?seen={seen}", headers=HTMX).status_code == 204
    assert client.get(f"/?seen={seen}").status_code == 200, "whoever opens that address sees a page"
    job = Job.objects.create(kind="diagnose", queue="interactive", state=JobState.QUEUED)
    news = client.get(f"/?seen={seen}", headers=HTMX)
    assert news.status_code == 200
    assert news.content.lstrip().startswith(b'<div id="shelves"')
    assert f'data-job="{job.pk}"' in news.content.decode()
    assert set(news.headers["Vary"].split(", ")) >= {"HX-Request", "HX-History-Restore-Request"}
    before = version_of(client.get("/").content)
    Sae.objects.update(metrics={"l0": 1})
    assert version_of(client.get("/").content) != before


@pytest.mark.parametrize("seen", ["", "x", "%00", "0" * 15, "0" * 17, "seen"])
def test_a_version_that_is_none_is_answered_by_all(client: Client, viewer: User, seen: str) -> None:
    client.force_login(viewer)
    assert client.get(f"/?seen={seen}", headers=HTMX).status_code == 200


def test_visitors_see_no_jobs(client: Client, explored: Explored, settings: Settings) -> None:
    settings.OPEN_READING = True
    Job.objects.create(kind="diagnose", queue="interactive", state=JobState.QUEUED)
    page = client.get("/").content.decode()
    assert "a small SAE" in page
    assert "data-job" not in page


def test_as_many_queries_for_three_as_for_one(
    client: Client, viewer: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(viewer)
    with django_assert_num_queries(10):  # session, user, jobs, SAEs, their collections, maps, lms, corpora, a snippet
        client.get("/")
    for name in ("two", "three"):
        sae_row(explored.read.lm, explored.read.sae, name)
    with django_assert_num_queries(10):
        client.get("/")


def test_it_opens_on_a_piece_of_text(
    client: Client, viewer: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Read once; what somebody chose of it is in the address, and stays while the rest is fetched anew."""
    client.force_login(viewer)
    before = version_of(client.get("/").content)
    ids = [5, 9, 5, 17]
    result = {"sae": explored.sae.slug, "ids": ids, "first": 0} | reading(explored.read.lm, explored.read.sae, ids, ())
    arguments = {"sae": explored.sae.pk, "corpus": explored.corpus.pk, "context": 0}
    for kind in (arguments, {"sae": explored.sae.pk, "text": "somebody's own"}):
        job = Job.objects.create(
            kind="read_text", queue="interactive", state=JobState.DONE, arguments=kind, result=result
        )
    page = client.get("/").content.decode()
    assert f'id="snippet-{job.pk - 1}" hx-preserve="true"' in page
    assert 'class="shares"' not in page
    assert version_of(page.encode()) != before
    page = client.get("/?at=1,3").content.decode()
    assert page.count('class="shares"') == 2
    assert 'name="sae"' not in page, "the box searches all"
    with django_assert_num_queries(14):  # it is known by now; the text, its SAE, collections, labels, activity
        client.get("/?at=1")
    Sae.objects.filter(pk=explored.sae.pk).update(slug="renamed")
    assert "snippet-" not in client.get("/").content.decode()
