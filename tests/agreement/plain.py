"""The measures once more: item by item, in fractions, and none where a denominator is zero or less."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np

from explorer.agreement.ratings import Ratings

Items = Sequence[Sequence[Fraction]]
Plain = Callable[[Items], Fraction | None]


def items_of(ratings: Ratings) -> list[list[Fraction]]:
    """What was given to each item that has two scores or more."""
    given = [[Fraction(score) for score in row if not np.isnan(score)] for row in ratings.scores.tolist()]
    return [scores for scores in given if len(scores) >= 2]


def ratio(above: Fraction, below: Fraction) -> Fraction | None:
    return above / below if below > 0 else None


def total(some: Iterable[Fraction]) -> Fraction:
    return sum(some, Fraction())


def mean(some: Sequence[Fraction]) -> Fraction:
    return total(some) / len(some)


def squares(some: Sequence[Fraction]) -> Fraction:
    middle = mean(some)
    return total((each - middle) ** 2 for each in some)


def _one_way(items: Items) -> tuple[Fraction, Fraction, Fraction]:
    """Mean squares between and within items, and k0."""
    every = [score for item in items for score in item]
    middle = mean(every)
    between = total(len(item) * (mean(item) - middle) ** 2 for item in items) / (len(items) - 1)
    within = total(map(squares, items)) / (len(every) - len(items))
    k0 = (len(every) - Fraction(sum(len(item) ** 2 for item in items), len(every))) / (len(items) - 1)
    return between, within, k0


def icc_1_1(items: Items) -> Fraction | None:
    between, within, k0 = _one_way(items)
    return ratio(between - within, between + (k0 - 1) * within)


def icc_1_k(items: Items) -> Fraction | None:
    between, within, _ = _one_way(items)
    return ratio(between - within, between)


def _two_way(items: Items) -> tuple[Fraction, Fraction, Fraction]:
    """Mean squares of items, of annotators and of what is left."""
    n, k = len(items), len(items[0])
    every = [score for item in items for score in item]
    of_items = k * squares([mean(item) for item in items])
    of_annotators = n * squares([mean(column) for column in zip(*items, strict=True)])
    left = squares(every) - of_items - of_annotators
    return of_items / (n - 1), of_annotators / (k - 1), left / ((n - 1) * (k - 1))


def icc_2_1(items: Items) -> Fraction | None:
    of_items, of_annotators, left = _two_way(items)
    n, k = len(items), len(items[0])
    return ratio(of_items - left, of_items + (k - 1) * left + k * (of_annotators - left) / n)


def icc_2_k(items: Items) -> Fraction | None:
    of_items, of_annotators, left = _two_way(items)
    return ratio(of_items - left, of_items + (of_annotators - left) / len(items))


def percent_agreement(items: Items) -> Fraction:
    return mean([Fraction(one == other) for item in items for one, other in combinations(item, 2)])


def fleiss_kappa(items: Items) -> Fraction | None:
    every = [score for item in items for score in item]
    by_chance = total(Fraction(n, len(every)) ** 2 for n in Counter(every).values())
    weights = [len(item) - 1 for item in items]
    shares = [percent_agreement([item]) for item in items]
    agree = total(weight * share for weight, share in zip(weights, shares, strict=True)) / sum(weights)
    return ratio(agree - by_chance, 1 - by_chance)


def cohen_kappa(items: Items) -> Fraction | None:
    one, other = (Counter(column) for column in zip(*items, strict=True))
    by_chance = Fraction(sum(one[score] * other[score] for score in one), len(items) ** 2)
    return ratio(percent_agreement(items) - by_chance, 1 - by_chance)
