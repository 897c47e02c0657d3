"""A feature's strongest examples, computed again: what the lm and the SAE say, beside what the rows hold."""

import contextlib
import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.actions import jobs
from explorer.models import Activity, Collection, Sae
from explorer.models.jobs import JobState
from explorer.queries import features, library
from explorer.work import recompute
from sae_core import Family
from sae_core.config import NEEDS_K
from tests.sae_core.random_saes import make
from tests.work.running import Shelf, found, work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def collected(shelf: Shelf, tmp_path: Path) -> Sae:
    np.save(tmp_path / "ids.npy", np.random.default_rng(0).integers(1, 200, size=(15, 16)))
    slug = found("explore", shelf.arguments(tokens=str(tmp_path / "ids.npy")))["sae"]
    work_off()
    sae = library.sae(slug)
    assert sae is not None
    return sae


def asked(sae: Sae) -> dict[str, object]:
    """Of the feature that fires most."""
    collection = Collection.objects.get(sae=sae)
    most = Activity.objects.filter(collection=collection).order_by("-n_fired").values_list("index", flat=True)[0]
    return {"sae": sae.slug, "collection": collection.pk, "index": most}


def test_fresh_is_what_the_sae_says_and_the_same_as_stored(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    arguments = asked(sae)
    result = found("recompute", arguments)
    page = features.feature(sae, int(str(arguments["index"])))
    assert page is not None
    assert page.examples is not None
    assert len(result["examples"]) == min(10, len(page.examples.top))
    for example, row in zip(page.examples.top, result["examples"], strict=False):
        x = shelf.lm.activations([example.ids], shelf.sae.hookpoint)[0]
        acts = shelf.sae.encode(x)[:, page.index]
        acts[torch.isin(torch.tensor(example.ids), torch.tensor(result["mask_ids"]))] = 0
        assert (row["context"], row["position"]) == (example.context, example.position)
        assert row["fresh"] == acts[example.position].item()
        assert row["stored"] == pytest.approx(row["fresh"], rel=1e-5)
        assert row["apart"] == pytest.approx((acts - torch.tensor(example.activations)).abs().max().item())
        assert row["apart"] < 1e-4 * row["stored"]
        assert row["tokens"] == len(example.ids)
        assert row["counted"] == sum(each not in result["mask_ids"] for each in example.ids)


def test_of_intervals_it_takes_some_of_each(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    arguments = asked(sae)
    page = features.feature(sae, int(str(arguments["index"])))
    assert page is not None
    assert page.examples is not None
    for which, expected in (
        ("strip", page.examples.strip[:10]),
        ("intervals", [each for interval in reversed(page.examples.intervals) for each in interval.shown[:2]]),
    ):
        rows = found("recompute", arguments | {"examples": which})["examples"]
        assert [(row["context"], row["position"]) for row in rows] == [
            (each.context, each.position) for each in expected
        ]
        assert all(row["apart"] < 1e-4 * row["stored"] for row in rows)


def test_its_program_prints_the_same(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    result = found("recompute", asked(sae))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(result["program"], {})
    printed = [float(each) for each in said.getvalue().strip("[]\n").split(",")]
    first = result["examples"][0]
    assert printed[first["position"]] == pytest.approx(first["fresh"], abs=1e-4)
    assert len(printed) == first["tokens"]


@pytest.mark.parametrize("family", list(Family))
def test_the_formula_is_the_familys(family: Family) -> None:
    """It names the tensors and the k that an SAE of this family has, and no others."""
    sae = make(family, subtract_b_dec=family != Family.NEURONS)
    said = recompute.formula(Sae(family=str(family), config=asdict(sae.config)))
    assert ("b_gate" in said) == (sae.b_gate is not None)
    assert ("r_mag" in said) == (sae.r_mag is not None)
    assert ("b_enc" in said) == (sae.b_enc is not None)
    assert ("θ" in said) == (sae.threshold is not None)
    assert ("b = b_dec" in said) == sae.config.subtract_b_dec
    assert (f" {sae.config.k}" in said) == (family in NEEDS_K)


def test_what_is_read_anew_is_not_taken_for_what_it_was(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    job = jobs.start("recompute", {**asked(sae), "collection": 10**9})
    work_off(job)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "read anew" in job.error
