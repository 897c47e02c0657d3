"""Maps by the API: told, made, removed; what lies in a part of one, and around a feature."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer import cluster_names, vocabulary
from explorer.actions import labels
from explorer.actions.accounts import set_role
from explorer.models import Activity, AuditEntry, FeatureMap, Job, Sae
from explorer.models.access import Role
from sae_core.maps import MapConfig, Method
from tests.explored import SILENT, Explored, explored, read
from tests.laid_out import CLUSTERS, NEAR, TRUSTED, OnMap, joint, made, on_map, smaller
from tests.work.collected import sae_row

__all__ = ["explored", "joint", "on_map", "read", "smaller"]
pytestmark = pytest.mark.django_db
Key = tuple[int, int]  # number of a part and index


def got(client: Client, path: str, **asked: Any) -> Any:
    answer = client.get(f"/api/v1{path}", asked)
    assert answer.status_code == 200, answer.content
    return answer.json()


def post(client: Client, sae: Sae, sent: Any) -> Any:
    return client.post(f"/api/v1/saes/{sae.slug}/maps", sent, content_type="application/json")


def test_a_map_is_told_as_its_page_tells_it(looking: Client, joint: OnMap, researcher: User) -> None:
    found = made(joint.explored, joint.rows, joint.saes, researcher, MapConfig(method=Method.TSNE, seed=5))
    told = got(looking, f"/maps/{found.map.pk}")
    corpus = joint.explored.corpus.slug
    row = {
        "id": found.map.pk,
        "method": "tsne",
        "parameters": {"neighbours": 15, "min_dist": 0.05, "perplexity": 30.0, "seed": 5},
        "n_points": 47,
        "saes": [
            {"number": 0, "sae": "a-smaller-SAE", "n_points": 11, "n_silent": 1, "corpus": corpus},
            {"number": 1, "sae": "a-small-SAE", "n_points": 36, "n_silent": 1, "corpus": corpus},
        ],
        "trustworthiness": TRUSTED,
        "trusted_on": 47,
        "unclustered": [47 - sum(sizes) for sizes in CLUSTERS],
        "created_by": "researcher",
        "created_at": told["created_at"],
        "points": f"/artifacts/{found.map.points_id}/",
        "tiles": f"/maps/tiles/{found.map.tiles_id}/index.json",
        "page": f"/maps/{found.map.pk}/",
    }
    assert {name: told[name] for name in row} == row
    assert set(told) - set(row) == {"clusters", "legends"}
    for each in joint.rows:
        listed = got(looking, f"/saes/{each.slug}/maps")
        assert (listed["items"][0], listed["next"]) == (row, None)
        assert [item["id"] for item in listed["items"]] == [found.map.pk, joint.map.pk]
    assert looking.get(row["tiles"]).status_code == looking.get(row["points"]).status_code == 200


def test_its_clusters_and_legends_are_told(looking: Client, on_map: OnMap, admin: User) -> None:
    for index in (0, 1):
        labels.give(on_map.explored.sae, index, "rivers", by=admin)
    told = got(looking, f"/maps/{on_map.map.pk}")
    assert [[each["n"] for each in grain] for grain in told["clusters"]] == [list(sizes) for sizes in CLUSTERS]
    assert [[each["number"] for each in grain] for grain in told["clusters"]] == [[0, 1], [0, 1, 2], [0, 1]]
    assert [grain[0]["name"] for grain in told["clusters"]] == ["rivers"] * 3
    shown = cluster_names.clusters(on_map.map)
    assert [[(each["name"], each["x"], each["y"]) for each in grain] for grain in told["clusters"]] == [
        [(each.name, each.x, each.y) for each in grain] for grain in shown
    ]
    assert told["legends"] == on_map.map.legends
    tokens = on_map.explored.collection.tokens
    for bar in told["legends"]["density"]:
        within = [
            each for each in Activity.objects.exclude(n_fired=0)
            if (bar["low"] or 0) < each.n_fired / tokens <= (1 if bar["high"] is None else bar["high"])
        ]  # fmt: skip
        assert bar["n"] == len(within) > 0


def test_maps_come_in_pages(looking: Client, explored: Explored) -> None:
    made_now = [made(explored, [explored.sae], [explored.read.sae], config=MapConfig(seed=seed)) for seed in range(3)]
    first = got(looking, f"/saes/{explored.sae.slug}/maps", limit=2)
    rest = got(looking, f"/saes/{explored.sae.slug}/maps", limit=2, after=first["next"])
    assert [each["id"] for each in first["items"] + rest["items"]] == [each.map.pk for each in made_now][::-1]
    assert rest["next"] is None


def test_what_was_read_anew_since_is_not_said_to_be_what_it_shows(looking: Client, on_map: OnMap) -> None:
    on_map.map.parts.update(collection=None)
    assert got(looking, f"/maps/{on_map.map.pk}")["saes"][0]["corpus"] is None


MAKE = {"method": "tsne", "neighbours": 20, "min_dist": 0.1, "perplexity": 12.5, "seed": 3}


def test_a_map_is_made_by_a_job(researching: Client, researcher: User, joint: OnMap) -> None:
    small, big = joint.rows
    answer = post(researching, big, MAKE | {"together": [small.slug, small.slug, big.slug]})
    job = Job.objects.get()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{job.pk}"
    assert (answer.json()["id"], answer.json()["kind"], answer.json()["state"]) == (job.pk, "map", "queued")
    assert job.created_by == researcher
    assert job.arguments == {"saes": [small.pk, big.pk]} | MAKE  # the smallest first
    assert post(researching, small, MAKE | {"together": [big.slug]}).json()["id"] == job.pk  # it makes just this
    sent = {name: str(value) for name, value in MAKE.items()}
    page = researching.post(f"/saes/{big.slug}/maps/make/", sent | {"together": [small.pk]})
    assert page.headers["Location"] == f"/jobs/{job.pk}/"  # as the page makes it
    assert post(researching, big, {}).status_code == 202
    assert Job.objects.latest("pk").arguments == {
        "saes": [big.pk], "method": "umap", "neighbours": 15, "min_dist": 0.05, "perplexity": 30.0, "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"method": "pca"}, {"neighbours": 1}, {"neighbours": 201}, {"neighbours": "15"}, {"neighbours": 15.5},
     {"neighbours": True}, {"min_dist": -0.1}, {"min_dist": 1}, {"min_dist": float("nan")}, {"min_dist": "0.1"},
     {"perplexity": 1}, {"perplexity": 101}, {"seed": -1}, {"seed": 2**31}, {"seed": None}, {"together": "a"},
     {"together": ["a b"]}, {"together": ["a-small-SAE"] * 16}],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(researching: Client, explored: Explored, wrong: dict[str, Any]) -> None:
    answer = post(researching, explored.sae, wrong)
    assert answer.status_code == 422
    (name,) = wrong
    assert answer.json()["errors"][0]["where"][:3] == ["body", "sent", name]
    assert not Job.objects.exists()


def test_it_is_described_between_which_ends_numbers_may_be(client: Client) -> None:
    described = client.get("/api/v1/openapi.json").json()["components"]["schemas"]["MapIn"]["properties"]
    ends = {name: (each["minimum"], each["maximum"]) for name, each in described.items() if "minimum" in each}
    assert ends == {
        "neighbours": (2, 200), "min_dist": (0, 0.99), "perplexity": (2, 100), "seed": (0, 2**31 - 1),
    }  # fmt: skip


def test_only_what_writes_at_one_place_is_laid_out_together(researching: Client, explored: Explored) -> None:
    elsewhere = sae_row(explored.read.lm, explored.read.sae, "elsewhere")
    Sae.objects.filter(pk=elsewhere.pk).update(hookpoint="blocks.0.hook_resid_post")
    answer = post(researching, explored.sae, {"together": ["elsewhere"]})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"where": ["body", "sent", "together"], "message": "elsewhere does not write where a small SAE does."}
    ]
    assert post(researching, explored.sae, {"together": ["nothing"]}).status_code == 404
    assert researching.post("/api/v1/saes/nothing/maps", {}, content_type="application/json").status_code == 404
    assert not Job.objects.exists()


def test_whoever_made_it_removes_it_or_an_administrator(
    client: Client, researcher: User, admin: User, explored: Explored
) -> None:
    own, other = (made(explored, [explored.sae], [explored.read.sae], by) for by in (researcher, None))
    client.force_login(researcher)
    assert client.delete(f"/api/v1{other.page}"[:-1]).status_code == 403
    assert client.delete(f"/api/v1{own.page}"[:-1]).status_code == 204
    assert client.delete(f"/api/v1{own.page}"[:-1]).status_code == 404
    assert FeatureMap.objects.get() == other.map
    assert AuditEntry.objects.get(action="map removed").actor == "researcher"
    set_role(researcher.pk, Role.ANNOTATOR, by=admin)
    made(explored, [explored.sae], [explored.read.sae], researcher)
    client.force_login(User.objects.get(pk=researcher.pk))
    assert client.delete(f"/api/v1/maps/{FeatureMap.objects.latest('pk').pk}").status_code == 403
    client.force_login(admin)
    assert client.delete(f"/api/v1{other.page}"[:-1]).status_code == 204


def selection(client: Client, on: OnMap, **asked: Any) -> Any:
    return got(client, f"/maps/{on.map.pk}/selection", **asked)


def in_box(on: OnMap, key: Key) -> bool:
    """0.1,0.2,0.6,0.9, whose edges no point is on."""
    x, y = on.place(*key)
    return 0.1 < x < 0.6 and 0.2 < y < 0.9


BOX = "0.1,0.2,0.6,0.9"


def test_a_selection_is_told_over_all_its_points(looking: Client, joint: OnMap, admin: User) -> None:
    keys = [key for key in joint.keys if in_box(joint, key)]
    for index in (8, 9):
        labels.give(joint.rows[1], index, f"label {index}", by=admin)
    assert {(1, 8), (1, 9)} & set(keys) == {(1, 8)}
    told = selection(looking, joint, box=BOX, limit=5)
    slugs = [row.slug for row in joint.rows]
    assert told["n"] == len(keys)
    assert told["by_sae"] == [{"sae": slug, "n": sum(p == part for p, _ in keys)} for part, slug in enumerate(slugs)]
    assert (told["n_labelled"], told["labels"]) == (1, [{"sae": slugs[1], "index": 8, "label": "label 8"}])
    raised: dict[int, int] = {}
    for part, index in keys:
        token = Activity.objects.get(collection__sae=joint.rows[part], index=index).top_token
        raised[token] = raised.get(token, 0) + 1
    most = sorted(raised.items(), key=lambda each: (-each[1], each[0]))[:10]
    words = vocabulary.of(joint.explored.sae.lm)
    assert told["tokens"] == [{"token": token, "text": words.text([token])[0], "n": n} for token, n in most]
    assert len(told["items"]) == 5
    assert told["next"] is not None


def test_its_features_come_in_pages(looking: Client, joint: OnMap, admin: User) -> None:
    labels.give(joint.rows[1], 8, "eight", by=admin)
    whole = selection(looking, joint, box=BOX, limit=200)
    assert whole["next"] is None
    items, after = [], None
    while True:
        page = selection(looking, joint, box=BOX, limit=4, **({"after": after} if after else {}))
        assert {name: page[name] for name in ("n", "tokens")} == {name: whole[name] for name in ("n", "tokens")}
        items += page["items"]
        after = page["next"]
        if after is None:
            break
    assert items == whole["items"]
    numbers = {row.slug: number for number, row in enumerate(joint.rows)}
    keys = [(numbers[each["sae"]], each["index"]) for each in items]
    assert sorted(keys) == [key for key in joint.keys if in_box(joint, key)]
    for key, item in zip(keys, items, strict=True):
        activity = Activity.objects.get(collection__sae=joint.rows[key[0]], index=key[1])
        assert (item["x"], item["y"]) == pytest.approx(joint.place(*key), abs=1e-7)
        assert item["density"] == activity.n_fired / joint.explored.collection.tokens
        assert (item["maximum"], item["mean"]) == pytest.approx((activity.maximum, activity.mean), rel=1e-6)
        assert item["label"] == ("eight" if key == (1, 8) else None)
    assert [each["y"] for each in items] == sorted(each["y"] for each in items)


def test_each_way_to_select_is_that_of_the_page(looking: Client, joint: OnMap) -> None:
    several: list[dict[str, str]] = [
        {}, {"lasso": "0.1,0.1_0.9,0.2_0.5,0.9"}, {"cluster": "1-0"}, {"cluster": "0-none"}, {"bar": "density-2"},
        {"part": "1"}, {"part": "0", "box": BOX}, {"cluster": "2-999"},
    ]  # fmt: skip
    for asked in several:
        n = selection(looking, joint, **asked)["n"]
        assert f"<h2>{n} feature" in looking.get(f"{joint.page}selection/", asked).content.decode()
        assert (n == 0) == (asked == {"cluster": "2-999"})
    assert selection(looking, joint, cluster="2-999")["items"] == []


def test_what_is_no_part_of_a_map_is_said(looking: Client, on_map: OnMap) -> None:
    for asked, says in (
        ({"lasso": "0,0_1,1"}, {"lasso": "A lasso has 3 to 500 corners; this one has 2."}),
        ({"box": "1", "part": "1"}, {"box": "A box is left,top,right,bottom, from 0 to 1.",
                                     "part": "A part is the number of an SAE on this map, from 0 to 0."}),
        ({"cluster": "3-0"}, {"cluster": "This map has 3 grains of clusters."}),
        ({"bar": "density-9"}, {"bar": "There is no bar 9 of density here."}),
    ):  # fmt: skip
        answer = looking.get(f"/api/v1{on_map.page}selection", asked)
        assert answer.status_code == 422
        assert {error["where"][-1]: error["message"] for error in answer.json()["errors"]} == says
    for asked in ({"after": "x"}, {"after": "-1"}, {"limit": "0"}, {"limit": "201"}, {"lasso": "0" * 15_001}):
        assert looking.get(f"/api/v1{on_map.page}selection", asked).status_code == 422


def nearest(on: OnMap, key: Key) -> list[Key]:
    others = sorted((other for other in on.keys if other != key), key=lambda other: -on.cosine(key, other))
    return others[:NEAR]


def parent(on: OnMap, key: Key) -> Key:
    return max((other for other in on.keys if other[0] == 0), key=lambda other: on.cosine(key, other))


def test_a_feature_is_told_with_what_is_near(looking: Client, joint: OnMap, admin: User) -> None:
    key = (1, 8)
    labels.give(joint.rows[1], 8, "eight", by=admin)
    above = parent(joint, key)
    labels.give(joint.rows[0], above[1], "above", by=admin)

    def placed(of: Key, label: str | None = None) -> dict[str, Any]:
        x, y = (pytest.approx(each, abs=1e-7) for each in joint.place(*of))
        return {"sae": joint.rows[of[0]].slug, "index": of[1], "label": label, "x": x, "y": y}

    told = got(looking, f"/maps/{joint.map.pk}/features/{joint.rows[1].slug}/8")
    cosines = {other: pytest.approx(joint.cosine(key, other), abs=1e-6) for other in nearest(joint, key)}
    assert told == placed(key, "eight") | {
        "clusters": [None if each < 0 else each for each in joint.clusters_of(*key)],
        "neighbours": [
            placed(other, "above" if other == above else None) | {"cosine": cosine} for other, cosine in cosines.items()
        ],
        "parent": placed(above, "above"),
        "children": [],
        "page": f"/saes/{joint.rows[1].slug}/features/8/",
    }
    theirs = got(looking, f"/maps/{joint.map.pk}/features/{joint.rows[0].slug}/{above[1]}")
    children = [each for each in joint.keys if each[0] == 1 and parent(joint, each) == above]
    assert sorted((each["index"], each["label"]) for each in theirs["children"]) == [
        (index, "eight" if index == 8 else None) for _, index in children
    ]
    assert theirs["parent"] is None


@pytest.mark.parametrize(
    "rest", [f"a-small-SAE/{SILENT}", "a-small-SAE/37", "another/5", "a-small-SAE/2147483647", "none/0"]
)
def test_what_is_not_on_it_is_not_found(looking: Client, on_map: OnMap, rest: str) -> None:
    sae_row(on_map.explored.read.lm, on_map.saes[0], "another")
    assert looking.get(f"/api/v1{on_map.page}features/{rest}").status_code == 404
    assert looking.get(f"/api/v1/maps/{on_map.map.pk + 1}/features/a-small-SAE/5").status_code == 404
    for path in (f"/maps/{on_map.map.pk + 1}", f"/maps/{on_map.map.pk + 1}/selection", "/saes/none/maps"):
        assert looking.get(f"/api/v1{path}").status_code == 404


def test_of_an_sae_that_was_read_over_nothing_figures_are_not_known(looking: Client, explored: Explored) -> None:
    bare = made(explored, [sae_row(explored.read.lm, explored.read.sae, "bare")], [explored.read.sae])
    told = got(looking, f"/maps/{bare.map.pk}")
    assert (told["legends"], told["saes"][0]["corpus"]) == ({}, None)
    found = selection(looking, bare, limit=1)
    assert (found["n"], found["tokens"]) == (36, [])
    assert [found["items"][0][name] for name in ("density", "maximum", "mean")] == [None] * 3


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    looking: Client, joint: OnMap, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    for seed in range(1, n):
        made(joint.explored, joint.rows, joint.saes, config=MapConfig(seed=seed))
    slug = joint.rows[1].slug
    labels.give(joint.rows[1], 8, "eight", by=None)
    got(looking, f"/maps/{joint.map.pk}")
    with django_assert_num_queries(7):  # session, user, rate, SAE, its collection; maps, parts
        got(looking, f"/saes/{slug}/maps")
    with django_assert_num_queries(8):  # session, user, rate; map, parts, editions; labels twice
        selection(looking, joint, limit=n)
    with django_assert_num_queries(6):  # session, user, rate; map, parts; labels
        got(looking, f"/maps/{joint.map.pk}/features/{slug}/8")
