"""Which features somebody asked for, and in which order: the browser, its downloads and the API all ask by this."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from explorer import densities
from explorer.models import Activity, Collection, Feature, FeatureList, FeatureScore, Label, ListEntry, Sae
from explorer.models.features import UNKNOWN
from explorer.queries.words import having_all
from explorer.singles import single

ROUNDING = 1e-12  # of a density: n/N times N need not be n


class Sort(StrEnum):
    INDEX = "index"
    LABEL = "label"  # of those that have one
    SCORE = "score"  # likewise
    DENSITY = "density"
    MAXIMUM = "maximum"
    MEAN = "mean"
    P99 = "p99"
    TOKEN = "token"  # noqa: S105  not a secret
    DECODER_NORM = "decoder_norm"
    NEIGHBOUR_COSINE = "neighbour_cosine"


COLUMNS = {Sort.DENSITY: "n_fired", Sort.TOKEN: "top_token"}  # where the table has another name
RISING = {Sort.INDEX, Sort.LABEL, Sort.TOKEN}  # unless asked otherwise; of figures the highest come first
OF_PEOPLE = {Sort.LABEL, Sort.SCORE}  # of few features, and anew at any time
OF_WEIGHTS = {Sort.INDEX, Sort.DECODER_NORM, *OF_PEOPLE}  # known without any text


class Fires(StrEnum):
    YES = "yes"
    NEVER = "never"
    ULTRA_LOW = "ultra-low"
    DENSE = "dense"


class Range(NamedTuple):
    """Both ends included; None: no end."""

    column: str
    least: float | None
    most: float | None

    @property
    def bounded(self) -> bool:
        return self.least is not None or self.most is not None


KNOWN = {"decoder_norm", "encoder_cosine", "score", "index"}  # of them without any text
COSINES = {"neighbour_cosine", "encoder_cosine"}
RANGES = ("density", "maximum", "mean", "p99", "decoder_norm", "neighbour_cosine", "encoder_cosine", "score", "index")


@dataclass(frozen=True, slots=True)
class Filters:
    sort: Sort = Sort.INDEX
    descending: bool = False
    ranges: tuple[Range, ...] = ()
    fires: Fires | None = None
    labelled: bool | None = None
    words: tuple[str, ...] | None = None  # each the beginning of one of its label's
    tokens: tuple[int, ...] | None = None  # one of which it raises most
    list: int | None = None  # which is theirs to see: whoever makes filters has looked

    @property
    def any(self) -> bool:
        """Whether they leave something out."""
        return replace(self, sort=Sort.INDEX, descending=False) != Filters() or self.sort in OF_PEOPLE

    @property
    def lasting(self) -> bool:
        """Whether they ask for nothing but figures of a collection and weights, which never change."""
        by_people = (
            self.words is not None
            or self.list is not None
            or self.labelled is not None
            or self.sort in OF_PEOPLE
            or any(each.column == "score" for each in self.ranges)
        )
        return not by_people

    def beside(self, collection: Collection | None) -> "Filters":
        """As far as they can be asked: without text nothing fires, and without labels there is no order of them."""
        if self.sort is Sort.LABEL and self.labelled is False:
            return replace(self, sort=Sort.INDEX, descending=False).beside(collection)
        if collection is not None:
            return self
        return replace(
            self,
            sort=self.sort if self.sort in OF_WEIGHTS else Sort.INDEX,
            descending=self.descending and self.sort in OF_WEIGHTS,
            ranges=tuple(each for each in self.ranges if each.column in KNOWN),
            fires=None,
            tokens=None,
        )


def matching(sae: Sae, collection: Collection | None, filters: Filters) -> QuerySet[Any]:
    """Rows of features, each with its `index` and, by name, what they are sorted by."""
    q: QuerySet[Any] = Activity.objects.filter(collection=collection) if collection else Feature.objects.filter(sae=sae)
    for each in filters.ranges:
        q = q.filter(_within(sae, collection, each))
    if filters.fires and collection:
        q = q.filter(FIRES[filters.fires](collection.tokens))
    if filters.labelled is not None:
        labelled = Exists(labels(sae).filter(index=OuterRef("index")))
        q = q.filter(labelled if filters.labelled else ~labelled)
    if filters.words is not None:
        q = q.filter(index__in=_called(sae, filters.words).values("index"))
    if filters.tokens is not None:
        q = q.filter(top_token__in=filters.tokens)
    if filters.list is not None:
        q = q.filter(index__in=ListEntry.objects.filter(list=filters.list, sae=sae).values("index"))
    return q


def labels(sae: Sae) -> QuerySet[Label]:
    """What features are called."""
    return Label.objects.filter(sae=sae, current=True).exclude(text="")


def scores(sae: Sae) -> QuerySet[FeatureScore]:
    """What features are given by people and models."""
    return FeatureScore.objects.filter(sae=sae)


def _called(sae: Sae, words: tuple[str, ...]) -> QuerySet[Label]:
    return labels(sae).filter(words=having_all(words, begun=len(words))) if words else Label.objects.none()


def lists_to_see(user: User | AnonymousUser) -> QuerySet[FeatureList]:
    """Those that are shared, and one's own."""
    seen = Q(shared=True) | Q(owner=user) if isinstance(user, User) else Q(shared=True)
    return FeatureList.objects.filter(seen).order_by("name", "pk")


def wants_silent(filters: Filters, collection: Collection) -> bool:
    """Whether it is those that never fired which somebody looks at."""
    most = [each.most for each in filters.ranges if each.column == "density" and each.most is not None]
    return filters.fires is Fires.NEVER or any(_most_fired(each, collection.tokens) < 1 for each in most)


def _within(sae: Sae, collection: Collection | None, asked: Range) -> Q:
    column, least, most = asked
    if column == "density":
        tokens = collection.tokens if collection else 0
        column = "n_fired"
        least = None if least is None else math.ceil(least * tokens * (1 - ROUNDING))
        most = None if most is None else _most_fired(most, tokens)
    elif column != "index":
        # As the column holds them, so that a figure which somebody copied is found again.
        least, most = (None if each is None else single(each) for each in (least, most))
    if column == "score":
        return Q(index__in=scores(sae).filter(_between("mean", least, most)).values("index"))
    if column == "encoder_cosine" and collection:
        return Q(index__in=Feature.objects.filter(_between(column, least, most), sae=sae).values("index"))
    return _between(column, least, most)


def _between(column: str, least: float | None, most: float | None) -> Q:
    q = Q(**{f"{column}__gt": UNKNOWN}) if column in COSINES else Q()
    q &= Q() if least is None else Q(**{f"{column}__gte": least})
    return q & (Q() if most is None else Q(**{f"{column}__lte": most}))


def _most_fired(density: float, tokens: int) -> int:
    return math.floor(density * tokens * (1 + ROUNDING))


FIRES: dict[Fires, Callable[[int], Q]] = {
    Fires.YES: lambda tokens: Q(n_fired__gt=0),
    Fires.NEVER: lambda tokens: Q(n_fired=0),
    Fires.ULTRA_LOW: lambda tokens: Q(n_fired__gt=0, n_fired__lt=densities.ULTRA_LOW, n_fired__lte=_dense(tokens)),
    Fires.DENSE: lambda tokens: Q(n_fired__gt=_dense(tokens)),
}


def _dense(tokens: int) -> int:
    return math.floor(densities.DENSE * tokens)
