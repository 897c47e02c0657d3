"""Features of an SAE as JSON: the browser's rows, figures unrounded, page by page."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels
from explorer.models import Activity, FeatureList, ListEntry
from tests.explored import SILENT, Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db


def got(client: Client, explored: Explored, **wanted: Any) -> Any:
    answer = client.get(f"/api/v1/saes/{explored.sae.slug}/features", wanted)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_pages_follow_each_other_in_any_order(looking: Client, explored: Explored) -> None:
    Activity.objects.filter(index__lt=20).update(n_fired=7)  # equal ones are passed but once
    falling = [each.index for each in sorted(Activity.objects.all(), key=lambda each: (-each.n_fired, -each.index))]
    found, after = [], None
    while True:
        page = got(looking, explored, sort="density", limit=7, **({"after": after} if after else {}))
        found += [row["index"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == falling
    rising = got(looking, explored, sort="density", dir="asc", limit=200)["items"]
    assert [row["index"] for row in rising] == falling[::-1]


def test_a_row_holds_the_figures_as_they_are(looking: Client, explored: Explored, admin: User) -> None:
    labels.give(explored.sae, 5, "names <b> of rivers", by=admin)
    rows = {row["index"]: row for row in got(looking, explored, limit=200)["items"]}
    for each in Activity.objects.all():
        row = rows[each.index]
        assert row["density"] == each.n_fired / explored.collection.tokens
        for name in ("n_fired", "n_contexts", "n_documents", "maximum", "mean", "deviation", "p99", "top_token",
                     "decoder_norm", "neighbour_cosine"):  # fmt: skip
            assert row[name] == getattr(each, name)
        assert row["page"] == f"{explored.page}features/{each.index}/"
    assert (rows[5]["label"], rows[6]["label"]) == ("names <b> of rivers", None)
    assert rows[5]["encoder_cosine"] == pytest.approx(1)  # its encoder is its decoder
    assert rows[SILENT]["n_fired"] == 0


def test_its_filters_are_those_of_the_page(looking: Client, explored: Explored, viewer: User, admin: User) -> None:
    labels.give(explored.sae, 5, "names of rivers", by=admin)
    own = FeatureList.objects.create(name="own", owner=viewer, shared=False)
    ListEntry.objects.create(list=own, sae=explored.sae, index=9)
    top = Activity.objects.get(index=4).top_token
    several: list[dict[str, Any]] = [
        {"words": "riv nam"}, {"labelled": "yes"}, {"fires": "never"}, {"list": own.pk}, {"token": f"#{top}"},
        {"index_min": 4, "index_max": 6}, {"density_max": 0},
    ]  # fmt: skip
    for wanted in several:
        found = [row["index"] for row in got(looking, explored, **wanted)["items"]]
        page = looking.get(f"{explored.page}features/", wanted).content.decode()
        assert page.count('class="whole"') == len(found) > 0
        assert all(f"features/{index}/?" in page for index in found)
    assert got(looking, explored, words="!")["items"] == []


def test_anothers_list_is_not_there(looking: Client, explored: Explored, admin: User) -> None:
    theirs = FeatureList.objects.create(name="theirs", owner=admin, shared=False)
    for list_id in (theirs.pk, theirs.pk + 1, 2**63 - 1):
        assert looking.get(f"/api/v1/saes/{explored.sae.slug}/features?list={list_id}").status_code == 404


def test_what_is_not_as_described_is_refused(looking: Client, explored: Explored) -> None:
    for query in ("sort=beauty", "dir=up", "maximum_min=nan", "maximum_min=inf", "mean_max=1e39", "density_min=2",
                  "after=x", "after=-1", "limit=0", "limit=201", "list=0", "index_max=2147483648", "fires=no",
                  "labelled=1"):  # fmt: skip
        answer = looking.get(f"/api/v1/saes/{explored.sae.slug}/features?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["where"][-1] == query.partition("=")[0]


def test_it_takes_as_many_queries_for_many(
    looking: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """The limit of requests, session, user; SAE, collections; the order, features, activity, labels."""
    got(looking, explored)
    for limit in (1, 3):
        with django_assert_num_queries(9):
            got(looking, explored, sort="maximum", limit=limit)
