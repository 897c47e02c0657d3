"""Straight-through estimators of JumpReLU SAEs: θ has no gradient but within a window of width ε around it.

f = z·1[z > θ]    ∂f/∂z = 1[z > θ]    ∂f/∂θ := −(θ/ε)·1[|z − θ| < ε/2]
s = 1[z > θ]      ∂s/∂z := 0          ∂s/∂θ := −(1/ε)·1[|z − θ| < ε/2]
"""

from typing import Any

import torch
from torch import Tensor


class _JumpRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(z > threshold, z, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z, threshold = ctx.saved_tensors
        d_threshold = -threshold / ctx.bandwidth * _near(z, threshold, ctx.bandwidth)
        return grads[0] * (z > threshold), grads[0] * d_threshold, None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        z, threshold = ctx.saved_tensors
        return None, -grads[0] / ctx.bandwidth * _near(z, threshold, ctx.bandwidth), None


def _near(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    return (z - threshold).abs() < bandwidth / 2


def jumprelu(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """f of pre-activations, each with its θ.  # (pairs), (pairs) -> (pairs)"""
    f: Tensor = _JumpRelu.apply(z, threshold, bandwidth)
    return f


def step(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where a latent fires, of which L0 is the sum.  # (pairs), (pairs) -> (pairs)"""
    s: Tensor = _Step.apply(z, threshold, bandwidth)
    return s
