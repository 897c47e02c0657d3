"""Where points lie before they are laid out: along the widest axes of their directions, or of their graph."""

from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from sae_core.mapping.phases import Tick
from sae_core.mapping.points import blocks

SMALL = 64  # axes
LOOSE = 1e-4  # of the eigenvalues
VECTORS, TOLERANCE, RESTARTS = 20, 1e-3, 200  # of ARPACK; it is a start, which a tighter tolerance makes no better


def pca(unit: Tensor) -> NDArray[np.float64]:
    """Coordinates along the two axes of most variance, each with its largest weight above 0.  # (n, 2)"""
    mean = unit.mean(0, dtype=torch.float64)
    second = sum((block.T @ block).double() for block in blocks(unit))
    covariance = (second / len(unit) - mean.outer(mean)).numpy()
    axes = _widest(covariance)
    axes *= np.sign(axes[np.abs(axes).argmax(0), range(2)])
    narrow = torch.from_numpy(axes).float()
    found: NDArray[np.float64] = (unit @ narrow - mean.float() @ narrow).double().numpy()
    return found


def _widest(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its two leading eigenvectors, and zeros where there are no two.  # (d, d) -> (d, 2)"""
    d = len(covariance)
    if d <= SMALL:
        _, vectors = np.linalg.eigh(covariance)
    else:
        _, vectors = eigsh(covariance, 2, which="LA", tol=LOOSE, v0=np.ones(d))  # a tenth of all of them's time
    axes = np.zeros((d, 2))
    axes[:, : min(d, 2)] = vectors[:, :-3:-1]
    return axes


def spectral(graph: Any, tick: Tick) -> NDArray[np.float64] | None:
    """The two slowest modes of a walk on a symmetric graph; None where it falls into parts, which such modes would put
    into one place each, or where they are not found.  # (n, n) -> (n, 2)"""
    if connected_components(graph, directed=False, return_labels=False) > 1:
        return None
    scale = scipy.sparse.diags_array(np.asarray(graph.sum(axis=0)).ravel() ** -0.5)
    walk = scale @ graph.astype(np.float64) @ scale
    products = 0

    def product(vector: NDArray[np.float64]) -> Any:
        nonlocal products
        products += 1
        tick(products, 0)
        return walk @ vector

    n = graph.shape[0]
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(
            operator,
            3,
            which="LA",
            ncv=min(VECTORS, n),
            tol=TOLERANCE,
            maxiter=RESTARTS,
            v0=np.ones(n),  # any fixed one: ARPACK draws its own otherwise
        )
    except ArpackError:
        return None
    found: NDArray[np.float64] = vectors[:, np.argsort(values)[-2::-1]]
    return found
