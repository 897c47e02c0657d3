"""Which latents fire together, against all pairs counted in one dense product."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_core.collecting import together
from sae_core.collecting.together import cofiring

LEAST = 2  # tokens at which two fire together; once is chance


def audit_of(fires: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """fires (tokens, F)"""
    starts = np.concatenate([[0], np.cumsum(fires.sum(1))])
    return {
        "audit_token": np.arange(len(fires)),
        "audit_start": starts,
        "audit_latent": np.nonzero(fires)[1].astype(np.int32),
    }


def found_in(fires: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return cofiring(audit_of(fires), fires.shape[1], lambda: None)


def pairs(fires: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At how many tokens each two fire, and phi; −2 for itself and what is chance.  # (F, F)"""
    n, single = len(fires), fires.sum(0).astype(np.float64)
    both = (fires.astype(np.float64).T @ fires).astype(np.int64)  # exact, and faster than in whole numbers
    spread = np.sqrt(np.outer(single * (n - single), single * (n - single)))
    phi = np.where(spread > 0, (n * both - np.outer(single, single)) / np.where(spread > 0, spread, 1), 0)
    phi[both < LEAST] = -2
    np.fill_diagonal(phi, -2)
    return both, phi


def is_right(found: dict[str, NDArray[Any]], fires: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Every pair that is named, and their order; gives back the best phi of each latent that there are."""
    both, phi = pairs(fires)
    for latent, others in enumerate(found["cofire"].tolist()):
        there = [each for each in others if each >= 0]
        assert others == there + [-1] * (10 - len(there))
        assert len(set(there)) == len(there)
        assert latent not in there
        values = found["cofire_phi"][latent]
        np.testing.assert_allclose(values[: len(there)], phi[latent, there], rtol=1e-6, atol=1e-7)
        assert (values[len(there) :] == -2).all()
        assert (np.diff(values) <= 0).all()
        assert found["cofire_n"][latent].tolist() == both[latent, there].tolist() + [0] * (10 - len(there))
    return -np.sort(-phi, axis=1)[:, :10]


def drawn(n: int, shares: NDArray[np.float64], seed: int = 0) -> NDArray[np.bool_]:
    """Latents that fire in groups, so that some belong together."""
    rng = np.random.default_rng(seed)
    topics = rng.random((n, 8)) < 0.3
    of_group = topics[:, np.arange(len(shares)) % 8]
    return rng.random((n, len(shares))) < shares * np.where(of_group, 2.0, 0.5)


@pytest.mark.parametrize("n_latents", [1, 2, 9, 10, 29, 30, 31, 200])
def test_all_pairs_of_latents_that_fire_at_few_tokens(n_latents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "BLOCK", 7000)
    fires = drawn(1500, np.geomspace(0.0005, 0.07, n_latents))
    assert fires.sum(0).max() <= together.OFTEN
    found = found_in(fires)
    np.testing.assert_allclose(found["cofire_phi"], padded(is_right(found, fires)), rtol=1e-6, atol=1e-7)


def padded(best: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = np.full((len(best), 10), -2.0)
    wide[:, : best.shape[1]] = best
    return wide


def test_of_latents_that_fire_often_a_thousand_tokens_tell_nearly_all() -> None:
    """What is named is exact; at most one in twenty of the strongest pairs is not named."""
    fires = drawn(12_000, np.geomspace(0.01, 0.5, 200))
    often = fires.sum(0) > together.OFTEN
    assert often.sum() > 50
    found = found_in(fires)
    best = is_right(found, fires)
    few = ~often
    np.testing.assert_allclose(found["cofire_phi"][few], best[few], rtol=1e-6, atol=1e-7)
    missed = found["cofire_phi"][often][:, :, None] < best[often][:, None, :] - 1e-6
    assert missed[:, np.arange(10), np.arange(10)][:, :5].mean() < 0.05


def test_a_latent_that_fires_often_and_with_few_others_is_not_its_own() -> None:
    fires = np.zeros((4000, 40), np.bool_)
    fires[:2400, 0] = fires[:360, 1] = fires[2000:2080, 2] = True
    found = found_in(fires)
    is_right(found, fires)
    assert found["cofire"][0].tolist() == [1, 2] + [-1] * 8


def test_those_that_fire_together_once_take_no_place() -> None:
    """Forty others fire at one token each, all of them where this does: by phi each is nearer than what fires there
    twice, and none is listed."""
    fires = np.zeros((2000, 42), np.bool_)
    fires[:100, 0] = True
    fires[np.arange(40), np.arange(1, 41)] = True
    fires[98:160, 41] = True
    found = found_in(fires)
    is_right(found, fires)
    assert found["cofire"][0].tolist() == [41] + [-1] * 9
    assert found["cofire_n"][0, 0] == 2


def test_of_equals_the_lower_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are looked at closely."""
    fires = np.zeros((500, 90), np.bool_)
    fires[:50, 80] = True
    fires[:20, :80] = True
    for block in (1, 1 << 20):
        monkeypatch.setattr(together, "BLOCK", block)
        found = found_in(fires)
        assert found["cofire"][80].tolist() == list(range(10))
        assert found["cofire"][0].tolist() == list(range(1, 11))


def test_an_audit_of_nothing() -> None:
    for fires in (np.zeros((0, 12), np.bool_), np.zeros((50, 12), np.bool_)):
        found = found_in(fires)
        assert (found["cofire"] == -1).all()
        assert (found["cofire_n"] == 0).all()
        assert (found["cofire_phi"] == -2).all()


def test_latents_that_fire_everywhere_are_together_by_chance() -> None:
    """phi has no spread there, and is 0."""
    fires = np.ones((300, 3), np.bool_)
    fires[::2, 2] = False
    found = found_in(fires)
    is_right(found, fires)
    assert found["cofire_phi"][0, :2].tolist() == [0, 0]
