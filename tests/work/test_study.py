"""Studies prepared by jobs: what their controls are, what is copied, and what is not made at all."""

import json
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User

from explorer.actions import rubrics, studies
from explorer.models import Activity, Item, LanguageModel, Sae, Study, Subject
from explorer.models.jobs import JobState
from explorer.models.studies import SubjectKind
from explorer.queries import features as feature_queries
from explorer.queries import library
from explorer.queries.features import Shown
from explorer.studies.evidence import AROUND, MOST, Evidence, Example
from explorer.work import study as study_job
from explorer.work.attempt import Removed
from explorer.work.loading import load_collection
from tests.explored import Explored, Read, explored, read
from tests.laid_out import smaller
from tests.work.added import claimed
from tests.work.collected import sae_row
from tests.work.running import work_off
from tests.work.test_map import Meanwhile

__all__ = ["explored", "read", "smaller"]
pytestmark = pytest.mark.django_db(transaction=True)
KINDS = SubjectKind


@pytest.fixture
def readable(explored: Explored) -> Explored:
    """Its lm and its text can be opened too."""
    LanguageModel.objects.update(source=str(explored.read.corpus.parent / "lm"))
    return explored


def asked(sae: Sae, **others: Any) -> Study:
    wanted: dict[str, Any] = {
        "name": "a study", "intervals": [0, 2, 4], "per_item": 2, "sample": {"how": "uniform", "n": 6},
        "controls": {}, "staged": True, "guidelines": "", "seed": 0, "practice": False, "by": None,
    }  # fmt: skip
    return studies.make(sae, rubrics.published(), **wanted | others)


def prepared(sae: Sae, **others: Any) -> Study:
    study = asked(sae, **others)
    assert study.job
    work_off(study.job)
    study.job.refresh_from_db()
    assert study.job.state == JobState.DONE, study.job.error + study.job.traceback
    return Study.objects.get(pk=study.pk)


def refused(sae: Sae, **others: Any) -> str:
    study = asked(sae, **others)
    assert study.job
    work_off(study.job)
    study.job.refresh_from_db()
    assert study.job.state == JobState.FAILED
    assert not Subject.objects.exists()
    return study.job.error


def subjects(study: Study, kind: SubjectKind) -> list[Subject]:
    return list(study.subjects.filter(kind=kind).select_related("pair").order_by("pk"))


def lit(subject: Subject) -> list[float]:
    """How strongly tokens light up in its examples."""
    evidence = Evidence.of(subject.evidence)
    return [value for interval in evidence.intervals for example in interval for _, value in example.acts]


def test_features_are_copied_as_their_pages_show_them(explored: Explored) -> None:
    study = prepared(explored.sae)
    found = subjects(study, KINDS.FEATURE)
    assert len(found) == 6
    assert sorted(each.number for each in found) == list(range(6))
    assert [each.number for each in sorted(found, key=lambda each: each.index or 0)] != list(range(6))
    sae = library.sae(explored.sae.slug)
    assert sae
    for each in found:
        page = feature_queries.feature(sae, each.index or 0)
        assert page
        assert page.examples
        assert page.activity
        assert page.lens
        assert each.density == pytest.approx(page.activity.n_fired / explored.collection.tokens)
        evidence = Evidence.of(each.evidence)
        top = page.lens.top[:10]
        raised = [(logit.token, logit.value / top[0].value) for logit in top if logit.value > 0]
        assert [token for token, _ in evidence.raised] == [token for token, _ in raised]
        assert [share for _, share in evidence.raised] == pytest.approx([share for _, share in raised], abs=1e-4)
        shown = [*page.examples.distinct, *(one for interval in page.examples.intervals for one in interval.shown)]
        for number, interval in enumerate(evidence.intervals):
            low, high = page.examples.intervals[number].low, page.examples.intervals[number].high
            assert len(interval) <= MOST
            for example in interval:
                values = [one.value for one in shown if same(example, one, page.activity.maximum)]
                assert values
                assert any(low * 0.9999 <= value <= high * 1.0001 for value in values)


def same(example: Example, one: Shown, maximum: float) -> bool:
    """Whether it is that text around that token, as strong in all places."""
    first = max(0, one.position - AROUND)
    around = slice(first, one.position + AROUND + 1)
    shares = [value / maximum for value in one.activations[around]]
    here = (one.ids[around], one.position - first)
    return here == (example.ids, example.at) and shares == pytest.approx(example.activations, abs=1e-4)


def test_items_are_the_intervals_with_texts_for_both_halves(explored: Explored) -> None:
    study = prepared(explored.sae)
    for each in subjects(study, KINDS.FEATURE):
        evidence = Evidence.of(each.evidence)
        expected = {number for number in (0, 2, 4) if len(evidence.intervals[number]) >= 2}
        assert set(each.items.values_list("interval", flat=True)) == expected
        assert expected
    keys = list(Item.objects.values_list("key", flat=True))
    assert len({key[:6] for key in keys}) == len(keys)


@pytest.mark.parametrize("kind", [KINDS.NEURON, KINDS.DIRECTION])
def test_controls_fire_as_often_as_what_they_are_paired_with(readable: Explored, kind: SubjectKind) -> None:
    study = prepared(readable.sae, controls={kind: 4})
    found = subjects(study, kind)
    assert len(found) == 4
    assert len({each.pair_id for each in found}) == 4
    fired = dict(Activity.objects.filter(collection=readable.collection).values_list("index", "n_fired"))
    for each in found:
        assert each.pair
        assert each.pair.kind == KINDS.FEATURE
        n_fired = each.density * readable.collection.tokens
        assert n_fired == pytest.approx(fired[each.pair.index or 0], rel=0.1)  # ties may leave a few out
        assert min(lit(each)) >= 0
        assert max(lit(each)) == pytest.approx(1.0, abs=1e-3)
        assert (each.sae, each.index) == (None, None)
        assert set(each.about) == ({"axis", "sign"} if kind == KINDS.NEURON else set())
        assert set(each.evidence) == set(each.pair.evidence)


def test_latents_of_an_untrained_lm_are_matched_by_how_often_they_fire(explored: Explored, smaller: Read) -> None:
    other = sae_row(smaller.lm, smaller.sae, "of an untrained lm")
    load_collection(other, explored.corpus, smaller.evidence)
    study = asked(explored.sae, controls={KINDS.UNTRAINED: 3}, untrained=other)
    assert study.job
    work_off(study.job)
    found = subjects(study, KINDS.UNTRAINED)
    assert len({each.index for each in found}) == 3
    fired = dict(Activity.objects.filter(collection__sae=other).values_list("index", "n_fired"))
    for each in found:
        assert each.sae == other
        assert each.density == pytest.approx(fired[each.index or 0] / explored.collection.tokens)


def test_shuffled_evidence_has_the_same_texts_and_as_much_light(explored: Explored) -> None:
    study = prepared(explored.sae, controls={KINDS.SHUFFLED: 3})
    features = [each.evidence["raised"] for each in subjects(study, KINDS.FEATURE)]
    for each in subjects(study, KINDS.SHUFFLED):
        assert each.pair
        own, of_feature = Evidence.of(each.evidence), Evidence.of(each.pair.evidence)
        for mine, theirs in zip(own.intervals, of_feature.intervals, strict=True):
            assert [example.ids for example in mine] == [example.ids for example in theirs]
            for one, other in zip(mine, theirs, strict=True):
                assert sorted(v for _, v in one.acts) == sorted(v for _, v in other.acts)
                assert one.activations[one.at] == max(one.activations)
        assert each.evidence["raised"] in features
        assert each.evidence["raised"] != each.pair.evidence["raised"]
    moved = [each for each in subjects(study, KINDS.SHUFFLED) if each.pair and lit(each) != lit(each.pair)]
    assert moved


def test_the_same_seed_makes_the_same_study(readable: Explored) -> None:
    wanted = {"controls": {KINDS.NEURON: 2, KINDS.SHUFFLED: 2}}
    one, same, other = (prepared(readable.sae, seed=seed, **wanted) for seed in (1, 1, 2))

    def content(study: Study) -> list[tuple[Any, ...]]:
        return list(study.subjects.order_by("number").values_list("kind", "index", "evidence"))

    assert content(one) == content(same)
    assert content(one) != content(other)


def test_practice_comes_after_all_and_has_answers(explored: Explored) -> None:
    study = prepared(explored.sae, practice=True)
    found = subjects(study, KINDS.PRACTICE)
    assert [each.number for each in found] == [6, 7, 8]
    for each in found:
        (item,) = each.items.all()
        assert item.known["why"]
    assert Counter(study.subjects.values_list("kind", flat=True)) == {"feature": 6, "practice": 3}


def test_what_cannot_be_made_is_said(explored: Explored, read: Read) -> None:
    unread = sae_row(read.lm, read.sae, "unread")
    assert refused(unread) == "unread was read over no text yet, so there is nothing to score."
    gone = {"untrained": None, "controls": {KINDS.UNTRAINED: 1}}
    assert "has been removed, or was not read over this text" in refused(explored.sae, **gone)
    assert refused(explored.sae, sample={"how": "list", "n": 4, "list": 12345}).startswith("No feature of a small SAE")


def test_one_that_is_removed_meanwhile(explored: Explored, admin: User) -> None:
    study = asked(explored.sae)
    attempt = claimed("study", {"study": study.pk})
    with pytest.raises(Removed, match="removed meanwhile"):
        study_job.run(Meanwhile(attempt, "Writing items", lambda: Study.objects.filter(pk=study.pk).delete()))
    assert not Subject.objects.exists()
    with pytest.raises(Removed, match="has been removed"):
        study_job.run(claimed("study", {"study": study.pk}))


def test_a_second_attempt_makes_nothing_twice(explored: Explored) -> None:
    study = prepared(explored.sae)
    before = list(Subject.objects.values_list("pk", flat=True))
    assert study_job.run(claimed("study", {"study": study.pk})) == {"study": study.pk}
    assert list(Subject.objects.values_list("pk", flat=True)) == before


def test_an_sae_that_is_read_anew_changes_nothing_of_it(explored: Explored, read: Read) -> None:
    study = prepared(explored.sae)
    before = json.dumps(list(study.subjects.order_by("pk").values_list("evidence", flat=True)))
    load_collection(explored.sae, explored.corpus, read.evidence)
    assert json.dumps(list(study.subjects.order_by("pk").values_list("evidence", flat=True))) == before


def test_an_example_is_read_as_it_was_written() -> None:
    example = Example([1, 2, 3], 1, [(1, 0.5), (2, 0.25)], (True, False))
    assert Example.of(json.loads(json.dumps(example.row()))) == example
    assert example.activations == [0.0, 0.5, 0.25]
