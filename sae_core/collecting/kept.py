"""The lists that a collection keeps of each latent, each a table of candidates with a rule of its own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sae_core.collecting.tables import Ranking, Rows, best, falling, lots, mixed, rank_in_runs
from sae_core.evidence import FIRST_BIN, OF_INTERVAL, bin_edge, bin_of

PENDING = 1 << 18  # candidates held before the table is made anew
BINS = 1024  # more than the histogram has; groups are latent · BINS + bin
COLUMNS = 24  # bins from a fifth of a maximum to itself, one for all below, and some above, where anything may stay
LOWEST = 0.2  # of the maximum: edge of the lowest interval
NEVER = np.uint32(0xFFFFFFFF)

R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class WindowRows(Rows):
    window: NDArray[np.uint64]  # of the tokens around: the same for the same tokens

    @classmethod
    def none(cls) -> "WindowRows":
        rows = Rows.none()
        return cls(rows.latent, rows.context, rows.position, rows.act, np.zeros(0, np.uint64))


class Kept(ABC, Generic[R]):
    """A table, and what has come since it was last made. `may_stay` tells most candidates early that they will not."""

    def __init__(self, n_latents: int, limit: int, rows: R) -> None:
        self.n_latents, self.limit = n_latents, limit
        self._table: R = rows
        self._pending: list[R] = []
        self._n_pending = 0
        if len(rows):
            self._look()

    @property
    def rows(self) -> R:
        """What is kept, by latent and in its order."""
        self._compact()
        return self._table

    def add(self, rows: R) -> None:
        if len(rows):
            self._pending.append(rows)
            self._n_pending += len(rows)
        if self._n_pending > max(PENDING, len(self._table) // 2):
            self._compact()

    def _compact(self) -> None:
        if not self._pending:
            return
        rows = self._table.joined([self._table, *self._pending])
        self._pending, self._n_pending = [], 0
        self._table = rows[best(rows, self._ranking(rows), self.limit)]
        self._look()

    @abstractmethod
    def _ranking(self, rows: R) -> Ranking: ...

    @abstractmethod
    def _look(self) -> None:
        """Learns from the table what may stay."""


class Strongest(Kept[R]):
    """Of each latent the contexts in which it is strongest; one row for each context is given."""

    def __init__(self, n_latents: int, limit: int, rows: R) -> None:
        self.least = np.full(n_latents, -np.inf, np.float32)  # what still gets in
        super().__init__(n_latents, limit, rows)

    def may_stay(self, rows: Rows) -> NDArray[np.bool_]:
        stays: NDArray[np.bool_] = rows.act >= self.least[rows.latent]
        return stays

    def _ranking(self, rows: R) -> Ranking:
        return Ranking(rows.latent.astype(np.int64), falling(rows.act))

    def _look(self) -> None:
        last = rank_in_runs(self._table.latent.astype(np.int64)) == self.limit - 1
        self.least[self._table.latent[last]] = self._table.act[last]


class Distinct(Strongest[WindowRows]):
    """The same, of windows that differ."""

    def _ranking(self, rows: WindowRows) -> Ranking:
        return super()._ranking(rows)._replace(same=mixed(rows.latent, rows.window))


class Drawn(Kept[Rows]):
    """Tokens drawn uniformly from all at which a latent fires, each context once: those of the lowest lots."""

    def __init__(self, n_latents: int, limit: int, rows: Rows) -> None:
        self.most = np.full(n_latents, NEVER)
        super().__init__(n_latents, limit, rows)

    def may_stay(self, rows: Rows, drawn: NDArray[np.uint32]) -> NDArray[np.bool_]:
        stays: NDArray[np.bool_] = drawn <= self.most[rows.latent]
        return stays

    def _ranking(self, rows: Rows) -> Ranking:
        return Ranking(rows.latent.astype(np.int64), lots(rows), mixed(rows.latent, rows.context))

    def _look(self) -> None:
        last = rank_in_runs(self._table.latent.astype(np.int64)) == self.limit - 1
        self.most[self._table.latent[last]] = lots(self._table[last])


class DrawnByBin(Kept[Rows]):
    """Tokens drawn uniformly from those at which a latent's activation lies in a bin of the histogram.

    Intervals are fractions of the maximum, which is known at the end alone; whatever it will be, they are made of
    these bins. Those below a fifth of the running maximum will lie in one interval, and are one.
    """

    def __init__(self, n_latents: int, rows: Rows, maxima: NDArray[np.float32]) -> None:
        self.maxima = maxima  # the running ones, which somebody else keeps
        self._floor = np.zeros(n_latents, np.int32)  # the bin that stands for all below, when last looked
        self._most = np.full((n_latents, COLUMNS), NEVER)
        super().__init__(n_latents, OF_INTERVAL, rows)

    def may_stay(self, rows: Rows, drawn: NDArray[np.uint32]) -> NDArray[np.bool_]:
        column = np.clip(bin_of(rows.act) - self._floor[rows.latent], 0, COLUMNS - 1)
        stays: NDArray[np.bool_] = drawn <= self._most[rows.latent, column]
        return stays

    def _ranking(self, rows: Rows) -> Ranking:
        group = self._groups(rows, floors(self.maxima))
        return Ranking(group, lots(rows), mixed(group, rows.context))

    def _groups(self, rows: Rows, floor: NDArray[np.int32]) -> NDArray[np.int64]:
        bins = np.maximum(bin_of(rows.act), floor[rows.latent])
        groups: NDArray[np.int64] = rows.latent.astype(np.int64) * BINS + (bins - (FIRST_BIN - 1))
        return groups

    def _look(self) -> None:
        self._floor = floors(self.maxima)
        self._most.fill(NEVER)
        groups = self._groups(self._table, self._floor)
        full = self._table[rank_in_runs(groups) == self.limit - 1]
        column = np.maximum(bin_of(full.act) - self._floor[full.latent], 0)
        self._most[full.latent, column] = lots(full)


def nearest_edge(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """The bin that begins nearest to each value."""
    below = bin_of(values.astype(np.float32)).astype(np.int32)
    low, high = (bin_edge(each).astype(np.float64) for each in (below, below + 1))
    nearest: NDArray[np.int32] = np.where(high - values < values - low, below + 1, below)
    return nearest


def floors(maxima: NDArray[np.float32]) -> NDArray[np.int32]:
    """The bin just below the lowest interval's upper edge, which stands for all of that interval."""
    return nearest_edge(LOWEST * maxima.astype(np.float64)) - 1
