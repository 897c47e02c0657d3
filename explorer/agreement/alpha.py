"""Krippendorff's alpha, by his coincidence matrices (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability)."""

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from explorer.agreement.figures import SAME, Bootstrap, Figure, Sums, figure, ratio
from explorer.agreement.ratings import Ratings
from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array


class Metric(StrEnum):
    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


def alpha(ratings: Ratings, metric: Metric, bootstrap: Bootstrap) -> Figure:
    """Of scores with few different values: each feature takes the square of their number."""
    return figure(ratings, partial(_sums, metric), bootstrap)


def _sums(metric: Metric, counted: Ratings) -> Sums:
    np = numpy()
    categories, n_of = counted.categories, counted.chosen.sum(axis=1)  # (n_items, n_categories)
    pairs = n_of[:, :, None] * n_of[:, None, :] - n_of[:, :, None] * np.eye(len(categories))
    coincidences = pairs / (n_of.sum(axis=1) - 1)[:, None, None]
    return Sums(coincidences.reshape(len(n_of), -1), partial(_value, metric, categories), SAME)


def _value(metric: Metric, categories: "Array", sums: "Array") -> "Array":
    """1 - observed / expected disagreement, both times the number of values."""
    coincidences = sums.reshape(len(sums), len(categories), -1)
    n_of = coincidences.sum(axis=2)  # (n, n_categories)
    apart = _apart(metric, categories, n_of)
    observed = (coincidences * apart).sum(axis=(1, 2))
    expected = (n_of[:, :, None] * n_of[:, None, :] * apart).sum(axis=(1, 2)) / (n_of.sum(axis=1) - 1)
    return 1 - ratio(observed, expected)


def _apart(metric: Metric, categories: "Array", n_of: "Array") -> "Array":
    """(n or 1, n_categories, n_categories) how far two scores lie apart. In ranks, if they are ordinal: half of those
    who gave either, and all who gave one between, is how far their middle ranks are."""
    np = numpy()
    if metric is Metric.NOMINAL:
        apart: Array = 1 - np.eye(len(categories))[None]
        return apart
    places = categories[None] if metric is Metric.INTERVAL else np.cumsum(n_of, axis=1) - n_of / 2
    squares: Array = (places[:, :, None] - places[:, None, :]) ** 2
    return squares
