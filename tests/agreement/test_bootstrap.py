"""Intervals, against tables that are put together feature by feature from the same draws."""

from collections.abc import Callable, Iterator

import krippendorff
import numpy as np
import pytest

from explorer.agreement.alpha import Metric, alpha
from explorer.agreement.figures import Bootstrap, Figure
from explorer.agreement.icc import icc_1_1, icc_1_k, icc_2_1, icc_2_k
from explorer.agreement.kappa import cohen_kappa, fleiss_kappa, percent_agreement
from explorer.agreement.ratings import Ratings
from tests.agreement import plain
from tests.agreement.tables import NONE, Rows, drawn_table, table

N = 120
Measure = Callable[[Ratings, Bootstrap], Figure]


def alpha_of(metric: Metric) -> Measure:
    return lambda ratings, bootstrap: alpha(ratings, metric, bootstrap)


def package_s(metric: Metric) -> Callable[[Rows], float | None]:
    def of(rows: Rows) -> float | None:
        if len(np.unique(rows[~np.isnan(rows)])) < 2:
            return None
        return krippendorff.alpha(rows.T, level_of_measurement=metric.value)

    return of


def in_fractions(measure: plain.Plain) -> Callable[[Rows], float | None]:
    def of(rows: Rows) -> float | None:
        found = measure(plain.items_of(table(rows)))
        return None if found is None else float(found)

    return of


ANY = [
    *((alpha_of(metric), package_s(metric)) for metric in Metric),
    (icc_1_1, in_fractions(plain.icc_1_1)),
    (icc_1_k, in_fractions(plain.icc_1_k)),
    (percent_agreement, in_fractions(plain.percent_agreement)),
    (fleiss_kappa, in_fractions(plain.fleiss_kappa)),
]
COMPLETE = [(icc_2_1, in_fractions(plain.icc_2_1)), (icc_2_k, in_fractions(plain.icc_2_k))]
TWO = [(cohen_kappa, in_fractions(plain.cohen_kappa))]

FULL, GAPS, PAIR = drawn_table(5, 9), drawn_table(6, 9, missing=0.5), drawn_table(7, 9, n_annotators=2)
RARE = table([[0, 0, NONE], [1, 1, 0], [0, 0, 0], [0, NONE, 0], [0, 0, 0]], [4, 4, 2, 2, 9])
CASES = [
    *((ratings, *each) for ratings in (FULL, GAPS, RARE, RARE.above(0.5)) for each in ANY),
    *((ratings, *each) for ratings in (FULL, PAIR) for each in COMPLETE),
    *((ratings, *each) for ratings in (PAIR, PAIR.above(6)) for each in TWO),
]


def resampled(ratings: Ratings, seed: int) -> Iterator[Rows]:
    """The rows of features drawn with replacement, among those with an item that two have scored."""
    items = (~np.isnan(ratings.scores)).sum(axis=1) >= 2
    rows, features = ratings.scores[items], ratings.features[items]
    of_features = [rows[features == feature] for feature in sorted(set(features.tolist()))]
    random = np.random.default_rng(seed)
    for _ in range(N):
        drawn = random.integers(len(of_features), size=len(of_features))
        yield np.concatenate([of_features[each] for each in drawn])


@pytest.mark.parametrize(("ratings", "measure", "slow"), CASES)
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_interval_is_that_of_resampled_tables(
    ratings: Ratings, measure: Measure, slow: Callable[[Rows], float | None], level: float
) -> None:
    found = measure(ratings, Bootstrap(N, level, seed=11))
    values = [value for rows in resampled(ratings, seed=11) if (value := slow(rows)) is not None]
    assert len(values) >= N / 2
    wanted = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    assert [found.low, found.high] == pytest.approx(wanted.tolist(), rel=1e-9, abs=1e-9)
    assert found.why == ""


def test_undefined_resamples_are_left_out() -> None:
    """Of three features only one varies, so that in (2/3)³ = 30 % of all resamples everybody gave the same."""
    defined = [each for rows in resampled(RARE, seed=11) if (each := package_s(Metric.NOMINAL)(rows)) is not None]
    assert N / 2 < len(defined) < N


@pytest.mark.parametrize("measure", [alpha_of(Metric.ORDINAL), icc_1_1, fleiss_kappa])
def test_features_are_resampled_not_rows(measure: Measure) -> None:
    """Ten copies of each item tell no more than the item does."""
    once = drawn_table(8, 20)
    rows = once.scores.repeat(10, axis=0)
    bootstrap = Bootstrap(N)
    copies = measure(Ratings(rows, once.features.repeat(10)), bootstrap)
    apart, alone = measure(table(rows), bootstrap), measure(once, bootstrap)
    assert copies.value == pytest.approx(apart.value)
    assert width(copies) == pytest.approx(width(alone), rel=0.1)
    assert width(copies) > 2 * width(apart)


def width(found: Figure) -> float:
    assert found.high is not None
    assert found.low is not None
    return found.high - found.low


def test_copies_have_the_interval_of_what_was_copied() -> None:
    """Exactly, where a measure is of shares alone."""
    once = drawn_table(8, 20).above(6)
    copies = Ratings(once.scores.repeat(4, axis=0), once.features.repeat(4))
    for measure in (percent_agreement, fleiss_kappa):
        of_copies, of_once = (measure(each, Bootstrap(N)) for each in (copies, once))
        assert [of_copies.low, of_copies.high] == pytest.approx([of_once.low, of_once.high], rel=1e-12)


def test_the_seed_alone_decides() -> None:
    first, again, other = (icc_1_1(FULL, Bootstrap(N, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_figures_made_with_one_bootstrap_are_those_made_each_with_its_own() -> None:
    shared = Bootstrap(N)
    for ratings in (FULL, GAPS, RARE, FULL):
        assert icc_1_1(ratings, shared) == icc_1_1(ratings, Bootstrap(N))


def test_every_draw_is_of_as_many_features_as_there_are() -> None:
    drawn = Bootstrap(N).drawn(7)
    assert drawn.shape == (N, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert len(np.unique(drawn, axis=0)) > N / 2
