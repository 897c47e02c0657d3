"""Studies as researchers and annotators find them, what one holds, and how far it is."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from explorer.models import Collection, Item, Sae, Score, Skip, Slot, Study, Subject
from explorer.models.studies import StudyState, SubjectKind
from explorer.queries import library

PAGE = 50
MOST_REMARKS = 200
FILLED = Q(filled_at__isnull=False)
HELD = Q(filled_at=None, annotator__isnull=False, lease_until__gt=Now())


@dataclass(frozen=True, slots=True)
class Seats:
    all: int
    filled: int
    held: int

    @property
    def free(self) -> int:
        return self.all - self.filled - self.held


@dataclass(frozen=True, slots=True)
class Holding:
    """Of one kind of subject."""

    kind: SubjectKind
    n: int
    items: int
    gold: int
    lowest: float  # density
    middle: float
    highest: float


@dataclass(frozen=True, slots=True)
class Row:
    """A subject, and its items by interval, the strongest first: None where it has none."""

    subject: Subject
    items: list[tuple[Item, Seats] | None]


@dataclass(frozen=True, slots=True)
class SubjectPage:
    intervals: list[int]  # the highest first
    rows: list[Row]
    after: int | None  # the number to go on after


def studies(below: int | None = None, size: int = PAGE) -> tuple[list[Study], int | None]:
    """All, the newest first, with how far they are, and the id to go on below."""
    q = _counted(_there()).select_related("sae", "created_by").annotate(
        n_annotators=_number(Slot.objects.filter(FILLED), "study", Count("annotator", distinct=True))
    )  # fmt: skip
    found = list((q if below is None else q.filter(pk__lt=below))[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def open_to(user: User) -> list[Study]:
    """With how far somebody is."""
    mine = Score.objects.filter(annotator__user=user, current=True).exclude(item__subject__kind=SubjectKind.PRACTICE)
    q = _counted(_there().filter(state=StudyState.OPEN))
    return list(q.annotate(n_mine=_number(mine, "item__subject__study")))


def shown() -> list[Study]:
    """Those whose scores everybody may see."""
    return list(_there().filter(shown=True))


def study(study_id: int) -> Study | None:
    q = Study.objects.select_related("sae__lm", "lm", "rubric", "created_by", "job__created_by")
    return q.filter(pk=study_id).first()


def item(study_id: int, key: str) -> Item | None:
    of_study = (f"subject__study__{name}" for name in ("rubric", "lm", "sae"))
    q = Item.objects.select_related(*of_study, "subject__sae", "subject__pair")
    return q.defer("subject__pair__evidence").filter(subject__study=study_id, key=key).first()


def beside(found: Item) -> tuple[str | None, str | None]:
    """The keys of the items before and after, in the order of their study's page."""
    of_study = Item.objects.filter(subject__study=found.subject.study_id)
    number, interval = found.subject.number, found.interval
    before = of_study.filter(Q(subject__number__lt=number) | Q(subject__number=number, interval__gt=interval))
    after = of_study.filter(Q(subject__number__gt=number) | Q(subject__number=number, interval__lt=interval))
    return (
        before.order_by("-subject__number", "interval").values_list("key", flat=True).first(),
        after.order_by("subject__number", "-interval").values_list("key", flat=True).first(),
    )


def scored(found: Item) -> bool:
    """By anybody, also where they have taken it back."""
    return Score.objects.filter(item=found).exists()


def holdings(found: Study) -> list[Holding]:
    """By kind, features first."""
    of_kind: dict[str, list[tuple[float, int, int]]] = {}
    q = Subject.objects.filter(study=found).annotate(
        n_items=Count("items"), n_gold=Count("items", filter=Q(items__known__isnull=False))
    )
    for kind, density, n_items, n_gold in q.values_list("kind", "density", "n_items", "n_gold"):
        of_kind.setdefault(kind, []).append((density, n_items, n_gold))
    return [_holding(kind, of_kind[kind]) for kind in SubjectKind if kind in of_kind]


def _holding(kind: SubjectKind, rows: list[tuple[float, int, int]]) -> Holding:
    densities, items, gold = zip(*rows, strict=True)
    return Holding(
        kind, len(rows), sum(items), sum(gold), min(densities), median(densities), max(densities)
    )  # fmt: skip


def seats(found: Study) -> Seats:
    counts = Slot.objects.filter(study=found).aggregate(
        all=Count("pk"), filled=Count("pk", filter=FILLED), held=Count("pk", filter=HELD)
    )
    return Seats(**counts)


def subjects(found: Study, after: int | None = None, size: int = PAGE) -> SubjectPage:
    """In the order that says nothing, with what they truly are."""
    q = Subject.objects.filter(study=found).select_related("sae", "pair").order_by("number")
    q = q.defer("evidence", "pair__evidence")
    rows = list((q if after is None else q.filter(number__gt=after))[: size + 1])
    there = rows[:size]
    items, wanted = _items([each.pk for each in there]), _intervals(found)
    return SubjectPage(
        wanted,
        [Row(each, [items.get((each.pk, interval)) for interval in wanted]) for each in there],
        after=there[-1].number if len(rows) > size else None,
    )


def _intervals(found: Study) -> list[int]:
    """Those of its practice as well, which are not chosen."""
    there = Item.objects.filter(subject__study=found, subject__kind=SubjectKind.PRACTICE)
    return sorted({*found.intervals, *there.values_list("interval", flat=True)}, reverse=True)


def _items(subjects: list[int]) -> dict[tuple[int, int], tuple[Item, Seats]]:
    q = Item.objects.filter(subject__in=subjects).annotate(
        n_all=Count("slots"),
        n_filled=Count("slots", filter=Q(slots__filled_at__isnull=False)),
        n_held=Count(
            "slots",
            filter=Q(slots__filled_at=None, slots__annotator__isnull=False, slots__lease_until__gt=Now()),
        ),
    )
    return {(each.subject_id, each.interval): (each, Seats(each.n_all, each.n_filled, each.n_held)) for each in q}


def flags(found: Study) -> list[Score]:
    """What annotators want looked at, the newest first."""
    q = Score.objects.filter(item__subject__study=found, current=True, flagged=True)
    return list(_about_items(q)[:MOST_REMARKS])


def skips(found: Study) -> list[Skip]:
    return list(_about_items(Skip.objects.filter(item__subject__study=found))[:MOST_REMARKS])


def _about_items(q: QuerySet[Any]) -> QuerySet[Any]:
    return q.select_related("annotator", "item__subject").defer("item__subject__evidence").order_by("-pk")


def collected() -> QuerySet[Sae]:
    """SAEs that were read over some text, whose features can be scored."""
    q = Sae.objects.filter(Exists(Collection.objects.filter(sae=OuterRef("pk"))))
    return q.select_related("lm").order_by("lm__name", "hookpoint", "n_latents", "name")


def beside_another_lm() -> QuerySet[Sae]:
    """SAEs that were read over the same text as one of another lm."""
    others = Collection.objects.filter(corpus=OuterRef("corpus")).exclude(sae__lm=OuterRef("sae__lm"))
    return collected().filter(pk__in=Collection.objects.filter(Exists(others)).values("sae"))


def fit_beside(sae: Sae, other: Sae) -> bool:
    """Whether the other is of another lm, and was read over the text that features of the first are shown in."""
    collection = library.collections_of(sae).first()
    if collection is None or other.lm_id == sae.lm_id:
        return False
    return other.collections.filter(corpus=collection.corpus_id).exists()


def _there() -> QuerySet[Study]:
    return Study.objects.filter(going=False).order_by("-pk")


def _counted(q: QuerySet[Study]) -> QuerySet[Any]:
    items = Item.objects.exclude(subject__kind=SubjectKind.PRACTICE)
    return q.annotate(
        n_items=_number(items, "subject__study"),
        n_seats=_number(Slot.objects.all(), "study"),
        n_filled=_number(Slot.objects.filter(FILLED), "study"),
    )


def _number(q: QuerySet[Any], study: str, what: Count | None = None) -> Coalesce:
    """Of the rows of a study, within a query of studies."""
    of_study = q.filter(**{study: OuterRef("pk")}).order_by().values(study).annotate(n=what or Count("pk"))
    return Coalesce(Subquery(of_study.values("n")), 0)
