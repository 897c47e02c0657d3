"""Starts against dense linear algebra."""

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray

from sae_core.mapping import points as points_module
from sae_core.mapping.start import pca, spectral
from tests.sae_core.mapping.drawn import drawn, points, silence


def test_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "BLOCK_ROWS", 10)
    unit = points(drawn(64) + torch.linspace(3, 0, 16)).unit
    rows = unit.double().numpy()
    _, _, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    expected = (rows - rows.mean(0)) @ axes[:2].T
    found = pca(unit)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)
    np.testing.assert_allclose(pca(unit.flip(0)), found[::-1], atol=1e-5)  # signs are not left to chance


def test_pca_of_fewer_axes_than_two() -> None:
    found = pca(torch.tensor([[1.0], [-1.0], [1.0], [1.0], [-1.0]]))
    assert found[:, 1].tolist() == [0] * 5
    assert np.ptp(found[:, 0]) == pytest.approx(2)


def ring(n: int) -> NDArray[np.float64]:
    """Each beside two others, by weights that are not all the same, so that no two modes are equally slow."""
    weights = np.zeros((n, n))
    for i in range(n):
        weights[i, (i + 1) % n] = weights[(i + 1) % n, i] = 1 + (i % 3) + i / n
    return weights


def test_spectral() -> None:
    weights = ring(40)
    scale = weights.sum(0) ** -0.5
    _, vectors = np.linalg.eigh(scale[:, None] * weights * scale)
    heard: list[int] = []
    found = spectral(scipy.sparse.csr_array(weights), lambda done, total: heard.append(done))
    assert found is not None
    for column, mode in enumerate(vectors[:, [-2, -3]].T):
        assert abs(found[:, column] @ mode) == pytest.approx(1, abs=0.01)
    assert heard == list(range(1, len(heard) + 1))


def test_there_are_no_modes_of_a_graph_in_parts() -> None:
    weights = scipy.linalg.block_diag(ring(20), ring(15))
    assert spectral(scipy.sparse.csr_array(weights), silence) is None


def test_modes_that_are_not_found_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_core.mapping.start.RESTARTS", 1)
    monkeypatch.setattr("sae_core.mapping.start.TOLERANCE", 1e-12)
    assert spectral(scipy.sparse.csr_array(ring(2000)), silence) is None
