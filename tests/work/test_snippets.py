"""A piece of text is read once something was collected, so that the library has something to open on."""

from pathlib import Path

import pytest

from explorer.actions.collections import remove_sae
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.queries import library, readings
from explorer.work import snippets
from tests.work.added import add, give
from tests.work.running import run, work_off

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_is_read_after_the_first_collection_and_no_other(tmp_path: Path) -> None:
    added = add(give(tmp_path, contexts=4, n_latents=37), "late", "early")
    late, early = added.saes
    assert readings.snippet(library.saes()) is None
    for sae in (late, early):
        assert run("collect", {"saes": [sae.pk], "corpus": added.corpus.pk}).state == JobState.DONE
    job = Job.objects.get(kind="read_text")
    assert job.arguments == snippets.of(late, added.corpus)
    work_off(job)
    assert readings.snippet(library.saes()) == job
    remove_sae(late.pk)
    assert not snippets.there_is_one()
    assert readings.snippet(library.saes()) is None
