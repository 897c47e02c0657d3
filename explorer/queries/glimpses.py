"""What rows of a list show of their features' evidence, in three queries however many they are."""

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.models import Collection, Examples
from explorer.packed import glimpse as glimpse_form
from explorer.packed.glimpse import Strongest
from explorer.queries import contexts as context_queries
from explorer.queries.contexts import ContextText
from explorer.queries.features import Shown


@dataclass(frozen=True, slots=True)
class Glimpse:
    histogram: list[tuple[int, int]]  # bin, tokens; packed/examples.py knows the bins' edges
    strongest: Shown | None  # None: it never fired


def glimpses(collection: Collection, indexes: Iterable[int]) -> dict[int, Glimpse]:
    q = Examples.objects.filter(collection=collection, index__in=list(indexes)).values_list("index", "packed")
    found = {index: glimpse_form.unpack(bytes(packed)) for index, packed in q}
    strongest = {index: each.strongest for index, each in found.items() if each.strongest}
    texts = context_queries.contexts(collection.corpus, {each.context for each in strongest.values()})
    pieces = {index: texts[each.context].piece_at(each.position) for index, each in strongest.items()}
    names = context_queries.documents(collection.corpus, {piece.document for piece in pieces.values() if piece})
    shown = {}
    for index, each in strongest.items():
        piece = pieces[index]
        document = names.get(piece.document, "") if piece else ""
        offset = piece.offset + each.position - piece.position if piece else 0
        shown[index] = _shown(texts[each.context], each, document, offset)
    return {index: Glimpse(each.histogram, shown.get(index)) for index, each in found.items()}


def _shown(text: ContextText, strongest: Strongest, document: str, offset: int) -> Shown:
    activations = [0.0] * len(text.ids)
    for position, value in strongest.firings:
        activations[position] = value
    return Shown(
        strongest.context, strongest.position, strongest.peak, text.ids, activations, document=document, offset=offset
    )
