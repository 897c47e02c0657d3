"""How well an SAE stands in is measured as a job and kept with it."""

import json
from pathlib import Path

import numpy as np
import pytest

from explorer.actions import jobs
from explorer.actions.collections import remove_sae
from explorer.models import Corpus, Sae
from explorer.models.jobs import JobState
from explorer.work import measure as measuring
from sae_core import measure
from tests.work.running import Shelf, found, run, work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(("of", "chosen"), [(None, [0, 2, 4, 6, 8, 10, 12]), (9, [0, 1, 2, 3, 5, 6, 7])])
def test_it_is_what_sae_core_measures_on_contexts_drawn_evenly(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int | None, chosen: list[int]
) -> None:
    monkeypatch.setattr(measuring, "CONTEXTS", 7)
    ids = np.random.default_rng(0).integers(3, 200, size=(15, 16))
    np.save(tmp_path / "ids.npy", ids)
    sae = Sae.objects.get(slug=found("explore", shelf.arguments(tokens=str(tmp_path / "ids.npy")))["sae"])
    corpus = Corpus.objects.get()
    assert sae.metrics is None
    run("measure", {"sae": sae.pk, "corpus": corpus.pk, "contexts": of})

    expected = measure(shelf.lm, shelf.sae, ids[chosen])
    sae.refresh_from_db()
    assert sae.metrics == json.loads(json.dumps(expected.to_json())) | {"corpus": corpus.slug}


def test_what_is_removed_meanwhile_is_not_measured(shelf: Shelf) -> None:
    added = found("explore", shelf.arguments())
    sae, corpus = Sae.objects.get(slug=added["sae"]), Corpus.objects.get()
    job = jobs.start("measure", {"sae": sae.pk, "corpus": corpus.pk})
    remove_sae(sae.pk)
    work_off(job)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.FAILED, "What was to be measured has been removed.")
