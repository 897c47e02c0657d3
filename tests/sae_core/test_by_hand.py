"""The golden test: every number of the worked example, and its gradients against formulas written out in numpy."""

import numpy as np
import torch

from sae_core.loss import squared_error, weighted_l1
from tests.sae_core import by_hand

TOKENS = 5


def rows(text: str) -> torch.Tensor:
    """Numbers as the example prints them, a line for each latent or dimension, turned to a row for each token."""
    return torch.tensor([[float(each) for each in line.split()] for line in text.split("/")], dtype=torch.float64).T


PRE = rows("-8 5 -1 -5 -5 / 1 1 -1 -2 -4 / 1 -12 -6 -2 -2 / -3 -6 -6 -4 -4 / 11 -12 -2 3 1 / -3 3 1 -4 -6")
F = rows("0 5 0 0 0 / 1 1 0 0 0 / 1 0 0 0 0 / 0 0 0 0 0 / 11 0 0 3 1 / 0 3 1 0 0")
X_HAT = rows("2 6 0 0 0 / -12 0 0 -3 -1 / 13 -1 1 5 3")


def test_forward() -> None:
    sae = by_hand.sae()
    assert torch.equal(sae.pre_acts(by_hand.X), PRE)
    acts = sae.encode(by_hand.X)
    assert torch.equal(acts, F)
    assert int((acts == 0).sum()) == 21
    assert [by_hand.LATENTS[i] for i in acts[3].nonzero().flatten()] == ["Park"]
    assert [by_hand.LATENTS[i] for i in acts[4].nonzero().flatten()] == ["Park"]
    assert [by_hand.LATENTS[i] for i in (acts.sum(0) == 0).nonzero().flatten()] == ["Transit"]
    assert torch.equal(sae.decode(acts), X_HAT)
    assert torch.equal(sae(by_hand.X), X_HAT)


def test_sparse_forward() -> None:
    sae = by_hand.sae()
    sparse = sae.encode_sparse(by_hand.X)
    assert sparse.indices.tolist() == [[1, 2, 4], [0, 1, 5], [5, -1, -1], [4, -1, -1], [4, -1, -1]]
    assert sparse.values.tolist() == [[1, 1, 11], [5, 1, 3], [1, 0, 0], [3, 0, 0], [1, 0, 0]]
    assert torch.equal(sparse.dense(6), F)
    assert torch.equal(sae.decode(sparse), X_HAT)


def test_losses() -> None:
    norms = by_hand.W_DEC.norm(dim=1)
    assert norms.tolist() == [1, 1, 2**0.5, 1, 2**0.5, 1]
    assert abs(float(weighted_l1(F, by_hand.W_DEC)) * TOKENS - 33.6274) < 5e-5
    assert float(weighted_l1(F, torch.eye(6, dtype=torch.float64))) * TOKENS == 27
    assert float(squared_error(by_hand.X, X_HAT)) * TOKENS == 2439
    assert torch.equal(by_hand.X - X_HAT, rows("8 -6 4 5 3 / 29 20 18 18 14 / -8 9 7 1 3"))


def test_each_terms_own_push() -> None:
    """Pushes are descent directions: the negatives of autograd's partials, on f and on X' alone."""
    f = F.clone().requires_grad_()
    (on_f,) = torch.autograd.grad(weighted_l1(f, by_hand.W_DEC) * TOKENS, f)
    root = -(2**0.5)
    expected = torch.zeros_like(F)
    expected[1, 0] = -1  # Bridge
    expected[[0, 1], 1] = -1  # Brain
    expected[0, 2] = root  # Monuments
    expected[[0, 3, 4], 4] = root  # Park
    expected[[1, 2], 5] = -1  # Mountain
    assert torch.equal(-on_f, expected)

    x_hat = X_HAT.clone().requires_grad_()
    (on_x_hat,) = torch.autograd.grad(squared_error(by_hand.X, x_hat) * TOKENS, x_hat)
    assert torch.equal(-on_x_hat, rows("16 -12 8 10 6 / 58 40 36 36 28 / -16 18 14 2 6"))


def test_parameter_gradients() -> None:
    """The whole loss, λ = 1, through the Sae; against the chain rule written out."""
    sae = by_hand.sae().requires_grad_(True)
    acts = sae.encode(by_hand.X)
    loss = (squared_error(by_hand.X, sae.decode(acts)) + weighted_l1(acts, sae.W_dec)) * TOKENS
    names = ("W_enc", "b_enc", "W_dec", "b_dec")
    found = dict(zip(names, torch.autograd.grad(loss, [getattr(sae, name) for name in names]), strict=True))

    x, w_enc, b_enc, w_dec, b_dec = (
        each.numpy() for each in (by_hand.X, by_hand.W_ENC, by_hand.B_ENC, by_hand.W_DEC, by_hand.B_DEC)
    )
    pre = x @ w_enc + b_enc
    f = np.where(pre > 0, pre, 0)
    norms = np.sqrt((w_dec**2).sum(1))
    on_x_hat = 2 * (f @ w_dec + b_dec - x)
    on_pre = (on_x_hat @ w_dec.T + norms) * (pre > 0)
    expected = {
        "W_enc": x.T @ on_pre,
        "b_enc": on_pre.sum(0),
        "W_dec": f.T @ on_x_hat + f.sum(0)[:, None] * w_dec / norms[:, None],
        "b_dec": on_x_hat.sum(0),
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name].numpy(), gradient, rtol=1e-13, atol=1e-12, err_msg=name)
