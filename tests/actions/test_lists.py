"""Keeping features: once each, by two people at once, and within bounds."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connection

from explorer.actions import lists
from explorer.actions.removing import remove_sae
from explorer.models import FeatureList, ListEntry, Sae
from tests.explored import Explored

pytestmark = pytest.mark.django_db


def test_a_feature_is_kept_once(explored: Explored, viewer: User) -> None:
    found = lists.bookmarks(viewer)
    first = lists.keep(found, explored.sae, 5, by=viewer, text="why")
    assert lists.keep(found, explored.sae, 5, by=viewer) == first
    assert lists.bookmarks(viewer) == found
    assert ListEntry.objects.get().note == "why"


def test_there_is_room_for_so_many(explored: Explored, viewer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_ENTRIES", 1)
    found = lists.bookmarks(viewer)
    lists.keep(found, explored.sae, 5, by=viewer)
    lists.keep(found, explored.sae, 5, by=viewer, text="it is there already")
    with pytest.raises(lists.NotPossible, match="holds 1 features"):
        lists.keep(found, explored.sae, 6, by=viewer)


def test_a_list_that_went_keeps_nothing(explored: Explored, viewer: User) -> None:
    found = lists.make("gone", shared=True, by=viewer)
    FeatureList.objects.all().delete()
    with pytest.raises(lists.NotPossible, match="gone is no longer there"):
        lists.keep(found, explored.sae, 5, by=viewer)


@pytest.mark.django_db(transaction=True)
def test_an_sae_that_went_is_not_kept(explored: Explored, viewer: User, admin: User) -> None:
    found, sae = lists.bookmarks(viewer), Sae.objects.get()
    remove_sae(explored.sae, by=admin, address="127.0.0.1")
    with pytest.raises(lists.NotPossible, match="has just been removed"):
        lists.keep(found, sae, 5, by=viewer)


def test_many_are_kept_once_each_and_all_or_none(
    explored: Explored, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_ENTRIES", 4)
    found, sae = lists.bookmarks(viewer), explored.sae
    lists.keep(found, sae, 5, by=viewer, text="why")
    edition = Sae.objects.get().edition
    assert lists.keep_many(found, [(sae.pk, index) for index in (7, 5, 6, 7)], by=viewer) == 2
    kept = found.entries.order_by("pk").values_list("index", "note", "added_by")
    assert list(kept) == [(5, "why", viewer.pk), (7, "", viewer.pk), (6, "", viewer.pk)]
    assert Sae.objects.get().edition == edition + 1
    with pytest.raises(lists.NotPossible, match="would hold more than 4 features"):
        lists.keep_many(found, [(sae.pk, 8), (sae.pk, 9)], by=viewer)
    assert found.entries.count() == 3
    assert lists.keep_many(found, [(sae.pk, 8)], by=viewer) == 1
    FeatureList.objects.all().delete()
    with pytest.raises(lists.NotPossible, match="is no longer there"):
        lists.keep_many(found, [(sae.pk, 8)], by=viewer)


@pytest.mark.django_db(transaction=True)
def test_of_an_sae_that_went_there_is_no_new_list(explored: Explored, viewer: User, admin: User) -> None:
    pk = explored.sae.pk
    remove_sae(explored.sae, by=admin, address="127.0.0.1")
    with pytest.raises(lists.NotPossible, match="An SAE of these features has just been removed"):
        lists.make_of("mine", "", [(pk, 5)], by=viewer)
    assert not FeatureList.objects.exists()


@pytest.mark.parametrize("name", ["", " \n ", "\x00", "\ud800"])
def test_every_list_has_a_name_that_can_be_kept(viewer: User, name: str) -> None:
    made = FeatureList.objects.get(pk=lists.make(name, name, shared=True, by=viewer).pk)
    assert made.name in ("Unnamed", "\ufffd")


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one_of_each(explored: Explored, viewer: User) -> None:
    """Bookmarks and an entry, from two tabs that were never used before."""
    both = Barrier(4)

    def keep(_: int) -> int:
        try:
            both.wait(20)
            return lists.keep(lists.bookmarks(viewer), explored.sae, 5, by=viewer).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(keep, range(4)))
    assert found == {ListEntry.objects.get().pk}
    assert FeatureList.objects.get().bookmarks
