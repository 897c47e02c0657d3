"""Labels, those that features have had included."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from explorer.models import Label, Sae

PAGE = 50
BATCH = 2_000  # rows that a download has at hand


@dataclass(frozen=True, slots=True)
class LabelPage:
    labels: list[Label]
    older: int | None  # the id to go on below


def given(sae: Sae, index: int | None = None, below: int | None = None, size: int = PAGE) -> LabelPage:
    """The newest first: of one feature, or of all."""
    q = Label.objects.filter(sae=sae).select_related("author", "sae").order_by("-pk")
    q = q if index is None else q.filter(index=index)
    found = list((q if below is None else q.filter(pk__lt=below))[: size + 1])
    return LabelPage(found[:size], older=found[size - 1].pk if len(found) > size else None)


def n_labelled(sae: Sae) -> int:
    return _named(sae).count()


def batches(sae: Sae, *, history: bool, size: int = BATCH) -> Iterator[list[Label]]:
    """By index, and of one feature the oldest first; nothing is kept open in between."""
    q = Label.objects.filter(sae=sae) if history else _named(sae)
    q = q.select_related("author").order_by("index", "pk")
    found = list(q[:size])
    while found:
        yield found
        last = found[-1]
        rest = q.filter(index__gte=last.index).exclude(index=last.index, pk__lte=last.pk)
        found = list(rest[:size]) if len(found) == size else []


def _named(sae: Sae) -> QuerySet[Label]:
    return Label.objects.filter(sae=sae, current=True).exclude(text="")
