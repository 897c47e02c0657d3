"""How the totals of items are spread, with intervals that resample features, as the items of one are not independent of
each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.agreement.figures import Bootstrap, Undefined, ratio
from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array


@dataclass(frozen=True, slots=True)
class Estimate:
    """`why` says why there is no interval."""

    value: float
    low: float | None
    high: float | None
    why: str


def median(totals: Sequence[float], features: Sequence[int], bootstrap: Bootstrap) -> Estimate:
    """`features` says whose each is."""
    np = numpy()
    values, which = np.unique(np.asarray(totals, dtype=float), return_inverse=True)

    def middle(counts: "Array") -> "Array":
        """(n, n_values) how often there is each -> (n,)"""
        up_to, n = counts.cumsum(axis=1), counts.sum(axis=1, keepdims=True)
        lower, upper = ((up_to > place).argmax(axis=1) for place in ((n - 1) // 2, n // 2))
        found: Array = (values[lower] + values[upper]) / 2
        return found

    return _estimate(np.eye(len(values))[which], features, middle, bootstrap)


def share_above(totals: Sequence[float], line: float, features: Sequence[int], bootstrap: Bootstrap) -> Estimate:
    np = numpy()
    above = np.asarray(totals, dtype=float) > line
    sums = np.stack([above, np.ones(len(above))], axis=1).astype(float)
    return _estimate(sums, features, lambda sums: ratio(*sums.T), bootstrap)


def _estimate(
    of_items: "Array", features: Sequence[int], value: "Callable[[Array], Array]", bootstrap: Bootstrap
) -> Estimate:
    np = numpy()
    names, feature_of = np.unique(np.asarray(features), return_inverse=True)
    of_features = np.zeros((len(names), of_items.shape[1]))
    np.add.at(of_features, feature_of, of_items)
    (found,) = value(of_features.sum(axis=0, keepdims=True)).tolist()
    try:
        low, high = bootstrap.interval(of_features, value)
    except Undefined as why:
        return Estimate(found, None, None, str(why))
    return Estimate(found, low, high, "")
