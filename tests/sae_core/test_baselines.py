"""Baselines on cases whose answer is known."""

from itertools import combinations

import numpy as np
import pytest
import torch

from sae_core.baselines import pca_fvu, sparse_code, sparse_coding
from sae_core.config import Family, Normalise
from tests.sae_core.random_saes import draw, inputs, make


def test_pca_is_the_best_subspace() -> None:
    """Against the singular values of the centred data, and against random subspaces, which do worse."""
    x = draw(1, 200, 6) @ draw(2, 6, 6)
    centred = x - x.mean(0)
    singular = np.linalg.svd(centred.numpy(), compute_uv=False)
    for rank in range(7):
        found = pca_fvu(centred.T @ centred, rank)
        assert found == pytest.approx((singular[rank:] ** 2).sum() / (singular**2).sum(), abs=1e-12)
        for seed in range(5):
            basis, _ = torch.linalg.qr(draw(10 + seed, 6, rank))
            left = centred - centred @ basis @ basis.T
            assert found <= float(left.square().sum() / centred.square().sum()) + 1e-12


def test_codes_on_an_orthonormal_dictionary_are_its_largest_projections() -> None:
    rows, _ = torch.linalg.qr(draw(1, 8, 8))
    targets = draw(2, 30, 8)
    projections = targets @ rows.T
    codes = sparse_code(targets, rows * 2.5, 3).dense(8)
    kept = projections.clamp_min(0)
    kept[kept < kept.topk(3).values[:, -1:]] = 0
    torch.testing.assert_close(codes * 2.5, kept)
    signed = sparse_code(targets, rows, 3, nonnegative=False).dense(8)
    largest = projections.abs().topk(3).values[:, -1:]
    torch.testing.assert_close(signed, torch.where(projections.abs() >= largest, projections, 0))


def test_codes_are_found_again() -> None:
    """Three latents of forty in twenty dimensions: search finds the codes that made the data, nearly always."""
    rows = torch.nn.functional.normalize(draw(1, 40, 20), dim=1)
    codes = torch.zeros(200, 40, dtype=torch.float64)
    codes.scatter_(1, torch.rand(200, 40, generator=torch.Generator().manual_seed(3)).argsort(1)[:, :3], 1.0)
    codes *= 1 + draw(4, 200, 40).abs()
    targets = codes @ rows
    found = sparse_code(targets, rows, 3)
    error = (found.dense(40) - codes).abs().amax(1)
    assert float((error < 1e-3).double().mean()) > 0.8
    assert found.values.shape == (200, 3)


def test_coefficients_are_least_squares_on_what_was_chosen() -> None:
    """No other coefficients, none negative, on the same rows leave less."""
    rows, targets = draw(1, 15, 6), draw(2, 20, 6)
    codes = sparse_code(targets, rows, 3)
    assert bool((codes.values >= 0).all())
    for i in range(20):
        chosen = [each for each in codes.indices[i].tolist() if each >= 0]
        left = float((targets[i] - codes.dense(15)[i] @ rows).square().sum())
        best = float(targets[i].square().sum())
        for size in range(1, len(chosen) + 1):
            for some in combinations(chosen, size):
                solution = torch.linalg.lstsq(rows[list(some)].T, targets[i][:, None]).solution
                if bool((solution >= 0).all()):
                    best = min(best, float((targets[i][:, None] - rows[list(some)].T @ solution).square().sum()))
        assert left == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("normalise", list(Normalise))
@pytest.mark.parametrize("skip", [True, False])
def test_search_never_loses_to_the_encoder_by_much(normalise: Normalise, skip: bool) -> None:
    """On random SAEs, whose encoder knows nothing, it wins; in the SAE's own terms: bias, normalisation and skip."""
    sae = make(Family.TOPK, normalise=normalise, skip=skip)
    x = inputs()
    y = x if not skip else draw(7, 40, 6)
    searched, encoded = sparse_coding(sae, x, y, 3), sae(x)
    assert float((y - searched).square().sum()) < 0.7 * float((y - encoded).square().sum())
    full = sparse_coding(make(Family.RELU, normalise=normalise, skip=skip), x, y, 15)
    assert float((y - full).square().sum()) < 0.05 * float((y - y.mean(0)).square().sum())


def test_zero_rows_and_more_latents_than_there_are() -> None:
    rows = torch.cat([torch.zeros(1, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)])
    targets = torch.tensor([[1.0, 2, 3], [-1, -1, -1]], dtype=torch.float64)
    codes = sparse_code(targets, rows, 9)
    assert torch.equal(codes.dense(4), torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]], dtype=torch.float64))
