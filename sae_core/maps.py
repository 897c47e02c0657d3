"""Maps: the directions that SAEs' latents write, in two dimensions, so that what is near in direction lies near.

One exact table of nearest neighbours by cosine serves the layout, the clusters and whoever asks what lies near what.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sae_core.array_files import ArrayFile
from sae_core.errors import BadInput
from sae_core.mapping.by_tsne import laid_by_tsne, neighbours_for
from sae_core.mapping.by_umap import laid_by_umap
from sae_core.mapping.clusters import JUDGED_BY, clusters_of, grain_sizes
from sae_core.mapping.laid import Laid, Limits
from sae_core.mapping.neighbours import Table, parents_of, table_of
from sae_core.mapping.phases import OnStep, Phases, Tick
from sae_core.mapping.points import Points, points_of
from sae_core.mapping.trust import trust_of

__all__ = ["LaidOut", "Limits", "MapConfig", "Method", "Table", "known_neighbours", "make_map"]

SHOWN = 16  # neighbours kept with a map at most
MOST_NEIGHBOURS, MOST_PERPLEXITY = 200, 100
SEEDS = 1 << 32  # what numpy's older generators take
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


class Method(StrEnum):
    UMAP = "umap"
    TSNE = "tsne"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class MapConfig:
    method: Method = Method.UMAP
    neighbours: int = 15
    """Of each point, itself included, as umap-learn counts. UMAP alone."""
    min_dist: float = 0.05
    """How near to each other points may come. UMAP alone."""
    perplexity: float = 30.0
    """How many neighbours a point has, softly counted. t-SNE alone."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in list(Method):
            raise BadInput(f"method is {self.method!r}, expected one of {', '.join(Method)}")
        if not _whole(self.neighbours) or not 2 <= self.neighbours <= MOST_NEIGHBOURS:
            raise BadInput(f"neighbours is {self.neighbours!r}, expected a whole number from 2 to {MOST_NEIGHBOURS}")
        if not (isfinite(self.min_dist) and 0 <= self.min_dist <= 1):
            raise BadInput(f"min_dist is {self.min_dist!r}, expected a number from 0 to 1")
        if not (isfinite(self.perplexity) and 1 <= self.perplexity <= MOST_PERPLEXITY):
            raise BadInput(f"perplexity is {self.perplexity!r}, expected a number from 1 to {MOST_PERPLEXITY}")
        if not _whole(self.seed) or not 0 <= self.seed < SEEDS:
            raise BadInput(f"seed is {self.seed!r}, expected a whole number from 0 to {SEEDS - 1}")

    @property
    def others(self) -> int:
        """How many neighbours of a point, itself not counted, its layout asks for."""
        return self.neighbours - 1 if self.method == Method.UMAP else neighbours_for(self.perplexity)


@dataclass(frozen=True)
class LaidOut:
    rows: NDArray[np.int64]
    """Which of all given rows, one SAE's after the other's, are on the map, rising.  # (n)"""
    places: NDArray[np.float32]  # (n, 2)
    neighbours: NDArray[np.int32]
    """Points nearest to each by cosine, nearest first, −1-padded.  # (n, k)"""
    cosines: NDArray[np.float32]  # (n, k)
    parents: NDArray[np.int32]
    """Of each the nearest point of the next smaller SAE; −1 for those of the smallest.  # (n)"""
    clusters: NDArray[np.int32]
    """Coarse, middle, fine: numbers by falling size, −1 where a point is in none.  # (grains, n)"""
    trustworthiness: float
    trusted_on: int  # points
    about: dict[str, Any]
    """How it was made, as JSON has it."""


def make_map(
    directions: Sequence[Tensor],
    config: MapConfig | None = None,
    *,
    alive: Sequence[NDArray[np.bool_] | None] | None = None,
    known: Table | None = None,
    on_step: OnStep | None = None,
    limits: Limits | None = None,
) -> LaidOut:
    """A map of one SAE's directions, or of several SAEs' together, without those of latents that never fire.

    `alive` says which fire (all, where it is None); `known` is a table of the exact neighbours of all rows of one SAE,
    such as its evidence holds. What `on_step` raises ends the work.  # directions each (n_latents, d_out)
    """
    config, limits = config or MapConfig(), limits or Limits()
    phases = Phases(on_step)
    if known is not None and len(directions) > 1:
        raise BadInput(f"the known neighbours are of one SAE, and the map is of {len(directions)}")
    points = points_of(directions, alive)
    with phases.phase("neighbours", "Nearest directions") as tick:
        table = table_of(points, max(config.others, JUDGED_BY), known, tick)
    with phases.phase("parents", "Parents") as tick:
        parents = parents_of(points, [len(each) for each in directions], tick)
    with phases.phase("layout", "Layout") as tick:
        laid = _laid(points, table, config, limits, tick)
    shown = Table(table.neighbours[:, :SHOWN], table.cosines[:, :SHOWN])
    with phases.phase("clusters", "Clusters") as tick:
        clusters = clusters_of(laid.places, shown, tick)
    with phases.phase("trustworthiness", "Trustworthiness") as tick:
        trust = trust_of(points.unit, laid.places, limits.trusted, config.seed, tick)
    about = _about(points, laid, config) | {"seconds": phases.seconds()}
    return LaidOut(points.rows, laid.places, *shown, parents, clusters, *trust, about)


def known_neighbours(evidence: ArrayFile) -> Table:
    return Table(evidence["neighbour"], evidence["neighbour_cosine"])


def _laid(points: Points, table: Table, config: MapConfig, limits: Limits, tick: Tick) -> Laid:
    used = Table(table.neighbours[:, : config.others], table.cosines[:, : config.others])
    if config.method == Method.TSNE:
        return laid_by_tsne(points.unit, used, config.perplexity, config.seed, limits, tick)
    return laid_by_umap(points.unit, used, config.min_dist, config.seed, limits, tick)


def _about(points: Points, laid: Laid, config: MapConfig) -> dict[str, Any]:
    return {
        "method": str(config.method),
        **laid.used,
        "seed": config.seed,
        "seeded": laid.seeded,
        "start": laid.start,
        "device": laid.device,
        "points": len(points.rows),
        "left_out": {"silent": points.silent, "without_direction": points.without_direction},
        "smallest_clusters": grain_sizes(len(points.rows)),
        "versions": {name: version(name) for name in (*laid.libraries, *LIBRARIES)},
        "sha256": hashlib.sha256(laid.places.tobytes()).hexdigest(),
    }
