"""Two features side by side: what each has, and what is known of them together."""

import json
import re
from dataclasses import replace

import pytest
import torch
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.gates import feature_to_see
from explorer.numbers import significant
from explorer.queries.pairs import pair
from sae_core import ArrayFile
from tests.explored import SILENT, Explored
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def looking(client: Client, viewer: User, with_weights: Explored) -> Client:
    client.force_login(viewer)
    return client


@pytest.fixture
def evidence(explored: Explored) -> ArrayFile:
    return ArrayFile(explored.read.evidence)


def beside(explored: Explored, one: int, other: int, slug: str = "") -> str:
    return f"{explored.page}features/{one}/beside/{slug or explored.sae.slug}/{other}/"


def test_what_both_have_in_common_is_the_evidences(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    one, other = 5, int(evidence["cofire"][5][0])
    both = pair(feature_to_see(explored.sae.slug, one), feature_to_see(explored.sae.slug, other))
    rows = explored.read.sae.W_dec
    assert both.cosine == pytest.approx(torch.nn.functional.cosine_similarity(rows[one], rows[other], dim=0).item())
    assert both.together is not None
    assert both.together.n == evidence["cofire_n"][one][0]
    for shared, name in ((both.raised, "logit_top_id"), (both.lowered, "logit_bottom_id")):
        assert shared is not None
        expected = [int(each) for each in evidence[name][one] if each in evidence[name][other]]
        assert [each.token for each in shared] == expected
    page = looking.get(beside(explored, one, other)).content.decode()
    assert f"<dd>{significant(both.cosine)}</dd>" in page
    assert page.count("Raises</caption>") == 2
    assert [int(each) for each in re.findall(r"<h3>Feature (\d+)", page)] == [one, other]


def test_the_two_may_be_swapped(looking: Client, explored: Explored) -> None:
    page = looking.get(beside(explored, 5, 9) + "?around=5").content.decode()
    assert f'href="{beside(explored, 9, 5)}?around=5"' in page
    assert 'aria-current="true">±5 tokens' in page


def test_one_may_be_silent_or_the_same(looking: Client, explored: Explored) -> None:
    assert "It never fired in" in looking.get(beside(explored, 5, SILENT)).content.decode()
    same = pair(*[feature_to_see(explored.sae.slug, 5)] * 2)
    assert same.cosine == pytest.approx(1)


def test_of_different_saes_what_cannot_be_known_is_said(looking: Client, explored: Explored) -> None:
    wider = sae_row(explored.read.lm, explored.read.sae, "another SAE")
    wider.d_out = 2 * explored.sae.d_out
    wider.save()
    missing = looking.get(beside(explored, 5, 5, wider.slug))
    assert missing.status_code == 404  # its rows are not there yet
    one = feature_to_see(explored.sae.slug, 5)
    wider.collection = None
    both = pair(one, replace(one, sae=wider, collection=None))
    assert (both.cosine, both.together) == (None, None)


@pytest.mark.parametrize("rest", ["37/beside/a-small-SAE/0", "0/beside/a-small-SAE/37", "0/beside/no-such/0"])
def test_what_there_is_not_is_not_found(looking: Client, explored: Explored, rest: str) -> None:
    assert looking.get(f"{explored.page}features/{rest}/").status_code == 404


def test_a_form_leads_there(looking: Client, explored: Explored) -> None:
    address = f"{explored.page}features/5/beside/"
    for query in ("?feature=9", "?feature=9&sae=a-small-SAE"):
        assert looking.get(address + query).headers["Location"] == beside(explored, 5, 9)
    assert "Which feature beside 5?" in looking.get(address).content.decode()


@pytest.mark.parametrize(
    ("query", "said"),
    [("?feature=37", "features 0 to 36"), ("?feature=x", "whole number"), ("?feature=-1", "greater than"),
     ("?feature=%00", "whole number"), ("?feature=5&sae=nope", "not one of"), ("?sae=a-small-SAE", "required"),
     ("?feature=" + "9" * 40, "less than")],
)  # fmt: skip
def test_what_is_wrong_is_named(looking: Client, explored: Explored, query: str, said: str) -> None:
    answer = looking.get(f"{explored.page}features/5/beside/{query}")
    assert answer.status_code == 200
    assert said in answer.content.decode()


def test_neighbours_are_one_click_away(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    page = looking.get(f"{explored.page}features/5/").content.decode()
    for index in {*evidence["neighbour"][5].tolist(), *evidence["cofire"][5].tolist()} - {-1}:
        assert f'href="{beside(explored, 5, index)}"' in page


def test_it_takes_as_many_queries_whichever_they_are(
    looking: Client, explored: Explored, evidence: ArrayFile, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Session, user, two versions; twice: the SAE's edition, the feature, texts, documents, labels."""
    looking.get(beside(explored, 5, 9))
    for one, other in ((5, 9), (9, 6)):
        with django_assert_num_queries(14):
            looking.get(beside(explored, one, other) + "?around=5")


def test_the_charts_bars_may_be_pointed_at_from_above(looking: Client, explored: Explored) -> None:
    figure = json.loads(looking.get(f"{explored.page}features/5/charts/activations/").content)
    assert figure["layout"]["hovermode"] == "x"
