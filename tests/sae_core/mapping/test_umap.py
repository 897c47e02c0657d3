"""Maps by UMAP, for which numba compiles some ten seconds."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_core.mapping.start import pca
from sae_core.maps import LaidOut, Limits, MapConfig, Method, make_map
from tests.sae_core.mapping.drawn import D, blobs, drawn, points

pytestmark = pytest.mark.slow


def made(rows: torch.Tensor, *, limits: Limits | None = None, **settings: Any) -> LaidOut:
    found = make_map([rows], MapConfig(**settings), limits=limits)
    assert np.isfinite(found.places).all()
    return found


def test_the_same_seed_gives_the_same_map() -> None:
    rows = drawn(120)
    one, again, other = made(rows), made(rows), made(rows, seed=1)
    assert one.places.tobytes() == again.places.tobytes()
    assert one.clusters.tobytes() == again.clusters.tobytes()
    assert one.about["sha256"] == again.about["sha256"] != other.about["sha256"]
    assert one.about["seeded"] is True
    assert one.about["sha256"] != made(rows, method=Method.TSNE).about["sha256"]
    assert one.about["sha256"] != made(rows, min_dist=0.5).about["sha256"]
    assert one.about["sha256"] != made(rows, neighbours=5).about["sha256"]


@pytest.mark.filterwarnings("ignore:n_jobs value", "ignore:precomputed_knn")
@pytest.mark.parametrize("neighbours", [2, 15])
def test_it_is_umap_learns_own_from_the_same_neighbours_and_start(neighbours: int) -> None:
    rows = drawn(120)
    found = made(rows, neighbours=neighbours, seed=3, limits=Limits(spectral=0))
    unit = points(rows).unit
    others, cosines = found.neighbours[:, : neighbours - 1], found.cosines[:, : neighbours - 1]
    indices = np.concatenate([np.arange(120)[:, None], others], 1)
    distances = np.concatenate([np.zeros((120, 1)), (1 - cosines).clip(0)], 1).astype(np.float32)
    random, start = np.random.RandomState(3), pca(unit)
    start = start * 10 / np.abs(start).max() + random.normal(scale=1e-4, size=(120, 2))
    model = import_module("umap").UMAP(
        n_neighbors=neighbours,
        min_dist=0.05,
        metric="cosine",
        n_epochs=500,
        init=start.astype(np.float32),
        random_state=random,
        precomputed_knn=(indices, distances),
    )
    expected: NDArray[np.float32] = model.fit_transform(unit.numpy())
    assert found.about["neighbours"] == neighbours
    np.testing.assert_array_equal(found.places, expected)


def test_blobs_are_clusters_and_directions_of_their_own_are_in_none() -> None:
    own = drawn(4) * (torch.arange(D) >= 8)
    found = make_map([blobs(8, 40), own])
    assert found.clusters[:, 320:].tolist() == [[-1] * 4] * 3
    for grain in found.clusters:
        of_each = {*zip(grain[:320].tolist(), (np.arange(320) // 40).tolist(), strict=True)}
        assert of_each == {(each, each) for each in range(8)}


def test_of_fewer_points_than_neighbours_all_are() -> None:
    found = made(drawn(9))
    assert found.about["neighbours"] == 9
    assert found.neighbours.shape == (9, 8)
    assert made(drawn(5)).trusted_on == 5


def test_many_of_one_direction() -> None:
    found = made(torch.cat([drawn(1).repeat(40, 1), drawn(30, 1)]))
    assert len({tuple(place) for place in found.places.tolist()}) == 70
    assert (found.neighbours[:40] < 40).all()
    made(drawn(2).repeat_interleave(20, 0))


def test_starts() -> None:
    rows = drawn(120)
    assert made(rows).about["start"] == "spectral"
    assert made(rows, limits=Limits(spectral=119)).about["start"] == "pca"
    assert made(blobs(8, 40)).about["start"] == "pca"  # nothing joins them


def test_more_points_than_one_thread_lays_out() -> None:
    found = made(drawn(120), limits=Limits(seeded=119))
    assert found.about["seeded"] is False
    assert found.trustworthiness > 0.7


class Cancelled(Exception):
    pass


@pytest.mark.parametrize(("total", "done"), [(0, 3), (500, 7)], ids=["start", "layout"])
def test_what_a_step_raises_ends_it_and_breaks_nothing(total: int, done: int) -> None:
    rows, numba = drawn(120), import_module("numba")
    undisturbed, threads = made(rows), numba.get_num_threads()
    heard: list[tuple[int, int]] = []

    def on_step(done_: int, total_: int, what: str) -> None:
        if what == "Layout":
            heard.append((done_, total_))
            if heard[-1] == (done, total):
                raise Cancelled

    with pytest.raises(Cancelled):
        make_map([rows], on_step=on_step)
    assert heard[-done:] == [(each, total) for each in range(1, done + 1)]
    assert numba.get_num_threads() == threads
    assert made(rows).about["sha256"] == undisturbed.about["sha256"]
