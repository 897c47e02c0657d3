"""Directions and the angles between them, in blocks, so that no (n_latents, n_latents) matrix is ever whole."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae_core.sae import Sae

BLOCK_BYTES = 256 << 20


def decoder_norms(sae: Sae) -> Tensor:
    norms: Tensor = sae.W_dec.norm(dim=1)
    return norms  # (n_latents)


def encoder_decoder_cosine(sae: Sae) -> Tensor:
    """How far each latent writes what it reads; transcoders, which read elsewhere, have none.  # (n_latents)"""
    return (normalize(sae.W_enc, dim=0).T * normalize(sae.W_dec, dim=1)).sum(1)


def cosine_blocks(rows: Tensor, others: Tensor, *, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
    """The cosines of a few rows with all others, block by block, and where each block begins.  # (b, len(others))"""
    unit, against = normalize(rows, dim=1), normalize(others, dim=1)
    size = max(1, block_bytes // (len(others) * others.element_size()))
    for start in range(0, len(unit), size):
        yield start, unit[start : start + size] @ against.T


class Nearest(NamedTuple):
    indices: Tensor  # (b, k) int64
    cosines: Tensor  # (b, k) falling


def nearest(rows: Tensor, k: int, *, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Nearest]]:
    """Of each row the k others of the largest cosine, fewer where there are no more, block by block, and where each
    block begins.  # (n, d)"""
    k = min(k, len(rows) - 1)
    for start, block in cosine_blocks(rows, rows, block_bytes=block_bytes):
        block.diagonal(start).fill_(-torch.inf)  # each row with itself
        top = block.topk(k, dim=1)
        yield start, Nearest(top.indices, top.values)


def mmcs(rows: Tensor, others: Tensor, *, block_bytes: int = BLOCK_BYTES) -> float:
    """Mean over rows of the largest cosine with one of the others; it is not symmetric.  # (n, d), (m, d)"""
    largest = [block.amax(1).double().sum() for _, block in cosine_blocks(rows, others, block_bytes=block_bytes)]
    return float(torch.stack(largest).sum()) / len(rows)


def mutual_coherence(rows: Tensor, *, block_bytes: int = BLOCK_BYTES) -> float:
    """The largest |cosine| of two different rows; 1 where a direction comes twice.  # (n, d)"""
    if len(rows) < 2:
        return 0.0
    largest = torch.zeros((), dtype=rows.dtype, device=rows.device)
    for start, block in cosine_blocks(rows, rows, block_bytes=block_bytes):
        block.diagonal(start).zero_()  # each row with itself
        largest = torch.maximum(largest, block.abs().amax())
    return float(largest)
