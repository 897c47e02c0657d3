"""The demo fills the library by the jobs that anybody's SAE is added by, and does so once."""

import gzip
import json
from collections import Counter

import pytest

from explorer.actions import demo, jobs, labels, rubrics, steerings
from explorer.actions.collections import remove_sae
from explorer.models import Corpus, FeatureList, Job, Label, LanguageModel, ListEntry, Sae, Steering, Study
from explorer.models.jobs import JobState
from explorer.studies.evidence import Evidence
from explorer.work.demo import BUNDLE, GROUPS, say
from sae_core import load_lm
from sae_core.judged import judged
from tests.explored import Explored, explored, read
from tests.work.running import found, work_off

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


def test_sweeps_that_were_written_before_are_of_the_bundle_s_own_weights(db: None) -> None:
    """Three, each beside a random direction, at the feature's best strength."""
    sweeps = json.loads((BUNDLE / "steerings.json").read_text(encoding="utf-8"))
    for name in {each["sae"] for each in sweeps}:
        lm = BUNDLE / "lms" / ("deep" if name.startswith("deep") else "one-layer")
        places = {"lm": str(lm), "sae": str(BUNDLE / "saes" / name), "corpus": str(BUNDLE / "corpus")}
        found("explore", places | {"name": name, "fit": "keep"})
        say(name, Sae.objects.get(slug=name).pk)
    assert len(sweeps) == 3
    assert {row.key for row in Steering.objects.exclude(title="")} == {each["key"] for each in sweeps}
    study = Study.objects.get()
    assert (study.sae.slug, study.state, study.shown) == ("one-layer-relu-2048", "closed", True)
    assert study.rubric == rubrics.published()
    for each in sweeps:
        (change,) = each["asked"]["changes"]
        assert (change["sae"], change["index"]) == (each["sae"], each["index"])
        texts = each["result"]["texts"]
        assert [text["times"] for text in texts] == [0, 0.5, 1, 2, -1, 1]
        assert texts[-1]["control"] is not None
        row = LanguageModel.objects.get(fingerprint=each["asked"]["lm"])
        prompt = each["result"]["prompt"]
        told = judged(load_lm(row.source), prompt + texts[0]["ids"], len(prompt), {})
        assert told.perplexity == pytest.approx(texts[0]["perplexity"], rel=1e-2)


def test_the_finished_study_is_whole() -> None:
    """Three scored every item; its evidence is of the corpus that is there, and of the lm's own tokens."""
    row = json.loads(gzip.decompress((BUNDLE / "study.json.gz").read_bytes()))
    n_tokens = json.loads((BUNDLE / "lms" / "one-layer" / "config.json").read_text())["vocab_size"]
    kinds = Counter(each["kind"] for each in row["subjects"])
    assert kinds == {"feature": 18, "neuron": 12}
    by_number = {each["number"]: each for each in row["subjects"]}
    for each in row["subjects"]:
        evidence = Evidence.of(each["evidence"])
        ids = {token for interval in evidence.intervals for example in interval for token in example.ids}
        assert ids | {token for token, _ in evidence.raised} <= set(range(n_tokens))
        assert each["items"]
        for item in each["items"]:
            assert len({score["annotator"] for score in item["scores"]}) == len(item["scores"]) == 3
        if each["pair"] is not None:
            pair = by_number[each["pair"]]
            assert (each["kind"], pair["kind"]) == ("neuron", "feature")
            assert each["density"] == pytest.approx(pair["density"], rel=0.1)


def test_sweeps_are_shown_where_their_sae_is_and_once(explored: Explored) -> None:
    slug, fingerprint = explored.sae.slug, explored.sae.fingerprint
    asked = {"changes": [{"sae": slug, "fingerprint": fingerprint, "index": 5}]}
    for _ in range(2):
        steerings.show("a-sweep", "A sweep", asked, {"texts": []})
    of_another = {"changes": [asked["changes"][0] | {"fingerprint": "0" * 64}]}
    steerings.show("another", "Of other weights", of_another, {"texts": []})
    row = Steering.objects.get()
    assert (row.key, row.title, row.asked, row.result, row.job) == ("a-sweep", "A sweep", asked, {"texts": []}, None)
