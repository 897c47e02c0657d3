"""A job that reads a text: as the SAE's own were read, and none too long."""

from typing import Any

import pytest
from pytest_django import Settings

from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.readings import activations_of
from explorer.work.opening import lm_of, sae_of
from tests.work.added import Added, add, give
from tests.work.running import run


@pytest.fixture
def added(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Added:
    return add(give(tmp_path_factory.mktemp("given"), contexts=12, n_latents=37), "late")


def test_a_job_reads_a_text(added: Added) -> None:
    (sae,) = added.saes
    job = run("read_text", {"sae": sae.pk, "text": "Good 😀 text\nمرحبا"})
    assert (job.state, job.error) == (JobState.DONE, "")
    assert job.result
    assert job.result["first"] == 1, "a corpus that begins with a bos"
    assert job.result["ids"][0] == 0 or job.result["ids"][0] in sae.lm.mask_ids
    assert len(job.result["tokens"]) == len(job.result["ids"])


def test_a_job_is_asked_about_a_feature(added: Added) -> None:
    """Which is told wherever it fires, also where it is far from the strongest."""
    (sae,) = added.saes
    lm = lm_of(sae.lm)
    read = run("read_text", {"sae": sae.pk, "text": "Good text\nمرحبا and more of it", "feature": 5}).result
    assert read
    acts = sae_of(sae, lm).encode(lm.activations([read["ids"]], sae.hookpoint)[0])[:, 5]
    assert activations_of(read, 5) == pytest.approx(acts.tolist(), rel=1e-4)


def test_a_job_reads_a_piece_of_a_corpus(added: Added) -> None:
    job = run("read_text", {"sae": added.saes[0].pk, "corpus": added.corpus.pk, "context": 3})
    assert job.state == JobState.DONE, job.error
    assert job.result
    assert len(job.result["ids"]) == 32


def refused(arguments: dict[str, Any]) -> str:
    job: Job = run("read_text", arguments)
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    return job.error


def test_what_cannot_be_read_is_refused_with_what_can(added: Added, settings: Settings) -> None:
    (sae,) = added.saes
    settings.TEXT_TOKENS = 5
    assert "at most 5 are read at a time" in refused({"sae": sae.pk, "text": "a text of many different words " * 9})
    assert "no token" in refused({"sae": sae.pk, "text": ""})
    assert "removed" in refused({"sae": sae.pk + 1, "text": "a"})
    assert "removed" in refused({"sae": sae.pk, "corpus": added.corpus.pk + 1, "context": 0})
