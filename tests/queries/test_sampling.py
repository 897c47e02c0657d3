"""Which features a study is about, against plain computation."""

import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from django.contrib.auth.models import User

from explorer.actions import labels, lists
from explorer.models import Activity, Collection, Study
from explorer.queries.filtering import Filters, Fires, Range, Sort
from explorer.queries.sampling import NothingToDraw, as_row, draw, from_row, sampled
from explorer.studies.sampling import How, Sample
from tests.explored import SILENT, Explored
from tests.studied import study_of

pytestmark = pytest.mark.django_db
ALL = 37  # features of the SAE


@pytest.fixture
def spread(explored: Explored) -> Explored:
    """Of densities in three bins: 20 that fire once, 12 on a hundred tokens, 4 on a thousand; of 10,000 tokens."""
    Collection.objects.update(tokens=10_000)
    for each in Activity.objects.all():
        n = 1 if each.index < 21 else 100 if each.index < 33 else 1_000
        Activity.objects.filter(index=each.index).update(n_fired=0 if each.index == SILENT else n)
    return explored


def filtered(filters: Filters, n: int = ALL, *, in_order: bool = False) -> Sample:
    return Sample(How.FILTER, n, filter="whatever", filters=json.loads(json.dumps(as_row(filters))), in_order=in_order)


def firing() -> list[int]:
    return list(Activity.objects.filter(n_fired__gt=0).order_by("index").values_list("index", flat=True))


def test_uniformly_from_those_that_fire(explored: Explored) -> None:
    there = firing()
    assert draw(explored.sae, Sample(How.UNIFORM, 5), 7) == sorted(random.Random(7).sample(there, 5))
    assert draw(explored.sae, Sample(How.UNIFORM, 1_000), 7) == there
    assert SILENT not in there


def test_a_study_has_the_same_ones_each_time(explored: Explored) -> None:
    study = study_of(explored.sae, [])
    Study.objects.filter(pk=study.pk).update(sample=Sample(How.UNIFORM, 9).row(), seed=3)
    study.refresh_from_db()
    assert sampled(study) == sampled(study) == draw(explored.sae, Sample(How.UNIFORM, 9), 3)
    study.seed = 4
    assert sampled(study) != draw(explored.sae, Sample(How.UNIFORM, 9), 3)


@pytest.mark.parametrize("n", [1, 3, 4, 12, 13, 24, 29, 36, 40])
def test_bins_of_density_have_equal_shares(spread: Explored, n: int) -> None:
    """One after the other each bin gives one, as long as it has any."""
    left = {-8: 20, -4: 12, -2: 4}  # by half powers of ten, beginning at 1e-4, 1e-2 and 1e-1
    shares: Counter[int] = Counter()
    while sum(shares.values()) < min(n, 36):
        for bin_, size in left.items():
            if shares[bin_] < size and sum(shares.values()) < min(n, 36):
                shares[bin_] += 1
    found = draw(spread.sae, Sample(How.DENSITY, n), 5)
    there = dict(Activity.objects.values_list("index", "n_fired"))
    drawn = Counter(math.floor(2 * math.log10(there[index] / 10_000)) for index in found)
    assert sum(drawn.values()) == len(set(found)) == min(n, 36)
    full = {bin_ for bin_, size in left.items() if drawn[bin_] == size}
    assert all(abs(drawn[bin_] - shares[bin_]) <= 1 for bin_ in left)
    assert len({drawn[bin_] for bin_ in left if bin_ not in full}) <= 2
    assert SILENT not in found


def test_any_of_a_bin_may_be_drawn(spread: Explored) -> None:
    found = {index for seed in range(60) for index in draw(spread.sae, Sample(How.DENSITY, 3), seed)}
    assert found == set(firing())


def test_from_a_list_those_that_fire(explored: Explored, viewer: User) -> None:
    there = firing()
    kept = lists.make("mine", shared=False, by=viewer)
    lists.keep_many(kept, [(explored.sae.pk, index) for index in [SILENT, *there[:6]]], by=viewer)
    assert draw(explored.sae, Sample(How.LIST, 40, list=kept.pk), 0) == there[:6]
    drawn = draw(explored.sae, Sample(How.LIST, 2, list=kept.pk), 0)
    assert drawn == sorted(random.Random(0).sample(there[:6], 2))


def test_what_a_filter_finds_in_its_order_or_drawn(explored: Explored, viewer: User) -> None:
    rows = sorted(Activity.objects.filter(n_fired__gt=0), key=lambda each: (each.maximum, each.index), reverse=True)
    by_maximum = [each.index for each in rows]
    falling = Filters(sort=Sort.MAXIMUM, descending=True)
    assert draw(explored.sae, filtered(falling, 4, in_order=True), 0) == by_maximum[:4]
    middle = rows[len(rows) // 2].maximum
    some = replace(falling, ranges=(Range("maximum", middle, None),))
    fitting = [each.index for each in rows if each.maximum >= middle]
    assert draw(explored.sae, filtered(some, ALL, in_order=True), 0) == fitting
    assert draw(explored.sae, filtered(some, 3), 1) == sorted(random.Random(1).sample(fitting, 3))
    labels.give(explored.sae, SILENT, "lakes", by=viewer)
    labels.give(explored.sae, by_maximum[0], "rivers", by=viewer)
    assert draw(explored.sae, filtered(Filters(sort=Sort.LABEL), in_order=True), 0) == by_maximum[:1]
    assert SILENT not in draw(explored.sae, filtered(Filters(labelled=False)), 0)


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (filtered(Filters(fires=Fires.NEVER)), "No feature of a small SAE that fires fits this filter."),
        (filtered(Filters(ranges=(Range("density", None, 0.0),))), "No feature of a small SAE that fires fits"),
        (Sample(How.LIST, 5, list=1), "No feature of a small SAE that fires is in this list."),
    ],
)
def test_of_nothing_there_is_nothing_to_draw(explored: Explored, sample: Sample, why: str) -> None:
    with pytest.raises(NothingToDraw, match=why):
        draw(explored.sae, sample, 0)


def test_where_nothing_fires_there_is_nothing_to_draw(explored: Explored) -> None:
    Activity.objects.update(n_fired=0)
    for how in (How.UNIFORM, How.DENSITY):
        with pytest.raises(NothingToDraw, match="No feature of a small SAE fires"):
            draw(explored.sae, Sample(how, 5), 0)
    explored.collection.delete()
    with pytest.raises(NothingToDraw, match="read over no text yet"):
        draw(explored.sae, Sample(How.UNIFORM, 5), 0)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(
            Sort.MEAN, True, (Range("density", 1e-4, None), Range("index", 1, 9)), Fires.DENSE, False, ("a", "b"),
            (1, 2), 7,
        ),
        Filters(words=(), tokens=()),
    ],
)  # fmt: skip
def test_filters_are_the_same_after_json(filters: Filters) -> None:
    assert from_row(json.loads(json.dumps(as_row(filters)))) == filters


@pytest.mark.parametrize(
    "row",
    [
        {"how": "uniform", "n": 40},
        {"how": "density", "n": 40},
        {"how": "list", "n": 4, "list": 7},
        {"how": "filter", "n": 4, "filter": "sort=maximum", "filters": {"sort": "maximum"}, "in_order": True},
    ],
)
def test_a_sample_is_the_same_after_json(row: dict[str, object]) -> None:
    assert Sample.of(row).row() == row
