"""Which latents take part in a step: the one dense product, and what each family keeps of it. Nothing here has a
gradient, so a reduced precision can only swap latents that are nearly tied."""

from functools import cache

import torch
from torch import Tensor

from sae_core.training.config import Precision
from sae_core.training.fired import Fired, of_indices, of_mask

SAMPLED_ROWS = 64  # of a batch, to guess a BatchTopK's threshold


@cache
def product_dtype(precision: Precision, device: str) -> torch.dtype:
    if precision == Precision.AUTO:
        native = torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_multiplies_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == Precision.BFLOAT16 else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@torch.no_grad()
def pre_acts(z: Tensor, rows: Tensor, bias: Tensor, precision: Precision) -> Tensor:
    """z·W_enc + bias of every latent.  # (n, d), (n_latents, d), (n_latents) -> (n, n_latents)"""
    dtype = product_dtype(precision, z.device.type)
    return torch.nn.functional.linear(z.to(dtype), rows.to(dtype), bias.to(dtype))


@torch.no_grad()
def largest(pre: Tensor, k: int) -> Fired:
    """The k largest of each token."""
    return of_indices(pre.topk(k, dim=-1, sorted=False).indices, pre.shape[1])


@torch.no_grad()
def above(pre: Tensor, threshold: Tensor | float) -> Fired:
    return of_mask(pre > threshold, pre.dtype if pre.dtype == torch.bfloat16 else None)


@torch.no_grad()
def largest_of_batch(pre: Tensor, k: int) -> Fired:
    """The k·n largest of the whole batch, as many of them as are above 0.

    A threshold guessed from some rows leaves a few per cent to choose from; where it was too high, all are looked at.
    """
    n, n_latents = pre.shape
    wanted = k * n
    some = pre[:: max(n // SAMPLED_ROWS, 1)]
    guess = some.flatten().topk(min(2 * k * len(some), some.numel()), sorted=True).values[-1].clamp_min(0)
    mask = pre > guess
    if guess > 0 and int(mask.sum()) < wanted:
        mask = pre > 0
    places = mask.flatten().nonzero().flatten()
    if len(places) > wanted:
        kept = pre.flatten()[places].topk(wanted, sorted=False).indices
        places = places[kept.sort().values]
    tokens, latents = places // n_latents, places % n_latents
    starts = places.new_zeros(n + 1)
    torch.cumsum(torch.bincount(tokens, minlength=n), 0, out=starts[1:])
    return Fired(latents, tokens, starts, n_latents)
