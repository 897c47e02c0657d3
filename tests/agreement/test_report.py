"""Which figures a study is given, in which order, and that it does not matter in which order it is told of."""

from collections.abc import Callable
from dataclasses import astuple
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.agreement.alpha import Metric, alpha
from explorer.agreement.figures import Bootstrap, Figure
from explorer.agreement.icc import icc_1_1, icc_1_k, icc_2_1, icc_2_k
from explorer.agreement.kappa import cohen_kappa, fleiss_kappa, percent_agreement
from explorer.agreement.ratings import Ratings
from explorer.agreement.report import Criterion, report
from tests.agreement.tables import NONE, drawn_table, tables

LINE = 8
Named = tuple[str, Callable[[Ratings, Bootstrap], Figure]]


def of_study(totals: Ratings) -> list[Criterion]:
    """Five, of which the fourth does not apply to some."""
    applies = np.where(totals.scores % 3 > 0, totals.scores % 2, NONE)
    tables = [totals.scores // 3, totals.scores // 2, totals.scores // 4, applies, totals.scores // 5]
    return [
        Criterion(str(number), Ratings(scores, totals.features), Metric.NOMINAL if number == 4 else Metric.ORDINAL)
        for number, scores in enumerate(tables, 1)
    ]


@pytest.mark.parametrize(
    ("totals", "correlations", "kappa"),
    [
        (drawn_table(1, 12), [("ICC(2,1)", icc_2_1), ("ICC(2,k)", icc_2_k)], ("Fleiss' kappa", fleiss_kappa)),
        (drawn_table(2, 12, missing=0.3), [], ("Fleiss' kappa", fleiss_kappa)),
        (drawn_table(3, 12, missing=0.3, n_annotators=2), [], ("Fleiss' kappa", fleiss_kappa)),
        (
            drawn_table(4, 12, n_annotators=2),
            [("ICC(2,1)", icc_2_1), ("ICC(2,k)", icc_2_k)],
            ("Cohen's kappa", cohen_kappa),
        ),
    ],
)
def test_the_whole_of_it(totals: Ratings, correlations: list[Named], kappa: Named) -> None:
    criteria, bootstrap = of_study(totals), Bootstrap()
    found = report(criteria, totals, LINE)
    above = Ratings(np.where(np.isnan(totals.scores), NONE, totals.scores > LINE), totals.features)
    assert [astuple(each)[:2] for each in found] == [
        ("1", "alpha (ordinal)"), ("2", "alpha (ordinal)"), ("3", "alpha (ordinal)"), ("4", "alpha (nominal)"),
        ("5", "alpha (ordinal)"), ("total", "alpha (interval)"), ("total", "ICC(1,1)"), ("total", "ICC(1,k)"),
        *(("total", name) for name, _ in correlations),
        ("above the line", "percent agreement"), ("above the line", kappa[0]),
    ]  # fmt: skip
    assert [each.figure for each in found] == [
        *(alpha(each.ratings, each.metric, bootstrap) for each in criteria),
        alpha(totals, Metric.INTERVAL, bootstrap),
        *(icc(totals, bootstrap) for icc in (icc_1_1, icc_1_k, *(each for _, each in correlations))),
        percent_agreement(above, bootstrap),
        kappa[1](above, bootstrap),
    ]


def test_a_study_that_has_just_begun() -> None:
    nothing = Ratings(np.full((3, 2), NONE), np.arange(3))
    found = report(of_study(nothing), nothing, LINE)
    assert {each.figure.why for each in found} == {"nobody has scored anything"}
    assert {each.figure.value for each in found} == {None}


def near(one: Figure, other: Figure) -> bool:
    """The same but for rounding, as sums are in another order."""
    numbers, others = ([each.value, each.low, each.high] for each in (one, other))
    same = (
        mine == theirs if mine is None or theirs is None else isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9)
        for mine, theirs in zip(numbers, others, strict=True)
    )
    return all(same) and astuple(one)[3:] == astuple(other)[3:]


@given(data=st.data(), totals=tables(most=14))
@settings(deadline=None, max_examples=40)
def test_the_order_of_annotators_and_of_items_changes_nothing(data: st.DataObject, totals: Ratings) -> None:
    items = np.array(data.draw(st.permutations(range(totals.scores.shape[0]))))
    annotators = data.draw(st.permutations(range(totals.scores.shape[1])))
    permuted = Ratings(totals.scores[items][:, annotators], totals.features[items])
    was, found = (report(of_study(each), each, LINE, Bootstrap(100)) for each in (totals, permuted))
    assert [(each.of, each.measure) for each in found] == [(each.of, each.measure) for each in was]
    for one, other in zip(was, found, strict=True):
        assert near(one.figure, other.figure)
