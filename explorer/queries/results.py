"""What came out of a study, its practice apart: who gave what, of which items, and what was judged of that since."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet

from explorer.access import Person, role_of
from explorer.models import Adjudication, Annotator, Hypothesis, Item, Score, Skip, Slot, Study
from explorer.models.studies import StudyState, SubjectKind
from explorer.studies.rubrics import Points

BATCH = 1_000  # scores that a download has at hand


@dataclass(frozen=True, slots=True)
class ItemRow:
    pk: int
    key: str
    interval: int
    subject: int
    number: int  # the subject's
    kind: str
    sae: str | None
    index: int | None
    gold: Any  # points by criterion and why, where what it should be given is known

    @property
    def known(self) -> Points | None:
        return self.gold["points"] if self.gold else None


@dataclass(frozen=True, slots=True)
class Given:
    """A score that counts."""

    item: int
    annotator: int
    points: Points
    total: int
    hypothesis: str
    note: str
    seconds: float | None
    flagged: bool
    extra: bool


def annotates(study_id: int, user: Person) -> bool:
    """Whether somebody has or had anything to do with its items as an annotator."""
    if not user.is_authenticated:
        return False
    me = Annotator.objects.filter(user=user)
    has_any = (
        Exists(Slot.objects.filter(study=study_id, annotator=OuterRef("pk")))
        | Exists(Hypothesis.objects.filter(subject__study=study_id, annotator=OuterRef("pk")))
        | Exists(Score.objects.filter(item__subject__study=study_id, annotator=OuterRef("pk")))
    )
    return me.filter(has_any).exists()


def items(study_id: int) -> list[ItemRow]:
    q = Item.objects.filter(subject__study=study_id).exclude(subject__kind=SubjectKind.PRACTICE)
    rows = q.order_by("subject__number", "interval").values_list(
        "pk", "key", "interval", "subject", "subject__number", "subject__kind", "subject__sae__slug", "subject__index",
        "known",
    )  # fmt: skip
    return [ItemRow(*row) for row in rows]


def given(study_id: int) -> list[Given]:
    """In the order in which they were given."""
    rows = _scores(study_id).filter(current=True).order_by("pk").values_list(
        "item", "annotator", "points", "total", "hypothesis", "note", "seconds", "flagged", "extra"
    )  # fmt: skip
    return [Given(*row) for row in rows]


def annotators(study_id: int) -> dict[int, Annotator]:
    """Those who have scored anything, by who did first."""
    order = _scores(study_id).values_list("annotator").annotate(first=Min("pk")).order_by("first")
    pks = [pk for pk, _ in order]
    found = Annotator.objects.in_bulk(pks)
    return {pk: found[pk] for pk in pks}


def skips(study_id: int) -> dict[int, int]:
    """How many items each annotator would rather not score."""
    q = Skip.objects.filter(item__subject__study=study_id).exclude(item__subject__kind=SubjectKind.PRACTICE)
    return dict(q.values_list("annotator").annotate(n=Count("pk")))


def meanings(study_id: int) -> dict[int, str]:
    """By subject, whether its hypotheses mean the same, where somebody has judged that."""
    q = Adjudication.objects.filter(subject__study=study_id, current=True)
    return dict(q.values_list("subject", "meaning"))


def adjudication(subject_id: int) -> Adjudication | None:
    return Adjudication.objects.filter(subject=subject_id, current=True).first()


def item(study_id: int, key: str) -> Item | None:
    """With its evidence."""
    q = Item.objects.filter(subject__study=study_id, key=key).exclude(subject__kind=SubjectKind.PRACTICE)
    return q.select_related("subject__sae").first()


def item_of_subject(subject_id: int) -> Item:
    """Its strongest one, with its evidence."""
    return Item.objects.select_related("subject").filter(subject=subject_id).order_by("-interval")[0]


def listed(user: Person, below: int | None, size: int) -> tuple[list[Study], int | None]:
    """Studies that somebody may know of, the newest first, and the id to go on below."""
    role = role_of(user)
    known = Q(shown=True, state=StudyState.CLOSED)
    if role.may_annotate:
        known |= Q(state=StudyState.OPEN)
    q = Study.objects.filter(Q() if role.may_research else known, going=False).select_related("rubric").order_by("-pk")
    found = list((q if below is None else q.filter(pk__lt=below))[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def batches(study_id: int, *, every: bool, size: int = BATCH) -> Iterator[list[Score]]:
    """Scores as they were given, so many at a time; nothing is kept open in between. `every`: replaced ones too."""
    q = _scores(study_id) if every else _scores(study_id).filter(current=True)
    q = q.select_related("annotator", "rubric", "item__subject__sae").defer("item__subject__evidence").order_by("pk")
    after = 0
    while True:
        rows = list(q.filter(pk__gt=after)[:size])
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = rows[-1].pk


def _scores(study_id: int) -> "QuerySet[Score, Any]":
    q = Score.objects.filter(item__subject__study=study_id)
    return q.exclude(item__subject__kind=SubjectKind.PRACTICE)
