"""By what a map's points can be coloured, in bars: which of them each is in, and between which values they lie."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.densities import DENSE

BARS = 10
# Half decades where most features are; what lies above the last is dense.
DENSITIES = (1e-6, 1e-5, 1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2, 10**-1.5, DENSE)
DIGITS = 3  # of an edge, as it is shown

Array = NDArray[Any]


class Legend(NamedTuple):
    bars: list[dict[str, Any]]  # low, high: above the one, up to the other; None: no end. n: points
    bar: NDArray[np.uint8]  # of each point


def legends(columns: dict[str, Array]) -> dict[str, Legend]:
    found = {}
    if "density" in columns:
        found["density"] = legend(columns["density"], DENSITIES)
    for name in ("maximum", "mean"):
        if name in columns:
            found[name] = legend(columns[name], equally_many(columns[name]))
    return found


def legend(values: Array, edges: tuple[float, ...]) -> Legend:
    """Bars that hold nothing are left out."""
    bar = np.searchsorted(np.asarray(edges), values, side="left")
    counts = np.bincount(bar, minlength=len(edges) + 1)
    there = np.flatnonzero(counts)
    ends: list[float | None] = [None, *edges, None]
    bars = [{"low": ends[each], "high": ends[each + 1], "n": int(counts[each])} for each in there]
    return Legend(bars, np.searchsorted(there, bar).astype(np.uint8))


def equally_many(values: Array) -> tuple[float, ...]:
    """Edges between which about equally many lie."""
    some = np.quantile(values.astype(np.float64), np.arange(1, BARS) / BARS)
    return tuple(sorted({float(f"{each:.{DIGITS}g}") for each in some}))
