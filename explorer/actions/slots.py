"""Who sits where. A seat is claimed for a while, which every saved draft renews; then it is anybody's again. What
somebody gives is kept whoever has the seat by then.

Whatever one annotator does goes one after the other: each of these holds their row. What changes scores holds the
study's before it, in the order of whoever closes a study or brings scores into it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, QuerySet
from django.db.models.functions import Extract, Now

from explorer.actions import feature_scores
from explorer.models import Annotator, Draft, Hypothesis, Item, Score, Skip, Slot, Study
from explorer.models.studies import Origin, StudyState
from explorer.plain import one_line, plain
from explorer.studies import rubrics
from explorer.studies.rubrics import criteria_of

LONGEST_HYPOTHESIS, LONGEST_NOTE, LONGEST_REASON = 2_000, 2_000, 500  # characters

# What one is to score next, by plain statements: making a query of models takes longer than its answer. First practice.
PRACTICE = """
SELECT item.id FROM explorer_item item JOIN explorer_subject subject ON subject.id = item.subject_id
WHERE subject.study_id = %(study)s AND subject.kind = 'practice' AND NOT EXISTS (
    SELECT FROM explorer_score score
    WHERE score.item_id = item.id AND score.annotator_id = %(me)s AND score.current
)
ORDER BY subject.number LIMIT 1
"""
# Then the seat that they have.
HELD = """
UPDATE explorer_slot SET lease_until = statement_timestamp() + make_interval(secs => %(lease)s)
WHERE study_id = %(study)s AND annotator_id = %(me)s AND filled_at IS NULL
RETURNING item_id
"""
# Then another, in one statement, so that however many ask at once each seat goes to one: what one has a hypothesis of
# before all else; first seats before second ones, everybody in an order of their own, so that they do not crowd at the
# same subjects.
CLAIM = """
UPDATE explorer_slot
SET annotator_id = %(me)s, claimed_at = statement_timestamp(),
    lease_until = statement_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT slot.id FROM explorer_slot slot JOIN explorer_item item ON item.id = slot.item_id
    WHERE slot.study_id = %(study)s AND slot.filled_at IS NULL
      AND (slot.annotator_id IS NULL OR slot.lease_until < statement_timestamp())
      AND NOT EXISTS (SELECT FROM explorer_slot mine WHERE mine.item_id = item.id AND mine.annotator_id = %(me)s)
      AND NOT EXISTS (SELECT FROM explorer_skip skip WHERE skip.item_id = item.id AND skip.annotator_id = %(me)s)
      AND NOT EXISTS (
          SELECT FROM explorer_score score
          WHERE score.item_id = item.id AND score.annotator_id = %(me)s AND score.current
      )
    ORDER BY EXISTS (
          SELECT FROM explorer_hypothesis said
          WHERE said.subject_id = item.subject_id AND said.annotator_id = %(me)s
      ) DESC, slot.seat, hashint8extended(item.subject_id, %(me)s), item.interval DESC
    LIMIT 1 FOR UPDATE OF slot SKIP LOCKED
)
RETURNING item_id
"""
# To fill it at once; else only for who has none elsewhere, where what an older window sends would take theirs or come
# with a second one, and has not skipped it.
CLAIM_SEAT = """
UPDATE explorer_slot
SET annotator_id = %(me)s, claimed_at = statement_timestamp(),
    lease_until = statement_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT slot.id FROM explorer_slot slot JOIN explorer_study study ON study.id = slot.study_id
    WHERE slot.item_id = %(item)s AND slot.filled_at IS NULL AND study.state = 'open'
      AND (slot.annotator_id IS NULL OR slot.lease_until < statement_timestamp())
      AND (%(fills)s OR NOT EXISTS (
          SELECT FROM explorer_slot other
          WHERE other.annotator_id = %(me)s AND other.study_id = slot.study_id AND other.filled_at IS NULL
      ) AND NOT EXISTS (
          SELECT FROM explorer_skip skip WHERE skip.item_id = slot.item_id AND skip.annotator_id = %(me)s
      ))
    ORDER BY slot.seat LIMIT 1 FOR UPDATE OF slot SKIP LOCKED
)
RETURNING id
"""


class NotPossible(Exception):
    """Why, for the person who asked."""


def claim(study: Study, annotator: Annotator) -> Item | None:
    """What somebody is to score next, None where nothing is left for them: practice, then the seat that they have, then
    another."""
    with _alone(annotator):
        rows = (_row(statement, annotator, study=study.pk) for statement in (PRACTICE, HELD, CLAIM))
        found = next((row[0] for row in rows if row), None)
        # Last, as it takes no lock: whoever closes it meanwhile has taken this seat too, or is seen here.
        if not Study.objects.filter(pk=study.pk, state=StudyState.OPEN).exists():
            raise NotPossible("This study is closed.")
    return Item.objects.get(pk=found) if found else None


def save(item: Item, annotator: Annotator, given: Mapping[str, Any]) -> bool:
    """Keeps what somebody has so far; whether they have a seat for it."""
    with _alone(annotator):
        _keep(item.pk, annotator, dict(given))
        return _seated(item, annotator)


def say(item: Item, annotator: Annotator, text: str) -> Hypothesis:
    """What somebody takes the subject for, empty where they can tell nothing. In a staged study what was said first
    stays."""
    said = plain(text).strip()[:LONGEST_HYPOTHESIS]
    with _alone(annotator):
        _seated(item, annotator)
        found, new = Hypothesis.objects.get_or_create(
            subject_id=item.subject_id, annotator=annotator, defaults={"text": said}
        )
        if not new and found.text != said and not item.subject.study.staged:
            Hypothesis.objects.filter(pk=found.pk).update(text=said, locked_at=Now())
            found.refresh_from_db()
    return found


def submit(
    item: Item,
    annotator: Annotator,
    given: Mapping[str, Any],
    form: UUID,
    *,
    note: str = "",
    flagged: bool = False,
    origin: Origin = Origin.PAGE,
) -> Score:
    """Points by criterion, of a subject that something was said of; without a hypothesis all are 0. Sent twice it is
    one score, sent too late an extra one. Raises WrongPoints."""
    with _scoring(annotator, subjects__items=item) as study:
        sent = Score.objects.filter(item=item, annotator=annotator, form=form).first()
        if sent:
            return sent
        said = Hypothesis.objects.filter(subject=item.subject_id, annotator=annotator).first()
        if said is None:
            raise NotPossible("Nothing is said yet of what this is. Say it, or that it is nothing you can name.")
        criteria = criteria_of(study.rubric.criteria)
        points = rubrics.judged(criteria, given) if said.text else rubrics.no_hypothesis(criteria)
        seats = Slot.objects.filter(item=item, annotator=annotator)
        seat = seats.annotate(seconds=Extract(Now() - F("claimed_at"), "epoch")).first()
        seated = bool(seat and seat.filled_at) or (
            study.state == StudyState.OPEN and bool(seat or _row(CLAIM_SEAT, annotator, item=item.pk, fills=True))
        )
        Score.objects.filter(item=item, annotator=annotator, current=True).update(current=False)
        score = Score.objects.create(
            item=item,
            annotator=annotator,
            rubric=study.rubric,
            points=points,
            total=rubrics.total(points),
            hypothesis=said.text,
            note=plain(note)[:LONGEST_NOTE],
            flagged=flagged,
            seconds=seat.seconds if seat else None,
            origin=origin,
            extra=not seated,
            form=form,
        )
        if seated:
            seats.update(filled_at=Now(), lease_until=None)
        else:
            _give_up(seats)
        Skip.objects.filter(item=item, annotator=annotator).delete()
        Draft.objects.filter(item=item, annotator=annotator).delete()
        _changed(study)
    return score


def undo(study: Study, annotator: Annotator) -> Item:
    """Takes back what somebody gave last, to be given again: the seat is theirs, what they gave a draft."""
    with _scoring(annotator, pk=study.pk) as found:
        if found.state != StudyState.OPEN:
            raise NotPossible("This study is closed, so what was given stays.")
        mine = Score.objects.filter(annotator=annotator, current=True, item__subject__study=study)
        last = mine.exclude(origin=Origin.IMPORT).order_by("-pk").first()
        if last is None:
            raise NotPossible("There is nothing to take back.")
        _give_up(Slot.objects.filter(study=study, annotator=annotator))
        Score.objects.filter(pk=last.pk).update(current=False)
        lease = Now() + settings.STUDY_LEASE
        seats = Slot.objects.filter(item=last.item_id, annotator=annotator)
        _keep(last.item_id, annotator, {"points": last.points, "note": last.note, "flagged": last.flagged})
        if not seats.update(filled_at=None, claimed_at=Now(), lease_until=lease):
            _seated(last.item, annotator)  # it was an extra one
        if not last.hypothesis:  # nothing more was shown then, so they may still form one
            others = Score.objects.filter(annotator=annotator, current=True, item__subject=last.item.subject_id)
            nothing = Hypothesis.objects.filter(subject=last.item.subject_id, annotator=annotator, text="")
            nothing.exclude(Exists(others)).delete()
        _changed(study)
    return last.item


def skip(item: Item, annotator: Annotator, reason: str) -> None:
    """The seat is anybody's again, and the item is not offered to them any more."""
    why = one_line(reason)[:LONGEST_REASON]
    if not why:
        raise NotPossible("Say in a few words why you skip it.")
    with _alone(annotator):
        if Score.objects.filter(item=item, annotator=annotator, current=True).exists():
            raise NotPossible("You have scored this already. Take that back first.")
        Skip.objects.get_or_create(item=item, annotator=annotator, defaults={"reason": why})
        _give_up(Slot.objects.filter(item=item, annotator=annotator))


def leave(study: Study, annotator: Annotator) -> None:
    """Gives up the seat that one has. The draft stays."""
    with _alone(annotator):
        _give_up(Slot.objects.filter(study=study, annotator=annotator))


@contextmanager
def _alone(annotator: Annotator) -> Iterator[None]:
    with transaction.atomic():
        Annotator.objects.select_for_update(no_key=True).get(pk=annotator.pk)
        yield


@contextmanager
def _scoring(annotator: Annotator, **study: Any) -> Iterator[Study]:
    with transaction.atomic():
        found = Study.objects.select_related("rubric").select_for_update(no_key=True, of=("self",)).get(**study)
        Annotator.objects.select_for_update(no_key=True).get(pk=annotator.pk)
        yield found


def _keep(item_id: int, annotator: Annotator, given: dict[str, Any]) -> None:
    """In one statement, as this is done while people type."""
    draft = Draft(item_id=item_id, annotator=annotator, given=given, saved_at=Now())
    Draft.objects.bulk_create(
        [draft], update_conflicts=True, unique_fields=["item", "annotator"], update_fields=["given", "saved_at"]
    )


def _seated(item: Item, annotator: Annotator) -> bool:
    """With the seat that they have or, where they have lost it, another that is free."""
    if _renew(item.pk, annotator):
        return True
    if Slot.objects.filter(item=item, annotator=annotator).exists():  # it is filled
        return True
    return bool(_row(CLAIM_SEAT, annotator, item=item.pk, fills=False))


def _row(statement: str, annotator: Annotator, **more: Any) -> tuple[int] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"me": annotator.pk, "lease": settings.STUDY_LEASE.total_seconds()} | more)
        row: tuple[int] | None = cursor.fetchone()
    return row


def _renew(item_id: int, annotator: Annotator) -> bool:
    seats = Slot.objects.filter(item=item_id, annotator=annotator, filled_at=None)
    return bool(seats.update(lease_until=Now() + settings.STUDY_LEASE))


def _give_up(seats: QuerySet[Slot]) -> None:
    seats.filter(filled_at=None).update(annotator=None, claimed_at=None, lease_until=None)


def _changed(study: Study) -> None:
    Study.objects.filter(pk=study.pk).update(edition=F("edition") + 1)
    feature_scores.changed(study)
