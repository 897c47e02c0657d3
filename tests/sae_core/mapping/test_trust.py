"""Trustworthiness against scikit-learn's."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from sae_core.mapping import trust as module
from sae_core.mapping.trust import trust_of
from tests.sae_core.mapping.drawn import drawn, points, silence


@pytest.mark.parametrize(("n", "k"), [(5, 2), (12, 5), (31, 15), (32, 15), (300, 15)])
@pytest.mark.parametrize("tile_bytes", [1, 5000, 1 << 20])
def test_is_scikit_learns(n: int, k: int, tile_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE_BYTES", tile_bytes)
    unit = points(drawn(n)).unit
    for places in (unit[:, :2], unit[:, :2] + drawn(n, 1, d=2)):
        found = trust_of(unit, places.numpy(), n, 0, silence)
        expected = trustworthiness(unit.numpy(), places.numpy(), n_neighbors=k, metric="cosine")
        assert found.trustworthiness == pytest.approx(expected, abs=1e-9)
        assert found.trusted_on == n


def test_of_a_sample_it_is_near_that_of_all_and_the_same_for_the_same_seed() -> None:
    unit = points(drawn(800, d=4)).unit
    places = unit[:, :2].numpy()
    whole = trust_of(unit, places, 800, 0, silence)
    assert whole.trusted_on == 800
    some = [trust_of(unit, places, 300, seed, silence) for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]
    for each in some:
        assert each.trusted_on == 300
        assert each.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.02)
        assert each.trustworthiness != whole.trustworthiness


def test_points_in_one_place_are_not_their_own_neighbours() -> None:
    places = np.arange(8, dtype=np.float32).repeat(2)[:, None] * np.ones((1, 2), np.float32)
    near = module._near(places, np.arange(16), 1)
    assert near[:, 0].tolist() == [each ^ 1 for each in range(16)]
    many = np.zeros((16, 2), np.float32)
    assert all(row not in near for row, near in enumerate(module._near(many, np.arange(16), 7).tolist()))
