"""A figure of agreement and its interval, by a bootstrap over features.

Every measure here follows from sums over items. So what a resample of features says follows from the sums of each
feature and how often it was drawn: all resamples are one product of matrices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.agreement.ratings import Ratings
from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array

SAME = "everybody gave the same"


class Undefined(ValueError):
    """Why a measure has no value, in plain words."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`why` says why there is no value, or else no interval; the numbers are of what counted."""

    value: float | None
    low: float | None
    high: float | None
    why: str
    n_items: int
    n_features: int
    n_annotators: int
    n_values: int


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a measure needs of each item, and what follows from the sums of that over items."""

    of_items: "Array"  # (n_items, n_sums)
    value: "Callable[[Array], Array]"  # (n, n_sums) -> (n,), NaN where it is undefined
    undefined: str = ""  # why the whole has no value, if it has none


class Bootstrap:
    """Percentile intervals, from features drawn with replacement among those that count. Resamples in which a measure
    is undefined are left out; where these are more than half, there is no interval."""

    def __init__(self, n_resamples: int = 2_000, level: float = 0.95, seed: int = 0) -> None:
        self.n_resamples, self.level, self.seed = n_resamples, level, seed
        self._drawn: dict[int, Array] = {}

    def drawn(self, n_features: int) -> "Array":
        """(n_resamples, n_features) how often each was drawn. The same for all figures of so many features."""
        np = numpy()
        if n_features not in self._drawn:
            random, drawn = np.random.default_rng(self.seed), np.empty((self.n_resamples, n_features))
            for row in drawn:
                row[:] = np.bincount(random.integers(n_features, size=n_features), minlength=n_features)
            self._drawn[n_features] = drawn
        return self._drawn[n_features]

    def interval(self, of_features: "Array", value: "Callable[[Array], Array]") -> tuple[float, float]:
        """`of_features` is (n_features, n_sums)."""
        np = numpy()
        if len(of_features) < 2:
            raise Undefined("no interval: it is all of one feature")
        values = value(self.drawn(len(of_features)) @ of_features)
        defined = values[~np.isnan(values)]
        if 2 * len(defined) < self.n_resamples:
            raise Undefined("no interval: more than half of the resamples have no value")
        low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def figure(ratings: Ratings, measure: Callable[[Ratings], Sums], bootstrap: Bootstrap) -> Figure:
    """`measure` is given the items that count."""
    np = numpy()
    counted = ratings.counted()
    features, feature_of = np.unique(counted.features, return_inverse=True)
    numbers = (len(counted.scores), len(features), counted.n_annotators, int(counted.given.sum()))
    try:
        _need_two(ratings, counted)
        sums = measure(counted)
        of_features = np.zeros((len(features), sums.of_items.shape[1]))
        np.add.at(of_features, feature_of, sums.of_items)
        (value,) = sums.value(of_features.sum(axis=0, keepdims=True)).tolist()
        if math.isnan(value):
            raise Undefined(sums.undefined)
    except Undefined as why:
        return Figure(None, None, None, str(why), *numbers)
    try:
        low, high = bootstrap.interval(of_features, sums.value)
    except Undefined as why:
        return Figure(value, None, None, str(why), *numbers)
    return Figure(value, low, high, "", *numbers)


def _need_two(ratings: Ratings, counted: Ratings) -> None:
    if not ratings.n_annotators:
        raise Undefined("nobody has scored anything")
    if ratings.n_annotators == 1:
        raise Undefined("only one annotator has scored anything")
    if not len(counted.scores):
        raise Undefined("no item has two scores")


def ratio(above: "Array", below: "Array", least: "Array | float" = 0.0) -> "Array":
    """NaN where what is below the line is no more than `least`."""
    np = numpy()
    found: Array = np.divide(above, below, out=np.full(len(below), np.nan), where=below > least)
    return found
