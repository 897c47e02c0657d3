"""What lies together on a map and is near in direction too.

HDBSCAN of the places finds what people see as a cluster. But a map puts every point somewhere, directions like no
other too, so of what it finds those points stay that belong by their exact nearest directions; all others are
unclustered: 15 to 43 % of the demo's ReLU SAEs, by grain, and all of random directions, of which the places alone
would have clustered half. HDBSCAN in the space of directions left 56 to 79 % of those SAEs unclustered, and a quarter
of what lies near a clustered point on the map lay outside its cluster.
"""

from importlib import import_module
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.spatial import Delaunay, KDTree

from sae_core.mapping.neighbours import Table
from sae_core.mapping.phases import Tick

SMALLEST = 5
COARSE = 50  # as many clusters at most
FINE = 8  # a fine cluster has √n / 8 points at least
LARGEST = 4  # a cluster has at most a quarter of the points: the stablest is often nearly all of them
CORE = 5  # points, itself included, within its core distance
JUDGED_BY = 5  # nearest directions
FRINGE = 0.5  # of the usual cosine
LEAST = 0.1  # of the usual reach: what lies in one place would be endlessly dense


def grain_sizes(n: int) -> list[int]:
    """How many points a cluster has at least: coarse, middle, fine."""
    coarse, fine = max(SMALLEST, n // COARSE), max(SMALLEST, int(n**0.5) // FINE)
    return [coarse, int((coarse * fine) ** 0.5), fine]


def clusters_of(places: NDArray[np.float32], table: Table, tick: Tick) -> NDArray[np.int32]:
    """Numbers by falling size, −1 for what is in none.  # (grains, n)"""
    sizes = grain_sizes(len(places))
    graph = _reachability(places.astype(np.float64))
    found = np.empty((len(sizes), len(places)), np.int32)
    for grain, smallest in enumerate(sizes):
        tick(grain + 1, len(sizes) + 1)
        found[grain] = _numbered(_judged(_together(graph, smallest), table), smallest)
    return found


def _reachability(places: NDArray[np.float64]) -> Any:
    """Mutual reachability along the edges of the Delaunay triangulation, which reach every place.  # (n, n)"""
    triangulation = Delaunay(places)
    starts, ends = triangulation.vertex_neighbor_vertices
    there = triangulation.coplanar[:, [0, 2]]  # what lies where another does is no corner of a triangle
    rows = np.concatenate([np.repeat(np.arange(len(places)), np.diff(starts)), *there.T])
    columns = np.concatenate([ends, *there.T[::-1]])
    core = KDTree(places).query(places, min(CORE, len(places)))[0][:, -1]
    lengths = np.linalg.norm(places[rows] - places[columns], axis=1)
    reach = np.maximum.reduce([lengths, core[rows], core[columns]])
    reach = reach.clip(max(LEAST * float(np.median(reach)), np.finfo(np.float64).tiny))
    return scipy.sparse.csr_array((reach, (rows, columns)), shape=(len(places), len(places)))


def _together(graph: Any, smallest: int) -> NDArray[np.int64]:
    cluster = import_module("sklearn.cluster")  # which takes seconds
    hdbscan = cluster.HDBSCAN(
        metric="precomputed",
        min_samples=1,  # what is given is reachability already
        min_cluster_size=smallest,
        max_cluster_size=max(graph.shape[0] // LARGEST, 1),
        copy=True,
    )
    labels: NDArray[np.int64] = hdbscan.fit_predict(graph)
    return labels


def _judged(labels: NDArray[np.int64], table: Table) -> NDArray[np.int64]:
    """Those stay of whose nearest most are in the cluster, and that are at least half as near to them as is usual in
    it."""
    k = min(JUDGED_BY, table.neighbours.shape[1])
    inside = 2 * (labels[table.neighbours[:, :k]] == labels[:, None]).sum(1) > k
    near = table.cosines[:, k - 1]
    usual = np.append(scipy.ndimage.median(near, labels, range(labels.max() + 1)), 0)  # the last is that of −1
    return np.where(inside & (near >= FRINGE * usual[labels]), labels, -1)


def _numbered(labels: NDArray[np.int64], smallest: int) -> NDArray[np.int32]:
    """By falling size, then by their first points, without those that have become too small."""
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    large = (found >= 0) & (sizes >= smallest)
    found, first, sizes = found[large], first[large], sizes[large]
    numbers = np.full(labels.max(initial=-1) + 2, -1, np.int32)  # the last is that of −1
    numbers[found[np.lexsort((first, -sizes))]] = np.arange(len(found), dtype=np.int32)
    return numbers[labels]
