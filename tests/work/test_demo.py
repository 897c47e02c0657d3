"""The demo fills the library by the jobs that anybody's SAE is added by, and does so once."""

import json

import pytest

from explorer.actions import demo, jobs, labels
from explorer.actions.collections import remove_sae
from explorer.models import Corpus, FeatureList, Job, Label, LanguageModel, ListEntry, Sae
from explorer.models.jobs import JobState
from explorer.work.demo import BUNDLE, GROUPS, say
from tests.explored import Explored, explored, read
from tests.work.running import work_off

__all__ = ["explored", "read"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_sae_of_the_bundle_has_its_place() -> None:
    named = [name for group in GROUPS for name in group.saes]
    assert set(named) == {each.name for each in (BUNDLE / "saes").iterdir()}
    assert {group.lm for group in GROUPS} <= {each.name for each in (BUNDLE / "lms").iterdir()}
    assert {GROUPS[0].saes[0]} == set(GROUPS[0].saes), "the first page comes of one SAE alone"


def test_the_first_group_starts_what_follows_and_nothing_comes_back() -> None:
    demo.start_once()
    first = Job.objects.get()
    work_off(first)
    first.refresh_from_db()
    assert (first.state, first.error) == (JobState.DONE, "")
    sae = Sae.objects.get()
    assert (sae.slug, sae.created_by) == (GROUPS[0].saes[0], None)
    assert (LanguageModel.objects.get().name, Corpus.objects.get().name) == ("one-layer", "Code and documentation")
    collecting = Job.objects.exclude(pk=first.pk).get()
    assert collecting.kind == "collect"
    assert collecting.arguments == {
        "saes": [sae.pk], "corpus": Corpus.objects.get().pk, "contexts": GROUPS[0].contexts,
        "then": [["demo", {"group": 1, "saes": [sae.pk]}]],
    }  # fmt: skip

    remove_sae(sae.pk)
    demo.start_once()
    assert Job.objects.filter(kind="demo").count() == 1


def test_after_the_last_group_what_was_read_over_its_text_is_measured(explored: Explored) -> None:
    last = jobs.start("demo", {"group": len(GROUPS) - 1, "saes": []})
    work_off(last)
    here = Sae.objects.exclude(pk=explored.sae.pk).order_by("n_latents", "pk")
    assert [sae.slug for sae in here] == list(GROUPS[-1].saes)
    collecting = Job.objects.get(kind="collect")
    corpus = Corpus.objects.get(name="Code and documentation")
    assert collecting.arguments["then"] == [["measure", {"sae": sae.pk, "corpus": corpus.pk}] for sae in here]


def test_what_was_said_of_features_is_said_once_and_of_none_that_a_person_named(explored: Explored) -> None:
    name = "one-layer-relu-4096"
    labels.give(explored.sae, 64, "mine", by=None)
    for _ in range(2):
        say(name, explored.sae.pk)
    said = json.loads((BUNDLE / "labels.json").read_text(encoding="utf-8"))
    wanted = {int(index): text for index, text in said["labels"][name].items()} | {64: "mine"}
    assert dict(Label.objects.values_list("index", "text")) == wanted
    listed = FeatureList.objects.get()
    assert (listed.name, listed.owner, listed.shared) == (said["list"]["name"], None, True)
    entries = [(each["index"], each["note"]) for each in said["list"]["entries"] if each["sae"] == name]
    assert list(ListEntry.objects.order_by("pk").values_list("index", "note")) == entries
    say(name, explored.sae.pk + 1)  # it has been removed
