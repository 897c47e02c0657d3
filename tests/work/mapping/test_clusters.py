"""Clusters: where they lie, and the tokens by which they can be told from the rest."""

from math import log

import numpy as np
import pytest

from explorer.work.mapping import clusters as module
from explorer.work.mapping.clusters import Counts, clusters, telling

# Of 100 features 10 raise 7, 10 raise 8, 79 raise 9, and of one it is not known.
EVERYWHERE = np.array([7] * 10 + [8] * 10 + [9] * 79 + [-1], np.int32)


def told(*inside: int) -> list[int]:
    return telling(np.array(inside, np.int32), Counts.of(EVERYWHERE))


def test_a_token_tells_where_it_is_far_more_often_than_elsewhere() -> None:
    assert told(7, 7, 7, 8, 9, 9, 9, 9) == [7]  # 8 comes once, and 9 as often as anywhere
    assert told(9, 9, 9) == [9]
    assert told(9, 9, 9, 7) == []  # 9 makes 75 % here and 80 % there


def test_the_one_that_tells_most_is_first() -> None:
    """Times it comes here, times the logarithm of how much more often that is than on the whole map."""
    inside = [7] * 2 + [8] * 3
    weights = {7: 2 * log((2 / 5) / (10 / 99)), 8: 3 * log((3 / 5) / (10 / 99))}
    assert told(*inside) == sorted(weights, key=lambda token: -weights[token]) == [8, 7]
    assert told(8, 7, 8, 7) == [7, 8]  # of equal ones the lower


def test_no_more_than_three_are_told() -> None:
    everywhere = Counts.of(np.repeat(np.arange(50, dtype=np.int32), 2))
    assert telling(np.repeat(np.arange(9, dtype=np.int32), 2), everywhere) == [0, 1, 2]


def test_where_no_token_is_known_none_tells() -> None:
    assert told(-1, -1, -1) == []
    assert told(7, 7, -1, -1, -1) == [7]


def test_a_cluster_lies_at_one_of_its_points() -> None:
    columns = {
        "x": np.array([0.5, 0.1, 0.2, 0.9, 0.3], np.float32),
        "y": np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32),
        "cluster": np.array([[0, 1, 0, -1, 0], [-1, -1, -1, -1, -1]], np.int32),
        "token": np.array([4, 4, 6, 6, 6], np.int32),
    }
    coarse, fine = clusters(columns)
    # Medians of its three are 0.3 and 0.3, which (0.2, 0.3) is nearest to.
    assert coarse == [
        {"n": 3, "x": float(np.float32(0.2)), "y": float(np.float32(0.3)), "tokens": [6]},
        {"n": 1, "x": float(np.float32(0.1)), "y": float(np.float32(0.2)), "tokens": []},
    ]
    assert fine == []
    del columns["token"]
    assert [each["tokens"] for each in clusters(columns)[0]] == [[], []]


def test_of_very_many_the_largest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMED", 2)
    places = np.arange(6, dtype=np.float32)
    (found,) = clusters({"x": places, "y": places, "cluster": np.array([[2, 0, 1, 0, 1, 0]], np.int32)})
    assert [each["n"] for each in found] == [3, 2]
