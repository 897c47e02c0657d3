"""Pages of an SAE's features, and what tells one state of them from another."""

from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from explorer.models import Activity, Collection, Feature, Label, Sae

PAGE = 50


@dataclass(frozen=True, slots=True)
class Row:
    index: int
    label: str
    activity: Activity | None  # None: read over no text yet


@dataclass(frozen=True, slots=True)
class FeatureList:
    rows: list[Row]
    next: int | None  # the index to go on after


def page(sae: Sae, collection: Collection | None, after: int | None, size: int = PAGE) -> FeatureList:
    """Features in the order of their index, after one."""
    first = -1 if after is None else after
    if collection:
        activities = list(Activity.objects.filter(collection=collection, index__gt=first).order_by("index")[: size + 1])
        found: dict[int, Activity | None] = {each.index: each for each in activities}
    else:
        indexes = Feature.objects.filter(sae=sae, index__gt=first).order_by("index").values_list("index", flat=True)
        found = dict.fromkeys(indexes[: size + 1])
    shown = list(found)[:size]
    labels = labels_of(sae, shown)
    rows = [Row(index, labels.get(index, ""), found[index]) for index in shown]
    return FeatureList(rows, next=shown[-1] if len(found) > size else None)


def labels_of(sae: Sae, indexes: list[int]) -> dict[int, str]:
    return dict(Label.objects.filter(sae=sae, index__in=indexes, current=True).values_list("index", "text"))


def version(slug: str) -> tuple[int, int | None, int | None] | None:
    """All that pages of an SAE's features depend on: itself, its newest collection, its newest label."""
    newest = Subquery(Collection.objects.filter(sae=OuterRef("pk")).order_by("-pk").values("pk")[:1])
    label = Subquery(Label.objects.filter(sae=OuterRef("pk")).order_by("-pk").values("pk")[:1])
    q = Sae.objects.filter(slug=slug).annotate(newest=newest, label=label)
    return q.values_list("pk", "newest", "label").first()
