"""How strongly features are best added: tried by a worker, over some of what they were read from."""

import pytest

from explorer.actions import labels
from explorer.actions.collections import remove_sae
from explorer.models import Activity, Sae, Strength
from explorer.models.jobs import JobState
from explorer.queries import features as feature_queries
from explorer.queries import library
from explorer.work.opening import corpus_of
from explorer.work.strengths import LENGTH, TEXTS, TIMES, TOKENS
from sae_core import load_lm, load_sae
from sae_core.strengths import best, tried
from tests.explored import SILENT
from tests.work.added import Given, add, give
from tests.work.running import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return give(tmp_path_factory.mktemp("given"), contexts=9, n_latents=37)


@pytest.fixture
def sae(given: Given) -> Sae:
    added = add(given, "late")
    assert run("collect", added.arguments()).state == JobState.DONE
    found = library.sae(added.saes[0].slug)
    assert found
    return found


def test_it_is_what_sae_core_finds_by_each_feature_s_own_percentile(sae: Sae, given: Given) -> None:
    edition = sae.edition
    job = run("strength", {"sae": sae.pk, "indices": [5, SILENT, 8]})
    assert job.error == ""
    assert (job.state, job.result) == (JobState.DONE, {"sae": sae.slug, "measured": [5, 8]})
    collection = library.newest(sae)
    assert collection
    with corpus_of(collection.corpus) as opened:
        texts = [opened.contexts[number * 9 // TEXTS][:LENGTH].tolist() for number in range(TEXTS)]
    lm, core = load_lm(given.lm), load_sae(given.sae())
    for row in Strength.objects.order_by("index"):
        page = feature_queries.feature(sae, row.index)
        assert page
        assert page.lens
        p99 = Activity.objects.get(collection=collection, index=row.index).p99
        tokens = [each.token for each in page.lens.top[:TOKENS]]
        found = tried(lm, core, row.index, [times * p99 for times in TIMES], tokens, texts)
        assert [each["times"] for each in row.tried] == list(TIMES)
        assert [each["likelier"] for each in row.tried] == pytest.approx([each.likelier for each in found])
        assert row.times == pytest.approx(best(found).value / p99)
        assert row.perplexity == pytest.approx(best(found).perplexity)
    sae.refresh_from_db()
    assert sae.edition > edition  # its pages say so


def test_of_no_feature_named_those_that_have_a_label(sae: Sae) -> None:
    labels.give(sae, 8, "eight", by=None)
    labels.give(sae, 5, "five", by=None)
    labels.give(sae, 5, "", by=None)
    for _ in range(2):  # of what was measured before, the newest is kept
        assert run("strength", {"sae": sae.pk}).result == {"sae": sae.slug, "measured": [8]}
    assert Strength.objects.count() == 1
    remove_sae(sae.pk)
    assert not Strength.objects.exists()


def test_what_is_gone_is_not_measured(sae: Sae) -> None:
    pk = sae.pk
    remove_sae(pk)
    job = run("strength", {"sae": pk, "indices": [5]})
    assert job.state == JobState.FAILED
    assert "has been removed" in job.error
