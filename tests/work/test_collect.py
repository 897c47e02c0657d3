"""Collecting as jobs, one after another in this process: how it is cut, what is read again, and what is refused."""

from itertools import pairwise
from pathlib import Path

import pytest

from explorer import artifacts
from explorer.actions.collections import remove_sae
from explorer.models import Artifact, Collection, Job, LanguageModel
from explorer.models.jobs import JobState
from explorer.work import collect
from sae_core import CollectConfig, collect_evidence, load_lm, load_sae, open_corpus, save_sae
from tests.sae_core import small_lms
from tests.work.added import EARLY, LENGTH, Added, Given, add, give
from tests.work.collected import HOOKPOINT, small_sae
from tests.work.running import found, run, work_off

pytestmark = pytest.mark.django_db(transaction=True)
BATCH = CollectConfig().batch(LENGTH)
CONTEXTS = 3 * BATCH - 100


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    made = give(tmp_path_factory.mktemp("given"), contexts=CONTEXTS, n_latents=50)
    silent = small_sae(8)
    silent.tensors()["b_enc"].fill_(-1000)
    save_sae(silent, made.sae("silent"))
    return made


@pytest.fixture
def added(given: Given) -> Added:
    return add(given, "late", "early")


def evidence() -> dict[str, str]:
    """The sha256, by SAE."""
    return dict(Collection.objects.values_list("sae__slug", "evidence"))


def parts_kept() -> set[str]:
    return set(Artifact.objects.filter(media_type=collect.PART).values_list("pk", flat=True))


def test_saes_that_share_a_forward_are_as_if_each_had_its_own(added: Added) -> None:
    assert [sae.hookpoint for sae in added.saes] == [HOOKPOINT, EARLY]
    together = found("collect", added.arguments(parts=3))
    assert [each["sae"] for each in together["collections"]] == ["late", "early"]
    expected = evidence()
    for sae in added.saes:
        assert found("collect", added.arguments(parts=3) | {"saes": [sae.pk]})
    assert Collection.objects.count() == 2
    assert evidence() == expected
    assert parts_kept() == set()


def test_the_evidence_is_that_of_one_pass(added: Added, given: Given, tmp_path: Path) -> None:
    assert run("collect", added.arguments(parts=1)).state == JobState.DONE
    lm, corpus = load_lm(given.lm), open_corpus(given.corpus)
    for name, sha256 in evidence().items():
        out = tmp_path / name
        sae = load_sae(given.sae(name))
        collect_evidence(lm, [sae], corpus.contexts, [out], lengths=corpus.lengths, pieces=corpus.pieces)
        with out.open("rb") as file:
            assert artifacts.digest(file)[0] == sha256


def test_parts_are_cut_at_batches_and_cover_what_is_asked_for(added: Added) -> None:
    for asked, contexts, n in (({"parts": 99}, CONTEXTS, 3), ({"parts": 2, "contexts": BATCH + 1}, BATCH + 1, 2)):
        job = run("collect", added.arguments(**asked))
        ranges = [(each.arguments["first"], each.arguments["stop"]) for each in job.children.order_by("pk")]
        assert len(ranges) == n
        assert (ranges[0][0], ranges[-1][1]) == (0, contexts)
        assert all(before[1] == after[0] and after[0] % BATCH == 0 for before, after in pairwise(ranges))
        assert [each.total for each in job.children.order_by("pk")] == [stop - first for first, stop in ranges]
        assert set(Collection.objects.values_list("about__contexts", flat=True)) == {contexts}


def test_what_is_gone_is_read_again(added: Added) -> None:
    whole = run("collect", added.arguments(parts=3))
    expected = evidence()
    children = whole.children.order_by("pk")
    job = Job.objects.create(kind="collect", queue="batch", arguments=whole.arguments, planned=True)
    children.update(parent=job)  # their files went when the whole was done
    work_off(job)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    assert evidence() == expected
    assert parts_kept() == set()


def test_one_that_never_fires_is_there_to_be_seen(given: Given) -> None:
    added = add(given, "silent")
    job = run("collect", added.arguments())
    assert job.state == JobState.DONE, job.error
    assert "none of its 8 latents ever fired" in job.text
    collection = Collection.objects.get()
    assert (collection.n_never_fired, collection.tokens) == (8, CONTEXTS * LENGTH)


def test_saes_of_two_lms_are_not_collected_together(added: Added) -> None:
    early = added.saes[1]
    early.lm = LanguageModel.objects.create(
        slug="other", name="other", source="", kind="gpt2", n_layers=1, d_model=16, n_vocab=9, fingerprint="0" * 64
    )
    early.save()
    job = run("collect", added.arguments())
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert job.error == "These SAEs are not all of one language model, so they cannot share its forward."


def test_an_lm_that_was_exchanged_is_not_read(added: Added, tmp_path: Path) -> None:
    small_lms.save_small_lm(tmp_path, "gpt2")
    LanguageModel.objects.update(source=str(tmp_path))
    job = run("collect", added.arguments())
    assert job.state == JobState.FAILED
    assert f"{tmp_path}: the weights there are not those that lm was added with" in job.error
    assert not Collection.objects.exists()


def test_what_was_removed_before_it_began(added: Added) -> None:
    remove_sae(added.saes[0].pk)
    job = run("collect", added.arguments())
    assert (job.state, job.error) == (JobState.FAILED, "An SAE that this was about has been removed.")
