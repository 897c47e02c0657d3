"""The map's page: which map it shows, what it says of it, what of an address is left out; making maps and removing."""

import html
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels
from explorer.actions.removing import remove_sae
from explorer.forms.maps import MakeMapForm
from explorer.models import AuditEntry, FeatureMap, Job, Sae
from explorer.models.jobs import JobState
from sae_core.maps import MapConfig, Method
from tests.explored import Explored
from tests.laid_out import CLUSTERS, OnMap, made
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def maps_on(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'<section class="map" data-map="(\d+)"', page)]


def legend(page: str, name: str) -> list[tuple[str, int]]:
    """What each of its lines says, and of how many."""
    lines = re.search(rf'<ul data-legend="{name}".*?</ul>', page, re.DOTALL)
    assert lines
    said = re.findall(r'<i data-swatch="[^"]*"></i>(.*?) <span class="quiet">([\d,]+)</span>', lines[0])
    return [(html.unescape(each), int(n.replace(",", ""))) for each, n in said]


def test_before_there_is_one_a_researcher_may_make_it(client: Client, researcher: User, explored: Explored) -> None:
    client.force_login(User.objects.create_user("viewer"))
    page = shown(client, f"{explored.page}map/")
    assert "There is no map of it yet" in page
    assert "A researcher makes one." in page
    client.force_login(researcher)
    assert f'<a class="button" href="{explored.page}maps/">Make one</a>' in shown(client, f"{explored.page}map/")
    assert "No map yet" in shown(client, f"{explored.page}maps/")


def test_it_says_how_it_was_made(looking: Client, on_map: OnMap) -> None:
    page = shown(looking, f"{on_map.explored.page}map/")
    assert maps_on(page) == [on_map.map.pk]
    tiles = f"/maps/tiles/{on_map.map.tiles_id}"
    for said in ("36 features of a small SAE", "UMAP of unit decoder directions, by cosine", "<dd>0.05</dd>",
                 "0.875 at 15 neighbours</dd>", "1 that never fired</dd>", "UTC</time> in 1.5 s",
                 f'href="/artifacts/{on_map.map.points_id}/"', f'data-tiles="{tiles}/index.json"',
                 f'src="{tiles}/density/0/0/0.png"', 'data-parts="[&quot;a-small-SAE&quot;]"'):  # fmt: skip
        assert said in page, said


def test_legends_count_every_point_once(looking: Client, on_map: OnMap, admin: User) -> None:
    for index in (5, 6, 3):  # the last is not on it
        labels.give(on_map.explored.sae, index, "a label", by=admin)
    page = shown(looking, f"{on_map.explored.page}map/")
    for name in ("density", "maximum", "mean", "cluster-0", "cluster-1", "cluster-2", "labelled"):
        here = [n for said, n in legend(page, name) if not said.startswith("never fired")]
        assert sum(here) == 36, name
    dense = dict(legend(page, "density"))["over 0.1 (dense)"]
    browser = shown(looking, f"{on_map.explored.page}features/?fires=dense")
    assert f"{dense} of 37" in browser
    assert legend(page, "density")[-1] == ("never fired, so not here", 1)
    assert f'href="{on_map.explored.page}features/?fires=never"' in page
    for grain, sizes in enumerate(CLUSTERS):
        assert legend(page, f"cluster-{grain}") == [("in clusters", sum(sizes)), ("unclustered", 36 - sum(sizes))]
    assert legend(page, "labelled") == [("labelled", 2), ("no label", 34)]
    offered = re.findall(r'<option value="([^"]*)">', page)
    assert offered == ["density", "maximum", "mean", "cluster-0", "cluster-1", "cluster-2", "labelled"]


def test_of_several_saes_each_is_told(looking: Client, joint: OnMap) -> None:
    smaller, bigger = joint.rows
    for sae in joint.rows:  # it is a map of both
        page = shown(looking, f"/saes/{sae.slug}/map/")
        assert maps_on(page) == [joint.map.pk]
        assert "47 features of a smaller SAE and a small SAE" in page
        assert legend(page, "sae") == [(smaller.name, 11), (bigger.name, 36)]
        assert [said for said, _ in legend(page, "density")[-2:]] == [
            f"never fired, so not here: {each.name}" for each in joint.rows
        ]
        assert '<option value="sae">' in page


def test_the_newest_is_shown_unless_another_is_asked_for(looking: Client, on_map: OnMap) -> None:
    newer = made(on_map.explored, [on_map.explored.sae], on_map.saes, config=MapConfig(seed=1))
    address = f"{on_map.explored.page}map/"
    assert maps_on(shown(looking, address)) == [newer.map.pk]
    assert maps_on(shown(looking, f"{address}?map={on_map.map.pk}")) == [on_map.map.pk]
    both = shown(looking, f"{address}?map={on_map.map.pk}&beside={newer.map.pk}")
    assert maps_on(both) == [on_map.map.pk, newer.map.pk]
    assert re.findall(r'data-map="(\d+)"[^>]* data-first', both) == [str(on_map.map.pk)]  # whose keys the page's are
    for beside in (on_map.map.pk, newer.map.pk + 1):  # itself, and none
        assert maps_on(shown(looking, f"{address}?map={on_map.map.pk}&beside={beside}")) == [on_map.map.pk]
    assert looking.get(f"{address}?map={newer.map.pk + 1}").status_code == 404


def test_another_sae_s_map_is_not_shown_as_its_own(looking: Client, on_map: OnMap) -> None:
    other = sae_row(on_map.explored.read.lm, on_map.saes[0], "another")
    assert looking.get(f"/saes/{other.slug}/map/?map={on_map.map.pk}").status_code == 404
    assert "There is no map of it yet" in shown(looking, f"/saes/{other.slug}/map/")


def test_a_map_has_an_address_of_its_own(looking: Client, joint: OnMap) -> None:
    answer = looking.get(joint.page)
    assert answer.headers["Location"] == f"/saes/{joint.rows[0].slug}/map/?map={joint.map.pk}"
    assert looking.get(f"/maps/{joint.map.pk + 1}/").status_code == 404


WRONG = [
    ("at=0.5,0.5", "at: A view is x,y,doublings: 0.5,0.5,0 is the whole."),
    ("at=0.5,0.5,25", "at: A view is x,y,doublings: 0.5,0.5,0 is the whole."),
    ("lasso=0,0_1,1", "lasso: A lasso has 3 to 500 corners; this one has 2."),
    ("box=0,0,1,nan", "box: A box is left,top,right,bottom, from 0 to 1."),
    ("cluster=3-0", "cluster: This map has 3 grains of clusters."),
    ("bar=density-99", "bar: There is no bar 99 of density here."),
    ("part=1", "part: A part is the number of an SAE on this map, from 0 to 0."),
    ("feature=x", "feature: A feature is the number of an SAE on this map and its index, such as 0-12."),
    ("colour=red", "colour: Select a valid choice. red is not one of the available choices."),
    ("beside=x", "beside: Enter a whole number."),
    (f"q={'x' * 201}", "q: Ensure this value has at most 200 characters (it has 201)."),
    ("q=%00", "q: Null characters are not allowed."),
]


def test_what_is_wrong_in_an_address_is_named_and_left_out(looking: Client, on_map: OnMap) -> None:
    for query, said in WRONG:
        page = shown(looking, f"{on_map.explored.page}map/?{query}")
        assert html.escape(f"{said} It was left out.", quote=False) in page, query
        assert maps_on(page) == [on_map.map.pk]
    everything = "&".join(query for query, _ in WRONG)
    alerts = shown(looking, f"{on_map.explored.page}map/?{everything}").count('role="alert"')
    assert alerts == len({query.partition("=")[0] for query, _ in WRONG})
    assert "map: Enter a whole number. This is the newest." in shown(looking, f"{on_map.explored.page}map/?map=x")


def test_a_good_address_is_taken_as_it_is(looking: Client, on_map: OnMap) -> None:
    query = (
        "at=0.25,0.75,4.5&lasso=0,0_1,0_0.5,1&box=0,0,1,1&cluster=1-none&bar=mean-0&part=0&feature=0-5&colour=mean&q=a"
    )
    page = shown(looking, f"{on_map.explored.page}map/?{query}")
    assert 'role="alert"' not in page


def test_the_largest_clusters_are_listed_by_what_they_are_called(looking: Client, on_map: OnMap, admin: User) -> None:
    for index in (0, 1):  # of the first nine
        labels.give(on_map.explored.sae, index, SCRIPT, by=admin)
    page = shown(looking, f"{on_map.explored.page}map/")
    rows = re.findall(
        r'<td dir="auto"><a href="\?map=\d+&amp;cluster=1-(\d)[^"]*">(.*?)</a></td><td class="number">(\d+)', page
    )
    assert [(int(number), int(n)) for number, _, n in rows] == list(enumerate(CLUSTERS[1]))
    assert rows[0][1] == html.escape(SCRIPT)
    assert SCRIPT not in page
    assert f'href="{on_map.page}selection.csv?cluster=1-0"' in page


def test_names_are_escaped(looking: Client, joint: OnMap) -> None:
    Sae.objects.filter(pk=joint.rows[0].pk).update(name=SCRIPT)
    for sae in joint.rows:
        for address in (f"/saes/{sae.slug}/map/", f"/saes/{sae.slug}/maps/"):
            page = shown(looking, address)
            assert SCRIPT not in page
            assert html.escape(SCRIPT) in page


def test_a_page_that_a_browser_has_kept_is_never_stale(looking: Client, joint: OnMap, admin: User) -> None:
    smaller, bigger = joint.rows
    address = f"/saes/{smaller.slug}/map/"
    looking.get(address)

    def changed(tag: str) -> str:
        answer = looking.get(address, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        return answer.headers["ETag"]

    tag = looking.get(address).headers["ETag"]
    assert looking.get(address, headers={"If-None-Match": tag}).status_code == 304
    labels.give(bigger, 5, "five", by=admin)  # of the other, which names clusters that are shown here
    tag = changed(tag)
    newer = made(joint.explored, joint.rows, joint.saes, config=MapConfig(seed=1))
    tag = changed(tag)
    looking.force_login(admin)
    looking.post(f"{newer.page}remove/")
    looking.force_login(User.objects.get(username="viewer"))
    assert maps_on(shown(looking, address)) == [joint.map.pk]
    tag = looking.get(address).headers["ETag"]
    assert looking.get(address, headers={"If-None-Match": tag}).status_code == 304
    remove_sae(bigger, by=admin, address="127.0.0.1")
    changed(tag)
    assert "There is no map of it yet" in shown(looking, address)


MAKE = {"method": "tsne", "neighbours": "20", "min_dist": "0.1", "perplexity": "12.5", "seed": "3"}


def test_a_researcher_has_one_made(researching: Client, researcher: User, explored: Explored) -> None:
    answer = researching.post(f"{explored.page}maps/make/", MAKE)
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.queue, job.created_by) == ("map", "batch", researcher)
    assert job.arguments == {
        "saes": [explored.sae.pk], "method": "tsne", "neighbours": 20, "min_dist": 0.1, "perplexity": 12.5, "seed": 3,
    }  # fmt: skip
    assert researching.post(f"{explored.page}maps/make/", MAKE).headers["Location"] == f"/jobs/{job.pk}/"
    Job.objects.update(state=JobState.DONE)
    assert researching.post(f"{explored.page}maps/make/", MAKE).headers["Location"] != f"/jobs/{job.pk}/"


def test_it_is_offered_together_with_what_writes_at_its_hookpoint(
    researching: Client, joint: OnMap, explored: Explored
) -> None:
    smaller, bigger = joint.rows
    elsewhere = sae_row(explored.read.lm, joint.saes[0], "elsewhere")
    Sae.objects.filter(pk=elsewhere.pk).update(hookpoint="blocks.0.hook_resid_post")
    address = f"/saes/{bigger.slug}/maps/make/"
    page = shown(researching, f"/saes/{bigger.slug}/maps/")
    assert re.findall(r'name="together" value="(\d+)"', page) == [str(smaller.pk)]
    researching.post(address, MAKE | {"together": [smaller.pk]})
    assert Job.objects.get().arguments["saes"] == [smaller.pk, bigger.pk]  # the smallest first
    answer = researching.post(address, MAKE | {"together": [elsewhere.pk]})
    assert answer.status_code == 422
    assert f"{elsewhere.pk} is not one of the available choices" in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("method", "pca", "valid choice"), ("neighbours", "1", "greater than or equal to 2"), ("seed", "", "required"),
     ("neighbours", "201", "less than or equal to 200"), ("min_dist", "1", "less than or equal to 0.99"),
     ("min_dist", "nan", "Enter a number"), ("perplexity", "101", "less than or equal to 100"),
     ("seed", "-1", "greater than or equal to 0"), ("seed", "9" * 30, "less than or equal to"),
     ("together", "x", "not a valid")],
)  # fmt: skip
def test_what_cannot_be_made_is_said(researching: Client, explored: Explored, name: str, value: str, said: str) -> None:
    answer = researching.post(f"{explored.page}maps/make/", MAKE | {name: value})
    assert answer.status_code == 422
    assert said in html.unescape(answer.content.decode())
    assert not Job.objects.exists()


@pytest.mark.parametrize("name", ["neighbours", "min_dist", "perplexity", "seed"])
def test_what_a_form_lets_through_can_be_made(name: str) -> None:
    """Its ends are within what sae_core takes."""
    field: Any = MakeMapForm(None, Sae.objects.none()).fields[name]
    for value in (field.min_value, field.max_value, field.initial):
        assert getattr(replace(MapConfig(), **{name: value}), name) == value
    assert field.initial == getattr(MapConfig(), name)


def test_maps_are_listed_and_removed_by_who_made_them(client: Client, researcher: User, explored: Explored) -> None:
    theirs = made(explored, [explored.sae], [explored.read.sae], researcher)
    other = made(explored, [explored.sae], [explored.read.sae], None, MapConfig(method=Method.TSNE))
    client.force_login(researcher)
    page = shown(client, f"{explored.page}maps/")
    assert re.findall(r"<h2><a href=\"[^\"]*\?map=(\d+)\">(UMAP|t-SNE), 36 features", page) == [
        (str(other.map.pk), "t-SNE"), (str(theirs.map.pk), "UMAP"),
    ]  # fmt: skip
    assert f'action="{theirs.page}remove/"' in page
    assert f'action="{other.page}remove/"' not in page
    assert f'?map={theirs.map.pk}&amp;beside={other.map.pk}"' in page
    assert client.post(f"{other.page}remove/").status_code == 403
    answer = client.post(f"{theirs.page}remove/", follow=True)
    assert answer.redirect_chain == [(f"{explored.page}maps/", 302)]
    assert "The map is removed." in answer.content.decode()
    assert FeatureMap.objects.get() == other.map
    noted = AuditEntry.objects.get(action="map removed")
    assert (noted.actor, noted.details) == (
        "researcher", {"saes": ["a-small-SAE"], "asked": theirs.map.asked},
    )  # fmt: skip
    assert client.post(f"{theirs.page}remove/").status_code == 404


def test_of_an_sae_that_was_read_over_nothing_clusters_are_the_colours(looking: Client, explored: Explored) -> None:
    bare = sae_row(explored.read.lm, explored.read.sae, "bare")
    made(explored, [bare], [explored.read.sae])
    page = shown(looking, f"/saes/{bare.slug}/map/")
    assert re.findall(r'<option value="([^"]*)">', page) == ["cluster-0", "cluster-1", "cluster-2", "labelled"]
    assert "bar: There is no bar 0 of density here." in shown(looking, f"/saes/{bare.slug}/map/?bar=density-0")


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    looking: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    for seed in range(n):
        made(explored, [explored.sae], [explored.read.sae], config=MapConfig(seed=seed))
    with django_assert_num_queries(6):  # session, user; SAE, its collection; maps, their parts
        looking.get(f"{explored.page}maps/")


awkward = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["\x00", "\ud800", "\u202eשלום", "9" * 40, "-1", "1e9", "nan", "0-none", "9-0", "density-0", "0,0,1,1", "0-5",
         "0,0_1,0_1,1", "1e400,0,0", "0.5,0.5,3", "٣", "_", ",", "tsne"]
    ),
)  # fmt: skip
WORDS = ["at", "lasso", "box", "cluster", "bar", "part", "feature", "colour", "map", "beside", "q"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(asked=st.dictionaries(st.sampled_from(WORDS), awkward))
def test_nothing_in_an_address_breaks_a_page(looking: Client, on_map: OnMap, asked: dict[str, str]) -> None:
    query = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in asked.items()}, quote_via=quote)
    assert looking.get(f"{on_map.explored.page}map/?{query}").status_code in ((200, 404) if "map" in asked else (200,))
    for rest in ("selection/", "selection.csv", "selection.jsonl"):
        assert looking.get(f"{on_map.page}{rest}?{query}").status_code in (200, 422)
    assert looking.get(f"{on_map.page}search/?{query}").status_code in (200, 400)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sent=st.dictionaries(st.sampled_from([*MAKE, "together", "name"]), awkward))
def test_nothing_that_is_sent_breaks_a_form(researching: Client, on_map: OnMap, sent: dict[str, str]) -> None:
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in sent.items()}
    assert researching.post(f"{on_map.explored.page}maps/make/", MAKE | sent).status_code in (302, 422)
    assert researching.post(f"{on_map.page}selection/keep/?cluster=0-0", sent).status_code in (302, 422)
