"""What an SAE is held against: the best linear subspace of its rank, and the best codes of its own decoder."""

import torch
from torch import Tensor

from sae_core.config import Family, Normalise
from sae_core.sae import Sae
from sae_core.sparse import Sparse

SWEEPS = 8  # of coordinate descent after each atom is added
LAST_SWEEPS = 50


def pca_fvu(scatter: Tensor, rank: int) -> float:
    """FVU of the best affine subspace of a rank, on the tokens that the scatter matrix was summed over.

    scatter = Σ (x − x̄)(x − x̄)ᵀ  # (d, d) float64
    """
    eigenvalues = torch.linalg.eigvalsh(scatter).clamp_min(0).flip(0)  # falling
    return float(eigenvalues[rank:].sum() / eigenvalues.sum())


def sparse_code(targets: Tensor, rows: Tensor, k: int, *, nonnegative: bool = True) -> Sparse:
    """Matching pursuit: k times the row that fits what is left best, all coefficients found anew each time.

    What a decoder could do if its latents were chosen by search, not by an encoder.  # (n, d), (F, d) -> (n, k)
    """
    norms = rows.norm(dim=1)
    atoms = rows / torch.where(norms == 0, 1, norms)[:, None]
    n = len(targets)
    k = min(k, len(rows))
    chosen = torch.zeros(n, 0, dtype=torch.int64, device=targets.device)
    coefficients = targets.new_zeros(n, 0)
    residual = targets
    for _ in range(k):
        fit = residual @ atoms.T  # (n, F)
        if not nonnegative:
            fit = fit.abs()
        fit.scatter_(1, chosen, -torch.inf)
        chosen = torch.cat([chosen, fit.argmax(1, keepdim=True)], dim=1)
        coefficients = torch.cat([coefficients, targets.new_zeros(n, 1)], dim=1)
        held = atoms[chosen]  # (n, j, d)
        last = chosen.shape[1] == k
        coefficients = _descend(targets, held, coefficients, LAST_SWEEPS if last else SWEEPS, nonnegative=nonnegative)
        residual = targets - (coefficients[:, None] @ held)[:, 0]
    values = coefficients / torch.where(norms == 0, 1, norms)[chosen]
    return Sparse(values, torch.where(values == 0, -1, chosen))


def _descend(targets: Tensor, held: Tensor, coefficients: Tensor, sweeps: int, *, nonnegative: bool) -> Tensor:
    """Least squares on a few rows of norm 1 for each target, by cyclic coordinate descent."""
    gram = held @ held.mT  # (n, j, j)
    wanted = (held @ targets[:, :, None])[:, :, 0]  # (n, j)
    coefficients = coefficients.clone()
    for _ in range(sweeps):
        for j in range(coefficients.shape[1]):
            step = coefficients[:, j] + wanted[:, j] - (gram[:, j] * coefficients).sum(1)
            coefficients[:, j] = step.clamp_min(0) if nonnegative else step
    return coefficients


def sparse_coding(sae: Sae, x: Tensor, y: Tensor, k: int) -> Tensor:
    """Reconstructions of y by k latents of the SAE's own decoder, chosen by search.  # (n, d_in), (n, d_out)"""
    x, y = x.to(sae.dtype), y.to(sae.dtype)
    targets = y if sae.W_skip is None else y - x @ sae.W_skip
    undo = sae.normalised(x) if sae.config.normalise != Normalise.NONE and sae.config.undo_normalise else None
    if undo is not None:
        targets = (targets - undo.shift) / undo.scale.clamp_min(torch.finfo(x.dtype).tiny)
    bias = 0 if sae.config.family == Family.NEURONS else sae.b_dec
    codes = sparse_code(targets - bias, sae.W_dec, k, nonnegative=not sae.config.signed)
    return sae.decode(codes, x)
