"""What rows of a list show of their features' evidence, in three queries however many they are."""

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.models import Collection, Examples
from explorer.packed import glimpse as glimpse_form
from explorer.queries.features import Shown, Texts


@dataclass(frozen=True, slots=True)
class Glimpse:
    histogram: list[tuple[int, int]]  # bin, tokens; packed/examples.py knows the bins' edges
    strongest: Shown | None  # None: it never fired


def glimpses(collection: Collection, indexes: Iterable[int]) -> dict[int, Glimpse]:
    q = Examples.objects.filter(collection=collection, index__in=list(indexes)).values_list("index", "packed")
    found = {index: glimpse_form.unpack(bytes(packed)) for index, packed in q}
    strongest = {index: item for index, each in found.items() if (item := each.strongest)}
    shown = dict(
        zip(strongest, Texts(collection.corpus, [*strongest.values()]).around(strongest.values()), strict=True)
    )
    return {index: Glimpse(each.histogram, shown.get(index)) for index, each in found.items()}
