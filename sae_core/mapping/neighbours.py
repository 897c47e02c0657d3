"""The nearest of each direction by cosine, exactly, in tiles, so that no (n, n) matrix is ever whole."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.devices import pick
from sae_core.errors import BadInput
from sae_core.mapping.phases import Tick
from sae_core.mapping.points import Points

TILE = 2048  # rows and columns
ROUNDING = 1e-3  # of cosines, whatever precision they were computed in


class Table(NamedTuple):
    neighbours: NDArray[np.int32]  # (n, k) numbers of other rows, nearest first, −1-padded
    cosines: NDArray[np.float32]  # (n, k)


def table_of(points: Points, k: int, known: Table | None, tick: Tick) -> Table:
    """The k nearest other points of each, fewer where there are no more. Of what is known already, of all rows, those
    are computed anew of whose nearest too many are no points."""
    k = min(k, len(points.rows) - 1)
    unit = points.unit.to(pick())
    if known is None:
        return _all(unit, k, tick)
    _check(known, points)
    found = _among_points(points.rows, known)
    few = np.flatnonzero((found.neighbours >= 0).sum(1) < k)
    if 2 * len(few) > len(unit):  # each pair is multiplied once for all of them, and twice for some
        return _all(unit, k, tick)
    neighbours, cosines = found.neighbours[:, :k].copy(), found.cosines[:, :k].copy()
    neighbours[few], cosines[few] = _some(unit, few, k, tick)
    return Table(neighbours, cosines)


def parents_of(points: Points, sizes: list[int], tick: Tick) -> NDArray[np.int32]:
    """Of each point the nearest of the next smaller SAE; −1 in the smallest.  # (n)"""
    parents = np.full(len(points.rows), -1, np.int32)
    order = sorted(range(len(sizes)), key=lambda sae: sizes[sae])  # which leaves those of one size as they were
    members = [torch.from_numpy(np.flatnonzero(points.sae == sae)) for sae in order]
    done, total = 0, sum(map(len, members[1:]))
    for smaller, larger in pairwise(members):
        if len(smaller):
            best = _Best(len(larger), 1, pick())
            against = points.unit[smaller].to(pick())
            for start in range(0, len(larger), TILE):
                rows = points.unit[larger[start : start + TILE]].to(pick())
                for first in range(0, len(smaller), TILE):
                    best.see(start, first, rows @ against[first : first + TILE].T)
                tick(done + start + len(rows), total)
            parents[larger] = smaller[best.indices[:, 0].cpu()]
        done += len(larger)
    return parents


def _all(unit: Tensor, k: int, tick: Tick) -> Table:
    """A cosine is the same both ways, so half of the tiles say all."""
    best = _Best(len(unit), k, unit.device)
    starts = range(0, len(unit), TILE)
    done, total = 0, len(starts) * (len(starts) + 1) // 2
    for start in starts:
        for first in range(start, len(unit), TILE):
            tile = unit[start : start + TILE] @ unit[first : first + TILE].T
            if first == start:
                tile.fill_diagonal_(-torch.inf)  # each row with itself
            else:
                best.see(first, start, tile.T)
            best.see(start, first, tile)
            done += 1
            tick(done, total)
    return best.table()


def _some(unit: Tensor, which: NDArray[np.int64], k: int, tick: Tick) -> Table:
    best = _Best(len(which), k, unit.device)
    for start in range(0, len(which), TILE):
        own = torch.from_numpy(which[start : start + TILE]).to(unit.device)
        for first in range(0, len(unit), TILE):
            tile = unit[own] @ unit[first : first + TILE].T
            within = ((own >= first) & (own < first + TILE)).nonzero().flatten()
            tile[within, own[within] - first] = -torch.inf  # each row with itself
            best.see(start, first, tile)
        tick(min(start + TILE, len(which)), len(which))
    return best.table()


class _Best:
    """The k largest of each row of what was seen so far."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.values = torch.full((n, k), -torch.inf, device=device)
        self.indices = torch.full((n, k), -1, dtype=torch.int64, device=device)

    def see(self, first_row: int, first_column: int, tile: Tensor) -> None:
        rows, k = slice(first_row, first_row + len(tile)), self.values.shape[1]
        # Of a transposed tile it takes twice as long as where each row lies in one piece.
        top = tile.contiguous().topk(min(k, tile.shape[1]), dim=1)
        values = torch.cat([self.values[rows], top.values], 1)
        indices = torch.cat([self.indices[rows], top.indices + first_column], 1)
        best = values.topk(k, dim=1)
        self.values[rows], self.indices[rows] = best.values, indices.gather(1, best.indices)

    def table(self) -> Table:
        return Table(self.indices.int().numpy(force=True), self.values.numpy(force=True))


def _among_points(rows: NDArray[np.int64], known: Table) -> Table:
    """What of a table of all rows is about points, and points alone, in their numbers."""
    neighbours = _numbers(rows, len(known.neighbours))[known.neighbours[rows]]
    order = np.argsort(neighbours < 0, axis=1, kind="stable")
    cosines = np.asarray(known.cosines)[rows]
    return Table(np.take_along_axis(neighbours, order, 1), np.take_along_axis(cosines, order, 1))


def _check(known: Table, points: Points) -> None:
    neighbours, cosines = known
    if neighbours.ndim != 2 or neighbours.shape != cosines.shape or len(neighbours) != points.given:
        raise BadInput(
            f"the known neighbours are {neighbours.shape} and their cosines {cosines.shape}, "
            f"expected both ({points.given}, k)"
        )
    if not -1 <= neighbours.min(initial=-1) <= neighbours.max(initial=-1) < points.given:
        raise BadInput(f"the known neighbours are not all among the {points.given} latents")
    nearest = _numbers(points.rows, points.given)[neighbours[points.rows, 0]]
    there = np.flatnonzero(nearest >= 0)
    found = (points.unit[there] * points.unit[nearest[there]]).sum(1).numpy()
    if not np.allclose(found, cosines[points.rows[there], 0], atol=ROUNDING):
        raise BadInput("the known neighbours are of other directions than these; is the evidence another SAE's?")


def _numbers(rows: NDArray[np.int64], given: int) -> NDArray[np.int32]:
    """Which point each row is; −1 for those that are none, and last for −1."""
    numbers = np.full(given + 1, -1, np.int32)
    numbers[rows] = np.arange(len(rows), dtype=np.int32)
    return numbers
