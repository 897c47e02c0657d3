"""Made-up maps for `benchmarks/map.py`, and who looks at them; imported once Django is set up."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from numpy.typing import NDArray

from explorer import artifacts, vocabulary
from explorer.models import FeatureMap, LanguageModel, MapPart, Sae
from explorer.work.mapping.clusters import clusters
from explorer.work.mapping.legends import legends
from explorer.work.mapping.places import in_unit_square
from explorer.work.mapping.tiles import tile_file
from explorer.work.opening import scratch
from sae_core.array_files import write_arrays

NEAR, GRAINS, TOKENS = 15, (12, 60, 300), 5_000
SPREAD, ALONE = 0.012, 0.15  # of a cluster; the share of points that lie in none

ABOUT = {
    "neighbours": NEAR, "min_dist": 0.05, "seed": 0, "seeded": True, "start": "none", "trustworthiness": 1.0,
    "left_out": {"silent": 0, "without_direction": 0}, "seconds": {"all": 0.0},
}  # fmt: skip

Columns = dict[str, NDArray[Any]]


def fill(sizes: Sequence[int]) -> dict[str, Any]:
    """How a viewer signs in, and the address of each map."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    client = Client()
    client.force_login(User.objects.create_user("viewer"))
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    maps = {n: _map(n) for n in sizes}
    return {"session": [settings.SESSION_COOKIE_NAME, session], "maps": maps}


def _map(n: int) -> str:
    sae = _sae(n)
    made = columns(n)
    bars = legends(made)
    with scratch() as folder:
        write_arrays(folder / "points", made, {})
        with (folder / "points").open("rb") as file:
            points = artifacts.put(file, name="points")
    tiles = artifacts.put(io.BytesIO(tile_file(made, bars)), name="tiles")
    unclustered = [int((grain < 0).sum()) for grain in made["cluster"]]
    found = FeatureMap.objects.create(
        asked={"method": "umap"},
        about=ABOUT | {"unclustered": unclustered, "trusted_on": n},
        clusters=clusters(made),
        legends={name: legend.bars for name, legend in bars.items()},
        n_points=n,
        points=points,
        tiles=tiles,
    )
    MapPart.objects.create(map=found, number=0, sae=sae, n_points=n, n_silent=0)
    return f"/saes/{sae.slug}/map/"


def _sae(n: int) -> Sae:
    words = [f" word{number}".encode() for number in range(TOKENS)]
    lm, _ = LanguageModel.objects.get_or_create(
        fingerprint="f",
        defaults={
            "slug": "lm", "name": "lm", "source": "lm", "kind": "gpt2", "n_layers": 1, "d_model": 1, "n_vocab": TOKENS,
            "vocabulary": artifacts.put(io.BytesIO(vocabulary.write(words, [])), name="words"),
        },
    )  # fmt: skip
    return Sae.objects.create(
        slug=f"map-{n}", name=f"map {n}", lm=lm, hookpoint="h", family="relu", d_in=1, d_out=1, n_latents=n, config={},
        fingerprint=str(n),
    )  # fmt: skip


def columns(n: int) -> Columns:
    """Clusters within clusters, some ten thousand times as dense as what lies between."""
    rng = np.random.default_rng(n)
    fine = rng.integers(GRAINS[-1], size=n)
    middles = rng.normal(size=(GRAINS[0], 2))[np.arange(GRAINS[-1]) % GRAINS[0]] + rng.normal(
        scale=0.35, size=(GRAINS[-1], 2)
    )
    places = middles[fine] + rng.normal(scale=SPREAD, size=(n, 2)) * rng.gamma(2, size=(n, 1))
    alone = rng.random(n) < ALONE
    places[alone] = rng.normal(scale=1.6, size=(int(alone.sum()), 2))
    unit = in_unit_square(places.astype(np.float32))
    order = np.argsort(unit[:, 1], kind="stable")
    unit, fine, alone = unit[order], fine[order], alone[order]
    grains = [np.where(alone, -1, fine % (GRAINS[0] * scale)) for scale in (1, 5, 25)]
    index = rng.permutation(n).astype(np.int32)
    return {
        "x": unit[:, 0],
        "y": unit[:, 1],
        "part": np.zeros(n, np.uint8),
        "index": index,
        "cluster": np.stack([_by_size(grain) for grain in grains]),
        "near": np.full((n, NEAR), -1, np.int32),
        "cosine": np.zeros((n, NEAR), np.float32),
        "parent": np.full(n, -1, np.int32),
        "rank": rng.permutation(n).astype(np.int32),
        "density": 10 ** rng.normal(-3, 1, n).clip(-7, 0),
        "maximum": rng.gamma(2, size=n).astype(np.float32),
        "mean": rng.gamma(2, size=n).astype(np.float32),
        "token": ((fine * 7 + rng.integers(20, size=n)) % TOKENS).astype(np.int32),
        "place_0": np.argsort(index).astype(np.int32),
    }


def _by_size(grain: NDArray[np.int64]) -> NDArray[np.int32]:
    """Numbered from the largest on."""
    counts = np.bincount(grain[grain >= 0])
    number = np.empty(len(counts), np.int32)
    number[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.where(grain >= 0, number[grain], -1).astype(np.int32)
