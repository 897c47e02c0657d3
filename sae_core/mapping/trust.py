"""Trustworthiness of a map: 1 where what lies near on it is near in direction, less for each stranger among the near,
by how far it is away (Venna and Kaski 2001, as scikit-learn computes it)."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from sae_core.devices import pick
from sae_core.mapping.phases import Tick

NEAR = 15
TILE_BYTES = 32 << 20


class Trust(NamedTuple):
    trustworthiness: float
    trusted_on: int  # points


def trust_of(unit: Tensor, places: NDArray[np.float32], sample: int, seed: int, tick: Tick) -> Trust:
    """Over all points, or over as many as `sample` drawn from them: then it is an estimate of that over all."""
    n = len(unit)
    k = min(NEAR, (n - 1) // 2)  # of more than half it is not defined
    rows = np.arange(n) if n <= sample else np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
    near = _near(places, rows, k)
    unit = unit.to(pick())
    size = max(1, TILE_BYTES // (n * unit.element_size()))
    penalty = 0
    for start in range(0, len(rows), size):
        own = torch.from_numpy(rows[start : start + size]).to(unit.device)
        cosines = unit[own] @ unit.T
        cosines[range(len(own)), own] = -torch.inf  # each with itself
        for row, those in zip(cosines.numpy(force=True), near[start : start + size], strict=True):
            ranks = [1 + int(np.count_nonzero(row > each)) for each in row[those]]
            penalty += sum(rank - k for rank in ranks if rank > k)
        tick(min(start + size, len(rows)), len(rows))
    return Trust(1 - penalty * 2 / (len(rows) * k * (2 * n - 3 * k - 1)), len(rows))


def _near(places: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest others on the map; where several lie in one place, itself need not come first."""
    _, found = KDTree(places).query(places[rows], k + 1)
    itself = found == rows[:, None]
    itself[~itself.any(1), -1] = True
    others: NDArray[np.int64] = found[~itself].reshape(len(rows), k)
    return others
