"""Krippendorff's alpha, against the package of that name and against what he published."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.agreement.alpha import Metric, alpha
from explorer.agreement.figures import Bootstrap
from explorer.agreement.ratings import Ratings
from tests.agreement.tables import NONE, drawn_table, table, tables

FEW = Bootstrap(n_resamples=20)
metrics = pytest.mark.parametrize("metric", list(Metric))


@metrics
@given(ratings=tables())
@settings(deadline=None)
def test_it_is_what_the_package_says(metric: Metric, ratings: Ratings) -> None:
    found = alpha(ratings, metric, FEW).value
    pairable = [row[~np.isnan(row)] for row in ratings.scores if (~np.isnan(row)).sum() > 1]
    if len(np.unique(np.concatenate([*pairable, []]))) < 2:
        assert found is None
    else:
        assert found == pytest.approx(krippendorff.alpha(ratings.scores.T, level_of_measurement=metric.value), abs=1e-9)


@pytest.mark.parametrize("missing", [0, 0.4])
@metrics
def test_it_is_that_of_large_tables_too(metric: Metric, missing: float) -> None:
    ratings = drawn_table(3, 60, missing)
    wanted = krippendorff.alpha(ratings.scores.T, level_of_measurement=metric.value)
    assert alpha(ratings, metric, FEW).value == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "published"), [(Metric.NOMINAL, 0.743), (Metric.ORDINAL, 0.815), (Metric.INTERVAL, 0.849)]
)
def test_krippendorff_s_own_example(metric: Metric, published: float) -> None:
    """Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, example C: four observers, twelve units."""
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
    found = alpha(table(list(zip(*observers, strict=True))), metric, FEW)
    assert found.value is not None
    assert round(found.value, 3) == published
    assert (found.n_items, found.n_features, found.n_annotators, found.n_values) == (11, 11, 4, 40)


@given(data=st.data(), add=st.integers(-50, 50), times=st.integers(1, 9))
@settings(deadline=None)
def test_ranks_do_not_mind_what_keeps_their_order(data: st.DataObject, add: int, times: int) -> None:
    ratings = data.draw(tables())
    moved = Ratings(times * ratings.scores**3 + add, ratings.features)
    assert alpha(moved, Metric.ORDINAL, FEW) == alpha(ratings, Metric.ORDINAL, FEW)
    assert alpha(moved, Metric.NOMINAL, FEW) == alpha(ratings, Metric.NOMINAL, FEW)
