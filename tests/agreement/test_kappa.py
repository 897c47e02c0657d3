"""Agreement on categories, against published tables and against the same in fractions."""

import pytest
from hypothesis import given, settings

from explorer.agreement.figures import Bootstrap
from explorer.agreement.kappa import cohen_kappa, fleiss_kappa, percent_agreement, two_fixed
from explorer.agreement.ratings import Ratings
from tests.agreement import plain
from tests.agreement.tables import NONE, table, tables
from tests.agreement.test_icc import same

FEW = Bootstrap(n_resamples=20)
PSYCHIATRIC = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Of how many ratings of a subject how many were positive.
UNEQUAL = [
    (2, 2), (2, 0), (3, 2), (4, 3), (3, 3), (4, 1), (3, 0), (5, 0), (2, 0), (4, 4), (5, 5), (3, 3), (4, 4),
    (4, 3), (2, 0), (2, 2), (3, 1), (2, 1), (4, 1), (5, 4), (3, 2), (4, 0), (3, 0), (3, 3), (2, 2),
]  # fmt: skip


def test_fleiss_of_ten_subjects_and_five_categories() -> None:
    """The worked example of Wikipedia's article on Fleiss' kappa: fourteen raters, 0.210, of an agreement of 0.378."""
    rows = [[category for category, n in enumerate(row) for _ in range(n)] for row in PSYCHIATRIC]
    found = fleiss_kappa(table(rows), FEW).value, percent_agreement(table(rows), FEW).value
    assert [round(each or 0, 3) for each in found] == [0.210, 0.378]


def test_fleiss_with_unequal_numbers() -> None:
    """Fleiss 1981, Statistical Methods for Rates and Proportions: 25 subjects with 2 to 5 ratings, of 81 in all 46
    positive; kappa 0.5415 in the manual of Stata, which has the table too."""
    rows = [[1.0] * positive + [0.0] * (n - positive) + [NONE] * (5 - n) for n, positive in UNEQUAL]
    assert (sum(n for n, _ in UNEQUAL), sum(positive for _, positive in UNEQUAL)) == (81, 46)
    found = fleiss_kappa(table(rows), FEW).value
    assert found is not None
    assert round(found, 4) == 0.5415


@pytest.mark.parametrize(
    ("both", "one", "other", "neither", "published"),
    [(20, 5, 10, 15, 0.4), (45, 15, 25, 15, 0.1304), (25, 35, 5, 35, 0.2593)],
)
def test_cohen_of_two_by_two(both: int, one: int, other: int, neither: int, published: float) -> None:
    """The worked examples of Wikipedia's article on Cohen's kappa."""
    rows = [[1, 1]] * both + [[1, 0]] * one + [[0, 1]] * other + [[0, 0]] * neither
    found = cohen_kappa(table(rows), FEW).value
    assert found is not None
    assert round(found, 4) == published
    assert percent_agreement(table(rows), FEW).value == pytest.approx((both + neither) / len(rows))


@given(ratings=tables(most=2))
@settings(deadline=None)
def test_unequal_numbers(ratings: Ratings) -> None:
    items = plain.items_of(ratings)
    assert same(fleiss_kappa(ratings, FEW), plain.fleiss_kappa(items) if items else None)
    assert same(percent_agreement(ratings, FEW), plain.percent_agreement(items) if items else None)


@given(ratings=tables(most=2, missing=False, annotators=(2, 2)))
@settings(deadline=None)
def test_two_annotators(ratings: Ratings) -> None:
    assert same(cohen_kappa(ratings, FEW), plain.cohen_kappa(plain.items_of(ratings)))


def test_cohen_takes_account_of_who_gave_what() -> None:
    """Fleiss: both together gave 1 half of the time. Cohen: one gave it always, the other never."""
    ratings = table([[1, 0]] * 4)
    assert cohen_kappa(ratings, FEW).value == 0
    assert fleiss_kappa(ratings, FEW).value == -1


@pytest.mark.parametrize(
    ("rows", "fixed"),
    [
        ([[1, 0], [0, 0]], True),
        ([[1, 0, NONE], [0, 0, NONE]], True),
        ([[1, 0], [NONE, NONE]], True),
        ([[1, 0], [0, NONE]], False),
        ([[1, 0, NONE], [NONE, 0, 1]], False),
        ([[1, 0, 1]], False),
        ([[1], [0]], False),
    ],
)
def test_two_fixed_annotators_both_scored_every_item(rows: list[list[float]], fixed: bool) -> None:
    """What nobody scored is no item, and who scored nothing no annotator."""
    assert two_fixed(table(rows)) == fixed


def test_the_line_itself_is_not_above_it() -> None:
    above = table([[8, 9, NONE], [8.5, 0, 14]]).above(8)
    assert str(above.scores.tolist()) == "[[0.0, 1.0, nan], [1.0, 0.0, 1.0]]"
