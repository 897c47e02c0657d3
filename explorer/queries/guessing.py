"""Six items for whoever would like to tell features from controls, of studies whose scores everybody may see."""

from dataclasses import dataclass
from random import Random

from django.db.models import Avg, Count, Exists, OuterRef, Q, QuerySet

from explorer.models import Item, Study, Subject
from explorer.models.studies import SubjectKind

OF_EACH = 3
GUESSED = (SubjectKind.NEURON, SubjectKind.DIRECTION, SubjectKind.UNTRAINED)


@dataclass(frozen=True, slots=True)
class Round:
    study: Study
    control: SubjectKind
    subjects: list[int]  # their ids, in an order by chance


def there_is_one() -> bool:
    return _with_enough().exists()


def round_of(seed: int) -> Round | None:
    """The same for the same seed, as long as the same studies are shown."""
    random = Random(seed)
    studies = list(_with_enough().select_related("lm", "rubric", "sae").order_by("pk"))
    if not studies:
        return None
    study = random.choice(studies)
    by_kind: dict[str, list[int]] = {}
    for kind, pk in study.subjects.order_by("number").values_list("kind", "pk"):
        by_kind.setdefault(kind, []).append(pk)
    control = random.choice([kind for kind in GUESSED if len(by_kind.get(kind, [])) >= OF_EACH])
    drawn = random.sample(by_kind[SubjectKind.FEATURE], OF_EACH) + random.sample(by_kind[control], OF_EACH)
    random.shuffle(drawn)
    return Round(study, control, drawn)


def item_of(subject: int) -> Item | None:
    """That of its strongest interval."""
    items = Item.objects.filter(subject=subject).select_related("subject__sae")
    return items.order_by("-interval").first()


def told(found: Round) -> list[Subject]:
    """What they truly are, and what annotators gave them on the whole."""
    scored = Q(items__scores__current=True)
    q = Subject.objects.filter(pk__in=found.subjects).select_related("sae").defer("evidence")
    rows = q.annotate(mean=Avg("items__scores__total", filter=scored), n=Count("items__scores", filter=scored))
    by_pk = {each.pk: each for each in rows}
    return [by_pk[pk] for pk in found.subjects if pk in by_pk]


def _with_enough() -> QuerySet[Study]:
    """With at least three features, and as many of one kind that is none."""
    subjects = Subject.objects.filter(study=OuterRef("pk")).order_by().values("kind")
    enough = subjects.annotate(n=Count("pk")).filter(n__gte=OF_EACH)
    return Study.objects.filter(
        Exists(enough.filter(kind=SubjectKind.FEATURE)), Exists(enough.filter(kind__in=GUESSED)), shown=True
    )
