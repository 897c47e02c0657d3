import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

pytestmark = pytest.mark.django_db

PART = {"hx-request": "true"}


@pytest.fixture
def boss(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def test_htmx_is_given_the_part_and_going_back_the_whole(boss: Client) -> None:
    whole, part = boss.get("/patterns/"), boss.get("/patterns/", headers=PART)
    back = boss.get("/patterns/", headers=PART | {"hx-history-restore-request": "true"})
    assert part.content.decode().lstrip().startswith('<div id="sample-table"')
    for page in (whole, back):
        assert b"<!doctype html>" in page.content
        assert b'id="sample-table"' in page.content


@pytest.mark.parametrize("query", ["sort=nonsense", "dir=up", "sort=__class__", "words=%00", "words=" + "x" * 101])
def test_a_sort_that_there_is_not_shows_all(boss: Client, query: str) -> None:
    assert b"32 features" in boss.get(f"/patterns/?{query}", headers=PART).content


def test_charts_that_there_are_not(boss: Client) -> None:
    assert boss.get("/patterns/charts/scatter/").json()["data"][0]["type"] == "scattergl"
    assert boss.get("/patterns/charts/none/").json()["data"] == []
    assert boss.get("/patterns/charts/nothing/").status_code == 404


def test_while_debugging_whoever_comes_may_look(client: Client, settings: Settings) -> None:
    assert client.get("/patterns/").status_code == 302
    settings.DEBUG = True
    assert client.get("/patterns/").status_code == 200
