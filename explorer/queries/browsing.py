"""Pages of an SAE's features, in any order and from any place.

A place is a feature. The database itself looks up what it is sorted by, so that no figure is rounded on its way through
an address, and reads on from there in an index. Features that are equal stand in the order of their indexes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import BooleanField, Exists, F, Func, OuterRef, QuerySet, Subquery, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Lower

from explorer.models import Activity, Collection, Feature, Label, Sae
from explorer.queries.filtering import COLUMNS, OF_PEOPLE, Filters, Fires, Sort, labels, matching, scores, wants_silent

PAGE = 50
BATCH = 2_000  # rows that a download has at hand
KEPT = 512  # counts, and statements
NOWHERE = -(1 << 31)  # in a statement that is kept, in the place of a feature's index


class Way(StrEnum):
    AFTER = "after"
    BEFORE = "before"
    AT = "at"  # from it on


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins; or, before it, ends."""

    way: Way
    index: int | None  # None: the end of all


@dataclass(frozen=True, slots=True)
class Row:
    index: int
    label: str
    decoder_norm: float
    encoder_cosine: float  # UNKNOWN for transcoders
    score: float | None  # the mean total of the newest study that shows its scores
    activity: Activity | None  # None: read over no text yet


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Row]
    before: int | None  # the feature to go back before; None: this is the first page
    after: int | None  # the feature to go on after


class Asked(NamedTuple):
    """Of which SAE, over which text."""

    sae: Sae
    collection: Collection | None
    filters: Filters


def page(asked: Asked, place: Place | None = None, size: int = PAGE) -> Page:
    """Rows from a place on. Going back, a page that would begin before the first begins at the first."""
    way, index = (place.way, place.index) if place else (None, None)
    backwards = way is Way.BEFORE
    q = _ordered(asked, backwards)
    found = list((q if way is None or index is None else q.filter(_beyond(asked, way, index)))[: size + 1])
    more, shown = len(found) > size, found[:size]
    if not backwards:
        earlier = bool(shown) and (way is Way.AFTER or (way is Way.AT and _earlier(asked, shown[0])))
        return _page(asked, shown, earlier, more)
    if not more and index is not None:
        return page(asked, None, size)
    return _page(asked, shown[::-1], more, index is not None)


def batches(asked: Asked, size: int = BATCH) -> Iterator[list[Row]]:
    """All rows, so many at a time, with nothing kept open in between."""
    after: int | None = None
    while True:
        part = page(asked, None if after is None else Place(Way.AFTER, after), size)
        if part.rows:
            yield part.rows
        if part.after is None:
            return
        after = part.after


def indexes(asked: Asked, most: int | None = None) -> list[int]:
    """Of all rows, or of the first."""
    return list(_ordered(asked, False)[:most])


def around(asked: Asked, index: int) -> tuple[int | None, int | None]:
    """The features before and after one; those that never fired are skipped, unless it is them that are looked at."""
    filters, collection = asked.filters, asked.collection
    if collection and filters.fires is None and not wants_silent(filters, collection):
        asked = asked._replace(filters=replace(filters, fires=Fires.YES))
    statement, parameters = _around(asked)
    with connection.cursor() as cursor:
        cursor.execute(statement, [index if each == NOWHERE else each for each in parameters])
        before, after = cursor.fetchone()
    return before, after


@lru_cache(KEPT)
def _around(asked: Asked) -> tuple[str, tuple[Any, ...]]:
    """The statement, with NOWHERE for the feature: every page of a feature asks it, and making it of models takes
    several times as long as its answer."""
    try:
        (before, first), (after, second) = (
            _ordered(asked, backwards).filter(_beyond(asked, way, NOWHERE))[:1].query.sql_with_params()
            for backwards, way in ((True, Way.BEFORE), (False, Way.AFTER))
        )
    except EmptyResultSet:  # its filters leave nothing
        return "SELECT NULL, NULL", ()
    return f"SELECT ({before}), ({after})", (*first, *second)


def count(asked: Asked) -> int:
    if not asked.filters.any:
        return asked.sae.n_latents
    filters = replace(asked.filters, descending=False)
    if filters.lasting:
        return _counted(Asked(asked.sae, asked.collection, replace(filters, sort=Sort.INDEX)))
    return _counted_now(Asked(asked.sae, asked.collection, filters), asked.sae.edition)


@lru_cache(KEPT)
def _counted_now(asked: Asked, edition: int) -> int:
    """Of what people say too, as long as nobody says anything else: the edition rises with it."""
    return _ordered(asked, False).order_by().count()


@lru_cache(KEPT)
def _counted(asked: Asked) -> int:
    """Of what never changes once it is there. Rows of features are many times as wide as those of their activity, but
    where all must be read for a cosine these need not be read as well."""
    sae, collection, filters = asked
    by_weights = filters.beside(None) == filters and any(each.column == "encoder_cosine" for each in filters.ranges)
    return matching(sae, None if by_weights else collection, filters).count()


def labels_of(sae: Sae, indexes: list[int]) -> dict[int, str]:
    return dict(Label.objects.filter(sae=sae, index__in=indexes, current=True).values_list("index", "text"))


def _ordered(asked: Asked, backwards: bool) -> "QuerySet[Any, int]":
    """Indexes, in the order that is asked for or in the other one."""
    sort, falling = asked.filters.sort, asked.filters.descending != backwards
    if sort in OF_PEOPLE:
        q, key = _of_people(asked.sae, sort)
        if replace(asked.filters, sort=Sort.INDEX).any:
            q = q.filter(Exists(matching(*asked).filter(index=OuterRef("index"))))
    else:
        q, key = matching(*asked), F(COLUMNS.get(sort, sort))
    keys = [F("index")] if sort is Sort.INDEX else [key, F("index")]
    return q.order_by(*(each.desc() if falling else each.asc() for each in keys)).values_list("index", flat=True)


def _of_people(sae: Sae, sort: Sort) -> tuple[QuerySet[Any], F | Lower]:
    """The rows that have what is sorted by, and what that is."""
    return (labels(sae), Lower("text")) if sort is Sort.LABEL else (scores(sae), F("mean"))


def _beyond(asked: Asked, way: Way, index: int) -> CombinedExpression:
    sae, collection, filters = asked
    operator = "<" if filters.descending != (way is Way.BEFORE) else ">"
    operator += "=" if way is Way.AT else ""
    sort = filters.sort
    if sort is Sort.INDEX:
        return CombinedExpression(F("index"), operator, Value(index), output_field=BooleanField())
    column: F | Lower = F(COLUMNS.get(sort, sort))
    there: QuerySet[Any] = (
        Activity.objects.filter(collection=collection) if collection else Feature.objects.filter(sae=sae)
    )
    if sort in OF_PEOPLE:
        there, column = _of_people(sae, sort)
    value = Subquery(there.filter(index=index).values_list(column))
    # Rows are compared whole, which an index answers; column by column it would read all that are equal.
    here, place = Func(column, F("index"), function="ROW"), Func(value, Value(index), function="ROW")
    return CombinedExpression(here, operator, place, output_field=BooleanField())


def _earlier(asked: Asked, first: int) -> bool:
    return _ordered(asked, True).filter(_beyond(asked, Way.BEFORE, first)).exists()


def _page(asked: Asked, indexes: list[int], earlier: bool, later: bool) -> Page:
    before = indexes[0] if earlier and indexes else None
    return Page(_rows(asked, indexes), before, indexes[-1] if later and indexes else None)


def _rows(asked: Asked, indexes: list[int]) -> list[Row]:
    sae, collection, _ = asked
    score = scores(sae).filter(index=OuterRef("index")).values("mean")
    q = Feature.objects.filter(sae=sae, index__in=indexes).annotate(score=Subquery(score))
    weights = {each.index: each for each in q.defer("packed")}
    named = labels_of(sae, indexes)
    active: dict[int, Activity] = {}
    if collection:
        active = {each.index: each for each in Activity.objects.filter(collection=collection, index__in=indexes)}
    return [
        Row(index, named.get(index, ""), weight.decoder_norm, weight.encoder_cosine, weight.score, active.get(index))
        for index in indexes
        if (weight := weights.get(index))
    ]
