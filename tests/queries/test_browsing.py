"""The browser against a plain sort of all rows: every order, both ways, with many that are equal."""

import math
import random
import re
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.actions import labels
from explorer.models import Activity, FeatureScore
from explorer.queries import browsing, library
from explorer.queries.browsing import Asked, Place, Way
from explorer.queries.filtering import OF_PEOPLE, Filters, Sort
from tests.explored import Explored
from tests.studied import study_of

pytestmark = pytest.mark.django_db
REALS = ("maximum", "mean", "p99", "decoder_norm", "neighbour_cosine")
# Neighbours in single precision, and what a decimal number cannot say in few digits.
SEVERAL = [0.0, 0.1, float(np.nextafter(np.float32(0.1), np.float32(1))), 1 / 3, 1e-30, 123456.789]


@pytest.fixture
def equal(explored: Explored, admin: User) -> Asked:
    """Of each figure few values, so that many features share one."""
    dice = random.Random(7)
    rows = list(Activity.objects.all())
    for row in rows:
        row.n_fired, row.top_token = dice.choice((0, 1, 9, 10, 500)), dice.choice((-1, 5, 7))
        for name in REALS:
            setattr(row, name, dice.choice(SEVERAL))
        Activity.objects.filter(index=row.index).update(
            n_fired=row.n_fired, top_token=row.top_token, **{name: getattr(row, name) for name in REALS}
        )
    for index in dice.sample(range(37), 20):
        labels.give(explored.sae, index, dice.choice(("rivers", "Rivers", "lakes", "ärger", "日本")), by=admin)
    study = study_of(explored.sae, [])
    FeatureScore.objects.bulk_create(
        FeatureScore(sae=explored.sae, index=index, study=study, mean=dice.choice(SEVERAL), n=3, above=1)
        for index in dice.sample(range(37), 15)
    )
    sae = library.sae(explored.sae.slug)
    assert sae
    return Asked(sae, library.newest(sae), Filters())


def means(asked: Asked) -> dict[int, float]:
    return dict(FeatureScore.objects.filter(sae=asked.sae).values_list("index", "mean"))


def sorted_plainly(asked: Asked) -> list[int]:
    sort = asked.filters.sort
    named = {label.index: label.text for label in asked.sae.labels.filter(current=True).exclude(text="")}
    scored = means(asked)
    columns = {Sort.DENSITY: "n_fired", Sort.TOKEN: "top_token"}

    def key(each: Activity) -> Any:
        if sort is Sort.LABEL:
            return named[each.index].lower()
        if sort is Sort.SCORE:
            return np.float32(scored[each.index])
        return each.index if sort is Sort.INDEX else np.float32(getattr(each, columns.get(sort, sort)))

    having = set(named) if sort is Sort.LABEL else set(scored) if sort is Sort.SCORE else None
    rows = [each for each in Activity.objects.all() if having is None or each.index in having]
    rows.sort(key=lambda each: (key(each), each.index), reverse=asked.filters.descending)
    return [each.index for each in rows]


@pytest.mark.parametrize("sort", list(Sort))
def test_pages_hold_every_feature_once_in_order(equal: Asked, sort: Sort) -> None:
    for descending, size in product((False, True), (1, 5, 37)):
        asked = equal._replace(filters=Filters(sort=sort, descending=descending))
        there = sorted_plainly(asked)
        assert browsing.count(asked) == len(there)
        pages = [browsing.page(asked, None, size)]
        while (after := pages[-1].after) is not None:
            pages.append(browsing.page(asked, Place(Way.AFTER, after), size))
        assert [index for page in pages for index in indexes(page)] == there
        assert [page.before is None for page in pages] == [number == 0 for number in range(len(pages))]
        last = browsing.page(asked, Place(Way.BEFORE, None), size)
        assert (indexes(last), last.after) == (there[-size:], None)
        for page, following in pairwise(pages):
            assert following.before is not None
            assert browsing.page(asked, Place(Way.BEFORE, following.before), size) == page
        assert [row.index for rows in browsing.batches(asked, size) for row in rows] == there


def indexes(page: browsing.Page) -> list[int]:
    return [row.index for row in page.rows]


@pytest.mark.parametrize("sort", list(Sort))
def test_around_a_feature_are_those_that_fire(equal: Asked, sort: Sort) -> None:
    fires = set(Activity.objects.filter(n_fired__gt=0).values_list("index", flat=True))
    for descending in (False, True):
        asked = equal._replace(filters=Filters(sort=sort, descending=descending))
        there = sorted_plainly(asked)
        for place, index in enumerate(there):
            before = [each for each in there[:place] if each in fires]
            after = [each for each in there[place + 1 :] if each in fires]
            assert browsing.around(asked, index) == (before[-1] if before else None, after[0] if after else None)


def test_a_page_from_a_feature_knows_whether_anything_comes_before(equal: Asked) -> None:
    asked = equal._replace(filters=Filters(sort=Sort.MEAN, descending=True))
    there = sorted_plainly(asked)
    for place in (0, 1, 36):
        page = browsing.page(asked, Place(Way.AT, there[place]), 5)
        assert [row.index for row in page.rows] == there[place : place + 5]
        assert page.before == (None if place == 0 else there[place])


def real(least: float, most: float) -> st.SearchStrategy[tuple[str, float | None]]:
    """What somebody types, and what it means."""
    numbers = st.floats(least, most, allow_nan=False) | st.sampled_from([each for each in SEVERAL if each <= most])
    good = numbers.map(lambda number: (repr(number), number))
    bad = st.sampled_from(["x", "nan", "inf", "1e400", "--1", "\x00", "٣x", "1,5", "9" * 400, "0x1"])
    return good | bad.map(lambda text: (text, None)) | st.text(max_size=5).map(_perhaps)


def _perhaps(text: str) -> tuple[str, float | None]:
    """Only what can be no number: digits that were drawn by chance are left to the others."""
    return ("x" + text, None)


def choice(*good: str) -> st.SearchStrategy[tuple[str, str | None]]:
    return st.sampled_from(good).map(lambda text: (text, text)) | st.sampled_from(["?", "\x00", "😀"]).map(
        lambda text: (text, None)
    )


ENDS = {f"{name}_{end}": real(-1e6, 1e6) for name in (*REALS, "score") for end in ("min", "max")}
WANTED = st.fixed_dictionaries(
    {},
    optional={
        **ENDS,
        "density_min": real(0, 1),
        "density_max": real(0, 1),
        "sort": choice(*(each.value for each in Sort if each not in OF_PEOPLE)),
        "dir": choice("asc", "desc"),
        "fires": choice("yes", "never", "ultra-low", "dense"),
        "labelled": choice("yes", "no"),
        "token": st.sampled_from([("#5", "#5"), ("#7", "#7"), ("no token at all", None), ("\x00", None)]),
        "index_min": st.integers(0, 40).map(lambda n: (str(n), n)) | st.just(("1.5", None)),
        "index_max": st.integers(0, 40).map(lambda n: (str(n), n)) | st.just(("-1", None)),
        "words": st.text(max_size=8).map(lambda text: (text, None)),
        "list": st.text(max_size=4).map(lambda text: (f"x{text}", None)),
        "columns": st.text(max_size=4).map(lambda text: (text, None)),
        "after": st.sampled_from(["x", "-1", "1e3"]).map(lambda text: (text, None)),
        "before": st.sampled_from(["x", "start", "\x00"]).map(lambda text: (text, None)),
    },
)


def expected(asked: Asked, tokens: int, given: dict[str, Any]) -> list[int]:
    """By hand, over all rows."""
    sort = Sort(given["sort"]) if given.get("sort") else Sort.INDEX
    rising = sort in (Sort.INDEX, Sort.TOKEN)
    falling = given["dir"] == "desc" if given.get("dir") else not rising
    order = sorted_plainly(asked._replace(filters=Filters(sort=sort, descending=falling)))
    named = set(asked.sae.labels.filter(current=True).exclude(text="").values_list("index", flat=True))
    rows = {each.index: each for each in Activity.objects.all()}

    def ends(name: str) -> tuple[Any, Any]:
        least, most = given.get(f"{name}_min"), given.get(f"{name}_max")
        return (None, None) if least is not None and most is not None and least > most else (least, most)

    scored = means(asked)

    def scores(each: Activity) -> bool:
        least, most = ends("score")
        if least is None and most is None:
            return True
        score = np.float32(scored.get(each.index, np.nan))
        return bool((least is None or score >= np.float32(least)) and (most is None or score <= np.float32(most)))

    def fits(each: Activity) -> bool:
        for name in (*REALS, "index", "density"):
            least, most = ends(name)
            single = np.float32 if name in REALS else lambda number: number
            value = each.n_fired / tokens if name == "density" else single(getattr(each, name))
            if least is not None and not (value >= single(least) or (name == "density" and math.isclose(value, least))):
                return False
            if most is not None and not (value <= single(most) or (name == "density" and math.isclose(value, most))):
                return False
        fires, n = given.get("fires"), each.n_fired
        dense = n > tokens / 10
        kinds = {None: True, "yes": n > 0, "never": n == 0, "ultra-low": 0 < n < 10 and not dense, "dense": dense}
        if not kinds[fires] or not scores(each):
            return False
        if given.get("labelled") and (given["labelled"] == "yes") != (each.index in named):
            return False
        return not given.get("token") or f"#{each.top_token}" == given["token"]

    return [index for index in order if fits(rows[index])]


def test_whatever_is_asked_for_is_what_is_shown(equal: Asked, client: Client, viewer: User) -> None:
    """Never an error; what cannot be meant filters nothing; the rest as a plain look at all rows would have it."""
    client.force_login(viewer)
    address, collection = f"/saes/{equal.sae.slug}/features/", equal.collection
    assert collection

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(WANTED)
    def ask(wanted: dict[str, tuple[str, Any]]) -> None:
        query = {name: text for name, (text, _) in wanted.items()}
        answer = client.get(address, query)
        assert answer.status_code == 200
        if "words" in wanted:
            return
        shown = [
            int(index) for index in re.findall(r'class="whole" href="[^"]*?/features/(\d+)/', answer.content.decode())
        ]
        assert shown == expected(equal, collection.tokens, {name: value for name, (_, value) in wanted.items()})

    ask()
