"""From pre-activations to latents, one pure function a family.  # all (n, n_latents) -> (n, n_latents)"""

import torch
from torch import Tensor


def relu(pre: Tensor) -> Tensor:
    """f = max(pre, 0)"""
    return pre.relu()


def topk(pre: Tensor, k: int, *, signed: bool = False) -> Tensor:
    """f = the k largest of max(pre, 0) of each token, 0 elsewhere; signed: the k largest of |pre|, sign kept."""
    values, indices = topk_sparse(pre, k, signed=signed)
    return torch.zeros_like(pre).scatter(-1, indices, values)


def topk_sparse(pre: Tensor, k: int, *, signed: bool = False) -> tuple[Tensor, Tensor]:
    """The values and indices that topk keeps, falling.  # (n, n_latents) -> (n, k), (n, k)"""
    if signed:
        indices = pre.abs().topk(k, dim=-1).indices
        return pre.gather(-1, indices), indices
    values, indices = pre.topk(k, dim=-1)  # the k largest of pre are the k largest of relu(pre)
    return values.relu(), indices


def groupmax(pre: Tensor, k: int) -> Tensor:
    """f = the largest of max(pre, 0) in each of k groups of neighbouring latents, 0 elsewhere."""
    grouped = pre.relu().reshape(*pre.shape[:-1], k, -1)  # (n, k, n_latents / k)
    values, indices = grouped.max(dim=-1, keepdim=True)
    return torch.zeros_like(grouped).scatter(-1, indices, values).flatten(-2)


def batchtopk(pre: Tensor, k: int) -> Tensor:
    """In training: f = the k·n largest of max(pre, 0) over all n tokens of the batch, 0 elsewhere."""
    flat = pre.relu().flatten()
    values, indices = flat.topk(k * pre.shape[:-1].numel(), sorted=False)
    return torch.zeros_like(flat).scatter(-1, indices, values).view_as(pre)


def jumprelu(pre: Tensor, threshold: Tensor) -> Tensor:
    """f = max(pre, 0) · 1[pre > θ], strictly; θ for each latent, or one for all (BatchTopK, Matryoshka)."""
    return torch.where(pre > threshold, pre, 0).relu()


def gated(product: Tensor, b_gate: Tensor, r_mag: Tensor, b_mag: Tensor) -> Tensor:
    """f = 1[h + b_gate > 0] · max(h·exp(r_mag) + b_mag, 0), where h = (x − b_pre)·W_enc"""
    return torch.where(product + b_gate > 0, product * r_mag.exp() + b_mag, 0).relu()
