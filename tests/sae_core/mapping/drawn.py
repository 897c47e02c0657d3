"""Directions whose structure is known, and what is near what by brute force."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.mapping.phases import Tick
from sae_core.mapping.points import Points, points_of

D = 16


def drawn(n: int, seed: int = 0, d: int = D) -> Tensor:
    """Random ones, of lengths from 0.5 to 2."""
    generator = torch.Generator().manual_seed(seed)
    lengths = 0.5 * 4 ** torch.rand(n, 1, generator=generator)
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1) * lengths


def blobs(of: int, each: int, *, spread: float = 0.02, seed: int = 0) -> Tensor:
    """Some about each of a few directions that are at right angles: row i is of blob i // each.  # (of · each, D)"""
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(D)[:of].repeat_interleave(each, 0) + spread * torch.randn(of * each, D, generator=generator)


def points(*directions: Tensor) -> Points:
    return points_of(directions, None)


def cosines(rows: Tensor, others: Tensor | None = None) -> NDArray[np.float64]:
    """Each with each, itself with itself too."""
    found: NDArray[np.float64] = _unit(rows) @ _unit(rows if others is None else others).T
    return found


def _unit(rows: Tensor) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = torch.nn.functional.normalize(rows.double(), dim=1).numpy()
    return unit


def nearest(rows: Tensor, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """By sorting all."""
    table = cosines(rows)
    np.fill_diagonal(table, -np.inf)
    order = np.argsort(-table, axis=1)[:, :k]
    return order, np.take_along_axis(table, order, 1)


def quiet(done: int, total: int) -> None:
    pass


silence: Tick = quiet
