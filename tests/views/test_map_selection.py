"""What is selected on a map: counted over all its points, said, taken along, kept as a list."""

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer import map_points, vocabulary
from explorer.actions import labels, lists
from explorer.models import Activity, FeatureList, ListEntry
from explorer.tokens import alone
from tests.laid_out import OnMap

pytestmark = pytest.mark.django_db
Key = tuple[int, int]  # number of a part and index
LASSO = "0.1,-0.5_0.9,-0.5_0.9,0.6_0.3,0.6_0.3,0.4_0.1,0.4"


def in_lasso(x: float, y: float) -> bool:
    """LASSO: an L of two boxes."""
    return (0.1 < x < 0.9 and y < 0.4) or (0.3 < x < 0.9 and y < 0.6)


def in_box(x: float, y: float) -> bool:
    return 0.1 < x < 0.6 and 0.2 < y < 0.9


def selected(client: Client, on: OnMap, **asked: str) -> str:
    answer = client.get(f"{on.page}selection/", asked)
    assert answer.status_code == 200
    return answer.content.decode()


def activity(on: OnMap, key: Key) -> Activity:
    return Activity.objects.get(collection__sae=on.rows[key[0]], index=key[1])


def density(on: OnMap, key: Key) -> float:
    return activity(on, key).n_fired / on.explored.collection.tokens


def in_bar(on: OnMap, name: str, place: int, value: float) -> bool:
    found = on.map.legends[name][place]
    return (found["low"] is None or value > found["low"]) and (found["high"] is None or value <= found["high"])


AREAS: dict[str, tuple[dict[str, str], Callable[[OnMap, Key], bool]]] = {
    "all": ({}, lambda on, key: True),
    "lasso": ({"lasso": LASSO}, lambda on, key: in_lasso(*on.place(*key))),
    "box": ({"box": "0.1,0.2,0.6,0.9"}, lambda on, key: in_box(*on.place(*key))),
    "cluster": ({"cluster": "1-2"}, lambda on, key: on.clusters_of(*key)[1] == 2),
    "unclustered": ({"cluster": "0-none"}, lambda on, key: on.clusters_of(*key)[0] == -1),
    "density": ({"bar": "density-3"}, lambda on, key: in_bar(on, "density", 3, density(on, key))),
    "mean": ({"bar": "mean-0"}, lambda on, key: in_bar(on, "mean", 0, activity(on, key).mean)),
    "part": ({"part": "1"}, lambda on, key: key[0] == 1),
    "several": (
        {"lasso": LASSO, "part": "1", "cluster": "0-none"},
        lambda on, key: key[0] == 1 and in_lasso(*on.place(*key)) and on.clusters_of(*key)[0] == -1,
    ),
    "nothing": ({"box": "0,0,0.01,0.01"}, lambda on, key: False),
}  # fmt: skip


@pytest.mark.parametrize("name", AREAS)
def test_what_is_selected_is_counted_over_all_points(looking: Client, joint: OnMap, name: str) -> None:
    asked, within = AREAS[name]
    keys = [key for key in joint.keys if within(joint, key)]
    page = selected(looking, joint, **asked)
    assert f"<h2>{len(keys)} feature{'' if len(keys) == 1 else 's'}</h2>" in page
    of_parts = Counter(part for part, _ in keys)
    told = re.findall(r"<li>(\d+) of (a small\w* SAE)</li>", page)
    assert told == [(str(of_parts[part]), row.name) for part, row in enumerate(joint.rows)]
    assert (len(keys) == 0) == (name == "nothing")
    assert ("They raise" in page) == (name != "nothing")


def test_what_most_of_them_raise_is_told(looking: Client, joint: OnMap) -> None:
    asked, within = AREAS["lasso"]
    raised = Counter(activity(joint, key).top_token for key in joint.keys if within(joint, key))
    most = sorted(raised.items(), key=lambda each: (-each[1], each[0]))[: map_points.TOKENS]
    words = vocabulary.of(joint.explored.sae.lm)
    told = re.findall(r"<tr><td>(.*?)</td><td class=\"number\">(\d+)</td></tr>", selected(looking, joint, **asked))
    assert told == [(alone(words, token), str(n)) for token, n in most]


def test_their_labels_are_told(looking: Client, joint: OnMap, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, within = AREAS["lasso"]
    inside = sorted((key for key in joint.keys if within(joint, key)), key=lambda key: -joint.place(*key)[1])
    assert len(inside) > map_points.LABELS + 3  # the first of them are the last of its points
    outside = next(key for key in joint.keys if key not in inside)
    assert '<p class="hint">0 have a label</p>' in selected(looking, joint, **asked)
    for number, key in enumerate([*inside[:3], outside]):
        labels.give(joint.rows[key[0]], key[1], f"label {number}", by=admin)
    page = selected(looking, joint, **asked)
    assert "3 have a label</p>" in page
    told = re.findall(r'<li><span class="number quiet">(\d+)</span> <bdi>(.*?)</bdi></li>', page)
    assert sorted(told) == sorted((str(key[1]), f"label {number}") for number, key in enumerate(inside[:3]))
    monkeypatch.setattr(map_points, "LABELS", 2)
    assert "3 have a label; the first are</p>" in selected(looking, joint, **asked, box="0,0,1,1")


def test_how_they_lie_over_the_legends_is_drawn(looking: Client, joint: OnMap) -> None:
    asked, within = AREAS["lasso"]
    page = selected(looking, joint, **asked)
    assert re.findall(r'aria-label="(\w+) of what is selected', page) == ["density", "maximum", "mean"]
    drawn = page.split('aria-label="density of what is selected')[1].split("</svg>")[0]
    bars = joint.map.legends["density"]
    inside = [density(joint, key) for key in joint.keys if within(joint, key)]
    here = [sum(in_bar(joint, "density", place, each) for each in inside) for place in range(len(bars))]
    all_of_it = [each["n"] for each in bars]
    heights = re.findall(r'<rect( class="all")? x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/>', drawn)
    for whole, n in ((' class="all"', all_of_it), ("", here)):
        shares = [float(height) for kind, _, height in heights if kind == whole]
        assert shares == pytest.approx([each / max(n) for each in n], abs=1e-4)
    assert all(float(top) + float(height) == pytest.approx(1) for _, top, height in heights)


WRONG = [
    ({"lasso": "0,0_1,1"}, "lasso: A lasso has 3 to 500 corners; this one has 2."),
    ({"lasso": "_".join(["0.1,0.1"] * 501)}, "lasso: A lasso has 3 to 500 corners; this one has 501."),
    ({"lasso": "0,0_1,1_x,1"}, "lasso: Corners are x,y with _ between them, from 0 to 1."),
    ({"box": "0,0,1"}, "box: A box is left,top,right,bottom, from 0 to 1."),
    ({"cluster": "9-0"}, "cluster: This map has 3 grains of clusters."),
    ({"bar": "density-9"}, "bar: There is no bar 9 of density here."),
    ({"part": "2"}, "part: A part is the number of an SAE on this map, from 0 to 1."),
    ({"lasso": "0" * 15_001}, "lasso: Ensure this value has at most 15000 characters (it has 15001)."),
]


@pytest.mark.parametrize(("asked", "says"), WRONG)
def test_what_is_no_part_of_a_map_is_said(looking: Client, joint: OnMap, asked: dict[str, str], says: str) -> None:
    answer = looking.get(f"{joint.page}selection/", asked)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'<p class="error" role="alert">{html.escape(says)}</p>' in page
    assert "Nothing can be selected so" in page
    assert "Make a list" not in page
    query = urlencode(asked)
    for rest in ("selection.csv", "selection.jsonl"):
        answer = looking.get(f"{joint.page}{rest}?{query}")
        assert (answer.status_code, answer.headers.get("Content-Disposition")) == (422, None)
    answer = looking.post(f"{joint.page}selection/keep/?{query}", {"name": "mine"})
    assert answer.status_code == 422
    assert "Nothing can be selected so" in answer.content.decode()
    assert not FeatureList.objects.exists()


def rows_of(client: Client, on: OnMap, asked: dict[str, str], sheet: str = "jsonl") -> str:
    answer = client.get(f"{on.page}selection.{sheet}", asked)
    assert answer.status_code == 200
    name = f"{on.rows[0].slug}-map-{on.map.pk}-selected.{sheet}".lower()
    assert answer.headers["Content-Disposition"].lower() == f'attachment; filename="{name}"'
    return answer.getvalue().decode()


@pytest.mark.django_db(transaction=True)
def test_it_is_taken_along_as_files(looking: Client, joint: OnMap, admin: User) -> None:
    for index, text in ((8, "=1+1"), (9, 'ü, "x"'), (0, "zero")):
        labels.give(joint.rows[1], index, text, by=admin)
    named = {(1, 8): "=1+1", (1, 9): 'ü, "x"', (1, 0): "zero"}
    asked, within = AREAS["lasso"]
    wanted = {}
    for key in joint.keys:
        if within(joint, key):
            figures = activity(joint, key)
            x, y = joint.place(*key)
            wanted[key] = {
                "sae": joint.rows[key[0]].slug, "index": key[1], "label": named.get(key),
                "x": pytest.approx(x, abs=1e-7), "y": pytest.approx(y, abs=1e-7),
                "density": density(joint, key),
                "maximum": pytest.approx(figures.maximum, rel=1e-6), "mean": pytest.approx(figures.mean, rel=1e-6),
            }  # fmt: skip
    assert set(named) & set(wanted)
    numbers = {row.slug: number for number, row in enumerate(joint.rows)}
    rows = [json.loads(line) for line in rows_of(looking, joint, asked).splitlines()]
    assert {(numbers[row["sae"]], row["index"]): row for row in rows} == wanted
    assert len(rows) == len(wanted)
    assert [row["y"] for row in rows] == sorted(row["y"] for row in rows)
    lines = list(csv.DictReader(io.StringIO(rows_of(looking, joint, asked, "csv"))))
    assert [list(line) for line in lines[:1]] == [["sae", "index", "label", "x", "y", "density", "maximum", "mean"]]
    for line, row in zip(lines, rows, strict=True):
        assert (line["sae"], int(line["index"])) == (row["sae"], row["index"])
        assert all(float(line[name]) == row[name] for name in ("x", "y", "density", "maximum", "mean"))
        text = row["label"] or ""
        assert line["label"] == (f"'{text}" if text.startswith("=") else text)
    assert rows_of(looking, joint, AREAS["nothing"][0]) == ""


def test_it_is_kept_as_a_list_of_one_s_own(looking: Client, viewer: User, joint: OnMap) -> None:
    asked, within = AREAS["several"]
    page = selected(looking, joint, **asked)
    action = re.search(r'<form method="post" class="row keeping" action="([^"]*)"', page)
    assert action
    answer = looking.post(html.unescape(action[1]), {"name": " what  I drew "})
    made = FeatureList.objects.get()
    assert answer.headers["Location"] == f"/lists/{made.pk}/"
    assert (made.name, made.owner, made.shared) == ("what I drew", viewer, True)
    assert made.notes == f"Selected on map {joint.map.pk}: {urlencode(asked)}"
    keys = {(joint.rows[part].pk, index) for part, index in joint.keys if within(joint, (part, index))}
    assert set(ListEntry.objects.values_list("sae", "index")) == keys
    assert ListEntry.objects.count() == len(keys) > 3
    assert set(ListEntry.objects.values_list("added_by", flat=True)) == {viewer.pk}


@pytest.mark.parametrize(
    ("sent", "said"), [({}, "required"), ({"name": "x" * 201}, "at most 200"), ({"name": "a\x00"}, "Null")]
)
def test_a_name_that_is_none_is_said_beside_what_was_selected(
    looking: Client, joint: OnMap, sent: dict[str, str], said: str
) -> None:
    answer = looking.post(f"{joint.page}selection/keep/?part=1", sent)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page
    assert "<h2>36 features</h2>" in page
    assert not FeatureList.objects.exists()


def test_a_list_has_room_for_so_many(looking: Client, joint: OnMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_ENTRIES", 35)
    page = selected(looking, joint, part="1")
    assert "A list holds at most 35." in page
    assert '<button class="quiet" disabled>' in page
    answer = looking.post(f"{joint.page}selection/keep/?part=1", {"name": "mine"})
    assert answer.status_code == 422
    assert "mine would hold more than 35 features, which are the most." in answer.content.decode()
    assert not FeatureList.objects.exists()  # all of them or none
    assert " disabled" not in selected(looking, joint, part="0")
    monkeypatch.setattr(lists, "MOST_LISTS", 0)
    answer = looking.post(f"{joint.page}selection/keep/?part=0", {"name": "mine"})
    assert (answer.status_code, "You have 0 lists" in answer.content.decode()) == (422, True)


def test_who_has_not_signed_in_keeps_nothing(client: Client, joint: OnMap, settings: Settings) -> None:
    settings.OPEN_READING = True
    page = selected(client, joint, part="1")
    assert "Their ids as CSV" in page
    assert "Make a list" not in page
    answer = client.post(f"{joint.page}selection/keep/?part=1", {"name": "mine"})
    assert answer.headers["Location"].startswith("/sign-in/")
    assert not FeatureList.objects.exists()


def test_labels_are_escaped(looking: Client, joint: OnMap, admin: User) -> None:
    script = "<script>alert(1)</script>"
    labels.give(joint.rows[1], 8, script, by=admin)
    page = selected(looking, joint, part="1")
    assert script not in page
    assert f"<bdi>{html.escape(script)}</bdi>" in page


def test_it_takes_as_many_queries_for_many(
    looking: Client, joint: OnMap, admin: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for index in (0, 1, 2):
        labels.give(joint.rows[1], index, "a label", by=admin)
    selected(looking, joint, part="0")
    for asked in ({"part": "1"}, {"cluster": "0-0"}, {}):
        with django_assert_num_queries(7):  # session, user; map and parts, editions twice; labels
            selected(looking, joint, **asked)
