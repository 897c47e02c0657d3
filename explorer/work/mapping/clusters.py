"""Where a map's clusters lie, and the tokens by which they can be told from the rest."""

from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_core.collecting.tables import run_starts

NAMED = 2000  # of a grain, the largest
TOKENS = 3
OFTEN = 2  # a token that one feature alone raises names no cluster

Array = NDArray[Any]


class Counts(NamedTuple):
    """How often a token is what a feature raises most, of those that have any."""

    tokens: Array  # rising
    n: Array

    @classmethod
    def of(cls, tokens: NDArray[np.int32]) -> "Counts":
        return cls(*np.unique(tokens[tokens >= 0], return_counts=True))


def clusters(columns: dict[str, Array]) -> list[list[dict[str, Any]]]:
    """By grain: n, where its middle is, and the tokens that its features raise more than others do."""
    everywhere = Counts.of(columns["token"]) if "token" in columns else None
    return [_of_grain(columns, grain, everywhere) for grain in columns["cluster"]]


def _of_grain(columns: dict[str, Array], grain: NDArray[np.int32], everywhere: Counts | None) -> list[dict[str, Any]]:
    order = np.argsort(grain, kind="stable")
    order = order[np.searchsorted(grain[order], 0) :]  # without what is in none
    ends = [*run_starts(grain[order]), len(order)]
    found = []
    for first, stop in islice(pairwise(ends), NAMED):
        some = order[first:stop]
        x, y = columns["x"][some], columns["y"][some]
        middle = np.argmin((x - np.median(x)) ** 2 + (y - np.median(y)) ** 2)  # one of its points, not between them
        tokens = telling(columns["token"][some], everywhere) if everywhere else []
        found.append({"n": len(some), "x": float(x[middle]), "y": float(y[middle]), "tokens": tokens})
    return found


def telling(inside: NDArray[np.int32], everywhere: Counts) -> list[int]:
    """Those that come here far more often than on the whole map, weighed by how often."""
    here = Counts.of(inside)
    share = everywhere.n[np.searchsorted(everywhere.tokens, here.tokens)] / everywhere.n.sum()
    weight = here.n * np.log(here.n / max(here.n.sum(), 1) / share)
    weight[here.n < OFTEN] = 0
    best = np.lexsort((here.tokens, -weight))[:TOKENS]
    return [int(here.tokens[each]) for each in best if weight[each] > 0]
