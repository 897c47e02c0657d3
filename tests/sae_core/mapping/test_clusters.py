"""Clusters of places that were put where they are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_core.mapping.clusters import clusters_of, grain_sizes
from sae_core.mapping.neighbours import Table
from tests.sae_core.mapping.drawn import silence

K = 14


def islands(
    sizes: list[int], *, width: float = 0.5, apart: float = 10
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Places of round islands in a row, and whose each is."""
    random = np.random.default_rng(0)
    whose = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.stack([whose * apart, whose % 2 * apart], 1)
    return (centres + random.normal(scale=width, size=centres.shape)).astype(np.float32), whose


def nearest_places(places: NDArray[np.float32], k: int = K) -> Table:
    """A table of directions that lie as their places do."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1)[:, :k].astype(np.int32)
    return Table(order, np.ones(order.shape, np.float32))


def test_how_large_clusters_are_at_least() -> None:
    assert grain_sizes(40) == [5, 5, 5]
    assert grain_sizes(4096) == [81, 25, 8]
    assert grain_sizes(1_000_000) == [20_000, 1581, 125]


def test_islands_are_found_exactly_and_numbered_by_size() -> None:
    places, whose = islands([30, 50, 25, 45, 40, 35])
    found = clusters_of(places, nearest_places(places), silence)
    assert found.dtype == np.int32
    expected = np.array([4, 0, 5, 1, 2, 3])[whose]
    assert found.tolist() == [expected.tolist()] * 3


def test_grains_go_from_coarse_to_fine() -> None:
    """Islands of 90 made of three of 30, of which a coarse cluster of 1,800 points has at least 36."""
    small, whose = islands([30] * 60, apart=4)
    places = small + (whose // 3 * 40)[:, None].astype(np.float32)
    coarse, middle, fine = clusters_of(places, nearest_places(places), silence)
    assert grain_sizes(len(places)) == [36, 13, 5]
    for part in range(20):
        within = whose // 3 == part
        assert len(set(coarse[within])) == 1
        assert len(set(middle[within])) == len(set(fine[within])) == 3
    assert len(set(coarse)) == 20
    assert len(set(middle)) == 60


def test_what_lies_alone_is_unclustered() -> None:
    places, whose = islands([40] * 5)
    places = np.concatenate([places, np.array([[300, 300], [-200, 50], [50, -400]], np.float32)])
    found = clusters_of(places, nearest_places(places), silence)
    assert (found == np.append(whose, [-1] * 3)).all()


def test_who_lies_there_without_most_of_its_nearest_directions_is_unclustered() -> None:
    places, whose = islands([40] * 5)
    table = nearest_places(places)
    table.neighbours[0, :3] = [190, 191, 192]  # two of five are left
    table.neighbours[1, :2] = [190, 191]  # three of five
    table.neighbours[2, 5:] = 190  # beyond the fifth
    expected = whose.copy()
    expected[0] = -1
    assert _same_groups(clusters_of(places, table, silence), expected)


def test_who_lies_there_and_is_far_in_direction_is_unclustered() -> None:
    places, whose = islands([40] * 5)
    table = nearest_places(places)
    table.cosines[:] = 0.8
    table.cosines[0, 4] = 0.41
    table.cosines[1, 4] = 0.39
    table.cosines[2, 3] = 0.39  # it is the fifth that counts
    expected = whose.copy()
    expected[1] = -1
    assert _same_groups(clusters_of(places, table, silence), expected)


def _same_groups(found: NDArray[np.int32], expected: NDArray[np.int64]) -> bool:
    """Whatever their numbers, which are those of sizes."""
    return all(
        len({*zip(grain.tolist(), expected.tolist(), strict=True)}) == len({*expected.tolist()}) for grain in found
    )


def test_clusters_that_are_too_small_then_are_none() -> None:
    places, whose = islands([40, 40, 40, 40, 6])
    table = nearest_places(places)
    assert (clusters_of(places, table, silence)[:, whose == 4] == 4).all()
    table.neighbours[160:162, :5] = np.arange(5)
    assert (clusters_of(places, table, silence)[:, whose == 4] == -1).all()


def test_many_in_one_place() -> None:
    places, whose = islands([40] * 5)
    places[1:4] = places[0]
    places[40:80] = places[40]
    assert (clusters_of(places, nearest_places(places), silence) == whose).all()


@pytest.mark.parametrize("n", [5, 6, 9])
def test_so_few_make_no_cluster(n: int) -> None:
    places = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    assert (clusters_of(places, nearest_places(places, n - 1), silence) == -1).all()
