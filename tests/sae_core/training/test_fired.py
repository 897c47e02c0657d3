"""Products over pairs that fire, against dense ones and finite differences."""

import pytest
import torch
from torch import Tensor

from sae_core.training.fired import DENSE_ABOVE, Fired, decoded, of_indices, of_mask, products

N, D, N_LATENTS = 7, 5, 40


def few_and_many() -> list[Fired]:
    """Pairs as they fire late in a training, and early; a token and a latent without any among them."""
    generator = torch.Generator().manual_seed(0)
    chances = torch.rand(N, N_LATENTS, generator=generator)
    few, many = chances < 0.06, chances < 0.4
    for mask in (few, many):
        mask[2] = False
        mask[:, 3] = False
    few[1, :9] = True
    made = [of_mask(few), of_mask(many)]
    assert [each.dense for each in made] == [False, True]
    return made


def tensors(fired: Fired) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(N, D), (N_LATENTS, D), (len(fired.latents),), (N_LATENTS,)]
    z, rows, values, other = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes)
    return z, rows, values, other


@pytest.mark.parametrize("fired", few_and_many(), ids=["sparse", "dense"])
def test_products_are_those_of_the_dense_matrix_and_so_are_their_gradients(fired: Fired) -> None:
    z, rows, values, _ = tensors(fired)
    rows.requires_grad_()
    dense = (torch.einsum("nd,fd->nf", z, rows))[fired.tokens, fired.latents]
    (expected,) = torch.autograd.grad((dense * values).sum(), rows)
    h = products(z, rows, fired)
    (found,) = torch.autograd.grad((h * values).sum(), rows)
    torch.testing.assert_close(h, dense, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fired", few_and_many(), ids=["sparse", "dense"])
def test_decoding_is_the_dense_product_and_so_are_its_gradients(fired: Fired) -> None:
    weights, rows, values, _ = tensors(fired)
    rows.requires_grad_()
    values.requires_grad_()
    acts = torch.zeros(N, N_LATENTS, dtype=torch.float64).index_put((fired.tokens, fired.latents), values)
    dense = acts @ rows
    expected = torch.autograd.grad((dense * weights).sum(), (values, rows))
    y = decoded(values, rows, fired)
    found = torch.autograd.grad((y * weights).sum(), (values, rows))
    torch.testing.assert_close(y, dense, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fired", few_and_many(), ids=["sparse", "dense"])
def test_gradients_are_those_of_finite_differences(fired: Fired) -> None:
    z, rows, values, _ = tensors(fired)
    assert torch.autograd.gradcheck(lambda rows: products(z, rows, fired), rows.requires_grad_())
    assert torch.autograd.gradcheck(lambda values, rows: decoded(values, rows, fired), (values.requires_grad_(), rows))


def test_of_a_mask_and_of_indices_the_same_pairs() -> None:
    indices = torch.tensor([[4, 1], [0, 2], [2, 4]])
    mask = torch.zeros(3, 5, dtype=torch.bool).scatter(1, indices, True)
    by_mask, by_indices = of_mask(mask), of_indices(indices, 5)
    values = torch.arange(1.0, 7.0)
    assert by_indices.latents.tolist() == [4, 1, 0, 2, 2, 4]
    assert by_mask.latents.tolist() == [1, 4, 0, 2, 2, 4]
    assert by_mask.tokens.tolist() == by_indices.tokens.tolist() == [0, 0, 1, 1, 2, 2]
    assert by_mask.starts.tolist() == by_indices.starts.tolist() == [0, 2, 4, 6]
    assert by_indices.spread(values).tolist() == [[0, 2, 0, 0, 1], [3, 0, 4, 0, 0], [0, 0, 5, 0, 6]]


def test_the_pairs_of_some_latents_keep_their_tokens() -> None:
    fired = of_indices(torch.tensor([[4, 1], [0, 2], [2, 4]]), 5)
    within, kept = fired.of_latents(1, 3)
    assert kept.tolist() == [False, True, False, True, True, False]
    assert (within.latents.tolist(), within.tokens.tolist()) == ([1, 2, 2], [0, 1, 2])
    assert within.starts.tolist() == [0, 1, 2, 3]


def test_nothing_fires() -> None:
    fired = of_mask(torch.zeros(N, N_LATENTS, dtype=torch.bool))
    z, rows, values, _ = tensors(fired)
    rows.requires_grad_()
    values.requires_grad_()
    y = decoded(values, rows, fired)
    torch.autograd.backward(y.sum())
    assert products(z, rows, fired).shape == (0,)
    assert y.shape == (N, D)
    assert not y.any()
    assert rows.grad is not None
    assert not rows.grad.any()


def test_the_border_between_sparse_and_dense_changes_no_result() -> None:
    mask = torch.zeros(10, 40, dtype=torch.bool)
    mask.view(-1)[:: round(1 / DENSE_ABOVE)] = True  # exactly the share
    just, over = of_mask(mask), of_mask(mask | torch.eye(10, 40, dtype=torch.bool).roll(1, 1))
    assert (just.dense, over.dense) == (False, True)
    z, rows = torch.randn(10, D), torch.randn(40, D)
    shared = torch.isin(over.tokens * 40 + over.latents, just.tokens * 40 + just.latents)
    torch.testing.assert_close(products(z, rows, over)[shared], products(z, rows, just))
