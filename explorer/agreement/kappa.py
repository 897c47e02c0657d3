"""Agreement on categories, such as above a line or not."""

from functools import partial
from typing import TYPE_CHECKING

from explorer.agreement.figures import SAME, Bootstrap, Figure, Sums, Undefined, figure, ratio
from explorer.agreement.ratings import Ratings
from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array


def percent_agreement(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """The share, from 0 to 1, that agrees of all pairs of scores of the same item."""
    return figure(ratings, _pairs, bootstrap)


def fleiss_kappa(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """Of any annotators, by chance as often as all of them together gave each category (Fleiss 1971). Where items have
    unequal numbers of scores, the share of an item's pairs that agree weighs one less than its scores (Fleiss & Cuzick
    1979, for two categories)."""
    return figure(ratings, _against_all, bootstrap)


def cohen_kappa(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """Of two annotators who both scored every item, by chance as often as each gave each category (Cohen 1960)."""
    return figure(ratings, partial(_against_each, two_fixed(ratings)), bootstrap)


def two_fixed(ratings: Ratings) -> bool:
    return ratings.n_annotators == 2 and ratings.complete


def _pairs(counted: Ratings) -> Sums:
    n_of = counted.chosen.sum(axis=1)  # (n_items, n_categories)
    k = n_of.sum(axis=1)
    agree = (n_of * (n_of - 1)).sum(axis=1)
    return Sums(numpy().stack([agree, k * (k - 1)], axis=1), lambda sums: ratio(*sums.T))


def _against_all(counted: Ratings) -> Sums:
    np = numpy()
    n_of = counted.chosen.sum(axis=1)  # (n_items, n_categories)
    k = n_of.sum(axis=1)
    disagree = (n_of * (k[:, None] - n_of)).sum(axis=1) / k
    return Sums(np.concatenate([np.stack([k - 1, disagree], axis=1), n_of], axis=1), _against_all_value, SAME)


def _against_all_value(sums: "Array") -> "Array":
    weight, disagree, n_of = sums[:, 0], sums[:, 1], sums[:, 2:]
    n = n_of.sum(axis=1)
    by_chance = (n**2 - (n_of**2).sum(axis=1)) / n**2
    return 1 - ratio(disagree, weight * by_chance)


def _against_each(fixed: bool, counted: Ratings) -> Sums:
    if not fixed:
        raise Undefined("Cohen's kappa is of two annotators who both scored every item")
    one, other = counted.chosen[:, 0], counted.chosen[:, 1]  # (n_items, n_categories)
    together = one[:, :, None] * other[:, None, :]
    return Sums(together.reshape(len(one), -1), _against_each_value, SAME)


def _against_each_value(sums: "Array") -> "Array":
    np = numpy()
    n_categories = round(sums.shape[1] ** 0.5)
    together = sums.reshape(len(sums), n_categories, n_categories)
    n = together.sum(axis=(1, 2))
    agree = np.trace(together, axis1=1, axis2=2)
    by_chance = (together.sum(axis=1) * together.sum(axis=2)).sum(axis=1) / n
    return ratio(agree - by_chance, n - by_chance)
