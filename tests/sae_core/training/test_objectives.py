"""Each family's loss and gradients against the formulas written out densely, in float64, by autograd."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.training.config import Precision, TrainConfig
from sae_core.training.objectives import Now, objective
from sae_core.training.starting import starting_weights

N, D, F, K, PENALTY = 24, 6, 20, 3, 0.7
Weights = dict[str, Tensor]


def weights_of(config: TrainConfig, d_out: int = D) -> Weights:
    """Random ones: the starting ones are zeros in part, at which wrong gradients may look right."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, each in starting_weights(config, D, d_out).items():
        noise = torch.randn(each.shape, generator=generator, dtype=torch.float64)
        made[name] = (each.double() + 0.3 * noise).requires_grad_()
    if "threshold" in made:
        made["threshold"] = (0.2 + 0.5 * torch.rand(F, generator=generator, dtype=torch.float64)).requires_grad_()
    return made


def batch(d_out: int = D) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(N, D, generator=generator, dtype=torch.float64)
    return x, x if d_out == D else torch.randn(N, d_out, generator=generator, dtype=torch.float64)


def error(y: Tensor, x_hat: Tensor) -> Tensor:
    return ((y - x_hat) ** 2).sum() / N


def variance(y: Tensor) -> Tensor:
    return ((y - y.mean(0)) ** 2).sum() / N


def relu(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    f = torch.relu(x @ w["enc_rows"].T + w["b_enc"])
    norms = (w["W_dec"] ** 2).sum(1).sqrt()
    return error(y, f @ w["W_dec"] + w["b_dec"]) + PENALTY * (f * norms).sum() / N


def plain_relu(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    f = torch.relu((x - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"])
    return error(y, f @ w["W_dec"] + w["b_dec"]) + PENALTY * f.sum() / N


def topk(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    pre = (x - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"]
    kept = pre >= pre.sort(1, descending=True).values[:, [K - 1]]
    return error(y, torch.where(kept, pre, 0).relu() @ w["W_dec"] + w["b_dec"]) / variance(y)


def of_batch(w: Weights, x: Tensor) -> Tensor:
    pre = (x - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"]
    kept = pre >= pre.flatten().sort(descending=True).values[K * N - 1]
    return torch.where(kept, pre, 0).relu()


def batchtopk(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    return error(y, of_batch(w, x) @ w["W_dec"] + w["b_dec"]) / variance(y)


def matryoshka(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    f = of_batch(w, x)
    errors = [error(y, f[:, :end] @ w["W_dec"][:end] + w["b_dec"]) for end in (5, 12, F)]
    return (errors[0] + errors[1] + errors[2]) / 3 / variance(y)


def gated(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    h = (x - w["b_dec"]) @ w["enc_rows"].T
    gate = h + w["b_gate"]
    f = (gate > 0) * torch.relu(h * w["r_mag"].exp() + w["b_mag"])
    opened = torch.relu(gate)
    by_gate = opened @ w["W_dec"].detach() + w["b_dec"].detach()
    return error(y, f @ w["W_dec"] + w["b_dec"]) + PENALTY * opened.sum() / N + error(y, by_gate)


def transcoder(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    pre = x @ w["enc_rows"].T + w["b_enc"]
    kept = pre >= pre.sort(1, descending=True).values[:, [K - 1]]
    made = torch.where(kept, pre, 0).relu() @ w["W_dec"] + w["b_dec"] + x @ w["W_skip"]
    return error(y, made) / variance(y)


CASES: dict[str, tuple[dict[str, Any], Callable[[Weights, Tensor, Tensor], Tensor], int]] = {
    "relu": ({"family": "relu"}, relu, D),
    "plain": ({"family": "relu", "sparsity": "plain"}, plain_relu, D),
    "topk": ({"family": "topk", "k": K}, topk, D),
    "batchtopk": ({"family": "batchtopk", "k": K}, batchtopk, D),
    "matryoshka": ({"family": "matryoshka", "k": K, "prefixes": (5, 12, F)}, matryoshka, D),
    "gated": ({"family": "gated"}, gated, D),
    "transcoder": ({"family": "topk", "k": K, "transcoder": True, "skip": True}, transcoder, 4),
}


def config_of(said: dict[str, Any]) -> TrainConfig:
    return TrainConfig(n_latents=F, precision=Precision.FLOAT32, **said)


@pytest.mark.parametrize("name", CASES)
def test_loss_and_every_gradient_are_those_of_the_dense_formula(name: str) -> None:
    said, formula, d_out = CASES[name]
    config = config_of(said)
    weights, (x, y) = weights_of(config, d_out), batch(d_out)
    expected = formula(weights, x, y)
    of_formula = torch.autograd.grad(expected, list(weights.values()), allow_unused=True)
    outcome = objective(config, weights, x, y, Now(PENALTY))
    found = torch.autograd.grad(outcome.loss, list(weights.values()), allow_unused=True)
    torch.testing.assert_close(outcome.loss, expected, rtol=1e-9, atol=1e-9)
    for weight, mine, theirs in zip(weights, found, of_formula, strict=True):
        assert mine is not None, weight
        assert theirs is not None, weight
        assert theirs.abs().max() > 1e-4, weight
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("target", [None, 4.0])
def test_jumprelu_has_the_stated_gradients(target: float | None) -> None:
    """By z and the decoder, those of the formula with θ held; by θ, the estimator's."""
    config = config_of({"family": "jumprelu", "bandwidth": 0.4, "target_l0": target})
    w, (x, y) = weights_of(config), batch()
    pre = x @ w["enc_rows"].T + w["b_enc"]
    fires = pre.detach() > w["threshold"].detach()
    f = torch.where(fires, pre, 0)
    x_hat = f @ w["W_dec"] + w["b_dec"]
    l0 = fires.double().sum() / N
    of_l0 = torch.ones((), dtype=torch.float64) if target is None else 2 * (l0 / target - 1) / target
    expected = error(y, x_hat) + PENALTY * (l0 if target is None else (l0 / target - 1) ** 2)
    names = ["enc_rows", "W_dec", "b_enc", "b_dec"]
    of_formula = dict(zip(names, torch.autograd.grad(error(y, x_hat), [w[name] for name in names]), strict=True))
    d_f = -2 * (y - x_hat) @ w["W_dec"].T / N  # ∂error/∂f
    near = (pre - w["threshold"]).abs() < 0.2
    of_formula["threshold"] = (near * (-w["threshold"] / 0.4 * d_f - PENALTY * of_l0 / 0.4 / N)).sum(0).detach()
    outcome = objective(config, w, x, y, Now(PENALTY))
    torch.autograd.backward(outcome.loss)
    torch.testing.assert_close(outcome.loss, expected)
    assert near.sum() > 20
    for name, theirs in of_formula.items():
        torch.testing.assert_close(w[name].grad, theirs, rtol=1e-8, atol=1e-10)


def test_dead_latents_learn_from_what_the_others_leave() -> None:
    """AuxK: the largest aux_k dead latents of each token, without b_dec, against the residual, as an FVU."""
    config, dead, aux_k = config_of({"family": "topk", "k": K, "aux_weight": 0.25}), torch.tensor([1, 4, 5, 11]), 8
    w, (x, y) = weights_of(config), batch()
    outcome = objective(config, w, x, y, Now(dead=dead, aux_k=aux_k))
    found = torch.autograd.grad(outcome.loss, list(w.values()))

    pre = (x - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"]
    kept = pre >= pre.sort(1, descending=True).values[:, [K - 1]]
    x_hat = torch.where(kept, pre, 0).relu() @ w["W_dec"] + w["b_dec"]
    rest = (y - x_hat).detach()
    made = pre[:, dead].relu() @ w["W_dec"][dead]  # four are dead, fewer than aux_k: all of them, at half the weight
    expected = error(y, x_hat) / variance(y) + 0.25 * (4 / aux_k) * error(rest, made) / variance(rest)
    theirs = torch.autograd.grad(expected, list(w.values()))
    torch.testing.assert_close(outcome.loss, expected)
    for mine, their in zip(found, theirs, strict=True):
        torch.testing.assert_close(mine, their, rtol=1e-8, atol=1e-10)


def test_of_many_dead_latents_each_token_takes_its_largest() -> None:
    config, dead = config_of({"family": "topk", "k": K}), torch.arange(0, F, 2)
    w, (x, y) = weights_of(config), batch()
    outcome = objective(config, w, x, y, Now(dead=dead, aux_k=2))
    pre = ((x - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"])[:, dead]
    kept = torch.where(pre >= pre.sort(1, descending=True).values[:, [1]], pre, 0).relu()
    rest = (y - outcome.x_hat).detach()
    expected = topk(w, x, y) + error(rest, kept @ w["W_dec"][dead]) / variance(rest) / 32
    torch.testing.assert_close(outcome.loss, expected)


@pytest.mark.parametrize("family", [Family.TOPK, Family.RELU, Family.BATCHTOPK, Family.JUMPRELU, Family.GATED])
def test_in_bfloat16_the_choice_alone_is_rounded(family: Family) -> None:
    """Activations of those that were chosen are exact, and hardly another one is chosen."""
    k = 50 if family in (Family.TOPK, Family.BATCHTOPK) else None
    torch.manual_seed(0)
    x = torch.randn(256, 64)
    said: dict[str, Any] = {"family": family, "n_latents": 1024, "k": k}
    of = {each: TrainConfig(precision=each, **said) for each in (Precision.FLOAT32, Precision.BFLOAT16)}
    weights = starting_weights(of[Precision.FLOAT32], 64, 64)
    twentieth = 1.64 * (x @ weights["enc_rows"].T).std()  # fires: few enough for the sparse way
    if family == Family.JUMPRELU:
        weights["threshold"].fill_(twentieth)
    else:
        weights["b_gate" if family == Family.GATED else "b_enc"] -= twentieth
    exact, rounded = (objective(each, weights, x, x, Now()) for each in of.values())
    dense, other = exact.fired.spread(exact.acts), rounded.fired.spread(rounded.acts)
    both = (dense != 0) & (other != 0)
    torch.testing.assert_close(dense[both], other[both], rtol=1e-5, atol=1e-5)
    assert both.sum() > 0.98 * (dense != 0).sum() > 5000
    torch.testing.assert_close(exact.loss, rounded.loss, rtol=1e-2, atol=1e-2)
