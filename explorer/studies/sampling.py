"""How a study's features are chosen, as Study.sample says it, and how they are drawn.

    {"how": "uniform", "n": 40}
    {"how": "density", "n": 40}
    {"how": "list", "n": 40, "list": 7}
    {"how": "filter", "n": 40, "filter": "density_min=0.001", "filters": {…}, "in_order": true}

Of those that fire at most `n`: uniformly; in equal shares of bins of log density; of a list; of what a filter of the
browser finds, uniformly or the first in its order. `filter` is the browser's query as somebody has given it, `filters`
what it meant then (queries/sampling.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Self

BIN = 0.5  # of log10 of a density


class How(StrEnum):
    UNIFORM = "uniform"
    DENSITY = "density"
    LIST = "list"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class Sample:
    how: How
    n: int
    list: int | None = None
    filter: str = ""
    filters: Mapping[str, Any] | None = None
    in_order: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            how=How(row["how"]),
            n=int(row["n"]),
            list=row.get("list"),
            filter=row.get("filter", ""),
            filters=row.get("filters"),
            in_order=bool(row.get("in_order", False)),
        )

    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = {"how": self.how.value, "n": self.n}
        if self.how is How.LIST:
            found["list"] = self.list
        if self.how is How.FILTER:
            found |= {"filter": self.filter, "filters": dict(self.filters or {}), "in_order": self.in_order}
        return found


def drawn(indexes: Sequence[int], n: int, random: Random) -> list[int]:
    """Uniformly, all where they are no more."""
    return sorted(random.sample(indexes, min(n, len(indexes))))


def stratified(densities: Mapping[int, float], n: int, random: Random) -> list[int]:
    """As many of each bin of densities; what one lacks the others give."""
    bins: dict[int, list[int]] = {}
    for index, density in sorted(densities.items()):
        bins.setdefault(bin_of(density), []).append(index)
    ordered = [bins[number] for number in sorted(bins)]
    wanted = shares([len(each) for each in ordered], n)
    found = [index for each, share in zip(ordered, wanted, strict=True) for index in drawn(each, share, random)]
    return sorted(found)


def bin_of(density: float) -> int:
    return math.floor(math.log10(density) / BIN)


def shares(sizes: Sequence[int], n: int) -> list[int]:
    """Of `n` as equal as these can give; what does not go evenly comes from the largest."""
    found = [0] * len(sizes)
    rising = sorted(range(len(sizes)), key=lambda number: sizes[number])
    for before, number in enumerate(rising):
        found[number] = min(sizes[number], n // (len(sizes) - before))
        n -= found[number]
    return found
