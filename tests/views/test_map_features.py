"""What is shown of features on a map: a card, a panel, what lies near; names of clusters, and what is looked for."""

import html
import re
import struct

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer import map_search
from explorer.actions import editions, labels
from explorer.models import Activity, FeatureScore
from explorer.numbers import significant
from tests.explored import SILENT, Explored
from tests.laid_out import CLUSTERS, NEAR, OnMap, made
from tests.studied import study_of
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"
Key = tuple[int, int]  # number of a part and index


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def card(client: Client, on: OnMap, part: int, index: int) -> str:
    return shown(client, f"{on.page}features/{part}/{index}/card/")


def panel(client: Client, on: OnMap, part: int, index: int) -> str:
    return shown(client, f"{on.page}features/{part}/{index}/panel/")


def data(page: str, name: str) -> str:
    found = re.search(rf'data-{name}="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def pairs(text: str) -> list[tuple[float, float]]:
    """Places, with whatever follows them."""
    numbers = [each.split(",")[:2] for each in text.split(";") if each]
    return [(float(x), float(y)) for x, y in numbers]


def nearest(on: OnMap, key: Key) -> list[Key]:
    others = sorted((other for other in on.keys if other != key), key=lambda other: -on.cosine(key, other))
    return others[:NEAR]


def parent(on: OnMap, key: Key) -> Key:
    return max((other for other in on.keys if other[0] == 0), key=lambda other: on.cosine(key, other))


def test_a_card_says_where_it_lies_and_what_is_near(looking: Client, joint: OnMap) -> None:
    for key in ((0, 5), (1, 8)):
        page = card(looking, joint, *key)
        assert data(page, "point") == f"{key[0]}-{key[1]}"
        assert (float(data(page, "x")), float(data(page, "y"))) == pytest.approx(joint.place(*key), abs=1e-7)
        near = data(page, "near").split(";")
        assert [int(each.split(",")[2]) for each in near] == [part for part, _ in nearest(joint, key)]
        for place, other in zip(pairs(";".join(near)), nearest(joint, key), strict=True):
            assert place == pytest.approx(joint.place(*other), abs=1e-7)


def test_a_card_says_what_it_is(looking: Client, on_map: OnMap, admin: User) -> None:
    labels.give(on_map.explored.sae, 5, "names of rivers", by=admin)
    page = card(looking, on_map, 0, 5)
    activity = Activity.objects.get(index=5)
    density = significant(activity.n_fired / on_map.explored.collection.tokens)
    assert "<strong>5</strong> <bdi>names of rivers</bdi>" in page
    assert f"a small SAE, fires on {density} of tokens, up to {significant(activity.maximum)}" in page
    assert 'class="tokens"' in page
    assert "<html" not in page
    assert "no label" in card(looking, on_map, 0, 6)


def test_a_panel_lists_the_nearest_by_their_cosines(looking: Client, joint: OnMap) -> None:
    for key in ((0, 5), (1, 8), (1, 36)):
        listed = panel(looking, joint, *key).split("Nearest features")[1]
        place = r'data-point="(\d+)-(\d+)" data-x="([\d.]+)" data-y="([\d.]+)"'
        found = re.findall(rf'{place}>.*?<span class="quiet">(\S+)</span></summary>', listed)
        assert [(int(part), int(index)) for part, index, *_ in found] == nearest(joint, key)
        for part, index, x, y, cosine in found:
            other = (int(part), int(index))
            assert (float(x), float(y)) == pytest.approx(joint.place(*other), abs=1e-7)
            assert cosine == significant(joint.cosine(key, other))
            row = joint.rows[other[0]]
            assert f'href="/saes/{row.slug}/features/{index}/"' in listed
            assert f'data-card="{joint.page}features/{part}/{index}/card/"' in listed


def test_a_panel_shows_its_figures_and_leads_to_its_page(looking: Client, on_map: OnMap) -> None:
    page = panel(looking, on_map, 0, 8)
    activity = Activity.objects.get(index=8)
    for figure in (activity.n_fired / on_map.explored.collection.tokens, activity.maximum, activity.mean):
        assert f"<dd>{significant(figure)}</dd>" in page
    assert f'title="token {activity.top_token}"' in page
    assert 'class="sparkline"' in page
    assert f'href="{on_map.explored.page}features/8/" data-open' in page
    assert "In other SAEs" not in page


def relatives(page: str) -> list[tuple[int, int, str]]:
    found = re.findall(r'data-point="(\d+)-(\d+)" data-x.*?<span class="quiet">(\w+)</span></summary>', page)
    return [(int(part), int(index), says) for part, index, says in found]


def _order(on: OnMap, key: Key) -> tuple[float, int]:
    """Of points: by y, equal ones as they were given."""
    return on.place(*key)[1], on.keys.index(key)


def test_parents_and_children_are_of_the_next_sae(looking: Client, joint: OnMap) -> None:
    key = (1, 8)
    above = parent(joint, key)
    children = [each for each in joint.keys if each[0] == 1 and parent(joint, each) == above]
    family = panel(looking, joint, *key).split("Nearest features")[0]
    assert re.findall(
        r'<li><details [^>]*data-point="(\d+-\d+)".*?<span class="quiet">(\w+)</span></summary>', family
    ) == [(f"{above[0]}-{above[1]}", "parent")]
    assert pairs(data(family, "family")) == [pytest.approx(joint.place(*above), abs=1e-7)]
    theirs = panel(looking, joint, *above).split("Nearest features")[0]
    assert relatives(theirs) == [(*each, "child") for each in sorted(children, key=lambda each: _order(joint, each))]
    places = sorted(pairs(data(card(looking, joint, *above), "family")))
    assert places == [pytest.approx(place, abs=1e-7) for place in sorted(joint.place(*each) for each in children)]


def test_where_a_feature_lies_is_told(looking: Client, joint: OnMap) -> None:
    answer = looking.get(f"{joint.page}features/1/8/place/")
    assert answer.headers["Content-Type"] == "text/plain"
    assert tuple(map(float, answer.content.decode().split(","))) == pytest.approx(joint.place(1, 8), abs=1e-7)


@pytest.mark.parametrize("place", [f"0/{SILENT}", "0/37", "1/0", "0/99999999999", "999999999999999999/0"])
def test_what_is_not_on_the_map_is_not_found(looking: Client, on_map: OnMap, place: str) -> None:
    for rest in ("card", "panel", "place"):
        assert looking.get(f"{on_map.page}features/{place}/{rest}/").status_code == 404


def test_a_map_that_is_none_has_no_features(looking: Client, on_map: OnMap) -> None:
    gone = f"/maps/{on_map.map.pk + 1}/"
    for rest in ("features/0/0/card/", "features/0/0/panel/", "features/0/0/place/", "labelled/", "scored/",
                 "clusters/", "search/?q=a", "selection/", "selection.csv"):  # fmt: skip
        assert looking.get(f"{gone}{rest}").status_code == 404


def test_of_an_sae_that_was_read_over_nothing_there_is_less_to_say(looking: Client, explored: Explored) -> None:
    bare = made(explored, [sae_row(explored.read.lm, explored.read.sae, "bare")], [explored.read.sae])
    assert "fires on" not in card(looking, bare, 0, 5)
    page = panel(looking, bare, 0, 5)
    assert "Maximum" not in page
    assert len(re.findall(r"<details ", page)) == NEAR


def marks(client: Client, on: OnMap) -> set[Key]:
    answer = client.get(f"{on.page}labelled/")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    numbers = struct.unpack(f"<{len(answer.content) // 4}I", answer.content)
    return set(zip(numbers[::2], numbers[1::2], strict=True))


def test_labelled_features_are_marked(looking: Client, joint: OnMap, admin: User) -> None:
    assert marks(looking, joint) == set()
    smaller, bigger = joint.rows
    for sae, index in ((bigger, 8), (smaller, 5), (bigger, 5), (bigger, SILENT), (bigger, 9)):
        labels.give(sae, index, "a label", by=admin)
    labels.give(bigger, 9, "", by=admin)  # it was taken back
    assert marks(looking, joint) == {(0, 5), (1, 5), (1, 8)}


def test_scored_features_are_told_with_their_bands(looking: Client, joint: OnMap) -> None:
    """Of 14 points 14 are in the highest fifth, 7 in the middle one, 0 in the lowest; what is not on the map is not."""
    smaller, bigger = joint.rows
    study = study_of(bigger, [])
    for sae, index, mean in ((bigger, 8, 14.0), (bigger, 2, 7.0), (smaller, 5, 0.0), (bigger, SILENT, 9.0)):
        FeatureScore.objects.create(sae=sae, index=index, study=study, mean=mean, n=3, above=0)
        editions.of(sae.pk)
    answer = looking.get(f"{joint.page}scored/")
    numbers = struct.unpack(f"<{len(answer.content) // 4}I", answer.content)
    assert set(zip(*(numbers[place::3] for place in range(3)), strict=True)) == {(1, 8, 4), (1, 2, 2), (0, 5, 0)}
    page = looking.get(f"/saes/{bigger.slug}/map/").content.decode()
    legend = re.search(r'<ul data-legend="score" data-ramp="6".*?</ul>', page, re.DOTALL)
    assert legend
    counts = re.findall(r'([\w %]+) <span class="quiet">([\d,]+)</span>', legend[0])
    assert counts == [
        ("0 to 20 % of all points", "1"), ("20 to 40 % of all points", "0"), ("40 to 60 % of all points", "1"),
        ("60 to 80 % of all points", "0"), ("80 to 100 % of all points", "1"), ("not scored", "44"),
    ]  # fmt: skip
    assert '<option value="score">' in page


def names(client: Client, on: OnMap) -> list[list[str]]:
    answer = client.get(f"{on.page}clusters/")
    assert answer.status_code == 200
    return [[name for _, _, _, name in grain] for grain in answer.json()["grains"]]


def test_clusters_are_where_they_are_and_as_many(looking: Client, on_map: OnMap) -> None:
    grains = looking.get(f"{on_map.page}clusters/").json()["grains"]
    assert [[n for _, _, n, _ in grain] for grain in grains] == [list(sizes) for sizes in CLUSTERS]
    for grain, found in enumerate(grains):
        for number, (x, y, _, _) in enumerate(found):
            theirs = [on_map.place(*key) for key in on_map.keys if on_map.clusters_of(*key)[grain] == number]
            assert any((x, y) == pytest.approx(place, abs=1e-7) for place in theirs)


def test_a_cluster_is_named_by_what_most_of_its_labels_say(looking: Client, on_map: OnMap, admin: User) -> None:
    """0, 1 and 2 are in the first of each grain."""
    before = names(looking, on_map)
    assert not any("river" in name for grain in before for name in grain)
    labels.give(on_map.explored.sae, 0, "rivers", by=admin)
    assert names(looking, on_map) == before  # one does not speak for all
    labels.give(on_map.explored.sae, 1, "names of rivers", by=admin)
    labels.give(on_map.explored.sae, 2, "numbers", by=admin)
    after = names(looking, on_map)
    assert [grain[0] for grain in after] == ["rivers"] * 3
    assert [grain[1:] for grain in after] == [grain[1:] for grain in before]


def test_tokens_name_it_where_too_few_have_labels(looking: Client, explored: Explored) -> None:
    on = made(explored, [explored.sae], [explored.read.sae])
    tokenizer = explored.read.lm.tokenizer
    assert tokenizer
    told = on.map.clusters
    told[0][0]["tokens"], told[0][1]["tokens"] = [300, 301], []
    on.map.save(update_fields=["clusters"])
    texts = [tokenizer.token_bytes(token).decode().strip() for token in (300, 301)]
    assert names(looking, on)[0] == [" · ".join(texts), "10 features"]


def test_what_is_shown_is_never_stale(looking: Client, on_map: OnMap, admin: User) -> None:
    sae = on_map.explored.sae
    addresses = [f"{on_map.page}{rest}" for rest in (
        "features/0/5/card/", "features/0/5/panel/", "labelled/", "clusters/", "search/?q=rivers", "selection/?part=0",
    )]  # fmt: skip
    looking.get(f"{on_map.page}selection/")  # sets the cookie that its form goes with
    tags = {address: looking.get(address).headers["ETag"] for address in addresses}
    assert len(set(tags.values())) == len(addresses)
    for address, tag in tags.items():
        assert looking.get(address, headers={"If-None-Match": tag}).status_code == 304
    for index in (5, 6):
        labels.give(sae, index, f"rivers {index}", by=admin)
    for address, tag in tags.items():
        answer = looking.get(address, headers={"If-None-Match": tag})
        assert answer.status_code == 200, address
        if "labelled" in address:
            assert len(answer.content) == 16
        else:
            assert "rivers" in answer.content.decode()


def test_labels_are_escaped_wherever_they_are_shown(looking: Client, on_map: OnMap, admin: User) -> None:
    for index in (0, 1, 2, *(index for _, index in nearest(on_map, (0, 0)))):
        labels.give(on_map.explored.sae, index, SCRIPT, by=admin)
    pages = [card(looking, on_map, 0, 0), panel(looking, on_map, 0, 0)]
    pages += [shown(looking, f"{on_map.page}{rest}") for rest in ("search/?q=alert", "selection/?part=0")]
    for page, n in zip(pages, (1, 1 + NEAR, 3, 3), strict=True):
        assert SCRIPT not in page
        assert page.count(html.escape(SCRIPT)) >= n
    answer = looking.get(f"{on_map.page}clusters/")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["grains"][2][0][3] == SCRIPT  # which a script puts into a page as text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    asked = shown(looking, f"{on_map.page}search/?q={SCRIPT}")
    assert SCRIPT not in asked
    assert html.escape(SCRIPT) in asked


def found(client: Client, on: OnMap, q: str) -> list[str]:
    page = shown(client, f"{on.page}search/?q={q}")
    listed = re.findall(r'data-go="(\d+-\d+)"', page)
    assert len(pairs(data(page, "hits"))) == len(listed)
    for place, key in zip(pairs(data(page, "hits")), listed, strict=True):
        part, index = map(int, key.split("-"))
        assert place == pytest.approx(on.place(part, index), abs=1e-6)
    return listed


def test_features_are_found_by_their_index(looking: Client, joint: OnMap) -> None:
    assert found(looking, joint, "5")[:2] == ["0-5", "1-5"]  # others raise a token that is a 5
    assert found(looking, joint, "36") == ["1-36"]
    assert found(looking, joint, str(SILENT)) == []
    assert found(looking, joint, "9" * 30) == []
    assert found(looking, joint, "٣٦") == ["1-36"]


def test_features_are_found_by_words_of_their_labels(looking: Client, joint: OnMap, admin: User) -> None:
    smaller, bigger = joint.rows
    for sae, index, text in ((bigger, 8, "names of rivers"), (smaller, 5, "river"), (bigger, SILENT, "rivers")):
        labels.give(sae, index, text, by=admin)
    assert set(found(looking, joint, "rivers")) == {"0-5", "1-8"}
    assert found(looking, joint, "names riv") == ["1-8"]
    assert found(looking, joint, "lakes") == []


def test_features_are_found_by_the_token_that_they_raise(looking: Client, on_map: OnMap) -> None:
    tokenizer = on_map.explored.read.lm.tokenizer
    assert tokenizer
    by_token: dict[int, set[str]] = {}
    for each in Activity.objects.exclude(index=SILENT):
        by_token.setdefault(each.top_token, set()).add(f"0-{each.index}")
    for token, there in by_token.items():
        assert set(found(looking, on_map, f"%23{token}")) == there
    spaced = next(token for token in by_token if tokenizer.token_bytes(token)[:1] == b" ")
    assert by_token[spaced] <= set(found(looking, on_map, tokenizer.token_bytes(spaced).decode().strip()))


def test_of_very_many_so_many_are_shown(looking: Client, on_map: OnMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_search, "MOST", 3)
    monkeypatch.setattr(map_search, "LISTED", 2)
    for index in range(5):
        labels.give(on_map.explored.sae, index if index < SILENT else index + 1, "river", by=None)
    page = shown(looking, f"{on_map.page}search/?q=river")
    assert len(pairs(data(page, "hits"))) == 3
    assert len(re.findall("data-go", page)) == 2
    assert "The first 2 are listed; 3 are shown on the map." in page


def test_what_cannot_be_looked_for_is_said(looking: Client, on_map: OnMap) -> None:
    for q, said in (
        ("%00", "q: Null characters are not allowed."),
        ("x" * 201, "q: Ensure this value has at most 200"),
    ):
        answer = looking.get(f"{on_map.page}search/?q={q}")
        assert answer.status_code == 400
        assert answer.content.decode().startswith(said)
    assert "Nothing with “<bdi></bdi>”" in shown(looking, f"{on_map.page}search/")


def test_it_takes_as_many_queries_whatever_lies_near(
    looking: Client, joint: OnMap, admin: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    of_all = [parent(joint, key) for key in joint.keys if key[0] == 1]
    most = max(joint.keys, key=of_all.count)
    none = next(key for key in joint.keys if key[0] == 0 and key not in of_all)
    panel(looking, joint, *none)  # SAEs are at hand from here on
    labels.give(joint.rows[1], 8, "eight", by=admin)
    panel(looking, joint, 1, 8)
    for key in (most, none):
        with django_assert_num_queries(13):  # session, user; map and parts, editions; SAE, row, evidence
            card(looking, joint, *key)
        with django_assert_num_queries(17):  # and two SAEs; the labels and figures of all that are near or related
            panel(looking, joint, *key)
