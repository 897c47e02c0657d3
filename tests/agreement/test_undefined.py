"""What has no value or no interval says why; what is left out is not counted."""

import numpy as np
import pytest
from hypothesis import given, settings

from explorer.agreement.alpha import Metric
from explorer.agreement.figures import Bootstrap, Figure
from explorer.agreement.icc import icc_1_1, icc_1_k, icc_2_1, icc_2_k
from explorer.agreement.kappa import cohen_kappa, fleiss_kappa, percent_agreement
from explorer.agreement.ratings import Ratings
from tests.agreement.tables import NONE, Rows, table, tables
from tests.agreement.test_bootstrap import Measure, alpha_of

FEW = Bootstrap(n_resamples=40)
ALPHAS = [alpha_of(metric) for metric in Metric]
ICCS = [icc_1_1, icc_1_k, icc_2_1, icc_2_k]
KAPPAS = [fleiss_kappa, cohen_kappa]
ALL: list[Measure] = [*ALPHAS, *ICCS, *KAPPAS, percent_agreement]


def said(why: str, rows: list[list[float]], measures: list[Measure]) -> list[object]:
    return [pytest.param(why, rows, measure) for measure in measures]


NO_VALUE = [
    *said("nobody has scored anything", [], ALL),
    *said("nobody has scored anything", [[NONE, NONE], [NONE, NONE]], ALL),
    *said("only one annotator has scored anything", [[3, NONE], [2, NONE]], ALL),
    *said("no item has two scores", [[3, NONE], [NONE, 2]], ALL),
    *said("everybody gave the same", [[2, 2], [2, 2], [2, 2]], [*ALPHAS, *ICCS, *KAPPAS]),
    *said("everybody gave the same", [[0.1, 0.1, 0.1]] * 7, [*ALPHAS, *ICCS, fleiss_kappa]),
    *said("only one item has two scores", [[1, 2]], list(ICCS)),
    *said("only one item has two scores", [[1, 2], [NONE, 3]], [icc_1_1, icc_1_k]),
    *said("the items' means differ too little", [[1, 3], [2, 2]], [icc_1_k]),
    *said("the items' means differ too little", [[1, 3], [3, 1]], [icc_1_k, icc_2_1, icc_2_k]),
    *said("not every annotator scored every item", [[1, 3], [2, 1], [3, NONE]], [icc_2_1, icc_2_k]),
    *said("Cohen's kappa is of two annotators who both scored every item", [[1, 0], [1, 1], [0, NONE]], [cohen_kappa]),
    *said("Cohen's kappa is of two annotators who both scored every item", [[1, 0, 1], [1, 1, 0]], [cohen_kappa]),
]


@pytest.mark.parametrize(("why", "rows", "measure"), NO_VALUE)
def test_there_is_no_value(why: str, rows: list[list[float]], measure: Measure) -> None:
    found = measure(table(rows) if rows else Ratings(np.empty((0, 0)), np.empty(0, int)), FEW)
    assert (found.value, found.low, found.high, found.why) == (None, None, None, why)


def test_all_who_gave_the_same_agree() -> None:
    found = percent_agreement(table([[1, 1], [1, 1]]), FEW)
    assert found == Figure(1, 1, 1, "", n_items=2, n_features=2, n_annotators=2, n_values=4)


def of_one_feature(measure: Measure) -> Figure:
    return measure(table([[1, 2], [3, 3], [0, 1]], [5, 5, 5]), FEW)


@pytest.mark.parametrize("measure", ALL)
def test_one_feature_has_no_interval(measure: Measure) -> None:
    found = of_one_feature(measure)
    assert found.value is not None
    assert (found.low, found.high, found.why) == (None, None, "no interval: it is all of one feature")


@pytest.mark.parametrize("measure", [*ALPHAS, fleiss_kappa])
def test_too_few_resamples_with_a_value_are_no_interval(measure: Measure) -> None:
    """Of two features one gave all 1 and the other all 0, so that half of the resamples are of one alone, and by this
    seed more than half."""
    found = measure(table([[1, 1], [0, 0]]), Bootstrap(n_resamples=40, seed=SEED))
    assert found.value == 1
    assert (found.low, found.high, found.why) == (
        None,
        None,
        "no interval: more than half of the resamples have no value",
    )


def n_mixed(seed: int) -> int:
    """Of how many of 40 resamples of two features both are part."""
    random = np.random.default_rng(seed)
    return sum(len(set(random.integers(2, size=2).tolist())) == 2 for _ in range(40))


SEED = next(seed for seed in range(100) if n_mixed(seed) == 19)
JUST_ENOUGH = next(seed for seed in range(100) if n_mixed(seed) == 20)


@pytest.mark.parametrize("measure", [*ALPHAS, fleiss_kappa])
def test_half_of_them_are_enough(measure: Measure) -> None:
    found = measure(table([[1, 1], [0, 0]]), Bootstrap(n_resamples=40, seed=JUST_ENOUGH))
    assert (found.value, found.low, found.high, found.why) == (1, 1, 1, "")


@given(ratings=tables())
@settings(deadline=None, max_examples=50)
def test_only_what_counts_is_counted(ratings: Ratings) -> None:
    rows = [
        (feature, [(who, score) for who, score in enumerate(row) if not np.isnan(score)])
        for row, feature in zip(ratings.scores.tolist(), ratings.features.tolist(), strict=True)
    ]
    counted = [(feature, given) for feature, given in rows if len(given) >= 2]
    found = percent_agreement(ratings, FEW)
    assert found.n_items == len(counted)
    assert found.n_features == len({feature for feature, _ in counted})
    assert found.n_annotators == len({who for _, given in counted for who, _ in given})
    assert found.n_values == sum(len(given) for _, given in counted)


@pytest.mark.parametrize("measure", ALL)
@given(ratings=tables())
@settings(deadline=None, max_examples=50)
def test_there_is_a_number_or_a_reason(measure: Measure, ratings: Ratings) -> None:
    found = measure(ratings, FEW)
    numbers = [each for each in (found.value, found.low, found.high) if each is not None]
    assert np.isfinite(numbers).all()
    assert (len(numbers) == 3) == (found.why == "")
    assert found.value is not None or len(numbers) == 0


@pytest.mark.parametrize(
    ("scores", "features"),
    [(np.zeros((3, 2)), np.arange(2)), (np.zeros(3), np.arange(3)), (np.full((1, 2), np.inf), np.arange(1))],
)
def test_what_is_no_table_is_refused(scores: Rows, features: Rows) -> None:
    with pytest.raises(ValueError, match=r"expected|infinite"):
        Ratings(scores, features)
