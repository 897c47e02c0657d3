"""Parts of a map: which points a lasso holds, a box, a cluster, a bar; and how an address says so."""

import io
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer import artifacts
from explorer.map_areas import MOST_CORNERS, WORDS, Area, NoArea, area_of, in_polygon, numbers_of, points_in
from explorer.mapped import File, opened
from explorer.models import FeatureMap
from sae_core.array_files import write_arrays

numbers = st.integers(-4, 20).map(lambda n: n / 16) | st.floats(-1, 2, width=32)
corners = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12)
places = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40).map(
    lambda some: np.array(sorted(some, key=lambda place: place[1]), np.float32)
)


def within(x: float, y: float, corners: Sequence[tuple[float, float]]) -> bool | None:
    """Whether a polygon goes around a point an odd number of times, by the side of each edge that it lies on; None on
    the polygon itself. In fractions, so nothing is rounded."""
    return _within(Fraction(x), Fraction(y), [(Fraction(each), Fraction(other)) for each, other in corners])


def _within(x: Fraction, y: Fraction, corners: Sequence[tuple[Fraction, Fraction]]) -> bool | None:
    times = 0
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        side = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)
        if side == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return None
        if y1 <= y < y2 and side < 0:
            times += 1
        if y2 <= y < y1 and side > 0:
            times -= 1
    return bool(times % 2)


@given(places, corners)
def test_a_point_is_within_where_the_line_goes_around_it_an_odd_number_of_times(
    places: NDArray[np.float32], corners: list[tuple[float, float]]
) -> None:
    found = in_polygon(places[:, 0], places[:, 1], corners)
    for (x, y), inside in zip(places.tolist(), found.tolist(), strict=True):
        wanted = within(x, y, corners)
        if wanted is not None and not _nearly_on(x, y, corners):
            assert inside == wanted


def _nearly_on(x: float, y: float, corners: list[tuple[float, float]]) -> bool:
    """Nearer to an edge than double precision tells."""
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        if min(y1, y2) <= y <= max(y1, y2) and y1 != y2:
            crossing = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
            if isfinite(crossing) and abs(crossing - x) < 1e-12:
                return True
    return False


@given(places, corners)
def test_two_that_share_an_edge_hold_nothing_twice(
    places: NDArray[np.float32], corners: list[tuple[float, float]]
) -> None:
    """The whole square is what is in a polygon and what is in that polygon with the square around it."""
    square = [(-2.0, -2.0), (3.0, -2.0), (3.0, 3.0), (-2.0, 3.0)]
    inside = in_polygon(places[:, 0], places[:, 1], corners)
    outside = in_polygon(places[:, 0], places[:, 1], [*square, square[0], *corners, corners[0]])
    assert (inside ^ outside).all()


def test_a_star_has_a_hole_in_it() -> None:
    star = [(0.5, 0.0), (0.8, 1.0), (0.0, 0.4), (1.0, 0.4), (0.2, 1.0)]
    places = np.array([[0.5, 0.2], [0.2, 0.42], [0.5, 0.5], [0.05, 0.9]], np.float32)
    assert in_polygon(places[:, 0], places[:, 1], star).tolist() == [True, True, False, False]


def test_corners_are_not_rounded() -> None:
    """0.7 in single precision is below 0.7 in double."""
    x, y = np.array([0.5, 0.5], np.float32), np.array([0.7, 0.70001], np.float32)
    assert in_polygon(x, y, [(0, 0.7), (1, 0.7), (0.5, 1)]).tolist() == [False, True]


N = 400
EDGE = float(np.float32(0.1))  # above 0.1, as a legend has it


@pytest.fixture
def columns() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    return {
        "x": random.random(N, np.float32),
        "y": np.sort(random.random(N, np.float32)),
        "part": random.integers(0, 2, N).astype(np.uint8),
        "cluster": random.integers(-1, 3, (3, N)).astype(np.int32),
        "density": random.choice([0.05, 0.1, 0.2], N),
        "maximum": random.choice(np.array([0.1, 0.2, 0.3], np.float32), N),
    }


@pytest.fixture
def file(db: None, columns: dict[str, NDArray[Any]], tmp_path: Path) -> File:
    write_arrays(tmp_path / "points", columns, {})
    return opened(artifacts.put(io.BytesIO((tmp_path / "points").read_bytes()), name="points").sha256)


def test_each_way_to_choose_by_itself_and_together(file: File, columns: dict[str, NDArray[Any]]) -> None:
    lasso = ((0.1, 0.1), (0.9, 0.2), (0.5, 0.9))
    rows = [{name: column[..., each].tolist() for name, column in columns.items()} for each in range(N)]
    ways: dict[str, tuple[Any, Any]] = {
        "lasso": (lasso, lambda row: within(row["x"], row["y"], lasso)),
        "box": ((0.2, 0.1, 0.8, 0.7), lambda row: 0.2 <= row["x"] <= 0.8 and 0.1 <= row["y"] <= 0.7),
        "cluster": ((1, 2), lambda row: row["cluster"][1] == 2),
        "bar": (("density", 0.05, 0.1), lambda row: 0.05 < row["density"] <= 0.1),
        "part": (0, lambda row: row["part"] == 0),
    }
    for chosen in [{name} for name in ways] + [{"lasso", "part"}, {"box", "cluster", "bar"}, set(ways), set()]:
        found = points_in(file, Area(**{name: ways[name][0] for name in chosen}))
        wanted = [each for each, row in enumerate(rows) if all(ways[name][1](row) for name in chosen)]
        assert found.tolist() == wanted, chosen
        assert len(wanted) > 1


def test_what_is_in_no_cluster_is_chosen_too(file: File, columns: dict[str, NDArray[Any]]) -> None:
    found = points_in(file, Area(cluster=(0, -1)))
    assert found.tolist() == [each for each in range(N) if columns["cluster"][0, each] == -1]
    assert points_in(file, Area(cluster=(2, 9_999_999))).tolist() == []


@pytest.mark.parametrize(("low", "high"), [(None, 0.1), (0.1, None), (0.1, 0.2), (EDGE, 0.3), (None, None)])
def test_edges_are_as_exact_as_the_legend_that_was_counted_by_them(
    file: File, columns: dict[str, NDArray[Any]], low: float | None, high: float | None
) -> None:
    """0.1 in single precision is above 0.1 in double."""
    values = columns["maximum"].tolist()
    assert set(values) == {EDGE, float(np.float32(0.2)), float(np.float32(0.3))}
    wanted = [
        each for each, value in enumerate(values) if (low is None or value > low) and (high is None or value <= high)
    ]
    assert points_in(file, Area(bar=("maximum", low, high))).tolist() == wanted


def test_a_box_s_edges_belong_to_it_and_are_not_rounded(file: File, columns: dict[str, NDArray[Any]]) -> None:
    x, y = (float(columns[name][7]) for name in "xy")
    assert points_in(file, Area(box=(x, y, x, y))).tolist() == [7]
    assert points_in(file, Area(box=(x + 1e-12, y, 1, y))).tolist() == []
    assert points_in(file, Area(box=(x, 0, x, y - 1e-12))).tolist() == []


@pytest.fixture
def found() -> FeatureMap:
    bars = [{"low": None, "high": 1.5, "n": 4}, {"low": 1.5, "high": None, "n": 5}]
    return FeatureMap(clusters=[[], []], legends={"mean": bars})


SAID: list[tuple[str, str, object]] = [
    ("lasso", "0,0_1,0_0.5,1", ((0, 0), (1, 0), (0.5, 1))),
    ("lasso", "-1,2_2,-1_0,1e-3", ((-1, 2), (2, -1), (0, 0.001))),
    ("box", "0.1,0.2,0.3,0.4", (0.1, 0.2, 0.3, 0.4)),
    ("cluster", "1-12", (1, 12)), ("cluster", "0-none", (0, -1)),
    ("bar", "mean-0", ("mean", None, 1.5)), ("bar", "mean-1", ("mean", 1.5, None)),
]  # fmt: skip


@pytest.mark.parametrize(("word", "text", "area"), SAID)
def test_an_address_says_it(found: FeatureMap, word: str, text: str, area: object) -> None:
    assert WORDS[word](text, found) == area


WRONG = [
    ("lasso", "0,0_1,1", "A lasso has 3 to 500 corners; this one has 2."),
    ("lasso", "_".join(["0,0"] * (MOST_CORNERS + 1)), "A lasso has 3 to 500 corners; this one has 501."),
    ("lasso", "0,0_1,1_2", "Corners are x,y with _ between them, from 0 to 1."),
    ("lasso", "0,0_1,1_nan,1", "Corners are x,y with _ between them, from 0 to 1."),
    ("lasso", "0,0_1,1_2.01,1", "Corners are x,y with _ between them, from 0 to 1."),
    ("box", "0,0,1", "A box is left,top,right,bottom, from 0 to 1."),
    ("box", "0,0,1,inf", "A box is left,top,right,bottom, from 0 to 1."),
    ("box", "0,0,1,x", "A box is left,top,right,bottom, from 0 to 1."),
    ("cluster", "1", "A cluster is its grain and number, such as 1-12; or 1-none: what is in none."),
    ("cluster", "2-0", "This map has 2 grains of clusters."),
    ("bar", "mean", "A bar is a legend and its number, such as density-3; there are density, maximum and mean."),
    ("bar", "mean-2", "There is no bar 2 of mean here."), ("bar", "density-0", "There is no bar 0 of density here."),
]  # fmt: skip


@pytest.mark.parametrize(("word", "text", "says"), WRONG)
def test_what_is_none_is_said(found: FeatureMap, word: str, text: str, says: str) -> None:
    with pytest.raises(NoArea) as wrong:
        WORDS[word](text, found)
    assert str(wrong.value) == says


def test_what_can_be_understood_is_taken_beside_what_is_wrong(found: FeatureMap) -> None:
    area, wrong = area_of({"lasso": "1", "box": "0,0,1,1", "cluster": "9-0", "bar": "", "at": "x", "part": None}, found)
    assert area == Area(box=(0, 0, 1, 1))
    assert wrong == {
        "lasso": "A lasso has 3 to 500 corners; this one has 1.", "cluster": "This map has 2 grains of clusters.",
    }  # fmt: skip
    assert area_of({}, found) == (Area(), {})


@given(st.text(max_size=30) | st.text("0123456789.,_-einf", max_size=30))
def test_nothing_that_is_asked_breaks_it(text: str) -> None:
    found = FeatureMap(clusters=[[], []], legends={"mean": [{"low": None, "high": None, "n": 4}]})
    for word in ("lasso", "box", "cluster", "bar"):
        with suppress(NoArea):
            WORDS[word](text, found)


def test_numbers_have_ends() -> None:
    assert numbers_of("0,24,-1", 3, "", high=24) == (0, 24, -1)
    with pytest.raises(NoArea, match="three"):
        numbers_of("0,24.5,-1", 3, "three", high=24)
