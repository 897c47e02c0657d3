"""Tables that keep the best few rows of each group, whatever order rows come in.

A row is a candidate: a token at which a latent fires (or nearly does). What is kept of two tables' kept rows together
is what would be kept of all rows, so tables merge in any grouping and order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

COLUMNS = {"latent": np.int32, "context": np.int32, "position": np.int32, "act": np.float32}


@dataclass(frozen=True)
class Rows:
    """Tokens, and what of a latent is there."""

    latent: NDArray[np.int32]
    context: NDArray[np.int32]
    position: NDArray[np.int32]
    act: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.latent)

    def __getitem__(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, each.name)[which] for each in fields(self)))

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        return cls(*(np.concatenate([getattr(rows, each.name) for rows in several]) for each in fields(cls)))

    @classmethod
    def none(cls) -> Self:
        return cls(*(np.zeros(0, kind) for kind in COLUMNS.values()))


class Ranking(NamedTuple):
    """By what rows are kept: the lowest `order` of each `group`, ties by context, then position."""

    group: NDArray[np.int64]  # below 2^31
    order: NDArray[np.uint32]
    same: NDArray[np.uint64] | None = None  # rows that share it, group included, count once


def best(rows: Rows, ranking: Ranking, limit: int) -> NDArray[np.int64]:
    """Which rows are kept, by group and then in order."""
    order = _ordered(rows, (ranking.group << 32) | ranking.order)
    if ranking.same is not None:
        order = order[np.sort(first_of_each(ranking.same[order]))]
    return order[rank_in_runs(ranking.group[order]) < limit]


def _ordered(rows: Rows, key: NDArray[np.int64]) -> NDArray[np.int64]:
    """By key, and those of one key by context and position. numpy's fastest sort is not stable, so equal keys, of which
    there are few, are seen to afterwards."""
    order = np.argsort(key)
    key = key[order]
    equal = np.zeros(len(key) + 1, np.bool_)
    equal[1:-1] = key[1:] == key[:-1]
    tied = np.flatnonzero(equal[1:] | equal[:-1])
    if len(tied):
        some = order[tied]
        place = (rows.context[some].astype(np.int64) << 32) | rows.position[some]
        order[tied] = some[np.lexsort((place, key[tied]))]
    return order


def falling(acts: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Numbers that rise as these fall, of any sign."""
    bits = acts.view(np.uint32)
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    inverted: NDArray[np.uint32] = ~rising
    return inverted


def stable_order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """torch sorts whole numbers by their digits, in a sixth of numpy's time."""
    order: NDArray[np.int64] = torch.sort(torch.from_numpy(keys), stable=True).indices.numpy()
    return order


def first_of_each(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each key comes for the first time, in the order of keys."""
    order = np.argsort(keys)
    starts = run_starts(keys[order])
    return np.minimum.reduceat(order, starts) if len(starts) else order


def run_starts(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where in a sorted array each value begins."""
    if not len(values):
        return np.zeros(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(values[1:] != values[:-1]) + 1])


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each once, rising. np.unique looks each up in a table of hashes, which takes fifty times as long."""
    values = np.sort(values)
    return values[run_starts(values)]


def rank_in_runs(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2 … within each run of equal values."""
    starts = run_starts(values)
    lengths = np.diff(np.append(starts, len(values)))
    return np.arange(len(values)) - np.repeat(starts, lengths)


# Numbers that look drawn, and are the same for the same token however the work is split.

GOLDEN, FIRST, SECOND = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
LATENT = np.uint64(0xD1342543DE82EF95)  # an odd number without a pattern


def mixed(*numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
    """One 64-bit number of several (splitmix64's finaliser, once for each)."""
    hashed = np.zeros(np.broadcast_shapes(*(each.shape for each in numbers)), np.uint64)
    for each in numbers:
        hashed = _finalised(hashed ^ each.astype(np.uint64))
    return hashed


def _finalised(hashed: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Of an array that nobody else holds."""
    hashed += GOLDEN
    hashed ^= hashed >> np.uint64(30)
    hashed *= FIRST
    hashed ^= hashed >> np.uint64(27)
    hashed *= SECOND
    hashed ^= hashed >> np.uint64(31)
    return hashed


def lots(rows: Rows) -> NDArray[np.uint32]:
    """A number drawn for each latent and token."""
    place = (rows.context.astype(np.uint64) << np.uint64(32)) | rows.position.astype(np.uint64)
    drawn: NDArray[np.uint32] = (_finalised(place + rows.latent.astype(np.uint64) * LATENT) >> np.uint64(32)).astype(
        np.uint32
    )
    return drawn
