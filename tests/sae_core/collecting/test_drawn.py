"""What is drawn is drawn uniformly: by chi-square, within a bound that all but one of a million fair draws keep. Lots
are hashes, so that each test gives the same whenever it is run."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_core.collecting.accumulators import Accumulators, Firings
from sae_core.collecting.lists import figures_and_lists
from sae_core.collecting.looking_up import Audit
from sae_core.collecting.spill import Scanned

LATENTS, CONTEXTS, LENGTH = 1500, 60, 16


def is_uniform(counts: NDArray[np.int64], expected: NDArray[np.float64] | float) -> None:
    """By the normal approximation of chi-square, good where there are many cells and some draws in each."""
    assert np.broadcast_to(expected, counts.shape).min() >= 5
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = counts.size - 1
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[Any]]:
    """Every latent fires at every third token, and as strongly as any other there; half of them in early contexts
    more strongly than in later ones, so that what is drawn first has to make room."""
    token = np.arange(0, CONTEXTS * LENGTH, 3)
    latent = np.tile(np.arange(LATENTS), len(token))
    token = np.repeat(token, LATENTS)
    later = token // LENGTH / CONTEXTS
    # From 1 down to 0.3 or up from it: the maximum comes first or last, and the lowest fifth stays empty.
    act = np.where(latent % 2, 1 - 0.7 * later, 0.3 + 0.7 * later).astype(np.float32)
    kept = Accumulators(LATENTS, 1)
    ids = np.random.default_rng(0).integers(0, 50, (CONTEXTS, LENGTH))
    for first in range(0, CONTEXTS, 4):
        some = (token >= first * LENGTH) & (token < (first + 4) * LENGTH)
        kept.add(Firings(token[some] - first * LENGTH, latent[some], act[some]), ids[first : first + 4], first)
    return figures_and_lists(kept)


def per_context(token: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(token // LENGTH, minlength=CONTEXTS)


FIRING = np.arange(0, CONTEXTS * LENGTH, 3)


def test_the_first_of_a_strip_is_any_token(arrays: dict[str, NDArray[Any]]) -> None:
    drawn = arrays["strip_context"][:, 0] * LENGTH + arrays["strip_position"][:, 0]
    counts = np.bincount(drawn, minlength=CONTEXTS * LENGTH)
    assert counts[np.setdiff1d(np.arange(CONTEXTS * LENGTH), FIRING)].sum() == 0
    together = counts[FIRING].reshape(-1, 5).sum(1)  # five tokens a cell
    is_uniform(together, LATENTS / len(together))


@pytest.mark.parametrize("parity", [0, 1])
def test_a_strip_is_of_any_context(arrays: dict[str, NDArray[Any]], parity: int) -> None:
    """Contexts have five or six firings each; all ten together, wherever the maximum came."""
    context = arrays["strip_context"][parity::2]
    assert (context >= 0).all()
    is_uniform(np.bincount(context.ravel(), minlength=CONTEXTS), context.size * per_context(FIRING) / len(FIRING))


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("interval", [1, 2, 3, 4])
def test_an_interval_is_of_any_token_in_it(arrays: dict[str, NDArray[Any]], parity: int, interval: int) -> None:
    edges = arrays["interval_edge"][parity]
    later = FIRING // LENGTH / CONTEXTS
    act = np.where(parity, 1 - 0.7 * later, 0.3 + 0.7 * later).astype(np.float32)
    within = FIRING[(act >= edges[interval]) & ((act < edges[interval + 1]) | (interval == 4))]
    assert arrays["interval_n_fired"][parity, interval] == len(within)
    first = arrays["interval_context"][parity::2, interval, 0] * LENGTH
    first += arrays["interval_position"][parity::2, interval, 0]
    counts = np.bincount(first, minlength=CONTEXTS * LENGTH)[within]
    assert counts.sum() == LATENTS / 2
    is_uniform(counts, LATENTS / 2 / len(within))
    context = arrays["interval_context"][parity::2, interval]
    cells = np.flatnonzero(per_context(within))
    is_uniform(
        np.bincount(context.ravel(), minlength=CONTEXTS)[cells],
        context.size * per_context(within)[cells] / len(within),
    )


def test_lots_of_latents_know_nothing_of_each_other(arrays: dict[str, NDArray[Any]]) -> None:
    """Which context the first of a strip is from, of a latent and of the next, in six by six parts of the text."""
    part = arrays["strip_context"][:, 0] // (CONTEXTS // 6)
    counts = np.bincount(part[:-1] * 6 + part[1:], minlength=36)
    is_uniform(counts, (LATENTS - 1) / 36)


@pytest.mark.parametrize("at_most", [500, 5000, 16_000])
def test_the_audit_is_of_any_tokens_that_count(at_most: int) -> None:
    n = 40_000
    counted = np.arange(n) % 5 > 0
    audit = Audit(int(counted.sum()), at_most)
    nothing = np.zeros(0, np.int32)
    for first in range(0, n, 800):  # fifty contexts of sixteen tokens at a time
        here = counted[first : first + 800]
        starts = np.zeros(801, np.int64)
        audit.see(Scanned(first // 16, here, starts, nothing.astype(np.int64), nothing, np.zeros(0, np.float32)), 16)
    drawn = audit.arrays()["audit_token"]
    assert abs(len(drawn) - at_most) < 5 * np.sqrt(at_most)
    assert len(drawn) <= at_most
    assert counted[drawn].all()
    assert (np.diff(drawn) > 0).all()
    # Of so large a share of all, less is left to chance than in draws with putting back.
    left_to_chance = np.sqrt(1 - at_most / counted.sum())
    for cells in (np.bincount(drawn // 400, minlength=100), np.bincount(drawn % 5)[1:], np.bincount(drawn % 16)):
        expected = len(drawn) / len(cells)
        assert abs(cells - expected).max() < 5 * np.sqrt(expected) * max(left_to_chance, 0.2)
