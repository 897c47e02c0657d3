"""Points in tiles, each in one: those of the lowest ranks in the first, what it has no room for in its quarters."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.packed.tiles import STEPS
from sae_core.collecting.tables import rank_in_runs, run_starts

ROOM = 8192  # points of a tile
DEEPEST = 20  # where equal points stay together, however many


class Tile(NamedTuple):
    z: int
    x: int
    y: int
    points: NDArray[np.int64]  # by rank

    @property
    def name(self) -> str:
        return f"{self.z}/{self.x}/{self.y}"


def tiles(
    x: NDArray[np.float32], y: NDArray[np.float32], rank: NDArray[np.int64], room: int = ROOM, deepest: int = DEEPEST
) -> Iterator[Tile]:
    """Coordinates from 0 to 1.  # (n) each"""
    left = np.argsort(rank)
    for z in range(deepest + 1):
        columns, rows = squares(x[left], z), squares(y[left], z)
        key = (columns << 32) | rows
        order = np.argsort(key, kind="stable")
        place = rank_in_runs(key[order])
        here = order[(place < room) | (z == deepest)]
        starts = run_starts(key[here])
        for first, stop in zip(starts, [*starts[1:], len(here)], strict=True):
            some = here[first:stop]
            yield Tile(z, int(columns[some[0]]), int(rows[some[0]]), left[some])
        left = left[np.sort(order[(place >= room) & (z < deepest)])]
        if not len(left):
            return


def squares(values: NDArray[np.float32], z: int) -> NDArray[np.int64]:
    """In which of the 2^z strips of the map."""
    found: NDArray[np.int64] = np.clip((values.astype(np.float64) * (1 << z)).astype(np.int64), 0, (1 << z) - 1)
    return found


def within(values: NDArray[np.float32], z: int, strip: int) -> NDArray[np.uint16]:
    """Where in a strip, in steps of its 65,536th part."""
    steps = np.round((values.astype(np.float64) * (1 << z) - strip) * STEPS)
    return np.clip(steps, 0, STEPS - 1).astype(np.uint16)
