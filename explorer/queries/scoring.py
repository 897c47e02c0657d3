"""What somebody has before them who scores: what they may still see, what they have given, how far they are."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from explorer.models import Annotator, Draft, Hypothesis, Item, Score, Skip, Slot, Study
from explorer.models.studies import Origin, StudyState, SubjectKind
from explorer.studies.rubrics import criteria_of

# A plain statement, asked for with all that is sent: made of models it takes five times as long to make as to answer.
OFFERED = """
SELECT item.id FROM explorer_item item JOIN explorer_subject subject ON subject.id = item.subject_id
WHERE subject.study_id = %(study)s AND item.key = %(key)s AND (
    subject.kind = 'practice'
    OR EXISTS (SELECT FROM explorer_slot WHERE item_id = item.id AND annotator_id = %(me)s)
    OR EXISTS (SELECT FROM explorer_draft WHERE item_id = item.id AND annotator_id = %(me)s)
    OR EXISTS (SELECT FROM explorer_score WHERE item_id = item.id AND annotator_id = %(me)s)
    OR EXISTS (SELECT FROM explorer_hypothesis WHERE subject_id = item.subject_id AND annotator_id = %(me)s)
)
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """One's own of an item."""

    hypothesis: Hypothesis | None
    given: dict[str, Any]  # the draft
    revealed: bool  # they have seen what it raises: here, or at another interval of the same
    again: bool  # they have scored another interval of the same, whose points about its logits stand here too
    scored: Score | None


@dataclass(frozen=True, slots=True)
class Progress:
    mine: int
    items: int
    filled: int
    seats: int

    @property
    def share(self) -> float:
        return self.filled / self.seats if self.seats else 0.0


def study(study_id: int) -> Study | None:
    return Study.objects.select_related("rubric", "lm", "created_by").filter(pk=study_id).first()


def open_studies() -> QuerySet[Study]:
    return Study.objects.filter(state=StudyState.OPEN).select_related("rubric").order_by("-pk")


def item_offered(study_id: int, key: str, annotator: Annotator) -> Item | None:
    """One that they were given to score, whoever has the seat by now, or to practise on."""
    with connection.cursor() as cursor:
        cursor.execute(OFFERED, {"study": study_id, "key": key, "me": annotator.pk})
        row = cursor.fetchone()
    q = Item.objects.select_related("subject__study__rubric", "subject__study__lm")
    return q.filter(pk=row[0]).first() if row else None


def draft(item: Item, annotator: Annotator) -> dict[str, Any]:
    return Draft.objects.filter(item=item, annotator=annotator).values_list("given", flat=True).first() or {}


def standing(item: Item, annotator: Annotator) -> Standing:
    scores = Score.objects.filter(annotator=annotator, item__subject=item.subject_id).order_by("-pk")
    of_subject = list(scores.select_related("item"))
    given = draft(item, annotator)
    return Standing(
        hypothesis=Hypothesis.objects.filter(subject=item.subject_id, annotator=annotator).first(),
        given=given | {"points": _points(given, of_subject, item)},
        revealed=bool(given.get("revealed")) or bool(of_subject),
        again=any(each.current and each.item_id != item.pk for each in of_subject),
        scored=next((each for each in of_subject if each.current and each.item_id == item.pk), None),
    )


def _points(given: dict[str, Any], of_subject: list[Score], item: Item) -> dict[str, Any]:
    """Those of the draft; else, where another interval of the same was scored, all but what is of the interval."""
    drafted: dict[str, Any] = given.get("points") or {}
    other = next((each for each in of_subject if each.current and each.item_id != item.pk), None)
    if drafted or other is None:
        return drafted
    of_interval = {each.key for each in criteria_of(item.subject.study.rubric.criteria) if each.of_interval}
    return {key: value for key, value in other.points.items() if key not in of_interval}


def progress(of: Study, annotator: Annotator) -> Progress:
    counts = Slot.objects.filter(study=of).aggregate(
        seats=Count("pk"), filled=Count("pk", filter=Q(filled_at__isnull=False)),
        mine=Count("pk", filter=Q(filled_at__isnull=False, annotator=annotator)),
    )  # fmt: skip
    return Progress(counts["mine"], counts["seats"] // of.per_item, counts["filled"], counts["seats"])


def may_take_back(of: Study, annotator: Annotator) -> bool:
    mine = Score.objects.filter(annotator=annotator, current=True, item__subject__study=of)
    return mine.exclude(origin=Origin.IMPORT).exists()


def may_claim(of: Study, annotator: Annotator) -> bool:
    """Whether they have a seat just now, or would be given one."""
    mine = Slot.objects.filter(item=OuterRef("item"), annotator=annotator)
    scored = Score.objects.filter(item=OuterRef("item"), annotator=annotator, current=True)
    skipped = Skip.objects.filter(item=OuterRef("item"), annotator=annotator)
    free = Q(annotator=None) | Q(lease_until__lt=Now())
    given = free & ~Exists(mine) & ~Exists(scored) & ~Exists(skipped)
    return Slot.objects.filter(Q(annotator=annotator) | given, study=of, filled_at=None).exists()


def skipped(of: Study, annotator: Annotator) -> int:
    return Skip.objects.filter(annotator=annotator, item__subject__study=of).count()


def practised(of: Study, annotator: Annotator) -> tuple[int, int]:
    """Of how many items of practice how many are done."""
    done = Score.objects.filter(item=OuterRef("pk"), annotator=annotator, current=True)
    items = Item.objects.filter(subject__study=of, subject__kind=SubjectKind.PRACTICE)
    found = list(items.values_list(Exists(done), flat=True))
    return sum(found), len(found)
