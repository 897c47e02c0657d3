"""Which latents fire at which tokens: the SAE's own encoder, a block of whole contexts at a time, on memory that is
made once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae_core.config import NEEDS_K, Family
from sae_core.sae import Sae

BLOCK_BYTES = 16 << 20  # of pre-activations at a time: they are gone through several times, and stay near the processor
MOST_BYTES = 256 << 20  # of them at any time, whatever the length of a context
GROUPS = 256  # of latents, from whose largest a TopK's threshold is told
FEW = 1024  # latents, up to which topk itself is as fast
WORD = 8  # bytes of a mask looked at together


@dataclass(frozen=True)
class Fired:
    """Pairs of a token and a latent, by rising token."""

    tokens: Tensor  # (pairs) int64, rows of the block
    latents: Tensor  # (pairs) int64
    acts: Tensor  # (pairs)


@dataclass(frozen=True)
class Block:
    """Some whole contexts, or a stretch of one where the latents are so many."""

    first: int  # context of the batch
    position: int  # of the first token in its context
    whole: bool
    fired: Fired
    pre: Tensor  # (contexts, length, n_latents); −∞ where a token does not count. Overwritten by the next block


class Encoder:
    """One SAE's, for contexts of one length."""

    def __init__(self, sae: Sae, length: int, *, block_bytes: int = BLOCK_BYTES, most_bytes: int = MOST_BYTES) -> None:
        self.sae, self.length = sae, length
        of_token = sae.n_latents * sae.dtype.itemsize
        self._contexts = max(1, block_bytes // (length * of_token))
        self._stretch = length if length * of_token <= most_bytes else max(1, most_bytes // of_token)
        self._pre: Tensor | None = None
        self._mask: Tensor | None = None

    def blocks(self, x: Tensor, keep: Tensor) -> Iterator[Block]:
        """x (contexts, length, d_in), keep (contexts, length)"""
        whole = self._stretch >= self.length
        for first in range(0, len(x), self._contexts):
            for start in range(0, self.length, self._stretch):
                some = (slice(first, first + self._contexts), slice(start, start + self._stretch))
                pre, fired = self._encode(x[some].flatten(0, 1), keep[some].flatten())
                yield Block(first, start, whole, fired, pre.view(*x[some].shape[:2], -1))

    def _encode(self, x: Tensor, keep: Tensor) -> tuple[Tensor, Fired]:
        """x (n, d_in), keep (n)"""
        if self._pre is None or len(self._pre) < len(x):
            self._pre = x.new_empty(len(x), self.sae.n_latents)
            self._mask = torch.empty_like(self._pre, dtype=torch.bool)
        pre = self.sae.pre_acts(x, out=self._pre[: len(x)])
        pre.index_fill_(0, (~keep).nonzero().flatten(), -torch.inf)
        return pre, self._fired(pre)

    def _fired(self, pre: Tensor) -> Fired:
        sae, config = self.sae, self.sae.config
        if config.family == Family.GATED:
            return self._gated(pre)
        if config.family == Family.TOPK and not config.signed and config.n_latents > FEW:
            assert config.k is not None
            return self._topk(pre, config.k)
        if config.family in NEEDS_K:
            return _of_dense(sae.activate(pre))
        threshold = 0.0 if sae.threshold is None else sae.threshold.clamp_min(0)
        return self._above(pre, threshold)

    def _above(self, pre: Tensor, threshold: Tensor | float) -> Fired:
        """Those above a threshold of each latent, or of each token."""
        assert self._mask is not None
        mask = self._mask[: len(pre)]
        _greater(pre, threshold, mask)
        places = _places(mask)
        acts = pre.view(-1)[places]
        tokens = places.div(pre.shape[1], rounding_mode="floor")
        return Fired(tokens, places - tokens * pre.shape[1], acts)

    def _topk(self, pre: Tensor, k: int) -> Fired:
        """The k largest. Of the largest of each of 256 groups, k are at least as large as the k-th of these, so that
        no more than that has to be looked at, which a few more than k pass."""
        n, n_latents = pre.shape
        groups = max(GROUPS, 4 * k)
        per_group = n_latents // groups
        if per_group < 2:
            return _of_topk(pre, k)
        whole = pre[:, : groups * per_group].view(n, per_group, groups).amax(1)  # neighbours lie in different groups
        least = whole.topk(k, sorted=False).values.amin(1, keepdim=True)
        # The next number below, as what is equal to the k-th passes too, and nothing at or below 0.
        below = torch.nextafter(least, torch.full_like(least, -torch.inf)).clamp_min(0)
        return _largest(self._above(pre, below), n, k)

    def _gated(self, pre: Tensor) -> Fired:
        """Those whose gate is open and whose magnitude is above 0."""
        sae = self.sae
        assert sae.b_gate is not None
        assert sae.r_mag is not None
        assert sae.b_mag is not None
        opened = self._above(pre, 0.0)
        products = opened.acts - sae.b_gate[opened.latents]
        acts = products * sae.r_mag.exp()[opened.latents] + sae.b_mag[opened.latents]
        fires = acts > 0
        return Fired(opened.tokens[fires], opened.latents[fires], acts[fires])


def _greater(pre: Tensor, threshold: Tensor | float, mask: Tensor) -> None:
    """On a CPU numpy's, as torch compares to booleans one by one: its two cores take twice what numpy's one does."""
    if pre.device.type == "cpu" and pre.dtype in (torch.float32, torch.float64):
        of_numpy = threshold.numpy() if isinstance(threshold, Tensor) else threshold
        np.greater(pre.numpy(), of_numpy, out=mask.numpy())
    else:
        torch.gt(pre, threshold, out=mask)


def _places(mask: Tensor) -> Tensor:
    """Where a mask is true, by rising place: first the words of eight that are not all false.  # (n, n_latents)"""
    if mask.numel() % WORD:
        return mask.view(-1).nonzero().flatten()
    words = mask.view(-1).view(torch.int64).nonzero().flatten()
    within = mask.view(-1, WORD)[words].nonzero()
    return words[within[:, 0]] * WORD + within[:, 1]


def _largest(fired: Fired, n: int, k: int) -> Fired:
    """Of each token the k largest."""
    counts = torch.bincount(fired.tokens, minlength=n)
    widest = int(counts.max()) if len(counts) else 0
    if widest <= k:
        return fired
    starts = counts.cumsum(0) - counts
    slots = torch.arange(len(fired.tokens), device=counts.device) - starts[fired.tokens]
    acts = fired.acts.new_full((n, widest), -torch.inf)
    acts[fired.tokens, slots] = fired.acts
    top = acts.topk(k, sorted=False)
    slots = torch.sort(torch.where(top.values > 0, top.indices, widest), dim=1).values  # back in the order of latents
    tokens, which = (slots < widest).nonzero(as_tuple=True)
    chosen = starts[tokens] + slots[tokens, which]
    return Fired(tokens, fired.latents[chosen], fired.acts[chosen])


def _of_topk(pre: Tensor, k: int) -> Fired:
    top = pre.topk(k, sorted=False)
    indices, order = top.indices.sort(1)
    values = top.values.gather(1, order)
    tokens, which = (values > 0).nonzero(as_tuple=True)
    return Fired(tokens, indices[tokens, which], values[tokens, which])


def _of_dense(acts: Tensor) -> Fired:
    # Signed, −∞ is largest of all; it stands for tokens that do not count.
    tokens, latents = acts.masked_fill_(acts == -torch.inf, 0).nonzero(as_tuple=True)
    return Fired(tokens, latents, acts[tokens, latents])
