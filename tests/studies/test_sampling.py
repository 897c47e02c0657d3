"""Shares, bins and draws."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.studies.sampling import bin_of, drawn, shares, stratified


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 150))
def test_shares_are_as_equal_as_can_be(sizes: list[int], n: int) -> None:
    found = shares(sizes, n)
    assert sum(found) == min(n, sum(sizes))
    assert all(share <= size for share, size in zip(found, sizes, strict=True))
    unfilled = [share for share, size in zip(found, sizes, strict=True) if share < size]
    if unfilled:
        assert max(found) - min(unfilled) <= 1


@pytest.mark.parametrize(
    ("sizes", "n", "wanted"),
    [([20, 12, 4], 12, [4, 4, 4]), ([20, 12, 4], 24, [10, 10, 4]), ([20, 12, 4], 31, [15, 12, 4]), ([], 5, [])],
)
def test_what_a_bin_lacks_the_others_give(sizes: list[int], n: int, wanted: list[int]) -> None:
    assert shares(sizes, n) == wanted


@pytest.mark.parametrize(("density", "number"), [(1.0, 0), (0.5, -1), (0.1, -2), (0.0999, -3), (1e-3, -6), (3e-6, -12)])
def test_bins_are_half_powers_of_ten(density: float, number: int) -> None:
    assert bin_of(density) == number
    assert 10 ** (number / 2) <= density * (1 + 1e-12)
    assert density < 10 ** ((number + 1) / 2)


@given(st.dictionaries(st.integers(0, 500), st.floats(1e-9, 1)), st.integers(0, 60), st.integers(0, 5))
def test_none_is_drawn_twice(densities: dict[int, float], n: int, seed: int) -> None:
    found = stratified(densities, n, Random(seed))
    assert len(found) == len(set(found)) == min(n, len(densities))
    assert set(found) <= set(densities)


def test_all_are_drawn_where_they_are_no_more() -> None:
    assert drawn([5, 2, 9], 3, Random(0)) == [2, 5, 9]
    assert drawn([5, 2, 9], 7, Random(0)) == [2, 5, 9]
    assert drawn([], 7, Random(0)) == []
