"""What counts of firings say, against sums of binomial probabilities."""

import math

import pytest
import torch

from sae_core.density import Kind, at_most, histogram, interval, kind


def at_least(n: int, tokens: int, density: float) -> float:
    """The probability of n firings or more."""
    return sum(math.comb(tokens, k) * density**k * (1 - density) ** (tokens - k) for k in range(n, tokens + 1))


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("tokens", [50, 400])
def test_the_interval_holds_the_truth_as_often_as_it_says(density: float, tokens: int) -> None:
    covered = 0.0
    for n in range(tokens + 1):
        low, high = interval(n, tokens)
        assert 0 <= low <= n / tokens <= high <= 1
        if low <= density <= high:
            covered += math.comb(tokens, n) * density**n * (1 - density) ** (tokens - n)
    assert 0.92 < covered < 0.98


def test_the_ends_of_the_interval() -> None:
    assert interval(0, 100)[0] == 0
    assert interval(100, 100)[1] == 1
    assert interval(5, 100) == pytest.approx((0.02154, 0.11175), abs=1e-5)  # Wilson's, as tables give it


def test_never_fired_is_not_dead() -> None:
    for tokens in (100, 10_000):
        assert (1 - at_most(tokens)) ** tokens == pytest.approx(0.05, rel=0.07)
    assert at_most(2) == 1


@pytest.mark.parametrize(
    ("n_fired", "tokens", "expected"),
    [
        (0, 100, Kind.NEVER_FIRED),
        (0, 10**9, Kind.NEVER_FIRED),
        (9, 9_999_999, Kind.TOO_FEW_TOKENS),
        (9, 10_000_000, Kind.ULTRA_LOW),
        (10, 10_000_000, Kind.ORDINARY),
        (10, 100, Kind.ORDINARY),
        (11, 100, Kind.DENSE),
        (3, 20, Kind.DENSE),
    ],
)
def test_kinds(n_fired: int, tokens: int, expected: Kind) -> None:
    assert kind(n_fired, tokens) == expected


def test_histogram() -> None:
    found = histogram(torch.tensor([0, 0, 1, 10, 11, 1000]), 1000)
    edges, latents = found["log10_edges"], found["latents"]
    assert (edges[0], edges[-1]) == (-8, 0)
    assert {edge: count for edge, count in zip(edges, latents, strict=False) if count} == {-3.0: 1, -2.0: 2, -0.25: 1}
    assert sum(histogram(torch.tensor([1]), 10**12)["latents"]) == 1  # below the lowest bin, in it
    assert sum(histogram(torch.tensor([0]), 10)["latents"]) == 0
