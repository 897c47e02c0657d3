"""Data whose features are known: sparse sums of planted directions."""

import torch
from torch import Tensor

from sae_core.geometry import mmcs

D, FEATURES, FIRING = 32, 64, 4  # of them fire a token, on average


def directions() -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.nn.functional.normalize(torch.randn(FEATURES, D, generator=generator), dim=1)


def tokens(n: int, generator: torch.Generator) -> Tensor:
    """(n, D)"""
    fires = torch.rand(n, FEATURES, generator=generator) < FIRING / FEATURES
    strength = 0.5 + torch.rand(n, FEATURES, generator=generator)
    return (fires * strength) @ directions()


def recovered(W_dec: Tensor) -> float:
    """How near the nearest row lies to each planted direction, on average."""
    return mmcs(directions(), W_dec.detach())
