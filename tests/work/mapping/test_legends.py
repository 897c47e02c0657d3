"""Bars of legends: between which values they lie, how many are in each, and that what is dense is called so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import densities
from explorer.work.mapping.legends import BARS, DENSITIES, equally_many, legend, legends

values = st.lists(
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 3.0, 1e9]) | st.floats(0, 2, width=32), min_size=1, max_size=40
)
edges = st.lists(st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0]), unique=True).map(lambda some: tuple(sorted(some)))


@given(values, edges, st.sampled_from([np.float32, np.float64]))
def test_a_bar_begins_above_one_edge_and_ends_with_the_next(
    values: list[float], edges: tuple[float, ...], kind: type[np.floating]
) -> None:
    found = legend(np.array(values, kind), edges)
    assert sum(bar["n"] for bar in found.bars) == len(values)
    for place, bar in enumerate(found.bars):
        there = [float(kind(value)) for value, of in zip(values, found.bar.tolist(), strict=True) if of == place]
        assert len(there) == bar["n"] > 0
        assert all(bar["low"] is None or value > bar["low"] for value in there)
        assert all(bar["high"] is None or value <= bar["high"] for value in there)


def test_bars_by_hand() -> None:
    found = legend(np.array([0.5, 2, 1, 7, 1.5, 1]), (1, 2, 4, 6))
    assert found.bars == [
        {"low": None, "high": 1, "n": 3}, {"low": 1, "high": 2, "n": 2}, {"low": 6, "high": None, "n": 1},
    ]  # fmt: skip
    assert found.bar.tolist() == [0, 1, 0, 2, 1, 0]


@pytest.mark.parametrize("tokens", [10, 30, 1000, 8_388_607, 10**9 + 10])
def test_what_is_dense_is_in_the_bar_of_that_name(tokens: int) -> None:
    tenth = tokens // 10
    fired = [1, max(tenth - 1, 1), tenth, tenth + 1, tokens]
    found = legend(np.array(fired) / tokens, DENSITIES)
    dense = [found.bars[bar]["low"] == densities.DENSE for bar in found.bar]
    assert dense == [10 * n > tokens for n in fired]
    assert dense == [densities.kind(n, tokens) == densities.Kind.DENSE for n in fired]


def test_by_activations_bars_hold_about_as_many_each() -> None:
    values = np.arange(1, 101, dtype=np.float32)
    assert equally_many(values) == tuple(float(f"{1 + 99 * each / BARS:.3g}") for each in range(1, BARS))
    assert [bar["n"] for bar in legend(values, equally_many(values)).bars] == [10] * BARS
    assert legend(np.full(9, 2.5), equally_many(np.full(9, 2.5))).bars == [{"low": None, "high": 2.5, "n": 9}]


def test_there_are_legends_of_what_is_known() -> None:
    known = {name: np.array([0.5, 0.25]) for name in ("mean", "maximum", "density", "x")}
    assert list(legends(known)) == ["density", "maximum", "mean"]
    assert list(legends({"x": np.zeros(2)})) == []
