"""What is shown of a feature on a map: a card beside the pointer, and a panel once it is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from explorer.listed import Listed, listed
from explorer.map_points import Around, Point, around, parts
from explorer.models import FeatureMap, Sae
from explorer.queries import browsing, library
from explorer.queries import search as search_queries
from explorer.queries.browsing import Asked
from explorer.queries.filtering import Filters, Range
from explorer.queries.search import Hit

ON_CARD = ("density", "maximum", "example")
IN_PANEL = ("density", "maximum", "mean", "histogram", "token", "example")
CHILDREN = 24  # of one feature, that are listed


@dataclass(frozen=True, slots=True)
class Neighbour:
    hit: Hit
    point: Point


@dataclass(frozen=True, slots=True)
class Card:
    sae: Sae
    row: Listed | None  # None: nothing of it is loaded
    around: Around


@dataclass(frozen=True, slots=True)
class Panel:
    card: Card
    near: list[Neighbour]
    parent: Neighbour | None
    children: list[Neighbour]


def card(found: FeatureMap, number: int, columns: Sequence[str] = ON_CARD) -> Card:
    near = around(found, number)
    sae = with_collection(parts(found)[near.point.part].sae)
    only = Filters(ranges=(Range("index", near.point.index, near.point.index),))
    asked = Asked(sae, library.newest(sae), only)
    rows = listed(asked, browsing.page(asked).rows, columns)
    return Card(sae, rows[0] if rows else None, near)


def panel(found: FeatureMap, number: int) -> Panel:
    shown = card(found, number, IN_PANEL)
    of, children = shown.around, shown.around.children[:CHILDREN]
    parents = [of.parent] if of.parent else []
    every = iter(neighbours(found, [*of.near, *parents, *children]))  # whose rows are asked for together
    near, parent, below = (list(islice(every, len(some))) for some in (of.near, parents, children))
    return Panel(shown, near, parent[0] if parent else None, below)


def neighbours(found: FeatureMap, points: Sequence[Point]) -> list[Neighbour]:
    saes = [with_collection(part.sae) for part in parts(found)]
    hits = search_queries.hits(saes, [(saes[point.part].pk, point.index) for point in points])
    return [Neighbour(hit, point) for hit, point in zip(hits, points, strict=True)]


def with_collection(sae: Sae) -> Sae:
    """With its newest, as pages of its features show it."""
    found = library.sae_to_read(sae.slug)
    return found or sae
