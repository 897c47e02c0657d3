"""A study's figures against plain ones: counted here one score after the other, and resampled by the random module."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from statistics import fmean, median
from typing import Any

import numpy as np
import pytest
from django.db.models import F
from pytest_django import DjangoAssertNumQueries

from explorer.actions import adjudications, slots, studies
from explorer.agreement.alpha import Metric
from explorer.agreement.ratings import Ratings
from explorer.agreement.report import Criterion, report
from explorer.models import Annotator, Item, Score, Study, Subject
from explorer.models.studies import Meaning, SubjectKind
from explorer.results import study as results
from explorer.results.items import Sort, in_order, least_agreed
from explorer.studies import rubrics
from explorer.studies.rubrics import Points
from tests.explored import Explored, explored, read
from tests.studied import FULL, SOME, given, person, study_of

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db

LINE = 8
KINDS = [*[SubjectKind.FEATURE] * 6, *[SubjectKind.NEURON] * 4, SubjectKind.DIRECTION]


def drawn(dice: Random, fond: int) -> Points:
    """As somebody gives who is so fond of an item."""
    most = {"confidence": 3, "activations": 5, "logits": 3, "gap": 1, "specificity": 3}
    points: Points = {key: min(full, dice.randint(0, full) + fond) for key, full in most.items()}
    return points | {"gap": None} if points["logits"] == 3 else points


@pytest.fixture
def scored(explored: Explored) -> Study:
    """Three annotators, of whom one leaves things out, one says of some that they can tell nothing, one takes back."""
    study = study_of(explored.sae, KINDS, intervals=(0, 4), per_item=3)
    studies.open_(study)
    dice = Random(3)
    for name in ("ann", "ben", "cleo"):
        by = person(name)
        for number, item in enumerate(items(study)):
            if name == "cleo" and number % 3 == 0:
                continue
            feature = item.subject.kind == SubjectKind.FEATURE
            says = "" if name == "ben" and item.subject.number == 7 else f"{name} says {item.subject.number}"
            given(item, by, drawn(dice, fond=2 * feature), says)
    return study


def items(study: Study) -> list[Item]:
    return list(Item.objects.filter(subject__study=study).order_by("subject__number", "interval"))


def totals(study: Study) -> dict[int, dict[int, int]]:
    """By item and annotator."""
    found: dict[int, dict[int, int]] = {item.pk: {} for item in items(study)}
    for each in Score.objects.filter(item__subject__study=study, current=True):
        found[each.item_id][each.annotator_id] = each.total
    return found


def fresh(study: Study) -> results.Results:
    study.refresh_from_db()
    return results.of(study)


def test_features_beside_controls(scored: Study) -> None:
    found, of_item = fresh(scored), totals(scored)
    assert [each.kind for each in found.kinds] == ["feature", "neuron", "direction"]
    for kind in found.kinds:
        its = [item for item in items(scored) if item.subject.kind == kind.kind]
        means = [fmean(of_item[item.pk].values()) for item in its if of_item[item.pk]]
        assert (kind.n_subjects, kind.n_items) == (KINDS.count(SubjectKind(kind.kind)), len(its))
        assert (kind.n_scored, kind.n_scores) == (len(means), sum(len(of_item[item.pk]) for item in its))
        assert kind.median
        assert kind.above
        assert kind.median.value == pytest.approx(median(means))
        assert kind.above.value == pytest.approx(sum(mean > LINE for mean in means) / len(means))
        assert list(kind.totals) == [sum(total - 1 < mean <= total for mean in means) for total in range(15)]
        points = [each.points["gap"] for each in Score.objects.filter(item__in=its)]
        assert list(kind.points["gap"]) == [points.count(each) for each in (0, 1, None)]


def test_intervals_resample_features(scored: Study) -> None:
    """Whole features are drawn, with all of their items; another random generator says nearly the same."""
    of_item, dice = totals(scored), Random(5)
    (features, neurons, direction) = fresh(scored).kinds
    for kind in (features, neurons):
        of_subject: dict[int, list[float]] = {}
        for item in items(scored):
            if item.subject.kind == kind.kind and of_item[item.pk]:
                of_subject.setdefault(item.subject_id, []).append(fmean(of_item[item.pk].values()))
        medians, shares = [], []
        for _ in range(4_000):
            means = [mean for its in dice.choices([*of_subject.values()], k=len(of_subject)) for mean in its]
            medians.append(median(means))
            shares.append(fmean(mean > LINE for mean in means))
        for figure, values in ((kind.median, medians), (kind.above, shares)):
            assert figure
            low, high = np.quantile(values, [0.025, 0.975])
            assert [figure.low, figure.high] == pytest.approx([low, high], abs=0.6)
    assert direction.median
    assert (direction.median.low, direction.median.why) == (None, "no interval: it is all of one feature")


def test_agreement_is_of_all_items_and_of_features_alone(scored: Study) -> None:
    found = fresh(scored)
    rows = items(scored)
    who = list(Annotator.objects.order_by("name"))
    criteria = rubrics.criteria_of(scored.rubric.criteria)
    for only, told in ((None, found.agreement), (SubjectKind.FEATURE, found.of_features)):
        its = [item for item in rows if only in (None, item.subject.kind)]

        def table(key: str | None, its: list[Item] = its) -> Ratings:
            scores = np.full((len(its), len(who)), np.nan)
            for row, item in enumerate(its):
                for each in item.scores.filter(current=True):
                    value = each.total if key is None else each.points[key]
                    scores[row, who.index(each.annotator)] = np.nan if value is None else value
            return Ratings(scores, np.array([item.subject_id for item in its]))

        expected = report(
            [Criterion(each.title, table(each.key), Metric(each.scale)) for each in criteria], table(None), LINE
        )
        assert told == expected
    assert [each.of for each in found.agreement][:5] == ["Confidence", "Activations", "Logits", "Gap", "Specificity"]
    assert found.agreement[3].measure == "alpha (nominal)"


def test_each_annotator_by_themselves_and_beside_others(scored: Study) -> None:
    of_item = totals(scored)
    for each in fresh(scored).annotators:
        mine = {item: them[each.pk] for item, them in of_item.items() if each.pk in them}
        assert each.name == Annotator.objects.get(pk=each.pk).name
        assert (each.n, each.n_extra, each.n_flagged) == (len(mine), 0, 0)
        assert each.mean == pytest.approx(fmean(mine.values()))
        pairs = [(mine[item], other) for item in mine for pk, other in of_item[item].items() if pk != each.pk]
        assert each.n_pairs == len(pairs)
        assert each.difference == pytest.approx(fmean(abs(a - b) for a, b in pairs))
        assert each.same_side == pytest.approx(fmean((a > LINE) == (b > LINE) for a, b in pairs))
        assert (each.n_gold, each.gold_same_side, each.gold_difference) == (0, None, None)
    assert [each.number for each in fresh(scored).annotators] == [1, 2, 3]
    assert [each.name for each in fresh(scored).annotators] == ["ann", "ben", "cleo"]


def test_what_is_known_measures_annotators(explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * 3)
    first, second, third = items(study)
    studies.know(first, FULL, "all of it")  # 14
    studies.know(second, SOME, "some of it")  # 7
    studies.open_(study)
    me = person("ann")
    given(first, me, SOME)  # below, and 2 + 3 + 2 + 1 apart; the gap does not apply to what is known
    given(second, me, SOME | {"confidence": 2, "activations": 1})  # below as well, 1 + 1 apart
    given(third, me, FULL)
    (found,) = fresh(study).annotators
    assert (found.n, found.n_gold) == (3, 2)
    assert found.gold_same_side == 0.5
    assert found.gold_difference == pytest.approx((2 + 3 + 2 + 1 + 1 + 1) / 9)
    assert (found.n_pairs, found.difference, found.same_side) == (0, None, None)


def test_pace_is_the_median_of_seconds_and_what_is_taken_back_does_not_count(explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * 3)
    studies.open_(study)
    me = person("ann")
    seconds = []
    for ago in (100, 20, 4000):
        item = slots.claim(study, me)
        assert item
        item.slots.filter(annotator=me).update(claimed_at=F("claimed_at") - timedelta(seconds=ago))
        seconds.append(given(item, me, FULL).seconds)
    (found,) = fresh(study).annotators
    assert found.pace == sorted(each or 0 for each in seconds)[1]
    assert 100 <= (found.pace or 0) < 110
    slots.undo(study, me)
    assert fresh(study).annotators[0].n == 2
    assert fresh(study).n_scores == 2


def test_extra_scores_count_and_are_told_apart(explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE], per_item=1)
    studies.open_(study)
    (item,) = items(study)
    given(item, person("ann"), FULL)
    assert given(item, person("ben"), SOME).extra
    found = fresh(study)
    assert (found.n_scores, found.n_extra, found.items[0].mean) == (2, 1, 10.5)
    assert [each.n_extra for each in found.annotators] == [0, 1]


def test_practice_is_left_out(explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE, SubjectKind.PRACTICE])
    item, practice = items(study)
    studies.know(practice, FULL, "")
    studies.open_(study)
    given(practice, person("ann"), FULL)
    found = fresh(study)
    assert (len(found.items), found.n_scores, found.annotators) == (1, 0, ())
    assert (found.kinds[0].median, found.kinds[0].above) == (None, None)
    assert {each.figure.why for each in found.agreement} == {"nobody has scored anything"}
    given(item, person("ben"), SOME)
    assert fresh(study).kinds[0].n_scored == 1


def test_items_are_sorted_by_agreement_and_by_mean(scored: Study) -> None:
    found, of_item = fresh(scored), totals(scored)
    for each in found.items:
        its = [*of_item[each.row.pk].values()]
        assert each.mean == (fmean(its) if its else None)
        assert each.spread == (max(its) - min(its) if len(its) > 1 else None)
        assert (each.above, each.split) == (sum(t > LINE for t in its), len({t > LINE for t in its}) > 1)
    by_agreement = in_order(found.items, Sort.AGREEMENT, descending=False)
    keys = [(not each.split, -(each.spread or 0)) for each in by_agreement]
    assert keys == sorted(keys)
    means = [each.mean for each in in_order(found.items, Sort.MEAN, descending=True)]
    assert means == sorted((each for each in means if each is not None), reverse=True)
    assert in_order(found.items, Sort.NUMBER, descending=True) == list(found.items)[::-1]
    without = replace(found.items[0], given=())
    for sort in (Sort.AGREEMENT, Sort.MEAN):
        for descending in (False, True):
            assert in_order([without, *found.items[1:]], sort, descending)[-1] == without


def test_subjects_are_judged_where_they_agree_least_first(scored: Study) -> None:
    found, of_item = fresh(scored), totals(scored)
    keys = []
    for each in least_agreed(found.subjects):
        its = [of_item[item.pk].values() for item in items(scored) if item.subject_id == each.pk]
        split = any(len({total > LINE for total in them}) > 1 for them in its)
        keys.append((not split, -max(max(them) - min(them) for them in its if them)))
    assert keys == sorted(keys)
    assert len(keys) == len(KINDS)  # of each, everybody says something else


def test_that_totals_agree_while_hypotheses_conflict_is_told(explored: Explored, admin: Any) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * 5)
    studies.open_(study)
    first, second, third, fourth, fifth = items(study)
    ann, ben = person("ann"), person("ben")
    for item in (first, second, third):
        given(item, ann, FULL, "rivers")
        given(item, ben, FULL, "  Rivers" if item == third else "banks")
    for by, points in ((ann, FULL), (ben, SOME)):  # the line divides them
        given(fourth, by, points, by.name)
    given(fifth, ann, FULL, "alone")
    found = fresh(study).conflicts
    assert (found.n_agreed, found.n_alike, found.open, found.different) == (3, 1, 2, 0)
    adjudications.adjudicate(first.subject_id, Meaning.DIFFERENT, "", by=admin)
    adjudications.adjudicate(second.subject_id, Meaning.SAME, "", by=admin)
    adjudications.adjudicate(second.subject_id, Meaning.PARTLY, "on second thoughts", by=admin)
    adjudications.adjudicate(fourth.subject_id, Meaning.DIFFERENT, "", by=admin)
    found = fresh(study).conflicts
    assert (found.n_agreed, found.open, found.different, found.partly) == (3, 0, 1, 1)


@pytest.mark.parametrize("n", [1, 3])
def test_they_are_made_once_for_an_edition_in_as_many_queries_for_many(
    explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * n)
    studies.open_(study)
    for number in range(n):
        by = person(f"person {number}")
        for item in items(study):
            given(item, by, FULL)
    study = Study.objects.select_related("rubric").get(pk=study.pk)
    with django_assert_num_queries(5):  # items, scores, meanings; annotators: their order, their names
        found = results.of(study)
    with django_assert_num_queries(0):
        assert results.of(study) is found
    assert Counter(each.n for each in found.annotators) == {n: n}
    assert Subject.objects.filter(study=study).count() == n
