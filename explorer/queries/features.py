"""All that a feature's page shows, in a fixed number of queries."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import connection

from explorer.models import Activity, Collection, Corpus, Feature, Sae, TokenIndex
from explorer.packed import examples as examples_form
from explorer.packed import feature as feature_form
from explorer.packed import token_index as token_index_form
from explorer.packed.examples import Bar as HistogramBar
from explorer.packed.examples import Item, NearMiss, Unpacked
from explorer.queries import contexts as context_queries
from explorer.queries import library
from explorer.queries.contexts import Piece
from explorer.studies.rubrics import criteria_of, most


@dataclass(frozen=True, slots=True)
class Logit:
    token: int
    value: float


@dataclass(frozen=True, slots=True)
class Lens:
    top: list[Logit]  # falling
    bottom: list[Logit]  # rising
    std: float
    skew: float
    kurtosis: float
    low: float
    high: float
    histogram: list[int]


@dataclass(frozen=True, slots=True)
class Name:
    """The label that a feature has, or "" where it was taken away."""

    text: str
    author: str  # "": nobody with an account, or somebody who has gone
    given_at: datetime


@dataclass(frozen=True, slots=True)
class Neighbour:
    index: int
    cosine: float
    label: str


@dataclass(frozen=True, slots=True)
class Cofiring:
    index: int
    n: int  # tokens of the audit sample
    phi: float
    label: str


@dataclass(frozen=True, slots=True)
class Neuron:
    index: int
    pearson: float


@dataclass(frozen=True, slots=True)
class Aligned:
    index: int
    weight: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A context, and at which of its tokens it is an example."""

    context: int
    position: int
    value: float
    ids: list[int]
    activations: list[float]
    document: str
    offset: int  # of that token in the document


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float
    n_fired: int
    share_of_firings: float
    share_of_mass: float
    shown: list[Shown]


class Which(StrEnum):
    """Of the examples at which it fires."""

    TOP = "top"
    STRIP = "strip"
    INTERVALS = "intervals"


@dataclass(frozen=True, slots=True)
class ExampleLists:
    top: list[Shown]
    distinct: list[Shown]
    intervals: list[Interval]  # the lowest first
    strip: list[Shown]
    near_misses: list[Shown]
    histogram: list[HistogramBar]

    def of(self, which: Which) -> list[list[Shown]]:
        """One list, or one of each interval, the highest first."""
        if which is Which.INTERVALS:
            return [interval.shown for interval in reversed(self.intervals)]
        return [self.strip if which is Which.STRIP else self.top]


@dataclass(frozen=True, slots=True)
class Scored:
    """What the newest study that shows its scores found."""

    mean: float  # of totals
    n: int
    above: int
    study: int
    name: str
    line: int
    most: int


@dataclass(frozen=True, slots=True)
class FeaturePage:
    sae: Sae
    index: int
    collection: Collection | None
    label: Name | None
    feature: Feature
    activity: Activity | None
    lens: Lens | None
    inputs: list[Logit]
    neighbours: list[Neighbour]
    aligned: list[Aligned]
    examples: ExampleLists | None
    together: list[Cofiring]
    neurons: list[Neuron]
    scored: Scored | None


def feature(sae: Sae, index: int) -> FeaturePage | None:
    """`sae` as queries.library gives it, with its newest collection."""
    collection: Collection | None = library.newest(sae)
    found = _rows(sae, collection, index)
    if found is None:
        return None
    row, activity, packed, scored = found
    weights = feature_form.unpack(bytes(row.packed))
    if activity is None or packed is None:  # not collected yet, or another takes its place at this very moment
        collection = None
    unpacked = examples_form.unpack(packed, activity.maximum) if activity and packed else None
    lists = _lists(collection.corpus, unpacked) if collection and unpacked else None
    named = {index, *(other for other, _ in weights.neighbours)}
    named |= {other for other, _, _ in unpacked.together} if unpacked else set()
    names = _names(sae, named)

    def called(other: int) -> str:
        return names[other].text if other in names else ""

    return FeaturePage(
        sae=sae,
        index=index,
        collection=collection,
        label=names.get(index),
        feature=row,
        activity=activity,
        lens=_lens(weights.lens),
        inputs=_logits(weights.inputs),
        neighbours=[Neighbour(other, cosine, called(other)) for other, cosine in weights.neighbours],
        aligned=[Aligned(neuron, weight) for neuron, weight in weights.aligned],
        examples=lists,
        together=[Cofiring(other, n, phi, called(other)) for other, n, phi in unpacked.together] if unpacked else [],
        neurons=[Neuron(neuron, pearson) for neuron, pearson in unpacked.neurons] if unpacked else [],
        scored=scored,
    )


# One plain statement, as sessions.py says why: three of models take longer than their answers.
OF_FEATURE = [field.attname for field in Feature._meta.concrete_fields]
OF_ACTIVITY = [field.attname for field in Activity._meta.concrete_fields]
ROWS = f"""
SELECT {", ".join(f"feature.{name}" for name in OF_FEATURE)},
       {", ".join(f"activity.{name}" for name in OF_ACTIVITY)}, examples.packed,
       scored.mean, scored.n, scored.above, study.id, study.name, rubric.line, rubric.criteria
FROM explorer_feature feature
LEFT JOIN explorer_activity activity ON activity.collection_id = %(collection)s AND activity.index = %(index)s
LEFT JOIN explorer_examples examples ON examples.collection_id = %(collection)s AND examples.index = %(index)s
LEFT JOIN explorer_featurescore scored ON scored.sae_id = %(sae)s AND scored.index = %(index)s
LEFT JOIN explorer_study study ON study.id = scored.study_id
LEFT JOIN explorer_rubric rubric ON rubric.id = study.rubric_id
WHERE feature.sae_id = %(sae)s AND feature.index = %(index)s
"""  # noqa: S608  of nothing but our own columns


def _rows(
    sae: Sae, collection: Collection | None, index: int
) -> tuple[Feature, Activity | None, bytes | None, Scored | None] | None:
    """What is known without any text, over this text, its examples, and its scores."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"sae": sae.pk, "collection": collection.pk if collection else None, "index": index})
        row = cursor.fetchone()
    if row is None:
        return None
    n = len(OF_FEATURE)
    at = n + len(OF_ACTIVITY)
    of_activity, packed, of_scores = row[n:at], row[at], row[at + 1 :]
    feature = Feature.from_db(connection.alias, OF_FEATURE, row[:n])
    there = of_activity[OF_ACTIVITY.index("index")] is not None
    activity = Activity.from_db(connection.alias, OF_ACTIVITY, of_activity) if there else None
    return feature, activity, None if packed is None else bytes(packed), _scored(*of_scores)


def _scored(mean: float | None, *rest: Any) -> Scored | None:
    if mean is None:
        return None
    n, above, study, name, line, criteria = rest
    return Scored(mean, n, above, study, name, line, most(criteria_of(json.loads(criteria))))


NAMES = """
SELECT label.index, label.text, coalesce(author.username, ''), label.created_at
FROM explorer_label label LEFT JOIN auth_user author ON author.id = label.author_id
WHERE label.sae_id = %s AND label.current AND label.index = ANY(%s)
"""


def _names(sae: Sae, indexes: set[int]) -> dict[int, Name]:
    with connection.cursor() as cursor:
        cursor.execute(NAMES, [sae.pk, list(indexes)])
        return {index: Name(*rest) for index, *rest in cursor.fetchall()}


def features_on(collection: Collection, token: int) -> list[int]:
    """The features whose strongest examples peak on a token."""
    block = token // token_index_form.TOKENS
    packed = TokenIndex.objects.filter(collection=collection, block=block).values_list("packed", flat=True).first()
    return token_index_form.features_on(bytes(packed), token) if packed else []


def _lens(found: feature_form.Lens | None) -> Lens | None:
    if found is None:
        return None
    moments = (found.std, found.skew, found.kurtosis, found.low, found.high)
    return Lens(_logits(found.top), _logits(found.bottom), *moments, found.histogram)


def _logits(pairs: feature_form.Pairs) -> list[Logit]:
    return [Logit(token, value) for token, value in pairs]


def _lists(corpus: Corpus, unpacked: Unpacked) -> ExampleLists:
    drawn = [item for interval in unpacked.intervals for item in interval.items]
    texts = Texts(corpus, [*unpacked.top, *unpacked.distinct, *drawn, *unpacked.strip, *unpacked.near_misses])
    total = sum(bar.n_fired for bar in unpacked.histogram) or 1
    mass = sum(bar.sum for bar in unpacked.histogram) or 1.0
    intervals = [
        Interval(each.low, each.high, each.n_fired, each.n_fired / total, each.sum / mass, texts.around(each.items))
        for each in unpacked.intervals
    ]
    return ExampleLists(
        texts.around(unpacked.top),
        texts.around(unpacked.distinct),
        intervals,
        texts.around(unpacked.strip),
        texts.around(unpacked.near_misses),
        unpacked.histogram,
    )


class Texts:
    """Of items the contexts that they are in and the documents that those come from, in two queries."""

    def __init__(self, corpus: Corpus, items: Sequence[Item | NearMiss]) -> None:
        self._contexts = context_queries.contexts(corpus, {item.example.context for item in items})
        named = {piece.document for item in items if (piece := self._piece(item))}
        self._documents = context_queries.documents(corpus, named)

    def around(self, items: Iterable[Item | NearMiss]) -> list[Shown]:
        return [self._shown(item) for item in items]

    def _piece(self, item: Item | NearMiss) -> Piece | None:
        return self._contexts[item.example.context].piece_at(item.position)

    def _shown(self, item: Item | NearMiss) -> Shown:
        text = self._contexts[item.example.context]
        activations = [0.0] * len(text.ids)
        for position, value in item.example.firings:
            activations[position] = value
        piece = text.piece_at(item.position)
        return Shown(
            context=item.example.context,
            position=item.position,
            value=item.value,
            ids=text.ids,
            activations=activations,
            document=self._documents.get(piece.document, "") if piece else "",
            offset=piece.offset + item.position - piece.position if piece else 0,
        )
