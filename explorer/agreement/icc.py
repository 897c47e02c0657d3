"""Intraclass correlations, named as by Shrout & Fleiss 1979: the first number is the model, the second whether one
annotator is meant or the mean of all of an item's."""

from functools import partial
from typing import TYPE_CHECKING

from explorer.agreement.figures import SAME, Bootstrap, Figure, Sums, Undefined, figure, ratio
from explorer.agreement.ratings import Ratings
from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array

ROUNDING = 1e-12  # of the mean square: what is less is none


def icc_1_1(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """One-way: whoever scored an item is drawn anew for it. Where items have unequal numbers of scores, their usual
    average stands for k in the analysis of variance: k0 = (n - Σ k² / n) / (items - 1), of n scores and k of an
    item's (Donner 1986)."""
    return figure(ratings, partial(_one_way, False), bootstrap)


def icc_1_k(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """Of the mean of as many annotators as an item has; by k0 of icc_1_1, where that differs."""
    return figure(ratings, partial(_one_way, True), bootstrap)


def icc_2_1(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """Two-way random, absolute agreement: every annotator scored every item."""
    return figure(ratings, partial(_two_way, False, ratings.complete), bootstrap)


def icc_2_k(ratings: Ratings, bootstrap: Bootstrap) -> Figure:
    """Of the mean of all annotators."""
    return figure(ratings, partial(_two_way, True, ratings.complete), bootstrap)


def _why_not(counted: Ratings) -> str:
    """Why it has no value, as one says if it has none."""
    if len(counted.scores) < 2:
        raise Undefined("only one item has two scores")
    return SAME if counted.unanimous else "the items' means differ too little"


def _one_way(averaged: bool, counted: Ratings) -> Sums:
    np = numpy()
    undefined = _why_not(counted)
    scores = counted.scores - np.nanmean(counted.scores)  # squares of small numbers keep more digits
    k, total = counted.given.sum(axis=1), np.nansum(scores, axis=1)
    within = np.nansum((scores - (total / k)[:, None]) ** 2, axis=1)
    of_items = np.stack([np.ones(len(k)), k, k**2, total, total**2 / k, within], axis=1)
    return Sums(of_items, partial(_one_way_value, averaged), undefined)


def _one_way_value(averaged: bool, sums: "Array") -> "Array":
    n_items, n, squared_k, total, between, within = sums.T
    least = ROUNDING * (between + within) / n
    between = (between - total**2 / n) / (n_items - 1)
    within = within / (n - n_items)
    k0 = (n - squared_k / n) / (n_items - 1)
    return ratio(between - within, between if averaged else between + (k0 - 1) * within, least)


def _two_way(averaged: bool, complete: bool, counted: Ratings) -> Sums:
    np = numpy()
    if not complete:
        raise Undefined("not every annotator scored every item")
    undefined = _why_not(counted)
    scores = counted.scores - counted.scores.mean()
    of_items = [np.ones(len(scores)), scores.sum(axis=1) ** 2, (scores**2).sum(axis=1), *scores.T]
    return Sums(np.stack(of_items, axis=1), partial(_two_way_value, averaged), undefined)


def _two_way_value(averaged: bool, sums: "Array") -> "Array":
    n, items, squares, annotators = sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3:]
    k = annotators.shape[1]
    mean = annotators.sum(axis=1) ** 2 / (n * k)
    items, judges = items / k - mean, (annotators**2).sum(axis=1) / n - mean
    error = (squares - mean - items - judges) / ((n - 1) * (k - 1))
    items, judges = items / (n - 1), judges / (k - 1)
    below = items + (judges - error) / n if averaged else items + (k - 1) * error + k * (judges - error) / n
    return ratio(items - error, below, ROUNDING * squares / (n * k))
