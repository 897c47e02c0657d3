"""Intraclass correlations, against the table that named them and against the analysis of variance in fractions."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings

from explorer.agreement.alpha import Metric, alpha
from explorer.agreement.figures import Bootstrap, Figure
from explorer.agreement.icc import icc_1_1, icc_1_k, icc_2_1, icc_2_k
from explorer.agreement.ratings import Ratings
from tests.agreement import plain
from tests.agreement.tables import NONE, drawn_table, table, tables

FEW = Bootstrap(n_resamples=20)
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def same(found: Figure, wanted: Fraction | None) -> bool:
    if found.value is None or wanted is None:
        return found.value is None and wanted is None
    return found.value == pytest.approx(float(wanted), rel=1e-9, abs=1e-9)


def test_the_table_of_shrout_and_fleiss() -> None:
    """Shrout & Fleiss 1979, tables 2 and 4: six targets, four judges."""
    ratings = table(SHROUT_FLEISS)
    found = [icc(ratings, FEW).value for icc in (icc_1_1, icc_2_1, icc_1_k, icc_2_k)]
    assert [round(each or 0, 2) for each in found] == [0.17, 0.29, 0.44, 0.62]


@given(ratings=tables())
@settings(deadline=None)
def test_the_one_way_ones_with_unequal_numbers(ratings: Ratings) -> None:
    items = plain.items_of(ratings)
    for icc, wanted in ((icc_1_1, plain.icc_1_1), (icc_1_k, plain.icc_1_k)):
        assert same(icc(ratings, FEW), wanted(items) if len(items) > 1 else None)


@given(ratings=tables(missing=False))
@settings(deadline=None)
def test_the_two_way_ones(ratings: Ratings) -> None:
    items = plain.items_of(ratings)
    assert same(icc_2_1(ratings, FEW), plain.icc_2_1(items))
    assert same(icc_2_k(ratings, FEW), plain.icc_2_k(items))


def test_unequal_numbers_by_hand() -> None:
    """Items of 2, 3 and 4 scores: k0 = (9 - 29/9) / 2 = 26/9. Their means are 1, 4 and 7, that of all is 14/3: squares
    between are 2 (11/3)² + 3 (2/3)² + 4 (7/3)² = 50, over 2; within are 2 + 2 + 4 = 8, over 6."""
    ratings = table([[0, 2, NONE, NONE], [3, 4, 5, NONE], [6, 6, 8, 8]])
    between, within, k0 = 50 / 2, 8 / 6, 26 / 9
    wanted = (between - within) / (between + (k0 - 1) * within)
    assert icc_1_1(ratings, FEW).value == pytest.approx(wanted)
    assert icc_1_k(ratings, FEW).value == pytest.approx(k0 * wanted / (1 + (k0 - 1) * wanted))  # Spearman and Brown


def test_a_small_difference_is_not_taken_for_rounding() -> None:
    ratings = table([[0, 14]] * 1_000 + [[1, 14]])
    wanted = plain.icc_1_k(plain.items_of(ratings))
    assert wanted is not None
    assert wanted < -100_000
    assert icc_1_k(ratings, FEW).value == pytest.approx(float(wanted), rel=1e-9)


def test_alpha_of_intervals_is_the_one_way_analysis_too() -> None:
    """With equal numbers, alpha is 1 - the mean square within over that of all."""
    ratings = drawn_table(1, 40)
    within = ratings.scores.var(axis=1, ddof=1).mean()
    assert alpha(ratings, Metric.INTERVAL, FEW).value == pytest.approx(1 - within / ratings.scores.var(ddof=1))
    between = 4 * ratings.scores.mean(axis=1).var(ddof=1)
    assert icc_1_1(ratings, FEW).value == pytest.approx((between - within) / (between + 3 * within))


@pytest.mark.parametrize("icc", [icc_1_1, icc_1_k, icc_2_1, icc_2_k])
def test_where_scores_begin_and_their_unit_change_nothing(icc: Callable[[Ratings, Bootstrap], Figure]) -> None:
    ratings = drawn_table(2, 30)
    moved = Ratings(1000 + ratings.scores / 3, ratings.features)
    was, found = (icc(each, FEW) for each in (ratings, moved))
    assert [found.value, found.low, found.high] == pytest.approx([was.value, was.low, was.high], rel=1e-9)
