"""Lists by the API: made, filled, emptied, each by whose it is."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels, lists
from explorer.models import Activity, FeatureList, ListEntry
from tests.explored import Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db
LISTS = "/api/v1/lists"


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("other")


def post(client: Client, path: str, sent: Any) -> Any:
    return client.post(f"{LISTS}{path}", sent, content_type="application/json")


def test_a_list_is_made_filled_and_emptied(looking: Client, explored: Explored) -> None:
    answer = post(looking, "", {"name": " My  list ", "notes": "why"})
    assert answer.status_code == 201
    made = answer.json()
    assert made == {
        "id": made["id"], "name": "My list", "notes": "why", "owner": "viewer", "shared": True, "bookmarks": False,
        "entries": 0, "created_at": made["created_at"], "page": f"/lists/{made['id']}/",
    }  # fmt: skip
    assert looking.get(answer.headers["Location"]).json() == made
    labels.give(explored.sae, 5, "five", by=None)
    place = {"sae": explored.sae.slug, "index": 5}
    n_fired = Activity.objects.get(collection=explored.collection, index=5).n_fired
    for note, found in (("first", "first"), (None, "first"), ("", "")):
        answer = post(looking, f"/{made['id']}/entries", place | {"note": note})
        assert answer.status_code == 201
        entry = answer.json()
        assert (entry["sae"], entry["index"], entry["label"], entry["note"]) == (explored.sae.slug, 5, "five", found)
        assert entry["density"] == n_fired / explored.collection.tokens
    assert looking.get(f"{LISTS}/{made['id']}/entries").json() == {"items": [entry], "next": None}
    assert looking.delete(f"{LISTS}/{made['id']}/entries/{entry['id']}").status_code == 204
    assert not ListEntry.objects.exists()
    assert looking.delete(f"{LISTS}/{made['id']}/entries/{entry['id']}").status_code == 404
    assert looking.delete(f"{LISTS}/{made['id']}").status_code == 204
    assert looking.get(f"{LISTS}/{made['id']}").status_code == 404


def test_entries_come_in_pages(looking: Client, viewer: User, explored: Explored) -> None:
    found = lists.make("mine", shared=False, by=viewer)
    for index in (5, 3, 4):
        lists.keep(found, explored.sae, index, by=viewer)
    first = looking.get(f"{LISTS}/{found.pk}/entries?limit=2").json()
    rest = looking.get(f"{LISTS}/{found.pk}/entries?limit=2&after={first['next']}").json()
    assert [each["index"] for each in first["items"] + rest["items"]] == [5, 3, 4]
    assert rest["next"] is None


def test_of_others_what_they_share_is_seen_and_nothing_changed(
    looking: Client, other: User, explored: Explored
) -> None:
    shared, secret = (lists.make(name, shared=name == "shared", by=other) for name in ("shared", "secret"))
    entry = lists.keep(shared, explored.sae, 5, by=other)
    assert [each["name"] for each in looking.get(LISTS).json()["items"]] == ["shared"]
    place = {"sae": explored.sae.slug, "index": 5}
    for found, status in ((shared, 403), (secret, 404)):
        assert post(looking, f"/{found.pk}/entries", place).status_code == status
        assert looking.delete(f"{LISTS}/{found.pk}").status_code == status
        assert looking.delete(f"{LISTS}/{found.pk}/entries/{entry.pk}").status_code == status
    assert looking.get(f"{LISTS}/{secret.pk}/entries").status_code == 404
    assert ListEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [({}, 422), ({"index": 37}, 404), ({"index": -1}, 422), ({"index": "5"}, 422), ({"index": True}, 422),
     ({"index": 5.5}, 422), ({"index": 2**31}, 422), ({"sae": "a\x00b"}, 422), ({"sae": "nothing"}, 404),
     ({"note": "x" * 1001}, 422)],
)  # fmt: skip
def test_what_is_no_feature_is_refused(
    looking: Client, viewer: User, explored: Explored, sent: dict[str, Any], status: int
) -> None:
    found = lists.make("mine", shared=False, by=viewer)
    place = {"sae": explored.sae.slug, "index": 5} | sent if sent else {}
    assert post(looking, f"/{found.pk}/entries", place).status_code == status
    assert not ListEntry.objects.exists()


def test_there_is_room_for_so_many(
    looking: Client, viewer: User, explored: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_LISTS", 1)
    monkeypatch.setattr(lists, "MOST_ENTRIES", 0)
    found = lists.make("mine", shared=False, by=viewer)
    assert post(looking, "", {"name": "more"}).status_code == 409
    assert post(looking, f"/{found.pk}/entries", {"sae": explored.sae.slug, "index": 5}).status_code == 409
    assert FeatureList.objects.count() == 1


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    looking: Client, viewer: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    for each in range(n):
        found = lists.make(f"{each}", shared=True, by=viewer)
    for index in range(n):
        lists.keep(found, explored.sae, index, by=viewer)
    looking.get(LISTS)
    with django_assert_num_queries(4):  # session, user, rate; lists
        looking.get(LISTS)
    with django_assert_num_queries(8):  # session, user, rate, list; entries, collections, labels, activities
        looking.get(f"{LISTS}/{found.pk}/entries")
