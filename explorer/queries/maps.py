"""Maps, and what is said of the features on them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from django.db.models import Prefetch, Q, QuerySet

from explorer.models import Collection, FeatureMap, FeatureScore, Label, MapPart, Sae
from explorer.queries.search import Key
from explorer.studies.rubrics import criteria_of, most

KEPT = 32  # maps


def maps_of(sae: Sae) -> QuerySet[FeatureMap]:
    """Those that it is on, the newest first."""
    return _with_parts(FeatureMap.objects.filter(parts__sae=sae))


def listed(sae: Sae, below: int | None, size: int) -> tuple[list[FeatureMap], int | None]:
    """A page of them, and the id to go on below."""
    q = maps_of(sae)
    found = list((q if below is None else q.filter(pk__lt=below))[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def newest(sae: Sae) -> FeatureMap | None:
    return maps_of(sae).first()


def mapped() -> set[int]:
    """SAEs that are on a map."""
    return set(MapPart.objects.values_list("sae", flat=True).distinct())


def feature_map(map_id: int) -> FeatureMap | None:
    return _with_parts(FeatureMap.objects.filter(pk=map_id)).first()


def made_before(asked: dict[str, Any], of: Sequence[tuple[Sae, Collection | None]]) -> FeatureMap | None:
    """The same of the same: it need not be made again."""
    wanted = [(sae.pk, collection.pk if collection else None) for sae, collection in of]
    for each in maps_of(of[0][0]).filter(asked=asked):
        if [(part.sae_id, part.collection_id) for part in each.parts.all()] == wanted:
            return each
    return None


def version(map_id: int) -> tuple[int, ...]:
    """Of all that people say of its features; nothing of a map that is not there."""
    return tuple(Sae.objects.filter(map_parts__map=map_id).order_by("pk").values_list("edition", flat=True))


def versions_beside(sae_id: int) -> tuple[int, ...]:
    """Editions of all SAEs that it shares a map with, itself included: a map that is made or removed changes them."""
    on_its_maps = MapPart.objects.filter(map__parts__sae=sae_id).values("sae")
    return tuple(Sae.objects.filter(pk__in=on_its_maps).order_by("pk").values_list("edition", flat=True))


def has_tiles(sha256: str) -> bool:
    return FeatureMap.objects.filter(tiles=sha256).exists()


@lru_cache(KEPT)
def labelled(saes: tuple[int, ...], editions: tuple[int, ...]) -> dict[int, list[int]]:
    """By SAE, the indexes of features that have a label."""
    found: dict[int, list[int]] = {sae: [] for sae in saes}
    for sae, index in _labels(saes).values_list("sae_id", "index"):
        found[sae].append(index)
    return found


@lru_cache(KEPT)
def scored(saes: tuple[int, ...], editions: tuple[int, ...]) -> dict[int, list[tuple[int, float]]]:
    """By SAE, the indexes of features whose scores are shown, and the mean of these as a share of all points."""
    found: dict[int, list[tuple[int, float]]] = {sae: [] for sae in saes}
    q = FeatureScore.objects.filter(sae__in=saes).select_related("study__rubric").order_by("index")
    for each in q:
        found[each.sae_id].append((each.index, each.mean / most(criteria_of(each.study.rubric.criteria))))
    return found


def texts_of(keys: Sequence[Key]) -> list[tuple[Key, str]]:
    """What these features are called, those that are called anything."""
    of_saes: dict[int, list[int]] = {}
    for sae, index in keys:
        of_saes.setdefault(sae, []).append(index)
    wanted = Q()
    for sae, indexes in of_saes.items():
        wanted |= Q(sae=sae, index__in=indexes)
    found = _labels(of_saes).filter(wanted).values_list("sae_id", "index", "text") if keys else []
    named = {(sae, index): text for sae, index, text in found}
    return [(key, named[key]) for key in keys if key in named]


def _labels(saes: Iterable[int]) -> QuerySet[Label]:
    return Label.objects.filter(sae__in=list(saes), current=True).exclude(text="")


def _with_parts(q: QuerySet[FeatureMap]) -> QuerySet[FeatureMap]:
    parts = MapPart.objects.select_related("sae__lm", "collection__corpus").order_by("number")
    return q.select_related("created_by").prefetch_related(Prefetch("parts", queryset=parts)).order_by("-pk")
