"""Small SAEs with random weights of every family, F ≠ d everywhere."""

from typing import Any

import torch
from torch import Tensor

from sae_core.config import BATCH_FAMILIES, NEEDS_K, VECTOR_THRESHOLD, Family, SaeConfig
from sae_core.sae import Sae, expected_shapes

D_IN, N_LATENTS = 6, 15


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(n: int = 40, width: int = D_IN, seed: int = 99) -> Tensor:
    return draw(seed, n, width) * 2 + 0.5


def make(family: Family, **changes: Any) -> Sae:
    settings: dict[str, Any] = {"d_in": D_IN, "n_latents": N_LATENTS, "hookpoint": "blocks.0.hook_resid_post"}
    if family in NEEDS_K or family in BATCH_FAMILIES:
        settings["k"] = 3
    if family == Family.MATRYOSHKA:
        settings["prefixes"] = (4, 9, N_LATENTS)
    if family == Family.NEURONS:
        settings["n_latents"] = D_IN
    skip = changes.pop("skip", False)
    config = SaeConfig(family, **settings | changes)
    tensors = {name: draw(seed, *shape) * 0.5 for seed, (name, shape) in enumerate(expected_shapes(config).items())}
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].abs() + 0.1
    if skip:
        tensors["W_skip"] = draw(77, config.d_in, config.d_out) * 0.3
    return Sae(config, tensors)


ALL = tuple(Family)
VECTORS = tuple(VECTOR_THRESHOLD)
