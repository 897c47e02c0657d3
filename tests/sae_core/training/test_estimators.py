"""Straight-through estimators: true derivatives where there are any, the stated ones elsewhere."""

import torch
from torch import Tensor

from sae_core.training.estimators import jumprelu, step

WIDTH = 0.2
# θ = 1: far below, just outside, just inside the window on both sides, just outside, far above.
Z = torch.tensor([-2.0, 0.2, 0.89, 0.91, 0.99, 1.01, 1.09, 1.11, 3.0], dtype=torch.float64)
THETA = torch.ones_like(Z)
INSIDE = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0], dtype=torch.float64)


def gradients(of: Tensor, z: Tensor, theta: Tensor) -> tuple[Tensor | None, Tensor | None]:
    z_grad, theta_grad = torch.autograd.grad(of.sum(), (z, theta), allow_unused=True)
    return z_grad, theta_grad


def test_forward() -> None:
    assert jumprelu(Z, THETA, WIDTH).tolist() == [0, 0, 0, 0, 0, 1.01, 1.09, 1.11, 3.0]
    assert step(Z, THETA, WIDTH).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert jumprelu(torch.ones(1), torch.ones(1), WIDTH).item() == 0  # strictly above


def test_by_z_jumprelu_has_its_true_derivative() -> None:
    """Finite differences, everywhere but at the step itself."""
    z, theta = Z.clone().requires_grad_(), THETA.clone().requires_grad_()
    found, _ = gradients(jumprelu(z, theta, WIDTH), z, theta)
    h = 1e-6
    differences = (jumprelu(Z + h, THETA, WIDTH) - jumprelu(Z - h, THETA, WIDTH)) / (2 * h)
    assert found is not None
    torch.testing.assert_close(found, differences, rtol=1e-8, atol=1e-8)


def test_by_theta_both_have_the_stated_estimate() -> None:
    theta = THETA.clone() * 1.5
    z = (Z + 0.5).requires_grad_()
    theta.requires_grad_()
    _, of_jumprelu = gradients(jumprelu(z, theta, WIDTH), z, theta)
    by_z, of_step = gradients(step(z, theta, WIDTH), z, theta)
    assert of_jumprelu is not None
    assert of_step is not None
    torch.testing.assert_close(of_jumprelu, -1.5 / WIDTH * INSIDE)
    torch.testing.assert_close(of_step, -1 / WIDTH * INSIDE)
    assert by_z is None or not by_z.any()


def test_the_estimate_is_the_derivative_of_the_mean() -> None:
    """What the estimator is for: over z spread evenly, its mean is how the mean of the function changes with θ."""
    z = torch.linspace(0, 3, 300_001, dtype=torch.float64)
    theta = torch.tensor(1.2, dtype=torch.float64)
    for function, true in ((jumprelu, -1.2 / 3), (step, -1 / 3)):
        each = theta.expand_as(z).clone().requires_grad_()
        torch.autograd.backward(function(z, each, WIDTH).mean())
        assert each.grad is not None
        assert abs(each.grad.sum().item() - true) < 1e-4
        h = 1e-2
        lower, higher = (function(z, (theta + d).expand_as(z), WIDTH).mean().item() for d in (-h, h))
        assert abs((higher - lower) / (2 * h) - true) < 1e-3


def test_gradients_that_come_from_above_are_carried_on() -> None:
    z, theta = torch.tensor([1.05], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    torch.autograd.backward(3 * jumprelu(z, theta, WIDTH))
    assert z.grad is not None
    assert theta.grad is not None
    assert z.grad.item() == 3
    assert abs(theta.grad.item() + 3 / WIDTH) < 1e-5
