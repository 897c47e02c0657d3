"""t-SNE on unit rows, from a table of neighbours that is there already."""

from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from sae_core.mapping import start
from sae_core.mapping.laid import Laid, Limits
from sae_core.mapping.neighbours import Table
from sae_core.mapping.phases import Tick

NEIGHBOURS = 3  # times the perplexity
EARLY, LATE = 250, 500  # iterations, as openTSNE has them
MOST_SILENT, POINTS_SILENT = 10, 50_000  # iterations, and points in them, between two words on how far it is


def neighbours_for(perplexity: float) -> int:
    return int(np.ceil(NEIGHBOURS * perplexity))


def laid_by_tsne(unit: Tensor, table: Table, perplexity: float, seed: int, limits: Limits, tick: Tick) -> Laid:
    n, k = table.neighbours.shape
    perplexity = min(perplexity, k / NEIGHBOURS)
    seeded = n <= limits.seeded
    jobs = 1 if seeded else -1
    every = max(1, min(MOST_SILENT, POINTS_SILENT // n))
    done = 0

    def on_iterations(*_: Any) -> None:
        nonlocal done
        done += every
        tick(done, EARLY + LATE)

    tsne = import_module("openTSNE")  # with scikit-learn, which takes seconds
    nearest = import_module("openTSNE.nearest_neighbors").PrecomputedNeighbors(
        table.neighbours.astype(np.int64),
        np.sqrt((2 - 2 * table.cosines).clip(0)),  # Euclidean, of unit rows
    )
    affinities = import_module("openTSNE.affinity").PerplexityBasedNN(
        knn_index=nearest, perplexity=perplexity, n_jobs=jobs
    )
    began = import_module("openTSNE.initialization")
    places = tsne.TSNE(
        early_exaggeration_iter=EARLY,
        n_iter=LATE,
        n_jobs=jobs,
        random_state=seed,
        callbacks=on_iterations,
        callbacks_every_iters=every,
    ).fit(
        affinities=affinities,
        initialization=began.jitter(began.rescale(start.pca(unit)), random_state=seed),
    )
    used = {"perplexity": perplexity, "neighbours": k, "metric": "euclidean", "iterations": EARLY + LATE}
    return Laid(np.ascontiguousarray(places, np.float32), "pca", "cpu", seeded, used, ("openTSNE",))
