"""SAEs that nobody trained, for controls and baselines: the same pass reads them."""

from collections.abc import Callable

import torch

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.sae import Sae


def neurons(hookpoint: str, width: int) -> Sae:
    """The hookpoint's own axes: f = max(x, 0), W_dec the identity."""
    return Sae(SaeConfig(Family.NEURONS, d_in=width, n_latents=width, hookpoint=hookpoint), {})


def random_directions(hookpoint: str, width: int, n_latents: int, *, seed: int, threshold: float = 0.0) -> Sae:
    """Unit directions drawn uniformly, encoder and decoder alike: f = x·w where that exceeds a threshold."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n_latents, width, generator=generator), dim=1)
    return Sae(
        SaeConfig(Family.RANDOM, d_in=width, n_latents=n_latents, hookpoint=hookpoint),
        {
            "W_enc": rows.T.contiguous(),
            "W_dec": rows,
            "b_enc": torch.zeros(n_latents),
            "b_dec": torch.zeros(width),
            "threshold": torch.full((n_latents,), threshold),
        },
    )


def untrained(name: str, width: Callable[[str], int]) -> Sae | None:
    """What `neurons:HOOKPOINT` and `random:HOOKPOINT:LATENTS[:SEED]` name, given how wide hookpoints are; None for any
    other name."""
    kind, _, rest = name.partition(":")
    if kind not in ("neurons", "random") or not rest:
        return None
    hookpoint, *numbers = rest.split(":")
    if kind == "neurons" and not numbers:
        return neurons(hookpoint, width(hookpoint))
    if kind == "random" and 1 <= len(numbers) <= 2 and all(each.isdecimal() for each in numbers):
        n_latents, seed = (*map(int, numbers), 0)[:2]
        return random_directions(hookpoint, width(hookpoint), n_latents, seed=seed)
    raise BadInput(f"{name}: expected neurons:HOOKPOINT or random:HOOKPOINT:LATENTS[:SEED]")
