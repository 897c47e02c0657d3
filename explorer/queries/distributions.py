"""How an SAE's features are spread over what is known of them: counted by the database, drawn as charts.

A collection's rows never change, so what was counted once holds as long as the process.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, F, FloatField, Func, IntegerField, Max, Min, Model, Q, QuerySet, Value
from django.db.models.functions import Cast

from explorer import densities
from explorer.models import Activity, Collection, Feature, Sae
from explorer.models.features import UNKNOWN
from explorer.singles import after, before, single

BINS = 40
STEP = 4  # bins of densities to a power of ten
MOST_POINTS = 10_000
ALIKE = 1e-3  # of the largest: a narrower spread says nothing
KEPT = 64  # collections
GOLDEN, WORD = 2_654_435_761, 2**32  # multiplied by the one and cut off at the other, indexes are spread evenly


@dataclass(frozen=True, slots=True)
class Kinds:
    """How many features are remarkable by how often they fire."""

    never: int
    ultra_low: int
    dense: int


@dataclass(frozen=True, slots=True)
class Bar:
    """Features from `low` to below `high`, as drawn; as a filter, from `least` to `most`, both included."""

    low: float
    high: float
    least: float
    most: float
    n: int


@dataclass(frozen=True, slots=True)
class Point:
    index: int
    density: float
    p99: float


@dataclass(frozen=True, slots=True)
class Points:
    some: list[Point]
    of: int  # that fire


@lru_cache(KEPT)
def kinds(collection: Collection) -> Kinds:
    dense = Q(n_fired__gt=densities.DENSE * collection.tokens)
    seldom = Q(n_fired__gt=0, n_fired__lt=densities.ULTRA_LOW)
    found = _activity(collection).aggregate(
        never=Count("index", filter=Q(n_fired=0)), seldom=Count("index", filter=seldom & ~dense),
        dense=Count("index", filter=dense),
    )  # fmt: skip
    return Kinds(found["never"], found["seldom"], found["dense"])


@lru_cache(KEPT)
def by_density(collection: Collection) -> list[Bar]:
    """Of those that fire, by the decimal logarithm of the share of tokens. Edges lie between two counts of firings, so
    that no feature is on one."""
    tokens = collection.tokens
    steps = range(math.floor(STEP * math.log10(1 / tokens)) if tokens else 0, 1)
    drawn = [step / STEP for step in steps]
    edges = [math.ceil(round(tokens * 10**edge, 6)) - 0.5 for edge in drawn]
    edges[-1] = tokens + 0.5  # at all tokens
    counts = _counts(_activity(collection).filter(n_fired__gt=0), "n_fired", edges)
    return [
        Bar(low, high, least / tokens, most / tokens, n)
        for (low, high), (least, most), n in zip(pairwise(drawn), pairwise(edges), counts, strict=True)
    ]


@lru_cache(KEPT)
def by_norm(collection: Collection) -> list[Bar]:
    return _evenly(_activity(collection), "decoder_norm")


@lru_cache(KEPT)
def by_encoder_cosine(sae: Sae) -> list[Bar]:
    """None of transcoders, whose encoders and decoders lie in different spaces."""
    return _evenly(Feature.objects.filter(sae=sae).exclude(encoder_cosine=UNKNOWN), "encoder_cosine")


@lru_cache(KEPT)
def points(collection: Collection) -> Points:
    """Features that fire, all or evenly drawn, always the same."""
    q = _activity(collection).filter(n_fired__gt=0)
    n = q.count()
    if n > MOST_POINTS:
        share = Func(F("index"), template=f"mod(%(expressions)s::bigint * {GOLDEN}, {WORD})", output_field=FloatField())
        q = q.annotate(lot=share).filter(lot__lt=WORD * MOST_POINTS / n)
    rows = q.order_by("index").values_list("index", "n_fired", "p99")
    return Points([Point(index, n_fired / collection.tokens, p99) for index, n_fired, p99 in rows], n)


def _activity(collection: Collection) -> QuerySet[Activity]:
    return Activity.objects.filter(collection=collection)


def _evenly(q: QuerySet[Model], column: str) -> list[Bar]:
    """Between edges that a column of the database can hold, so that none is rounded when it is compared with."""
    number = Cast(column, FloatField())
    ends = q.aggregate(least=Min(number), most=Max(number))
    least, most = ends["least"], ends["most"]
    if least is None:
        return []
    if most - least <= ALIKE * abs(most):  # all alike, as unit norms are
        low, high = least - 0.01 * (abs(least) or 1), most + 0.01 * (abs(most) or 1)
        return [Bar(low, high, least, most, q.count())]
    edges = [single(least + (most - least) * bin_ / BINS) for bin_ in range(BINS)] + [after(most)]
    counts = _counts(q, column, edges)
    return [Bar(low, high, low, before(high), n) for (low, high), n in zip(pairwise(edges), counts, strict=True)]


def _counts(q: QuerySet[Model], column: str, edges: list[float]) -> list[int]:
    """Of rows between consecutive edges, the lower included."""
    bucket = Func(
        Cast(column, FloatField()), Value(edges, ArrayField(FloatField())),
        function="width_bucket", output_field=IntegerField(),
    )  # fmt: skip
    found = dict(q.annotate(bucket=bucket).order_by("bucket").values_list("bucket").annotate(Count("index")))
    return [found.get(bin_ + 1, 0) for bin_ in range(len(edges) - 1)]
