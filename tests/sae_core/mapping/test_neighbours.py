"""Nearest directions against sorting all cosines."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_core.errors import BadInput
from sae_core.mapping import neighbours as module
from sae_core.mapping.neighbours import Table, parents_of, table_of
from sae_core.mapping.points import points_of
from tests.sae_core.mapping.drawn import cosines, drawn, nearest, points, silence


@pytest.fixture(params=[7, 16, 2048], ids="tiles of {}".format, autouse=True)
def _tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", request.param)


def agrees(found: Table, rows: torch.Tensor, k: int) -> None:
    indices, values = nearest(rows, k)
    np.testing.assert_array_equal(found.neighbours, indices)
    np.testing.assert_allclose(found.cosines, values, atol=1e-6)
    assert found.neighbours.dtype == np.int32
    assert found.cosines.dtype == np.float32


@pytest.mark.parametrize("k", [1, 5, 40])
def test_of_one_sae_and_of_several(k: int) -> None:
    rows = drawn(47)
    agrees(table_of(points(rows), k, None, silence), rows, k)
    agrees(table_of(points(rows[:20], rows[20:]), k, None, silence), rows, k)


def test_there_are_no_more_than_all_others() -> None:
    agrees(table_of(points(drawn(9)), 20, None, silence), drawn(9), 8)


def known_of(rows: torch.Tensor, k: int) -> Table:
    """As evidence has it, 16 wide."""
    indices, values = nearest(rows, k)
    neighbours = np.full((len(rows), 16), -1, np.int32)
    found = np.full((len(rows), 16), -2, np.float32)
    neighbours[:, :k], found[:, :k] = indices, values
    return Table(neighbours, found)


@pytest.mark.parametrize("left_out", [[], [3], [0, 1, 46], list(range(0, 47, 2))])
def test_what_is_known_is_used_and_what_lacks_is_computed(left_out: list[int]) -> None:
    rows, alive = drawn(47), np.ones(47, np.bool_)
    alive[left_out] = False
    there = points_of([rows], [alive])
    agrees(table_of(there, 14, known_of(rows, 16), silence), rows[there.rows], 14)


def test_what_is_known_is_not_computed_again() -> None:
    """What is false in the table beyond each row's nearest stays, but where a row has too few."""
    rows, alive = drawn(47), np.ones(47, np.bool_)
    alive[5] = False
    known = known_of(rows, 6)
    known.cosines[:, 1:] -= 0.25
    found = table_of(points_of([rows], [alive]), 6, known, silence)
    indices, values = nearest(rows[alive], 6)
    lacked = (known.neighbours[alive] == 5).any(1)
    assert 0 < lacked.sum() < 23
    np.testing.assert_array_equal(found.neighbours[lacked], indices[lacked])
    np.testing.assert_allclose(found.cosines[lacked], values[lacked], atol=1e-6)
    np.testing.assert_allclose(found.cosines[~lacked, 1:], values[~lacked, 1:] - 0.25, atol=1e-6)


def changed(known: Table, row: int, column: int, value: int) -> Table:
    known.neighbours[row, column] = value
    return known


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (known_of(drawn(46), 16), r"\(46, 16\) and their cosines \(46, 16\), expected both \(47, k\)"),
        (Table(known_of(drawn(47), 16).neighbours, known_of(drawn(47), 16).cosines[:, :4]), r"cosines \(47, 4\)"),
        (changed(known_of(drawn(47), 16), 9, 3, 47), "not all among the 47 latents"),
        (changed(known_of(drawn(47), 16), 9, 3, -2), "not all among the 47 latents"),
        (known_of(drawn(47, seed=1), 16), "of other directions than these"),
    ],
)
def test_what_cannot_be_known_is_refused(known: Table, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        table_of(points(drawn(47)), 14, known, silence)


@pytest.mark.parametrize("known", [None, known_of(drawn(47), 16)])
def test_ticks_reach_their_total(known: Table | None) -> None:
    alive = np.arange(47) > 0
    heard: list[tuple[int, int]] = []
    table_of(points_of([drawn(47)], [alive]), 16, known, lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1] > 0
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


# Parents.


def expected_parents(rows: torch.Tensor, child: slice, parent: slice) -> NDArray[np.int64]:
    best: NDArray[np.int64] = parent.start + cosines(rows[child], rows[parent]).argmax(1)
    return best


def test_parents_are_of_the_next_smaller_sae_whatever_the_order() -> None:
    rows = drawn(60)
    large, small, middle, same = slice(0, 25), slice(25, 30), slice(30, 45), slice(45, 60)
    parts = [rows[part] for part in (large, small, middle, same)]
    found = parents_of(points(*parts), [len(part) for part in parts], silence)
    assert found.dtype == np.int32
    assert (found[small] == -1).all()
    np.testing.assert_array_equal(found[middle], expected_parents(rows, middle, small))
    np.testing.assert_array_equal(found[same], expected_parents(rows, same, middle))
    np.testing.assert_array_equal(found[large], expected_parents(rows, large, same))


def test_parents_are_points_and_what_is_left_out_is_none() -> None:
    small, large = drawn(8, 1), drawn(20, 2)
    alive = np.arange(8) % 2 == 1
    found = parents_of(points_of([small, large], [alive, None]), [8, 20], silence)
    assert found[:4].tolist() == [-1] * 4
    np.testing.assert_array_equal(found[4:], cosines(large, small[alive]).argmax(1))
    nobody = points_of([small, large], [np.zeros(8, np.bool_), None])
    assert parents_of(nobody, [8, 20], silence).tolist() == [-1] * 20


def test_one_sae_has_no_parents() -> None:
    assert parents_of(points(drawn(6)), [6], silence).tolist() == [-1] * 6
