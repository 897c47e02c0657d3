"""UMAP on unit rows and cosine distances, from a table of neighbours that is there already."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.mapping import start
from sae_core.mapping.laid import Laid, Limits
from sae_core.mapping.neighbours import Table
from sae_core.mapping.phases import Tick

SPREAD, RATE, REPULSION, NEGATIVE = 1.0, 1.0, 1.0, 5  # umap-learn's own
EPOCHS, FEW_POINTS, EPOCHS_OF_FEW = 200, 10_000, 500  # so are these
SCALE, NOISE = 10.0, 1e-4  # of places at the start


def laid_by_umap(unit: Tensor, table: Table, min_dist: float, seed: int, limits: Limits, tick: Tick) -> Laid:
    n, others = table.neighbours.shape
    indices = np.concatenate([np.arange(n, dtype=np.int32)[:, None], table.neighbours], 1)
    distances = np.concatenate([np.zeros((n, 1), np.float32), (1 - table.cosines).clip(0)], 1)
    used = {"neighbours": others + 1, "min_dist": min_dist, "metric": "cosine"}
    seeded = n <= limits.seeded
    if not seeded and on_gpu():
        return _by_cuml(unit, indices, distances, used)
    umap = import_module("umap.umap_")  # which takes seconds, and a first call some more, that numba compiles in
    random = np.random.RandomState(seed)  # which umap-learn asks for
    epochs = EPOCHS_OF_FEW if n <= FEW_POINTS else EPOCHS
    with _threads(1 if seeded else None):
        graph, *_ = umap.fuzzy_simplicial_set(
            unit, others + 1, random, "cosine", knn_indices=indices, knn_dists=distances, return_dists=None
        )
        modes = start.spectral(graph, tick) if n <= limits.spectral else None
        began = _scaled(start.pca(unit) if modes is None else modes, random)
        a, b = umap.find_ab_params(SPREAD, min_dist)
        places, _ = umap.simplicial_set_embedding(
            unit,
            graph,
            2,
            RATE,
            a,
            b,
            REPULSION,
            NEGATIVE,
            _Epochs(epochs, tick),
            began,
            random,
            "cosine",
            {},
            False,
            {},
            False,
            parallel=not seeded,
            tqdm_kwds={"disable": True},
        )
    used |= {"spread": SPREAD, "epochs": epochs, "negative_samples": NEGATIVE}
    return Laid(
        np.ascontiguousarray(places, np.float32),
        "pca" if modes is None else "spectral",
        "cpu",
        seeded,
        used,
        ("umap-learn", "numba"),
    )


def on_gpu() -> bool:
    return torch.cuda.is_available() and find_spec("cuml") is not None


def _by_cuml(unit: Tensor, indices: NDArray[np.int32], distances: NDArray[np.float32], used: dict[str, Any]) -> Laid:
    """Runs on machines with CUDA and RAPIDS alone; it cannot be interrupted, and takes seconds."""
    umap = import_module("cuml.manifold").UMAP(
        n_neighbors=used["neighbours"],
        min_dist=used["min_dist"],
        metric="cosine",
        precomputed_knn=(indices.astype(np.int64), distances),
        output_type="numpy",
    )
    places = umap.fit_transform(unit.numpy(force=True))
    return Laid(np.ascontiguousarray(places, np.float32), "spectral", "cuml", False, used, ("cuml",))


def _scaled(places: NDArray[np.float64], random: np.random.RandomState) -> NDArray[np.float32]:
    """As umap-learn scales its own, with a little noise, which moves apart what has one direction."""
    noise = random.normal(scale=NOISE, size=places.shape)
    scaled: NDArray[np.float64] = places * (SCALE / np.abs(places).max()) + noise
    return scaled.astype(np.float32)


class _Epochs(list[int]):
    """umap-learn asks before each epoch whether it is among those after which places are to be kept, and has no other
    way to say how far it is."""

    def __init__(self, epochs: int, tick: Tick) -> None:
        super().__init__([epochs])
        self._epochs, self._tick = epochs, tick

    def __contains__(self, epoch: object) -> bool:
        assert isinstance(epoch, int)
        self._tick(epoch + 1, self._epochs)
        return False


@contextmanager
def _threads(limit: int | None) -> Iterator[None]:
    """So many threads of numba's."""
    numba = import_module("numba")
    before = numba.get_num_threads()
    numba.set_num_threads(limit or before)
    try:
        yield
    finally:
        numba.set_num_threads(before)
