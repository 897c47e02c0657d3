"""What is found among all features: labels by their words, and what lists of found features show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.postgres.search import SearchRank
from django.db.models import F, Q, QuerySet

from explorer.models import Activity, Label, Sae, TokenIndex
from explorer.packed import token_index as token_index_form
from explorer.queries import library
from explorer.queries.words import having_all

RANKED = 4_000  # labels that are put in order; words that more of them have tell little
NORMALISED = 2  # a rank is divided by the label's length: of two that say a word, the shorter is about it
PAGE = 50

Key = tuple[int, int]  # an SAE's id and an index


@dataclass(frozen=True, slots=True)
class Hit:
    sae: Sae
    index: int
    label: str
    activity: Activity | None

    @property
    def density(self) -> float | None:
        collection = library.newest(self.sae)
        return self.activity.n_fired / collection.tokens if self.activity and collection else None


@dataclass(frozen=True, slots=True)
class Labelled:
    keys: list[Key]  # of one page, the best first
    n: int  # that were put in order
    more: bool  # whether others match too, which were not


def labels(saes: Sequence[Sae], words: Sequence[str], page: int = 1, size: int = PAGE) -> Labelled:
    """Features whose labels have all these words, as they are or as English bends them; the last may be a beginning."""
    asked = having_all(words, begun=1)
    q: QuerySet[Label] = Label.objects.filter(sae__in=saes, current=True, words=asked)
    some = list(q.values_list("pk", flat=True)[: RANKED + 1])
    ranked = Label.objects.filter(pk__in=some[:RANKED]) if len(some) > RANKED else q
    rank = SearchRank(F("words"), asked, normalization=NORMALISED)
    ordered = ranked.annotate(rank=rank).order_by("-rank", "sae_id", "index").values_list("sae_id", "index")
    return Labelled(list(ordered[(page - 1) * size : page * size]), min(len(some), RANKED), len(some) > RANKED)


def peaking_on(saes: Sequence[Sae], tokens: Sequence[int]) -> dict[int, dict[int, list[int]]]:
    """Of each SAE, by feature, those of the tokens that its strongest examples peak on."""
    by_collection = {each.pk: sae.pk for sae in saes if (each := library.newest(sae))}
    blocks = {token // token_index_form.TOKENS for token in tokens}
    q = TokenIndex.objects.filter(collection__in=list(by_collection), block__in=blocks)
    found: dict[int, dict[int, list[int]]] = {}
    for collection, block, packed in q.values_list("collection_id", "block", "packed"):
        of_sae = found.setdefault(by_collection[collection], {})
        for token in tokens:
            if token // token_index_form.TOKENS == block:
                for index in token_index_form.features_on(bytes(packed), token):
                    of_sae.setdefault(index, []).append(token)
    return found


def strongest(saes: Sequence[Sae], keys: Iterable[Key], page: int = 1, size: int = PAGE) -> list[Key]:
    """A page of these features, those that fire most strongly first."""
    of = _by_collection(saes, keys)
    if not of:
        return []
    by_collection = {each.pk: sae.pk for sae in saes if (each := library.newest(sae))}
    q = Activity.objects.filter(_any(of)).order_by("-maximum", "collection_id", "index")
    found = q.values_list("collection_id", "index")[(page - 1) * size : page * size]
    return [(by_collection[collection], index) for collection, index in found]


def hits(saes: Sequence[Sae], keys: Sequence[Key]) -> list[Hit]:
    """What a list shows of each, in two queries however many SAEs they are of."""
    if not keys:
        return []
    by_pk = {sae.pk: sae for sae in saes}
    of_saes: dict[int, list[int]] = {}
    for pk, index in keys:
        of_saes.setdefault(pk, []).append(index)
    wanted = Q()
    for pk, indexes in of_saes.items():
        wanted |= Q(sae=pk, index__in=indexes)
    named = {(sae, index): text for sae, index, text in
             Label.objects.filter(wanted, current=True).values_list("sae_id", "index", "text")}  # fmt: skip
    of_collections = _by_collection(saes, keys)
    q = Activity.objects.filter(_any(of_collections)) if of_collections else Activity.objects.none()
    active = {(each.collection_id, each.index): each for each in q}
    found = []
    for pk, index in keys:
        collection = library.newest(by_pk[pk])
        activity = active.get((collection.pk, index)) if collection else None
        found.append(Hit(by_pk[pk], index, named.get((pk, index), ""), activity))
    return found


def _by_collection(saes: Sequence[Sae], keys: Iterable[Key]) -> dict[int, list[int]]:
    collections = {sae.pk: each.pk for sae in saes if (each := library.newest(sae))}
    found: dict[int, list[int]] = {}
    for pk, index in keys:
        if pk in collections:
            found.setdefault(collections[pk], []).append(index)
    return found


def _any(of: dict[int, list[int]]) -> Q:
    wanted = Q()
    for collection, indexes in of.items():
        wanted |= Q(collection=collection, index__in=indexes)
    return wanted
