"""Every write that pages of an SAE show makes another version of them, and no other SAE's."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels, lists
from explorer.actions.collections import remove_corpus
from explorer.models import LanguageModel, Sae
from explorer.queries import library, versions
from explorer.work.loading import load_collection
from explorer.work.rows import Files, lm_row
from tests.explored import Explored
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(explored: Explored) -> Sae:
    return sae_row(explored.read.lm, explored.read.sae, "another")


def test_of_one_sae(explored: Explored, other: Sae, viewer: User) -> None:
    sae, before = explored.sae, versions.of_sae(other.slug)
    found = lists.make("rivers", shared=True, by=viewer)
    before = versions.of_sae(other.slug)
    seen = [versions.of_sae(sae.slug)]
    writes: list[Callable[[], object]] = [
        lambda: labels.give(sae, 1, "rivers", by=viewer),
        lambda: labels.give(sae, 1, "", by=viewer),
        lambda: labels.give_many(sae, {2: "lakes"}, by=viewer, address=""),
        lambda: labels.give_first(sae, {3: "seas"}),
        lambda: lists.keep(found, sae, 1, by=viewer),
        lambda: lists.keep(found, sae, 1, by=viewer, text="look again"),
        lambda: lists.drop(found, sae, 1),
        lambda: load_collection(sae, explored.corpus, explored.read.evidence),
    ]
    for write in writes:
        write()
        seen.append(versions.of_sae(sae.slug))
    assert len(set(seen)) == len(seen)
    assert versions.of_sae(other.slug) == before


def test_what_changes_nothing_makes_none(explored: Explored, viewer: User) -> None:
    sae, found = explored.sae, lists.make("rivers", shared=True, by=viewer)
    labels.give(sae, 1, "rivers", by=viewer)
    lists.keep(found, sae, 1, by=viewer)
    before = versions.of_sae(sae.slug)
    labels.give(sae, 1, "rivers", by=viewer)
    lists.keep(found, sae, 1, by=viewer)
    lists.bookmarks(viewer)
    after_bookmarks = versions.of_sae(sae.slug)
    lists.bookmarks(viewer)
    assert versions.of_sae(sae.slug) == after_bookmarks != before


def test_of_all_saes(explored: Explored, other: Sae, viewer: User) -> None:
    """The names of lists stand on pages of every SAE."""
    found = lists.make("rivers", shared=True, by=viewer)
    for write in (
        lambda: lists.change(found, "lakes", "", shared=False),
        lambda: lists.remove(found, by=viewer, address=""),
        lambda: lists.make("seas", shared=False, by=viewer),
        lambda: lists.of_nobody("first looks", ""),
    ):
        before = versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)
        write()
        after = versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)
        assert not set(before) & set(after)


def test_of_what_is_taken_away(explored: Explored, other: Sae) -> None:
    before, of_other = versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)
    remove_corpus(explored.corpus.pk)
    assert versions.of_sae(explored.sae.slug) != before
    assert versions.of_sae(other.slug) == of_other


def test_of_all_saes_of_an_lm(explored: Explored, other: Sae) -> None:
    """A tokenizer that was found later: its tokens stand on every page."""
    lm = explored.read.lm
    assert lm.tokenizer
    row = LanguageModel.objects.get(pk=explored.sae.lm_id)
    LanguageModel.objects.filter(pk=row.pk).update(fingerprint=lm.fingerprint, tokenizer="")
    before = versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)
    lm_row(lm, row.source, Files(vocabulary=row.vocabulary_id, unembedding=None, weights=None))
    assert (versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)) == before, "it is the same vocabulary"
    LanguageModel.objects.filter(pk=row.pk).update(vocabulary=None, tokenizer="")
    lm_row(lm, row.source, Files(vocabulary=row.vocabulary_id, unembedding=None, weights=None))
    assert not {versions.of_sae(explored.sae.slug), versions.of_sae(other.slug)} & set(before)


def test_an_sae_is_read_anew_in_every_edition(
    explored: Explored, viewer: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = library.sae_to_read(explored.sae.slug)
    assert first
    assert (first.pk, first.collection) == (explored.sae.pk, explored.collection)
    with django_assert_num_queries(1):
        assert library.sae_to_read(explored.sae.slug) is first
    newer = load_collection(explored.sae, explored.corpus, explored.read.evidence)
    second = library.sae_to_read(explored.sae.slug)
    assert second
    assert second.collection == newer != first.collection
    assert library.sae_to_read("nothing") is None


def test_of_none() -> None:
    assert versions.of_sae("nothing") is None
