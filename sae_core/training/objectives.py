"""What each family minimises. Pure: a batch and the weights in, a loss and what was seen on the way out.

Squared errors are summed over d and averaged over tokens; TopK's, BatchTopK's and Matryoshka's are divided by what
the batch varies, so that their loss is an FVU and knows no scale.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.loss import squared_error
from sae_core.training import choosing, estimators
from sae_core.training.config import TrainConfig
from sae_core.training.fired import Fired, decoded, of_indices, products

# Weights by the names of the Sae class, but that the encoder's lie latent by latent: enc_rows = W_encᵀ.
Weights = Mapping[str, Tensor]


class Now(NamedTuple):
    """What varies over a training."""

    penalty: Tensor | float = 1.0  # λ
    dead: Tensor | None = None  # (dead latents) for AuxK; None where there are none
    aux_k: int = 0


class Outcome(NamedTuple):
    loss: Tensor  # ()
    x_hat: Tensor  # (n, d_out)
    fired: Fired
    acts: Tensor  # (pairs), 0 where a latent took part and does not fire
    kept_least: Tensor | None = None  # () BatchTopK: the smallest activation kept


def objective(config: TrainConfig, weights: Weights, x: Tensor, y: Tensor, now: Now) -> Outcome:
    """x is what the encoder is given, y what is reconstructed: one but for transcoders.  # (n, d_in), (n, d_out)"""
    encoder = _Encoder(config, weights, x)
    base = weights["b_dec"] + x @ weights["W_skip"] if "W_skip" in weights else weights["b_dec"]
    match config.family:
        case Family.RELU:
            return _relu(config, weights, encoder, base, y, now)
        case Family.JUMPRELU:
            return _jumprelu(config, weights, encoder, base, y, now)
        case Family.GATED:
            return _gated(weights, encoder, base, y, now)
        case _:
            return _keep_k(config, weights, encoder, base, y, now)


class _Encoder:
    """The encoder's one dense product, and its exact pre-activations for the pairs that were chosen."""

    def __init__(self, config: TrainConfig, weights: Weights, x: Tensor) -> None:
        self.rows = weights["enc_rows"]
        self.bias = weights["b_gate" if config.family == Family.GATED else "b_enc"]
        self.z = x - weights["b_dec"].detach() if config.subtracts_b_dec else x
        self.pre = choosing.pre_acts(self.z, self.rows, self.bias, config.precision)  # (n, n_latents)
        self.moved = None
        if config.subtracts_b_dec and weights["b_dec"].requires_grad:
            # Zeros, with the gradient that b_dec has through z, without one for each token.
            b_dec = weights["b_dec"]
            self.moved = (b_dec.detach() - b_dec) @ self.rows.detach().T  # (n_latents)

    def products(self, fired: Fired) -> Tensor:
        """z·W_enc of the pairs, no bias in it."""
        h = products(self.z, self.rows, fired)
        return h if self.moved is None else h + self.moved[fired.latents]

    def chosen(self, fired: Fired) -> Tensor:
        return self.products(fired) + self.bias[fired.latents]


def _relu(config: TrainConfig, weights: Weights, encoder: _Encoder, base: Tensor, y: Tensor, now: Now) -> Outcome:
    fired = choosing.above(encoder.pre, 0.0)
    acts = encoder.chosen(fired).relu()
    W_dec = weights["W_dec"]
    x_hat = decoded(acts, W_dec, fired) + base
    weighed = acts if config.plain else acts * W_dec.norm(dim=1)[fired.latents]
    return Outcome(squared_error(y, x_hat) + now.penalty * weighed.sum() / len(y), x_hat, fired, acts)


def _jumprelu(config: TrainConfig, weights: Weights, encoder: _Encoder, base: Tensor, y: Tensor, now: Now) -> Outcome:
    threshold, width = weights["threshold"], config.bandwidth
    fired = choosing.above(encoder.pre, threshold - width / 2)  # a latent just below its θ can pull it down
    z, thetas = encoder.chosen(fired), threshold[fired.latents]
    acts = estimators.jumprelu(z, thetas, width)
    x_hat = decoded(acts, weights["W_dec"], fired) + base
    l0 = estimators.step(z, thetas, width).sum() / len(y)
    sparsity = l0 if config.target_l0 is None else (l0 / config.target_l0 - 1).square()
    return Outcome(squared_error(y, x_hat) + now.penalty * sparsity, x_hat, fired, acts)


def _gated(weights: Weights, encoder: _Encoder, base: Tensor, y: Tensor, now: Now) -> Outcome:
    fired = choosing.above(encoder.pre, 0.0)
    h = encoder.products(fired)
    gate = (h + weights["b_gate"][fired.latents]).relu()
    magnitude = h * weights["r_mag"].exp()[fired.latents] + weights["b_mag"][fired.latents]
    acts = torch.where(gate.detach() > 0, magnitude, 0).relu()
    W_dec = weights["W_dec"]
    x_hat = decoded(acts, W_dec, fired) + base
    x_hat_gate = decoded(gate, W_dec.detach(), fired) + base.detach()  # teaches the gate, not the decoder
    loss = squared_error(y, x_hat) + now.penalty * gate.sum() / len(y) + squared_error(y, x_hat_gate)
    return Outcome(loss, x_hat, fired, acts)


def _keep_k(config: TrainConfig, weights: Weights, encoder: _Encoder, base: Tensor, y: Tensor, now: Now) -> Outcome:
    assert config.k is not None
    choose = choosing.largest if config.family == Family.TOPK else choosing.largest_of_batch
    fired = choose(encoder.pre, config.k)
    acts = encoder.chosen(fired).relu()
    varies = _variance(y)
    x_hats = list(_nested(config, weights["W_dec"], acts, fired, base))
    x_hat = x_hats[-1]
    loss = sum((squared_error(y, each) for each in x_hats), y.new_zeros(())) / len(x_hats) / varies
    if now.dead is not None and now.aux_k:
        rest = (y - x_hat).detach()
        loss = loss + config.aux_weight * _auxiliary(weights["W_dec"], encoder, rest, now.dead, now.aux_k)
    kept_least = None
    if config.family != Family.TOPK:
        kept_least = torch.where(acts > 0, acts, torch.inf).detach().amin() if len(acts) else None
    return Outcome(loss, x_hat, fired, acts, kept_least)


def _nested(config: TrainConfig, W_dec: Tensor, acts: Tensor, fired: Fired, base: Tensor) -> list[Tensor]:
    """The reconstruction by each nested dictionary, the last one by all latents."""
    if config.family != Family.MATRYOSHKA:
        return [decoded(acts, W_dec, fired) + base]
    x_hats, start = list[Tensor](), 0
    for end in config.prefixes:
        within, kept = fired.of_latents(start, end)
        x_hats.append((x_hats[-1] if x_hats else base) + decoded(acts[kept], W_dec, within))
        start = end
    return x_hats


def _auxiliary(W_dec: Tensor, encoder: _Encoder, rest: Tensor, dead: Tensor, aux_k: int) -> Tensor:
    """What the dead latents leave of what the others leave: an FVU, weighed down where fewer than aux_k are dead."""
    k = min(aux_k, len(dead))
    of_dead = encoder.pre[:, dead].topk(k, dim=-1, sorted=False).indices
    fired = of_indices(dead[of_dead], len(W_dec))
    made = decoded(encoder.chosen(fired).relu(), W_dec, fired)  # without b_dec
    return squared_error(rest, made) / _variance(rest) * (k / aux_k)


def _variance(y: Tensor) -> Tensor:
    """mean over tokens of ‖y − ȳ‖², above 0"""
    return (y - y.mean(0)).square().sum(-1).mean().clamp_min(torch.finfo(y.dtype).tiny)
