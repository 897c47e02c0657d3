"""Which latents fire for which tokens, and the two products that need no others.

An SAE of 4,096 latents fires 32 of them: what the other 4,064 columns of a dense step would compute is zeros. Both
products, and their gradients, visit pairs of a token and a latent alone:

    products    h_p = ⟨z_t, w_l⟩                 for pairs p = (t, l)
    decoded     y_t = Σ over the pairs of t of f_p·d_l
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

SUM = 0  # embedding_bag's mode
# Of all pairs; where more fire, products are dense. Roughly where both take as long on a CPU in float32.
DENSE_ABOVE = 0.1


class ByLatent(NamedTuple):
    """The same pairs, latent by latent."""

    order: Tensor  # (pairs)
    tokens: Tensor  # (pairs), in that order
    starts: Tensor  # (n_latents + 1)


@dataclass(frozen=True)
class Fired:
    """Pairs of a token and a latent, token by token."""

    latents: Tensor  # (pairs) int64
    tokens: Tensor  # (pairs) int64, never falling
    starts: Tensor  # (n + 1) where each token's pairs start, and the last one's end
    n_latents: int
    dtype: torch.dtype | None = None  # of products, while so many fire that they are dense; None: as they come

    @property
    def n_tokens(self) -> int:
        return len(self.starts) - 1

    @property
    def dense(self) -> bool:
        return len(self.latents) > DENSE_ABOVE * self.n_tokens * self.n_latents

    @cached_property
    def by_latent(self) -> ByLatent:
        order = torch.argsort(self.latents, stable=True)
        starts = _starts(torch.bincount(self.latents, minlength=self.n_latents))
        return ByLatent(order, self.tokens[order], starts)

    def spread(self, values: Tensor) -> Tensor:
        """(pairs) -> (n, n_latents), 0 elsewhere"""
        acts = values.new_zeros(self.n_tokens, self.n_latents)
        acts[self.tokens, self.latents] = values
        return acts

    def of_latents(self, start: int, end: int) -> tuple["Fired", Tensor]:
        """The pairs of some neighbouring latents, and which these are."""
        kept = (self.latents >= start) & (self.latents < end)
        tokens = self.tokens[kept]
        starts = _starts(torch.bincount(tokens, minlength=self.n_tokens))
        return Fired(self.latents[kept], tokens, starts, self.n_latents, self.dtype), kept


def _starts(counts: Tensor) -> Tensor:
    starts = counts.new_zeros(len(counts) + 1)
    torch.cumsum(counts, 0, out=starts[1:])
    return starts


def of_mask(mask: Tensor, dtype: torch.dtype | None = None) -> Fired:
    """(n, n_latents) bool"""
    tokens, latents = mask.nonzero(as_tuple=True)
    return Fired(latents, tokens, _starts(torch.bincount(tokens, minlength=len(mask))), mask.shape[1], dtype)


def of_indices(indices: Tensor, n_latents: int) -> Fired:
    """As many latents for each token.  # (n, k)"""
    n, k = indices.shape
    starts = torch.arange(0, n * k + 1, k, device=indices.device) if k else indices.new_zeros(n + 1)
    tokens = torch.arange(n, device=indices.device).repeat_interleave(k)
    return Fired(indices.flatten(), tokens, starts, n_latents)


def _row_products(a: Tensor, rows: Tensor, fired: Fired) -> Tensor:
    """⟨a_t, row_l⟩ of every pair; embedding_bag's own gradient for its weights.  # (n, d), (n_latents, d) -> (pairs)"""
    if fired.dense:
        return _matmul(a, rows.T, fired.dtype)[fired.tokens, fired.latents]
    if not len(fired.latents):
        return a.new_zeros(0)
    products: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        a, rows, fired.latents, fired.starts[:-1], fired.tokens, SUM
    )
    return products


def _row_sums(values: Tensor, rows: Tensor, fired: Fired) -> Tensor:
    """Σ over the pairs of each token of value·row_l.  # (pairs), (n_latents, d) -> (n, d)"""
    if fired.dense:
        return _matmul(fired.spread(values), rows, fired.dtype)
    return _bags(fired.latents, rows, fired.starts, values)


def _outer_sums(values: Tensor, a: Tensor, fired: Fired) -> Tensor:
    """Σ over the pairs of each latent of value·a_t.  # (pairs), (n, d) -> (n_latents, d)"""
    if fired.dense:
        return _matmul(fired.spread(values).T, a, fired.dtype)
    by_latent = fired.by_latent
    return _bags(by_latent.tokens, a, by_latent.starts, values[by_latent.order])


def _matmul(a: Tensor, b: Tensor, dtype: torch.dtype | None) -> Tensor:
    return a @ b if dtype is None else (a.to(dtype) @ b.to(dtype)).to(a.dtype)


def _bags(indices: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    if not len(indices):
        return rows.new_zeros(len(starts) - 1, rows.shape[1])
    return torch.nn.functional.embedding_bag(
        indices, rows, starts, per_sample_weights=weights, mode="sum", include_last_offset=True
    )


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, rows: Tensor, fired: Fired) -> Tensor:
        ctx.save_for_backward(z)
        ctx.fired = fired
        return _row_products(z, rows, fired)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (z,) = ctx.saved_tensors
        return None, _outer_sums(grads[0], z, ctx.fired), None


class _Decoded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, fired: Fired) -> Tensor:
        ctx.save_for_backward(values, rows)
        ctx.fired = fired
        return _row_sums(values, rows, fired)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        values, rows = ctx.saved_tensors
        grad = grads[0].contiguous()
        d_rows = _outer_sums(values, grad, ctx.fired) if ctx.needs_input_grad[1] else None
        return _row_products(grad, rows, ctx.fired), d_rows, None


def products(z: Tensor, rows: Tensor, fired: Fired) -> Tensor:
    """h of every pair; its gradient goes to the rows, none to z.  # (n, d), (n_latents, d) -> (pairs)"""
    h: Tensor = _Products.apply(z.detach(), rows, fired)
    return h


def decoded(values: Tensor, rows: Tensor, fired: Fired) -> Tensor:
    """Each token's latents times their rows, summed.  # (pairs), (n_latents, d) -> (n, d)"""
    y: Tensor = _Decoded.apply(values, rows, fired)
    return y
