"""Seats: each goes to one, lapses, comes back; and nothing that somebody gave is ever lost."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, InternalError, transaction
from django.db.models.functions import Now

from explorer.actions import slots, studies
from explorer.actions.slots import NotPossible
from explorer.models import Draft, Hypothesis, Item, Score, Skip, Slot
from explorer.studies.rubrics import WrongPoints
from tests.explored import explored, read
from tests.studied import FULL, SOME, Studied, given, person, studied

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db


def lapse(item: Item) -> None:
    Slot.objects.filter(item=item, filled_at=None).update(lease_until=Now() - timedelta(seconds=1))


def test_one_goes_on_where_one_has_a_hypothesis(studied: Studied) -> None:
    me = person("ann")
    first = slots.claim(studied.study, me)
    assert first
    given(first, me, FULL)
    second = slots.claim(studied.study, me)
    assert second
    assert (second.subject_id, second.interval) == (first.subject_id, 0)
    assert first.interval == 4


def test_asked_again_one_has_the_same_seat(studied: Studied) -> None:
    me = person("ann")
    assert slots.claim(studied.study, me) == slots.claim(studied.study, me)
    assert Slot.objects.filter(annotator=me).count() == 1


def test_nobody_scores_an_item_twice(studied: Studied) -> None:
    me = person("ann")
    seen = []
    while item := slots.claim(studied.study, me):
        seen.append(item.pk)
        given(item, me, SOME)
    assert sorted(seen) == sorted(item.pk for item in studied.items)
    assert Slot.objects.filter(filled_at__isnull=False, annotator=me).count() == 8
    assert Slot.objects.filter(annotator=None).count() == 8


def test_an_item_takes_as_many_as_there_are_seats(studied: Studied) -> None:
    for name in ("ann", "ben"):
        by = person(name)
        while item := slots.claim(studied.study, by):
            given(item, by, SOME)
    assert slots.claim(studied.study, person("cleo")) is None


def test_an_abandoned_seat_goes_to_another_and_the_draft_stays(studied: Studied) -> None:
    ann, ben, cleo = person("ann"), person("ben"), person("cleo")
    item = slots.claim(studied.study, ann)
    assert item
    assert slots.save(item, ann, {"points": {"confidence": 2}})
    lapse(item)
    for by in (ben, cleo):
        while other := slots.claim(studied.study, by):
            given(other, by, SOME)
    assert not Slot.objects.filter(annotator=ann).exists()
    assert Draft.objects.get().given == {"points": {"confidence": 2}}
    assert not slots.save(item, ann, {"points": {"confidence": 3}})
    late = given(item, ann, FULL)
    assert (late.extra, late.total) == (True, 14)
    assert Score.objects.filter(item=item, current=True).count() == 3
    assert Slot.objects.filter(item=item).count() == 2


def test_a_seat_that_lapsed_is_still_theirs_until_somebody_takes_it(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    lapse(item)
    assert not given(item, me, SOME).extra


def test_who_has_lost_their_seat_takes_another_of_the_item(studied: Studied) -> None:
    ann, ben = person("ann"), person("ben")
    item = slots.claim(studied.study, ann)
    assert item
    Slot.objects.filter(item=item, seat=0).update(annotator=ben, lease_until=Now() + timedelta(hours=1))
    assert not given(item, ann, SOME).extra
    assert Slot.objects.get(item=item, seat=1).annotator == ann


def test_an_older_window_takes_no_second_seat_until_something_is_given_in_it(studied: Studied) -> None:
    ann, ben = person("ann"), person("ben")
    older = slots.claim(studied.study, ann)
    assert older
    Slot.objects.filter(item=older, seat=0).update(annotator=ben, lease_until=Now() + timedelta(hours=1))
    newer = slots.claim(studied.study, ann)
    assert newer
    assert not slots.save(older, ann, {"note": "half a"})
    assert list(Slot.objects.filter(annotator=ann).values_list("item", flat=True)) == [newer.pk]
    late = given(older, ann, SOME)
    assert (late.extra, late.seconds) == (False, None)  # nobody knows for how long
    assert slots.claim(studied.study, ann) == newer


def test_sent_twice_it_is_one_score(studied: Studied) -> None:
    me, form = person("ann"), uuid4()
    item = slots.claim(studied.study, me)
    assert item
    slots.say(item, me, "it is a word")
    first = slots.submit(item, me, SOME, form)
    assert slots.submit(item, me, FULL, form) == first
    assert Score.objects.get().total == 7


def test_what_is_said_first_stays_where_it_is_staged(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    slots.say(item, me, "  first ")
    assert slots.say(item, me, "second").text == "first"
    studied.study.staged = False
    studied.study.save()
    assert slots.say(Item.objects.get(pk=item.pk), me, "second").text == "second"
    assert Hypothesis.objects.count() == 1


def test_without_a_hypothesis_all_is_nothing(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    with pytest.raises(NotPossible, match="Nothing is said yet"):
        slots.submit(item, me, FULL, uuid4())
    score = given(item, me, {}, says="")
    assert (score.total, score.points) == (0, dict.fromkeys(FULL, 0))


def test_points_that_there_are_not_are_refused_and_nothing_is_lost(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    slots.save(item, me, {"points": SOME})
    with pytest.raises(WrongPoints) as refused:
        given(item, me, SOME | {"confidence": 4, "gap": None})
    assert refused.value.wrong == {
        "confidence": "Confidence: 4 is not from 0 to 3.",
        "gap": "Gap: no points are given.",
    }
    assert Draft.objects.get().given == {"points": SOME}
    assert not Score.objects.exists()


def test_what_was_given_last_can_be_taken_back(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    given(item, me, SOME)
    following = slots.claim(studied.study, me)
    assert following
    assert following != item
    assert slots.undo(studied.study, me) == item
    assert slots.claim(studied.study, me) == item
    assert Draft.objects.get(item=item).given["points"] == SOME
    assert Slot.objects.filter(annotator=me).count() == 1
    assert given(item, me, FULL).total == 14
    assert list(Score.objects.order_by("pk").values_list("total", "current")) == [(7, False), (14, True)]


def test_there_may_be_nothing_to_take_back(studied: Studied) -> None:
    with pytest.raises(NotPossible, match="nothing to take back"):
        slots.undo(studied.study, person("ann"))


def test_what_is_skipped_is_not_offered_again(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    with pytest.raises(NotPossible, match="in a few words why"):
        slots.skip(item, me, "  ")
    slots.skip(item, me, "a language I cannot read")
    assert Skip.objects.get().reason == "a language I cannot read"
    assert not Slot.objects.filter(annotator=me).exists()
    while other := slots.claim(studied.study, me):
        assert other != item
        given(other, me, SOME)


def test_what_is_skipped_and_scored_all_the_same(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    slots.skip(item, me, "a language I cannot read")
    assert not slots.save(item, me, {"note": "sent a moment too late"})
    assert not Slot.objects.filter(annotator=me).exists()
    assert not given(item, me, SOME).extra
    assert not Skip.objects.exists()


def test_a_study_that_closes_meanwhile_loses_nothing(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    studies.close(studied.study)
    with pytest.raises(NotPossible, match="closed"):
        slots.claim(studied.study, me)
    assert given(item, me, SOME).extra
    with pytest.raises(NotPossible, match="closed"):
        slots.undo(studied.study, me)
    studies.open_(studied.study)
    assert Slot.objects.filter(study=studied.study).count() == 16


def test_scores_are_only_added_to(studied: Studied, admin: User) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    score = given(item, me, SOME)
    for change in (lambda: Score.objects.update(total=1), lambda: score.delete(), lambda: item.delete()):
        with pytest.raises((InternalError, IntegrityError), match="only added to"), transaction.atomic():
            change()
    studies.remove(studied.study, by=admin, address="127.0.0.1")
    assert not Score.objects.exists()
