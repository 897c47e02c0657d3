"""Tables against sorts in plain Python."""

import math
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sae_core.collecting.accumulators import Figures, window_keys
from sae_core.collecting.histogram import Histogram
from sae_core.collecting.kept import COLUMNS, floors, nearest_edge
from sae_core.collecting.lists import quantile
from sae_core.collecting.tables import (
    Ranking,
    Rows,
    best,
    falling,
    first_of_each,
    lots,
    mixed,
    rank_in_runs,
    run_starts,
)
from sae_core.evidence import FIRST_BIN, LAST_BIN, WINDOW, bin_edge, bin_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ABOVE = st.floats(2**-39, 2**39, width=32)
KEYS = st.lists(st.integers(0, 9))


def rows_of(listed: list[tuple[int, int, int, float]]) -> Rows:
    columns = list(zip(*listed, strict=True)) or [()] * 4
    latent, context, position = (np.array(each, np.int32) for each in columns[:3])
    return Rows(latent, context, position, np.array(columns[3], np.float32))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.5, 1.0, 2.0]))),
    st.integers(1, 4),
    st.booleans(),
)
def test_best_against_a_sort(listed: list[tuple[int, int, int, float]], limit: int, apart: bool) -> None:
    rows = rows_of(list(dict.fromkeys(listed)))
    same = (rows.latent * 10 + rows.context).astype(np.uint64) if apart else None
    kept = best(rows, Ranking(rows.latent.astype(np.int64), falling(rows.act), same), limit)
    found = [tuple(column[each].item() for column in vars(rows).values()) for each in kept]
    expected = []
    for _, group in groupby(sorted(set(listed), key=lambda row: (row[0], -row[3], row[1], row[2])), lambda row: row[0]):
        seen: set[int] = set()
        of_group = []
        for row in group:
            if not apart or row[1] not in seen:
                of_group.append(row)
            seen.add(row[1])
        expected += of_group[:limit]
    assert found == expected


@given(st.lists(FLOATS))
def test_falling_is_the_order_of_floats_reversed(values: list[float]) -> None:
    acts = np.array(values, np.float32)
    keys = falling(acts)
    for i, one in enumerate(acts):
        for j, other in enumerate(acts):
            if one != other:  # 0 and −0 are equal, and their keys are not
                assert (keys[i] < keys[j]) == (one > other)


@given(KEYS)
def test_runs(keys: list[int]) -> None:
    array = np.array(keys, np.int64)
    firsts = first_of_each(array.astype(np.uint64))
    assert firsts.tolist() == [keys.index(key) for key in sorted(set(keys))]
    ordered = sorted(keys)
    starts = run_starts(np.sort(array))
    assert starts.tolist() == [ordered.index(key) for key in sorted(set(keys))]
    ranks = rank_in_runs(np.sort(array))
    assert ranks.tolist() == [rank for key in sorted(set(keys)) for rank in range(ordered.count(key))]


MASK = 2**64 - 1


def splitmix(number: int) -> int:
    """Of Steele, Lea and Flood, in Python's whole numbers."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def test_splitmix_itself() -> None:
    """The first numbers that it gives from seed 0, as its authors print them."""
    assert [f"{splitmix(each * 0x9E3779B97F4A7C15 & MASK):016x}" for each in range(3)] == [
        "e220a8397b1dcdaf", "6e789e6aa1b965f4", "06c45d188009454f",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), min_size=1))
def test_what_is_drawn_is_the_same_whatever_holds_the_numbers(pairs: list[tuple[int, int]]) -> None:
    expected = [splitmix(splitmix(one) ^ other) for one, other in pairs]
    for kind in (np.int32, np.uint32, np.int64, np.uint64):
        numbers: NDArray[Any] = np.array(pairs).astype(kind)
        one, other = numbers.T
        before = one.copy()
        assert mixed(one, other).tolist() == expected
        assert (one == before).all()
    first = pairs[0][0]
    assert mixed(np.array([first]), other).tolist() == [splitmix(splitmix(first) ^ each) for _, each in pairs]


@given(st.lists(st.tuples(st.integers(0, 2**21), st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 1)), min_size=1))
def test_lots_are_of_latent_and_token_alone(places: list[tuple[int, int, int]]) -> None:
    drawn = lots(rows_of([(*each, 0.5) for each in places])).tolist()
    backwards = lots(rows_of([(*each, 2.0) for each in reversed(places)])).tolist()
    assert drawn == backwards[::-1]
    latent, context, position = np.array(places).T
    assert lots(Rows(latent, context, position, np.ones(len(places), np.float32))).tolist() == drawn  # of int64, too


@given(st.lists(ABOVE, min_size=1))
def test_bins_lie_between_their_edges(values: list[float]) -> None:
    acts = np.array(values, np.float32)
    bins = bin_of(acts)
    assert (bin_edge(bins) <= acts).all()
    assert (acts < bin_edge(bins + np.int16(1))).all()
    assert (bin_edge(bins + np.int16(8)) == 2 * bin_edge(bins)).all()


def test_what_lies_beyond_the_bins_counts_as_the_last() -> None:
    extremes = np.array([1e-45, 2.0**-41, 2.0**41, 3e38, np.inf], np.float32)
    assert bin_of(extremes).tolist() == [FIRST_BIN, FIRST_BIN, LAST_BIN, LAST_BIN, LAST_BIN]


@given(st.lists(st.floats(2**-30, 2**30), min_size=1))
def test_the_nearest_edge(values: list[float]) -> None:
    edges = bin_edge(np.arange(FIRST_BIN, LAST_BIN + 1, dtype=np.int16)).astype(np.float64)
    for value, found in zip(values, nearest_edge(np.array(values)).tolist(), strict=True):
        assert abs(edges[found - FIRST_BIN] - value) == np.abs(edges - value).min()


@given(ABOVE)
def test_what_stands_for_all_below_lies_below_the_lowest_edge(maximum: float) -> None:
    """As it lies for any larger maximum, too, so that what is once folded together is never wanted apart."""
    maxima = np.array([maximum, maximum * 1.01, maximum * 7], np.float32)
    found = floors(maxima)
    assert (found == nearest_edge(0.2 * maxima.astype(np.float64)) - 1).all()
    assert (np.diff(found) >= 0).all()
    assert (bin_of(maxima) - found < COLUMNS - 1).all()  # so that what is above lies in the last


LATENTS_AND_ACTS = st.lists(st.tuples(st.integers(0, 4), ABOVE), max_size=60)


def histogram_of(pairs: list[tuple[int, float]]) -> Histogram:
    histogram = Histogram()
    for start in range(0, len(pairs), 7):
        latents, acts = zip(*pairs[start : start + 7], strict=True)
        histogram.add(np.array(latents, np.int64), np.array(acts, np.float32))
    return histogram


@given(LATENTS_AND_ACTS)
def test_histogram(pairs: list[tuple[int, float]]) -> None:
    entries = histogram_of(pairs).entries
    expected: dict[tuple[int, int], list[float]] = {}
    for latent, act in pairs:
        which = FIRST_BIN + math.floor(math.log2(act)) * 8 + 320 + int((act / 2 ** math.floor(math.log2(act)) - 1) * 8)
        expected.setdefault((latent, which), []).append(act)
    keys = sorted(expected)
    assert list(zip(entries.latent.tolist(), entries.bin.tolist(), strict=True)) == keys
    assert entries.n_fired.tolist() == [len(expected[key]) for key in keys]
    np.testing.assert_allclose(entries.sum_act, [math.fsum(expected[key]) for key in keys], rtol=1e-13)


@given(LATENTS_AND_ACTS)
def test_quantile(pairs: list[tuple[int, float]]) -> None:
    """By the bin's own edges, evenly within it, and never above the maximum."""
    by_latent = [sorted(act for latent, act in pairs if latent == each) for each in range(5)]
    figures = Figures.none(5)
    figures.max_act[:] = [max(acts, default=0) for acts in by_latent]
    found = quantile(histogram_of(pairs).entries, figures, 5)
    for acts, value in zip(by_latent, found.tolist(), strict=True):
        if not acts:
            assert value == 0
            continue
        rank = 0.99 * len(acts)
        its_bin = bin_of(np.array([acts[math.ceil(rank) - 1]], np.float32))
        low, high = float(bin_edge(its_bin)[0]), float(bin_edge(its_bin + np.int16(1))[0])
        below, within = sum(act < low for act in acts), sum(low <= act < high for act in acts)
        expected = min(low + (rank - below) / within * (high - low), acts[-1])
        assert value == pytest.approx(expected, rel=1e-6)


@given(st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=30)
def test_windows_are_the_same_where_their_tokens_are(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 2, (6, length))
    ids[3:] = ids[:3]
    context, position = (each.ravel().astype(np.int32) for each in np.indices(ids.shape))
    keys = window_keys(ids, context, position).tolist()
    by_window: dict[Any, set[int]] = {}
    for c, p, key in zip(context.tolist(), position.tolist(), keys, strict=True):
        around = range(p - WINDOW, p + WINDOW + 1)
        window = tuple(int(ids[c, at]) if 0 <= at < length else None for at in around)
        by_window.setdefault(window, set()).add(key)
    assert all(len(found) == 1 for found in by_window.values())
    assert len(set(keys)) == len(by_window)
