"""Latents of many tokens, most of which do not fire."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sparse(NamedTuple):
    """Row by row the latents that fire, m of them at most; shorter rows end in value 0 and index −1."""

    values: Tensor  # (n, m)
    indices: Tensor  # (n, m) int64

    def dense(self, n_latents: int) -> Tensor:
        # One column more takes what pads, and is cut off again.
        acts = self.values.new_zeros(*self.values.shape[:-1], n_latents + 1)
        acts.scatter_(-1, torch.where(self.indices < 0, n_latents, self.indices), self.values)
        return acts[..., :-1]  # (n, n_latents)


def pack(acts: Tensor) -> Sparse:
    """The same latents, sparse, by rising index.  # (n, n_latents) -> (n, m)"""
    rows, latents = acts.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(acts))
    width = int(counts.max()) if len(acts) else 0
    slots = torch.arange(len(rows), device=acts.device) - (counts.cumsum(0) - counts)[rows]
    values = acts.new_zeros(len(acts), width)
    indices = torch.full((len(acts), width), -1, device=acts.device)
    values[rows, slots] = acts[rows, latents]
    indices[rows, slots] = latents
    return Sparse(values, indices)


def trim(values: Tensor, indices: Tensor) -> Sparse:
    """The k kept of each row, of which those that are 0 do not fire; these come last.  # (n, k) -> (n, m)"""
    fires = values != 0
    width = int(fires.sum(-1).max()) if values.numel() else 0
    return Sparse(values[..., :width], torch.where(fires, indices, -1)[..., :width])
