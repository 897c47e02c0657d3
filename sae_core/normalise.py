"""Normalising each input by itself, and undoing it on its reconstruction."""

from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.config import Normalise

LAYER_NORM_EPS = 1e-5  # added to the deviation, as SAELens and OpenAI do


class Normalised(NamedTuple):
    x: Tensor  # (n, d_in)
    shift: Tensor  # (n, 1) added to a reconstruction …
    scale: Tensor  # (n, 1) … after this has multiplied it

    def undo(self, x_hat: Tensor) -> Tensor:
        return x_hat * self.scale + self.shift  # (n, d_out) -> (n, d_out)


def normalise(x: Tensor, kind: Normalise) -> Normalised:
    if kind == Normalise.CONSTANT_NORM:
        norm = x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        scale = norm / x.shape[-1] ** 0.5
        return Normalised(x / scale, torch.zeros_like(scale), scale)
    if kind == Normalise.LAYER_NORM:
        shift = x.mean(dim=-1, keepdim=True)
        scale = x.std(dim=-1, keepdim=True)
        return Normalised((x - shift) / (scale + LAYER_NORM_EPS), shift, scale)
    one = x.new_ones(*x.shape[:-1], 1)
    return Normalised(x, torch.zeros_like(one), one)
