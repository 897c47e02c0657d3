"""Points in tiles: each in one, the lowest ranks first, and where it was put."""

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.packed.tiles import STEPS
from explorer.work.mapping.quadtree import Tile, squares, tiles, within

# On the edges of tiles and anywhere else; from few enough that some are equal.
coordinates = st.integers(0, 16).map(lambda n: n / 16) | st.floats(0, 1, width=32)


class Scattered(NamedTuple):
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    rank: NDArray[np.int64]
    room: int
    deepest: int

    def tiles(self) -> list[Tile]:
        return list(tiles(*self))


@st.composite
def scattered(draw: st.DrawFn) -> Scattered:
    points = draw(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=60))
    ranks = draw(st.permutations(range(len(points))))
    x, y = np.array(points, np.float32).T
    return Scattered(x, y, np.array(ranks), draw(st.integers(1, 5)), draw(st.integers(0, 8)))


@given(scattered())
def test_every_point_is_in_one_tile_and_within_it(given: Scattered) -> None:
    found = given.tiles()
    assert sorted(np.concatenate([each.points for each in found]).tolist()) == list(range(len(given.x)))
    assert len({each.name for each in found}) == len(found)
    for tile in found:
        for values, strip in ((given.x, tile.x), (given.y, tile.y)):
            some = values[tile.points].astype(np.float64) * 2**tile.z
            assert 0 <= strip < 2**tile.z
            assert (strip <= some).all()
            assert ((some < strip + 1) | ((some == 2**tile.z) & (strip == 2**tile.z - 1))).all()


@given(scattered())
def test_a_tile_has_room_for_so_many_and_what_has_none_lies_deeper(given: Scattered) -> None:
    found = {each.name: each for each in given.tiles()}
    for tile in found.values():
        ranks = given.rank[tile.points]
        assert (np.diff(ranks) > 0).all()
        assert len(ranks) <= given.room or tile.z == given.deepest
        if tile.z:
            above = found[f"{tile.z - 1}/{tile.x // 2}/{tile.y // 2}"]
            assert len(above.points) == given.room
            assert given.rank[above.points].max() < ranks.min()


@given(scattered(), st.integers(0, 60))
def test_all_below_a_rank_are_in_tiles_that_begin_below_it(given: Scattered, below: int) -> None:
    read = [each.points for each in given.tiles() if given.rank[each.points[0]] < below]
    there = {int(point) for some in read for point in some if given.rank[point] < below}
    assert there == set(np.flatnonzero(given.rank < below).tolist())


@given(coordinates, st.integers(0, 20))
def test_a_place_within_a_tile_comes_back(value: float, z: int) -> None:
    values = np.array([value], np.float32)
    strip = int(squares(values, z)[0])
    steps = int(within(values, z, strip)[0])
    off = abs((strip + steps / STEPS) / 2**z - float(values[0])) * 2 ** (z + 16)
    assert off <= (1 if steps == STEPS - 1 else 0.5)  # the last has nothing beyond it to be rounded to


def test_equal_points_stay_together_at_the_end() -> None:
    same = np.full(1000, 0.3, np.float32)
    found = list(tiles(same, same, np.arange(1000)[::-1], room=10, deepest=2))
    assert [(each.name, len(each.points)) for each in found] == [("0/0/0", 10), ("1/0/0", 10), ("2/1/1", 980)]
    assert found[0].points.tolist() == list(range(999, 989, -1))
