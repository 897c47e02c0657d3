"""The weights of an SAE before its first step."""

import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.training.config import TrainConfig

STARTING_L0 = 10.0  # times the target
QUANTILES_FROM = 4096  # tokens
FREE_NORM = 0.1  # of decoder rows that no constraint holds at 1


def starting_weights(config: TrainConfig, d_in: int, d_out: int) -> dict[str, Tensor]:
    """The encoder starts as the decoder's transpose; a transcoder's, of another width, as directions of its own."""
    generator = torch.Generator().manual_seed(config.seed)
    norm = 1.0 if config.unit_rows else FREE_NORM
    W_dec = _directions(config.n_latents, d_out, generator) * norm
    enc_rows = _directions(config.n_latents, d_in, generator) * norm if config.transcoder else W_dec.clone()
    zeros = torch.zeros(config.n_latents)
    weights = {"enc_rows": enc_rows, "W_dec": W_dec, "b_dec": torch.zeros(d_out)}
    if config.family == Family.GATED:
        weights |= {name: zeros.clone() for name in ("b_gate", "r_mag", "b_mag")}
    else:
        weights["b_enc"] = zeros.clone()
    if config.family == Family.JUMPRELU:
        weights["threshold"] = torch.full((config.n_latents,), config.threshold)
    if config.skip:
        weights["W_skip"] = torch.zeros(d_in, d_out)
    return weights


def starting_bias(config: TrainConfig, weights: dict[str, Tensor], x: Tensor) -> tuple[str, Tensor] | None:
    """Where there is a target L0: the bias, or θ, with which each latent fires for as many of these tokens that L0 is
    ten times the target; its name first."""
    if config.target_l0 is None:
        return None
    share = min(STARTING_L0 * config.target_l0 / config.n_latents, 0.5)
    z = x[:QUANTILES_FROM] - weights["b_dec"] if config.subtracts_b_dec else x[:QUANTILES_FROM]
    above = z @ weights["enc_rows"].T  # (n, n_latents)
    passed = above.kthvalue(max(round((1 - share) * len(z)), 1), dim=0).values  # (n_latents)
    match config.family:
        case Family.JUMPRELU:
            return "threshold", passed.clamp_min(0)
        case Family.GATED:
            return "b_gate", -passed
        case _:
            return "b_enc", -passed


def starting_gain(y: Tensor, made: Tensor) -> Tensor:
    """What to multiply latents by, so that the first reconstruction errs least: the transpose of a decoder of more rows
    than dimensions makes them too large by far, and steps are lost on making them small.  # (n, d_out) both -> ()"""
    gain = (y * made).sum() / made.square().sum().clamp_min(torch.finfo(y.dtype).tiny)
    return torch.where(gain > 0, gain, 1.0)


def geometric_median(points: Tensor, *, rounds: int = 100, tolerance: float = 1e-5) -> Tensor:
    """The point of the least total distance to all, by Weiszfeld's rounds.  # (n, d) -> (d)"""
    median = points.mean(0)
    for _ in range(rounds):
        weights = (points - median).norm(dim=1).clamp_min(1e-8).reciprocal()
        moved: Tensor = (points * weights[:, None]).sum(0) / weights.sum()
        if (moved - median).norm() <= tolerance * moved.norm():
            return moved
        median = moved
    return median


def _directions(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)
