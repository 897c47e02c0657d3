"""Whole maps, by t-SNE, which needs nothing compiled."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from sae_core.errors import BadInput
from sae_core.maps import LaidOut, Limits, MapConfig, Method, Table, make_map
from tests.sae_core.mapping.drawn import cosines, drawn, nearest

TSNE = MapConfig(Method.TSNE, perplexity=4)
PHASES = ["Nearest directions", "Parents", "Layout", "Clusters", "Trustworthiness"]


def same(one: LaidOut, other: LaidOut) -> bool:
    return one.places.tobytes() == other.places.tobytes() and one.about["sha256"] == other.about["sha256"]


def test_a_map_of_two_saes() -> None:
    large, small = drawn(44, 1), drawn(12, 2)
    small[3] = 0
    alive = np.ones(44, np.bool_)
    alive[[0, 20]] = False
    made = make_map([large, small], TSNE, alive=[alive, None])
    rows = torch.cat([large, small])[made.rows]
    assert made.rows.tolist() == [each for each in range(56) if each not in (0, 20, 47)]
    assert (made.places.shape, str(made.places.dtype)) == ((53, 2), "float32")
    assert np.isfinite(made.places).all()
    indices, values = nearest(rows, 12)
    np.testing.assert_array_equal(made.neighbours, indices)
    np.testing.assert_allclose(made.cosines, values, atol=1e-6)
    np.testing.assert_array_equal(made.parents[:42], 42 + cosines(rows[:42], rows[42:]).argmax(1))
    assert (made.parents[42:] == -1).all()
    assert made.clusters.shape == (3, 53)
    expected = trustworthiness(rows.numpy(), made.places, n_neighbors=15, metric="cosine")
    assert made.trustworthiness == pytest.approx(expected, abs=1e-9)
    assert made.trusted_on == 53
    about = json.loads(json.dumps(made.about))
    assert about.pop("seconds").keys() == {
        "neighbours", "parents", "layout", "clusters", "trustworthiness", "all"
    }  # fmt: skip
    assert about.pop("versions").keys() >= {"openTSNE", "torch", "numpy"}
    assert about == {
        "method": "tsne",
        "perplexity": 4,
        "neighbours": 12,
        "metric": "euclidean",
        "iterations": 750,
        "seed": 0,
        "seeded": True,
        "start": "pca",
        "device": "cpu",
        "points": 53,
        "left_out": {"silent": 2, "without_direction": 1},
        "smallest_clusters": [5, 5, 5],
        "sha256": hashlib.sha256(made.places.tobytes()).hexdigest(),
    }


def test_the_same_seed_gives_the_same_map() -> None:
    rows = drawn(40)
    one, again = make_map([rows], TSNE), make_map([rows], TSNE)
    other = make_map([rows], MapConfig(Method.TSNE, perplexity=4, seed=1))
    assert same(one, again)
    assert not same(one, other)
    assert other.about["seed"] == 1


def test_what_is_near_in_direction_lies_near() -> None:
    made = make_map([drawn(60, d=3)], TSNE)
    assert made.trustworthiness > 0.9


def test_known_neighbours_give_the_same_map() -> None:
    rows, alive = drawn(60), np.arange(60) != 7
    neighbours, values = nearest(rows, 16)
    known = Table(neighbours.astype(np.int32), values.astype(np.float32))
    one, other = (make_map([rows], TSNE, alive=[alive], known=each) for each in (known, None))
    np.testing.assert_array_equal(one.neighbours, other.neighbours)
    np.testing.assert_allclose(one.cosines, other.cosines, atol=1e-6)


def test_of_few_points_all_are_neighbours_and_the_perplexity_is_what_they_allow() -> None:
    made = make_map([drawn(13)], MapConfig(Method.TSNE, perplexity=30))
    assert (made.about["neighbours"], made.about["perplexity"]) == (12, 4)
    fewest = make_map([drawn(5)], MapConfig(Method.TSNE))
    assert fewest.neighbours.shape == (5, 4)
    assert fewest.trusted_on == 5
    assert (fewest.clusters == -1).all()


def test_a_map_keeps_sixteen_neighbours_at_most() -> None:
    made = make_map([drawn(40)], MapConfig(Method.TSNE, perplexity=8))
    assert made.about["neighbours"] == 24
    assert made.neighbours.shape == made.cosines.shape == (40, 16)


def test_many_of_one_direction() -> None:
    rows = torch.cat([drawn(1).repeat(30, 1), drawn(20, 1)])
    made = make_map([rows], TSNE)
    assert np.isfinite(made.places).all()
    assert (made.neighbours[:30] < 30).all()


def test_more_points_than_the_limits() -> None:
    made = make_map([drawn(40)], TSNE, limits=Limits(seeded=39, trusted=20))
    assert made.about["seeded"] is False
    assert made.trusted_on == 20


def test_it_says_how_far_it_is() -> None:
    heard: list[tuple[int, int, str]] = []
    make_map([drawn(40), drawn(50, 1)], TSNE, on_step=lambda *step: heard.append(step))
    assert list(dict.fromkeys(what for _, _, what in heard)) == PHASES
    laid = [done for done, total, what in heard if what == "Layout" and total == 750]
    assert laid == list(range(10, 751, 10))


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("phase", PHASES)
def test_what_a_step_raises_ends_it_and_breaks_nothing(phase: str) -> None:
    rows = [drawn(40), drawn(50, 1)]
    undisturbed = make_map(rows, TSNE)

    def on_step(done: int, total: int, what: str) -> None:
        if what == phase and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        make_map(rows, TSNE, on_step=on_step)
    assert same(make_map(rows, TSNE), undisturbed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pca"}, "method is 'pca', expected one of umap, tsne"),
        ({"neighbours": 1}, "neighbours is 1, expected a whole number from 2 to 200"),
        ({"neighbours": 201}, "neighbours is 201"),
        ({"neighbours": 15.0}, "neighbours is 15.0"),
        ({"neighbours": True}, "neighbours is True"),
        ({"min_dist": -0.1}, "min_dist is -0.1, expected a number from 0 to 1"),
        ({"min_dist": 1.01}, "min_dist is 1.01"),
        ({"min_dist": float("nan")}, "min_dist is nan"),
        ({"perplexity": 0.5}, "perplexity is 0.5, expected a number from 1 to 100"),
        ({"perplexity": float("inf")}, "perplexity is inf"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0 to 4294967295"),
        ({"seed": 1 << 32}, "seed is 4294967296"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        MapConfig(**settings)


def test_the_neighbours_of_one_sae_are_not_those_of_several() -> None:
    known = Table(np.zeros((8, 2), np.int32), np.zeros((8, 2), np.float32))
    with pytest.raises(BadInput, match="the known neighbours are of one SAE, and the map is of 2"):
        make_map([drawn(8), drawn(8)], known=known)


def test_nothing_that_takes_seconds_is_loaded_before_it_is_needed() -> None:
    heavy = "{'umap', 'openTSNE', 'numba', 'sklearn'}"
    code = f"import sys, sae_core.maps, sae_core.mapping.command; print({heavy} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "set()"
