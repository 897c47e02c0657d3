"""Which latents are kept: against sorting everything."""

import pytest
import torch

from sae_core.training.choosing import above, largest, largest_of_batch


def pre_acts(n: int = 130, n_latents: int = 50) -> torch.Tensor:
    return torch.randn(n, n_latents, generator=torch.Generator().manual_seed(n))


def test_the_k_largest_of_each_token() -> None:
    pre = pre_acts()
    fired = largest(pre, 4)
    kept = fired.spread(torch.ones(len(fired.latents))) > 0
    assert torch.equal(kept, pre >= pre.sort(1, descending=True).values[:, [3]])


@pytest.mark.parametrize("n", [1, 63, 64, 130, 500])
@pytest.mark.parametrize("k", [1, 7, 20, 50])
def test_the_largest_of_the_batch(n: int, k: int) -> None:
    """Whether the threshold guessed from some rows was low enough or not."""
    pre = pre_acts(n)
    for each in (pre, pre * torch.linspace(0.1, 10, n)[:, None], pre * torch.linspace(10, 0.1, n)[:, None]):
        fired = largest_of_batch(each, k)
        ranked = each.flatten().sort(descending=True).values
        expected = (each >= ranked[min(k * n, each.numel()) - 1]) & (each > 0)
        kept = fired.spread(torch.ones(len(fired.latents))) > 0
        assert torch.equal(kept, expected)
        assert (fired.tokens.diff() >= 0).all()
        assert fired.starts.tolist() == [0, *expected.sum(1).cumsum(0).tolist()]


def test_a_few_rows_that_mislead_the_guess() -> None:
    """The sampled rows are the only large ones: fewer than wanted pass their threshold, and all are looked at."""
    pre = pre_acts(1280).abs() * 1e-3
    pre[:: 1280 // 64] += 100
    fired = largest_of_batch(pre, 10)
    assert len(fired.latents) == 12_800


def test_above_a_threshold_strictly() -> None:
    fired = above(torch.tensor([[0.0, 1.0, 2.0], [3.0, -1.0, 1.0]]), torch.tensor([0.0, 1.0, 1.0]))
    assert list(zip(fired.tokens.tolist(), fired.latents.tolist(), strict=True)) == [(0, 2), (1, 0)]
