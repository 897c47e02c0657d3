"""A feature's page: its figures, its examples as the evidence has them, labels, charts, and what is not there."""

import json
import re

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer import densities
from explorer.actions import labels
from explorer.actions.accounts import set_role
from explorer.models import Label
from explorer.models.access import Role
from explorer.numbers import count, significant
from sae_core import ArrayFile
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db


@pytest.fixture
def evidence(explored: Explored) -> ArrayFile:
    return ArrayFile(explored.read.evidence)


def shown(client: Client, explored: Explored, index: int, query: str = "") -> str:
    answer = client.get(f"{explored.page}features/{index}/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def firing(evidence: ArrayFile) -> list[int]:
    return [int(index) for index in np.flatnonzero(evidence["n_fired"])]


def test_its_density_is_n_of_all_with_an_interval(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    tokens = explored.collection.tokens
    for index in firing(evidence)[:5]:
        n = int(evidence["n_fired"][index])
        low, high = densities.interval(n, tokens)
        page = shown(looking, explored, index)
        assert f"{count(n)} <small>of {count(tokens)} tokens</small>" in page
        assert f"density {significant(n / tokens)} ({significant(low)} to {significant(high)})" in page
        assert f"in {evidence['n_documents'][index]} documents" in page
        assert f"{significant(float(evidence['max_act'][index]))}</dd>" in page.replace(" </dd>", "</dd>")


def test_one_that_never_fired_says_what_may_be_concluded(looking: Client, explored: Explored) -> None:
    page = shown(looking, explored, SILENT)
    assert "It never fired" in page
    assert f"density at most {significant(3 / explored.collection.tokens)}" in page
    assert '<span class="tag">never fired</span>' in page
    assert "Logits" in page
    assert "Nearest features" in page
    assert "Strongest" not in page
    assert "chart-activations" not in page


def test_examples_are_those_of_the_evidence(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    """The strongest: as many, in this order, each at its token, with the text that the corpus has there."""
    index = firing(evidence)[0]
    page = shown(looking, explored, index, "?around=whole")
    section = page.split('<h3 id="top">')[1].split("</section>")[0]
    values = re.findall(r'<span class="value">(.*?)</span>', section)
    there = evidence["top_context"][index] >= 0
    assert values == [significant(float(each)) for each in evidence["top_act"][index][there]]
    contexts = np.load(explored.read.corpus / "contexts.npy")
    for place, html in enumerate(re.findall(r'<div class="tokens".*?</div>', section, re.DOTALL)):
        ids = [int(each) for group in re.findall(r'data-t="([0-9 ]+)"', html) for each in group.split(" ")]
        context = int(evidence["top_context"][index][place])
        assert ids == contexts[context, : len(ids)].tolist()
        acts = [float(each) for group in re.findall(r'data-a="([0-9. e-]+)"', html) for each in group.split(" ")]
        assert int(np.argmax(acts)) == evidence["top_position"][index][place]


def test_every_list_is_there(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    page = shown(looking, explored, firing(evidence)[0])
    for heading in ("Drawn uniformly from all its firings", "Strongest", "Strongest whose windows", "By interval",
                    "Nearly", "Logits", "Activations", "Raised by", "Nearest features", "Fire together"):  # fmt: skip
        assert heading in page, heading
    assert page.count("of its firings, ") == 5
    assert ".txt" in page  # documents are named


@pytest.mark.parametrize(("query", "most"), [("", 33), ("?around=16", 33), ("?around=5", 11), ("?around=5&x=y", 11)])
def test_so_many_tokens_are_shown(
    looking: Client, explored: Explored, evidence: ArrayFile, query: str, most: int
) -> None:
    page = shown(looking, explored, firing(evidence)[0], query)
    tokens = [
        sum(len(group.split(" ")) for group in re.findall(r'data-t="([0-9 ]+)"', html))
        for html in re.findall(r'<div class="tokens".*?</div>', page, re.DOTALL)
    ]
    assert max(tokens) <= most + 6  # a character is not cut in two


@pytest.mark.parametrize("query", ["?around=7", "?around=%00", "?around=whole&around=x", "?around=" + "9" * 500])
def test_another_width_is_the_usual_one(looking: Client, explored: Explored, query: str) -> None:
    assert 'aria-current="true">±16 tokens' in shown(looking, explored, 0, query)


def test_previous_and_next_skip_the_silent(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    fires = firing(evidence)
    for before, index, after in zip(fires, fires[1:], fires[2:], strict=False):
        page = shown(looking, explored, index, "?around=5")
        assert f'rel="prev" href="{explored.page}features/{before}/?around=5"' in page
        assert f'rel="next" href="{explored.page}features/{after}/?around=5"' in page
    assert 'role="link">the first' in shown(looking, explored, fires[0])
    assert 'role="link">the last' in shown(looking, explored, fires[-1])


@pytest.mark.parametrize("index", ["37", "38", "2147483647", "2147483648", "9" * 18, "9" * 19, "-1", "x", "0%00"])
def test_what_is_beyond_is_not_found(looking: Client, explored: Explored, index: str) -> None:
    for rest in ("/", ".json", "/charts/logits/"):
        assert looking.get(f"{explored.page}features/{index}{rest}").status_code == 404


@pytest.mark.parametrize("chart", ["logits", "activations"])
def test_charts_count_what_the_evidence_counts(
    looking: Client, explored: Explored, evidence: ArrayFile, chart: str
) -> None:
    index = firing(evidence)[0]
    figure = json.loads(looking.get(f"{explored.page}features/{index}/charts/{chart}/").content)
    (bars,) = figure["data"]
    if chart == "logits":
        assert bars["y"] == evidence["logit_hist"][index].tolist()
        assert bars["customdata"][0][0] == pytest.approx(float(evidence["logit_low"][index]))
        assert bars["customdata"][-1][1] == pytest.approx(float(evidence["logit_high"][index]))
    else:
        assert sum(bars["y"]) == evidence["n_fired"][index]


def test_a_chart_that_there_is_not(looking: Client, explored: Explored) -> None:
    assert looking.get(f"{explored.page}features/0/charts/histogram/").status_code == 404
    empty = json.loads(looking.get(f"{explored.page}features/{SILENT}/charts/activations/").content)
    assert empty["data"] == []


def test_a_label_is_given_and_shown(client: Client, viewer: User, explored: Explored) -> None:
    set_role(viewer.pk, Role.ANNOTATOR, by=viewer)
    client.force_login(viewer)
    answer = client.post(f"{explored.page}features/5/label/", {"label": "  names of\trivers <b> "})
    assert answer.headers["Location"] == f"{explored.page}features/5/"
    label = Label.objects.get()
    assert (label.text, label.index, label.author) == ("names of rivers <b>", 5, viewer)
    for address in (f"{explored.page}features/5/", f"{explored.page}features/"):
        assert "names of rivers &lt;b&gt;" in client.get(address).content.decode()


def test_naming_a_feature_keeps_the_order_it_was_found_in(client: Client, viewer: User, explored: Explored) -> None:
    set_role(viewer.pk, Role.ANNOTATOR, by=viewer)
    client.force_login(viewer)
    order = "?sort=maximum&dir=desc"
    page = client.get(f"{explored.page}features/5/{order}").content.decode()
    assert f'action="{explored.page}features/5/label/?sort=maximum&amp;dir=desc"' in page
    answer = client.post(f"{explored.page}features/5/label/{order}", {"label": "rivers"})
    assert answer.headers["Location"] == f"{explored.page}features/5/{order}"


@pytest.mark.parametrize("label", ["x" * 201, "with\x00nul"])
def test_a_label_that_is_none_is_refused(client: Client, viewer: User, explored: Explored, label: str) -> None:
    set_role(viewer.pk, Role.ANNOTATOR, by=viewer)
    client.force_login(viewer)
    answer = client.post(f"{explored.page}features/5/label/", {"label": label})
    assert answer.status_code == 422
    assert b'aria-invalid="true"' in answer.content
    assert not Label.objects.exists()


def test_viewers_have_no_form(looking: Client, explored: Explored) -> None:
    assert "Save the label" not in shown(looking, explored, 0)


def test_a_page_is_kept_until_something_changes(looking: Client, explored: Explored, admin: User) -> None:
    address = f"{explored.page}features/0/"
    looking.get(address)  # sets the cookie that forms on the page go with
    etag = looking.get(address).headers["ETag"]
    assert looking.get(address, headers={"If-None-Match": etag}).status_code == 304
    labels.give(explored.sae, 9, "another feature's, which may be named here as a neighbour", by=admin)
    assert looking.get(address, headers={"If-None-Match": etag}).status_code == 200


def test_it_takes_as_many_queries_whatever_it_shows(
    looking: Client, explored: Explored, evidence: ArrayFile, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Session, user, version, edition; the feature, contexts, documents, labels; what is around, what keeps it, what is
    known of steering with it."""
    fires = firing(evidence)
    looking.get(f"{explored.page}features/{fires[0]}/")  # the vocabulary, and the SAE, are read once
    for index in (fires[0], fires[-1]):
        with django_assert_num_queries(11):
            shown(looking, explored, index)
    etag = looking.get(f"{explored.page}features/{fires[0]}/")["ETag"]
    with django_assert_num_queries(3):
        looking.get(f"{explored.page}features/{fires[0]}/", headers={"If-None-Match": etag})


def test_json_stands_behind_its_address(looking: Client, explored: Explored) -> None:
    answer = looking.get(f"{explored.page}features/5.json")
    assert answer.headers["Location"] == f"/api/v1/saes/{explored.sae.slug}/features/5"


@pytest.mark.parametrize(("query", "named"), [("?around=7", "around: It can be"), ("?embed=yes", "embed: It can be")])
def test_what_it_cannot_show_is_named(looking: Client, explored: Explored, query: str, named: str) -> None:
    assert named in shown(looking, explored, 0, query)


def test_bars_of_a_token_are_those_of_the_evidence(looking: Client, explored: Explored, evidence: ArrayFile) -> None:
    index = firing(evidence)[0]
    bars = json.loads(shown(looking, explored, index).split('type="application/json">')[1].split("</script>")[0])
    assert sum(n for _, _, n in bars) == evidence["n_fired"][index]
    assert bars[0][0] <= float(evidence["max_act"][index]) < bars[-1][1]


def test_it_is_cited_by_all_that_one_needs_to_find_it_again(
    looking: Client, explored: Explored, evidence: ArrayFile, admin: User
) -> None:
    index = firing(evidence)[0]
    labels.give(explored.sae, index, "names <b> of rivers", by=admin)
    page = shown(looking, explored, index, "?around=5")
    n, tokens = int(evidence["n_fired"][index]), explored.collection.tokens
    assert (
        f"Feature {index} “names &lt;b&gt; of rivers” of a small SAE (topk, 37 latents, {explored.sae.hookpoint} of "
        f"{explored.sae.lm.name}; fingerprint a small SAE). Density {significant(n / tokens)}: {count(n)} of "
        f"{count(tokens)} tokens of texts. http://testserver{explored.page}features/{index}/</p>"
    ) in page
    assert f'<a href="http://testserver{explored.page}features/{index}/" rel="bookmark">' in page


def test_a_page_of_another_host_is_another(looking: Client, explored: Explored, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["one.example", "two.example"]
    for host in ("one.example", "two.example", "one.example"):
        page = looking.get(f"{explored.page}features/0/", headers={"Host": host}).content.decode()
        assert f"http://{host}{explored.page}features/0/" in page


def test_an_embed_is_the_essential_and_may_be_framed(
    looking: Client, explored: Explored, evidence: ArrayFile, admin: User
) -> None:
    index = firing(evidence)[0]
    labels.give(explored.sae, index, "</title><script>alert(1)</script>", by=admin)
    address = f"{explored.page}features/{index}/?embed=1"
    answer = looking.get(address)
    page = answer.content.decode()
    assert f'href="http://testserver{explored.page}features/{index}/" target="_blank"' in page
    assert f"density {significant(int(evidence['n_fired'][index]) / explored.collection.tokens)}" in page
    assert page.count("<section") == 2
    assert "Raises" in page
    assert "<script>alert" not in page
    for absent in ("<form", "<nav", 'class="bar"'):
        assert absent not in page
    unchanged = looking.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert unchanged.status_code == 304
    again = looking.get(address)  # from those at hand
    for each in (answer, unchanged, again):
        assert "X-Frame-Options" not in each.headers
        assert "frame-ancestors *" in each.headers["Content-Security-Policy"]


@pytest.mark.parametrize("query", ["", "?embed=", "?embed=2"])
def test_nothing_else_may_be_framed(looking: Client, explored: Explored, query: str) -> None:
    answer = looking.get(f"{explored.page}features/0/{query}")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_an_embed_of_one_that_never_fired(looking: Client, explored: Explored) -> None:
    assert "It never fired." in shown(looking, explored, SILENT, "?embed=1")
