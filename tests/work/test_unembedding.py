"""What logits are read with is there once an SAE was added, and is made anew where it lacks a hookpoint."""

from pathlib import Path

import pytest

from explorer import directions
from explorer.actions.collections import remove_lm
from explorer.models import Artifact, LanguageModel, Sae
from explorer.models.jobs import JobState
from tests.work.added import add, give
from tests.work.running import run

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_comes_with_an_sae_and_covers_all_of_an_lms(tmp_path: Path) -> None:
    given = give(tmp_path, contexts=2, n_latents=37)
    add(given, "late")
    first = LanguageModel.objects.get()
    assert first.unembedding_id
    assert directions.known(first, "blocks.1.hook_resid_post")
    add(given, "early")
    lm = LanguageModel.objects.get()
    assert lm.unembedding_id != first.unembedding_id
    assert not Artifact.objects.filter(pk=first.unembedding_id).exists(), "nobody names it any more"
    for sae in Sae.objects.select_related("lm"):
        assert len(directions.logits(sae, 3, 5).raised) == 5
    add(given, "late")
    assert LanguageModel.objects.get().unembedding_id == lm.unembedding_id
    remove_lm(lm.pk)
    assert not Artifact.objects.filter(pk=lm.unembedding_id).exists()


def test_a_job_makes_it_for_those_from_before(tmp_path: Path) -> None:
    add(give(tmp_path, contexts=2, n_latents=37), "late")
    lm = LanguageModel.objects.get()
    LanguageModel.objects.update(unembedding=None)
    job = run("unembedding", {"lm": lm.pk})
    assert (job.state, job.error) == (JobState.DONE, "")
    assert LanguageModel.objects.get().unembedding_id == lm.unembedding_id, "the same again"
    assert run("unembedding", {"lm": lm.pk + 1}).state == JobState.FAILED
