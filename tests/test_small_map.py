"""Where features lie, in small, on their pages and beside their list."""

import re

import numpy as np
import pytest
from django.test import Client

from explorer import artifacts
from explorer.actions.collections import remove_map
from explorer.mapped import opened
from explorer.queries import library
from explorer.small_map import NEAR, of_features
from tests.explored import SILENT, Explored, explored, read
from tests.laid_out import OnMap, joint, on_map, smaller

__all__ = ["explored", "joint", "on_map", "read", "smaller"]
pytestmark = pytest.mark.django_db


def drawn(html: str) -> list[tuple[float, float]]:
    """The places of its dots, in the order of the page."""
    small = re.search(r'<a class="small-map".*?</a>', html, re.DOTALL)
    assert small
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"', small[0])]


def in_hundredths(on: OnMap, part: int, index: int) -> object:
    x, y = on.place(part, index)
    return pytest.approx((100 * x, 100 * y), abs=0.006)


def test_a_number_read_is_the_one_that_is_mapped(on_map: OnMap) -> None:
    file = opened(on_map.map.points_id)
    with file.reader() as reader:
        for name in ("x", "index", "part", "density", "near", "place_0"):
            for row in (0, 7, len(file["x"]) - 1):
                assert reader(name, row) == tuple(np.atleast_1d(file[name][row]).tolist())


def test_a_feature_and_its_nearest_of_any_sae_are_shown(looking: Client, joint: OnMap) -> None:
    html = looking.get(f"{joint.explored.page}features/20/").content.decode()
    assert drawn(html) == [in_hundredths(joint, 1, 20)]
    rings = re.findall(r'<circle class="near" cx="([0-9.]+)" cy="([0-9.]+)"', html)
    others = [key for key in joint.keys if key != (1, 20)]
    nearest = sorted(others, key=lambda key: -joint.cosine((1, 20), key))[: len(rings)]
    assert 0 < len(rings) <= NEAR
    assert [(float(x), float(y)) for x, y in rings] == [in_hundredths(joint, *key) for key in nearest]
    x, y = joint.place(1, 20)
    way = f"map={joint.map.pk}&amp;at={x:.4f}%2C{y:.4f}%2C3&amp;feature=1-20"
    assert f'href="/saes/{joint.rows[1].slug}/map/?{way}" data-key="m"' in html


def test_all_of_a_list_that_are_on_it_are_shown(looking: Client, on_map: OnMap) -> None:
    html = looking.get(f"{on_map.explored.page}features/?index_max={SILENT + 2}").content.decode()
    there = [index for index in range(SILENT + 3) if index != SILENT]
    assert drawn(html) == [in_hundredths(on_map, 0, index) for index in there]
    assert [int(index) for index in re.findall(r'data-row="(\d+)"', html)] == there


def test_without_a_map_there_is_none(looking: Client, explored: Explored) -> None:
    for page in ("features/20/", "features/", ""):
        assert 'class="small-map"' not in looking.get(f"{explored.page}{page}").content.decode()


def test_it_goes_with_its_map_and_its_file(looking: Client, on_map: OnMap) -> None:
    page = f"{on_map.explored.page}features/20/"
    tag = looking.get(page).headers["ETag"]
    sae = library.sae_to_read(on_map.rows[0].slug)
    assert sae
    shown = of_features(sae, [20, SILENT])
    assert shown
    assert [each.index for each in shown.places] == [20]
    assert of_features(sae, [SILENT]) is None

    artifacts.path(on_map.map.points_id).unlink()
    assert of_features(sae, [20]) is None

    remove_map(on_map.map.pk)
    answer = looking.get(page)
    assert answer.headers["ETag"] != tag
    assert 'class="small-map"' not in answer.content.decode()
