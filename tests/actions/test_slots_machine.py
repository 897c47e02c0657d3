"""Whatever four annotators do in whatever order: seats are as a simple model says, and nothing that was given is lost.

Time is none that passes: a lease ends by being set back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from explorer.actions import slots, studies
from explorer.models import Annotator, Draft, Hypothesis, Item, Score, Skip, Slot, Study
from explorer.models.studies import SubjectKind
from explorer.studies.rubrics import Points, WrongPoints
from tests.explored import Explored, explored, read
from tests.studied import FULL, SOME, person, study_of

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db

N_SUBJECTS, INTERVALS, PER_ITEM = 2, (0, 4), 2
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NOTHING: Points = dict.fromkeys(FULL, 0)
Pair = tuple[int, int]  # of an item and an annotator


@dataclass
class Seat:
    holder: int | None = None
    lapsed: bool = False
    filled: bool = False

    @property
    def free(self) -> bool:
        return not self.filled and (self.holder is None or self.lapsed)

    def take(self, me: int) -> None:
        self.holder, self.lapsed = me, False

    def leave(self) -> None:
        self.holder, self.lapsed = None, False


@dataclass
class Given:
    pair: Pair
    form: UUID
    points: Points
    said: str
    extra: bool
    current: bool = True


@dataclass
class Model:
    """What should be: of each item its seats in order, and what each annotator gave, drafted, said and skipped."""

    subject_of: dict[int, int]
    opened: bool = True
    seats: dict[int, list[Seat]] = field(default_factory=dict)
    given: list[Given] = field(default_factory=list)
    drafts: dict[Pair, dict[str, object]] = field(default_factory=dict)
    said: dict[Pair, str] = field(default_factory=dict)  # by subject
    skipped: set[Pair] = field(default_factory=set)

    def seat(self, item: int, me: int) -> Seat | None:
        return next((seat for seat in self.seats[item] if seat.holder == me), None)

    def held(self, me: int) -> list[tuple[int, Seat]]:
        """Not filled yet."""
        return [
            (item, seat) for item in self.seats for seat in self.seats[item] if seat.holder == me and not seat.filled
        ]

    def current(self, item: int, me: int) -> Given | None:
        return next((each for each in self.given if each.pair == (item, me) and each.current), None)

    def offers(self, me: int) -> list[int]:
        """Where they go on with something that they said of, if there is any; and the first seats that are free."""
        found = {
            item: next((number for number, seat in enumerate(seats) if seat.free), None)
            for item, seats in self.seats.items()
            if not (self.seat(item, me) or self.current(item, me) or (item, me) in self.skipped)
        }
        free = {item: number for item, number in found.items() if number is not None}
        known = {item: number for item, number in free.items() if (self.subject_of[item], me) in self.said}
        wanted = known or free
        return [item for item, number in wanted.items() if number == min(wanted.values())]

    def sit(self, item: int, me: int, *, fills: bool = False) -> bool:
        mine = self.seat(item, me)
        if mine:
            mine.lapsed = False
            return True
        free = next((seat for seat in self.seats[item] if seat.free), None)
        if free is None or not self.opened or (not fills and (self.held(me) or (item, me) in self.skipped)):
            return False
        free.take(me)
        return True

    def leave(self, me: int) -> None:
        for _, seat in self.held(me):
            seat.leave()


class Seating(RuleBasedStateMachine):
    study: Study  # of the test that runs it, so that by its numbers the same happens whenever it is played again
    people: list[Annotator]

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undone.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        self.items = {
            item.pk: item for item in Item.objects.filter(subject__study=self.study).select_related("subject")
        }
        self.model = Model({item.pk: item.subject_id for item in self.items.values()})
        self.model.seats = {item: [Seat() for _ in range(PER_ITEM)] for item in self.items}

    def item(self, me: int, which: int | None) -> Item:
        """The one before them, or whichever, as from an older window."""
        held = self.model.held(me)
        pks = list(self.items)
        return self.items[held[0][0] if held and which is None else pks[(which or 0) % len(pks)]]

    # What annotators do

    who = st.integers(0, 3)
    where = st.none() | st.integers(0, N_SUBJECTS * len(INTERVALS) - 1)
    words = st.sampled_from(["a word", "a word", "another", ""])
    marks = st.sampled_from([SOME, FULL])

    @rule(me=who)
    def claim(self, me: int) -> None:
        held, offers = self.model.held(me), self.model.offers(me)
        if not self.model.opened:
            with pytest.raises(slots.NotPossible, match="closed"):
                slots.claim(self.study, self.people[me])
            return
        item = slots.claim(self.study, self.people[me])
        if held:
            assert item
            assert item.pk == held[0][0]
            held[0][1].lapsed = False
        elif offers:
            assert item
            assert item.pk in offers
            next(seat for seat in self.model.seats[item.pk] if seat.free).take(me)
        else:
            assert item is None

    @rule(me=who, which=where, points=st.sampled_from([{}, SOME, FULL]))
    def save(self, me: int, which: int | None, points: Points) -> None:
        item = self.item(me, which)
        draft: dict[str, object] = {"points": points}
        assert slots.save(item, self.people[me], draft) == self.model.sit(item.pk, me)
        self.model.drafts[item.pk, me] = draft

    @rule(me=who, which=where, text=words)
    def say(self, me: int, which: int | None, text: str) -> None:
        item = self.item(me, which)
        self.model.sit(item.pk, me)
        stays = self.model.said.setdefault((item.subject_id, me), text)
        assert slots.say(item, self.people[me], text).text == stays

    @rule(me=who, which=where, points=marks)
    def submit(self, me: int, which: int | None, points: Points) -> None:
        item, model, form = self.item(me, which), self.model, uuid4()
        said = model.said.get((item.subject_id, me))
        if said is None:
            with pytest.raises(slots.NotPossible, match="Nothing is said yet"):
                slots.submit(item, self.people[me], points, form)
            return
        score = slots.submit(item, self.people[me], points, form)
        mine = model.seat(item.pk, me)
        seated = (mine is not None and mine.filled) or (model.opened and model.sit(item.pk, me, fills=True))
        if seated:
            seat = model.seat(item.pk, me)
            assert seat
            seat.filled, seat.lapsed = True, False
        if before := model.current(item.pk, me):
            before.current = False
        model.given.append(Given((item.pk, me), form, points if said else NOTHING, said, extra=not seated))
        model.drafts.pop((item.pk, me), None)
        model.skipped.discard((item.pk, me))
        assert (score.form, score.current, score.extra) == (form, True, not seated)

    @rule(me=who, which=where, text=words, points=marks)
    def say_and_submit(self, me: int, which: int | None, text: str, points: Points) -> None:
        self.say(me, which, text)
        self.submit(me, which, points)

    @rule(me=who, text=words, points=marks)
    def score_what_one_is_given(self, me: int, text: str, points: Points) -> None:
        self.claim(me)
        if self.model.held(me):
            self.say_and_submit(me, None, text, points)

    @rule(me=who, which=where)
    def submit_what_is_no_score(self, me: int, which: int | None) -> None:
        item = self.item(me, which)
        said = self.model.said.get((item.subject_id, me))
        if said:
            with pytest.raises(WrongPoints):
                slots.submit(item, self.people[me], SOME | {"confidence": 4}, uuid4())

    @rule(again=st.integers(0))
    def submit_the_same_form(self, again: int) -> None:
        """It is the score that it was, whatever has become of that."""
        if self.model.given:
            sent = self.model.given[-1 - again % len(self.model.given)]
            item, me = sent.pair
            score = slots.submit(self.items[item], self.people[me], FULL, sent.form)
            assert (score.form, score.points, score.current) == (sent.form, sent.points, sent.current)

    @rule(me=who)
    def undo(self, me: int) -> None:
        model = self.model
        mine = [each for each in model.given if each.pair[1] == me and each.current]
        if not model.opened or not mine:
            with pytest.raises(slots.NotPossible):
                slots.undo(self.study, self.people[me])
            return
        last = mine[-1]
        item = last.pair[0]
        assert slots.undo(self.study, self.people[me]).pk == item
        model.leave(me)
        last.current = False
        model.drafts[item, me] = {"points": last.points, "note": "", "flagged": False}
        if seat := model.seat(item, me):
            seat.filled = False
        model.sit(item, me)
        subject = model.subject_of[item]
        if not last.said and not any(model.subject_of[each.pair[0]] == subject for each in mine[:-1]):
            del model.said[subject, me]

    @rule(me=who, which=where)
    def skip(self, me: int, which: int | None) -> None:
        item = self.item(me, which)
        if self.model.current(item.pk, me):
            with pytest.raises(slots.NotPossible, match="scored this already"):
                slots.skip(item, self.people[me], "broken")
            return
        slots.skip(item, self.people[me], "broken")
        self.model.skipped.add((item.pk, me))
        if seat := self.model.seat(item.pk, me):
            seat.leave()

    @rule(me=who)
    def leave(self, me: int) -> None:
        slots.leave(self.study, self.people[me])
        self.model.leave(me)

    @rule(whoever=who)
    def go_silent(self, whoever: int) -> None:
        """One of those who have a seat to fill."""
        holders = [me for me in range(len(self.people)) if self.model.held(me)]
        if not holders:
            return
        me = holders[whoever % len(holders)]
        mine = Slot.objects.filter(study=self.study, annotator=self.people[me], filled_at=None)
        mine.update(lease_until=LONG_AGO)
        for _, seat in self.model.held(me):
            seat.lapsed = True

    @rule(closed=st.sampled_from([False, True, False]))
    def close_or_reopen(self, closed: bool) -> None:
        if not closed:
            studies.open_(self.study)
        elif self.model.opened:
            studies.close(self.study)
            for me in range(len(self.people)):
                self.model.leave(me)
        self.model.opened = not closed

    # What holds after each of it

    @invariant()
    def seats_are_as_they_should_be(self) -> None:
        me = {annotator.pk: number for number, annotator in enumerate(self.people)}
        found: dict[int, list[Seat]] = {item: [] for item in self.items}
        for slot in Slot.objects.filter(study=self.study).order_by("item", "seat"):
            holder = None if slot.annotator_id is None else me[slot.annotator_id]
            found[slot.item_id].append(Seat(holder, slot.lease_until == LONG_AGO, filled=slot.filled_at is not None))
            assert (slot.annotator_id is None) == (slot.claimed_at is None)
        assert found == self.model.seats
        holders = [
            seat.holder for seats in found.values() for seat in seats if not seat.filled and seat.holder is not None
        ]
        assert len(holders) == len(set(holders)), "somebody has two seats to fill"
        for seats in found.values():
            assert len(seats) == PER_ITEM
            taken = [seat.holder for seat in seats if seat.holder is not None]
            assert len(taken) == len(set(taken))

    @invariant()
    def everything_that_was_given_is_there(self) -> None:
        me = {annotator.pk: number for number, annotator in enumerate(self.people)}
        found = [
            Given((score.item_id, me[score.annotator_id]), score.form, score.points, score.hypothesis, score.extra,
                  score.current)
            for score in Score.objects.filter(item__in=self.items).order_by("pk")
        ]  # fmt: skip
        assert found == self.model.given
        seated = sorted(each.pair for each in found if each.current and not each.extra)
        filled = sorted(
            (item, seat.holder) for item, seats in self.model.seats.items() for seat in seats if seat.filled
        )
        assert seated == filled

    @invariant()
    def what_is_no_score_yet_is_there(self) -> None:
        me = {annotator.pk: number for number, annotator in enumerate(self.people)}
        drafts = Draft.objects.filter(item__in=self.items)
        assert {(each.item_id, me[each.annotator_id]): each.given for each in drafts} == self.model.drafts
        skips = Skip.objects.filter(item__in=self.items)
        assert {(each.item_id, me[each.annotator_id]) for each in skips} == self.model.skipped
        said = Hypothesis.objects.filter(subject__study=self.study)
        assert {(each.subject_id, me[each.annotator_id]): each.text for each in said} == self.model.said


@pytest.fixture
def seating(explored: Explored) -> Iterator[type[Seating]]:
    Seating.study = study_of(explored.sae, [SubjectKind.FEATURE] * N_SUBJECTS, intervals=INTERVALS, per_item=PER_ITEM)
    studies.open_(Seating.study)
    Seating.people = [person(name) for name in ("ann", "ben", "cleo", "dan")]
    yield Seating
    del Seating.study, Seating.people


def played(machine: type[Seating], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_whatever_is_done_in_whatever_order(seating: type[Seating]) -> None:
    played(seating, examples=15, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_at_length(seating: type[Seating]) -> None:
    played(seating, examples=120, steps=60)
