"""Maps of `explored` that were laid out by hand, in rows and columns, so that a test knows what lies where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from django.contrib.auth.models import User
from numpy.typing import NDArray

from explorer.models import FeatureMap, Job, Sae
from explorer.queries import library, maps
from explorer.work.attempt import Attempt
from explorer.work.loading import load_collection
from explorer.work.map import keep, part_of
from sae_core import collect_evidence, open_corpus
from sae_core.maps import LaidOut, MapConfig, Table
from sae_core.sae import Sae as CoreSae
from tests.explored import SILENT, Explored, Read
from tests.work.added import claimed
from tests.work.collected import sae_row, small_sae

NEAR = 4  # neighbours that are kept
CLUSTERS = ((15, 10), (9, 8, 7), (6, 5))  # how many of the first points are in each, by grain; all others in none
EDGE = 0.03
TRUSTED = 0.875


@dataclass(frozen=True)
class OnMap:
    """A map, and what was laid out: by number of part and index, in the order in which it was given."""

    explored: Explored
    map: FeatureMap
    saes: list[CoreSae]
    keys: list[tuple[int, int]]

    @property
    def page(self) -> str:
        return f"/maps/{self.map.pk}/"

    @property
    def rows(self) -> list[Sae]:
        return [part.sae for part in self.map.parts.order_by("number")]

    def place(self, part: int, index: int) -> tuple[float, float]:
        """Where it lies, from 0 to 1."""
        column, row = place_of(self.keys.index((part, index)), len(self.keys))
        steps = side(len(self.keys)) - 1
        x, y = (EDGE + (1 - 2 * EDGE) * each / steps for each in (column, row))
        return x, y

    def direction(self, part: int, index: int) -> NDArray[np.float64]:
        row = self.saes[part].W_dec[index].double().numpy()
        found: NDArray[np.float64] = row / np.linalg.norm(row)
        return found

    def cosine(self, one: tuple[int, int], other: tuple[int, int]) -> float:
        return float(self.direction(*one) @ self.direction(*other))

    def clusters_of(self, part: int, index: int) -> list[int]:
        number = self.keys.index((part, index))
        return [cluster_of(number, sizes) for sizes in CLUSTERS]


def side(n: int) -> int:
    return int(np.ceil(np.sqrt(n)))


def place_of(number: int, n: int) -> tuple[int, int]:
    """The column and the row: columns one after the other, each from its end, so that an order by y is another one."""
    return number // side(n), side(n) - 1 - number % side(n)


def cluster_of(number: int, sizes: Sequence[int]) -> int:
    return next((each for each, end in enumerate(np.cumsum(sizes)) if number < end), -1)


def nearest(directions: NDArray[np.float64], among: NDArray[np.int64], k: int) -> Table:
    """Of each the k nearest others of those, by cosine, and how near.  # (n, d) -> (n, k) each"""
    cosines = directions @ directions[among].T
    cosines[among[None] == np.arange(len(directions))[:, None]] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Table(among[order].astype(np.int32), np.take_along_axis(cosines, order, 1).astype(np.float32))


def laid_out(saes: Sequence[CoreSae]) -> LaidOut:
    """All but the silent feature of each; the smaller SAE is given first."""
    of = np.concatenate([np.full(sae.n_latents, part) for part, sae in enumerate(saes)])
    index = np.concatenate([np.arange(sae.n_latents) for sae in saes])
    rows = np.flatnonzero(index != SILENT)
    W_dec = np.concatenate([sae.W_dec.double().numpy() for sae in saes])[rows]
    unit = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    n = len(rows)
    neighbours, cosines = nearest(unit, np.arange(n), NEAR)
    parents = np.full(n, -1, np.int32)
    if len(saes) > 1:
        parents[of[rows] == 1] = nearest(unit, np.flatnonzero(of[rows] == 0), 1).neighbours[of[rows] == 1, 0]
    return LaidOut(
        rows=rows,
        places=np.array([place_of(each, n) for each in range(n)], np.float32),
        neighbours=neighbours,
        cosines=cosines,
        parents=parents,
        clusters=np.array([[cluster_of(each, sizes) for each in range(n)] for sizes in CLUSTERS], np.int32),
        trustworthiness=TRUSTED,
        trusted_on=n,
        about={
            "method": "umap", "neighbours": 15, "min_dist": 0.05, "metric": "cosine", "seed": 0, "seeded": True,
            "start": "spectral", "points": n, "left_out": {"silent": len(saes), "without_direction": 0},
            "seconds": {"all": 1.5},
        },
    )  # fmt: skip


def kept(
    rows: Sequence[Sae], saes: Sequence[CoreSae], by: User | None = None, config: MapConfig | None = None
) -> FeatureMap:
    attempt: Attempt = claimed("map", {})
    attempt.job.created_by = by
    parts = [part_of(found) for row in rows if (found := library.sae(row.slug))]
    made = keep(attempt, parts, config or MapConfig(), laid_out(saes))
    Job.objects.filter(pk=attempt.job.pk).delete()
    shown = maps.feature_map(made.pk)
    assert shown
    return shown


def made(
    explored: Explored,
    rows: Sequence[Sae],
    saes: Sequence[CoreSae],
    by: User | None = None,
    config: MapConfig | None = None,
) -> OnMap:
    keys = [(part, index) for part, sae in enumerate(saes) for index in range(sae.n_latents) if index != SILENT]
    return OnMap(explored, kept(rows, saes, by, config), list(saes), keys)


@pytest.fixture
def on_map(explored: Explored) -> OnMap:
    return made(explored, [explored.sae], [explored.read.sae])


@pytest.fixture(scope="session")
def smaller(read: Read, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Another SAE of the same hookpoint, over the same text."""
    sae, evidence = small_sae(12, seed=1), tmp_path_factory.mktemp("smaller") / "evidence.safetensors"
    opened = open_corpus(read.corpus)
    collect_evidence(read.lm, [sae], opened.contexts, [evidence], lengths=opened.lengths, pieces=opened.pieces)
    return Read(read.lm, sae, read.corpus, evidence)


@pytest.fixture
def joint(explored: Explored, smaller: Read) -> OnMap:
    """Of both: the smaller is part 0."""
    row = sae_row(smaller.lm, smaller.sae, "a smaller SAE")
    load_collection(row, explored.corpus, smaller.evidence)
    return made(explored, [row, explored.sae], [smaller.sae, explored.read.sae])
