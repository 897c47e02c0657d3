"""A map's points: where a feature is, what lies near it, and what those have in common that somebody has chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.safestring import SafeString

from explorer import vocabulary
from explorer.map_areas import Area, points_in
from explorer.mapped import File, numpy, opened
from explorer.models import FeatureMap, MapPart
from explorer.queries import maps
from explorer.queries.search import Key
from explorer.tokens import alone

if TYPE_CHECKING:
    from explorer.mapped import Array

TOKENS = 10  # of a selection, that most of it raises
LABELS = 12
BANDS = 5  # of scores
FIELDS = ("sae", "index", "label", "x", "y", "density", "maximum", "mean")  # of a point as a row of data


@dataclass(frozen=True, slots=True)
class Point:
    number: int
    part: int
    index: int
    x: float
    y: float
    cosine: float | None = None  # with the one whose neighbour it is


@dataclass(frozen=True, slots=True)
class Around:
    """A point and what lies near it by the cosine of directions, which need not be near on the map."""

    point: Point
    near: list[Point]
    parent: Point | None  # the nearest in the next smaller SAE
    children: list[Point]  # whose parent it is
    clusters: list[int]  # by grain; −1: in none

    @property
    def points(self) -> list[Point]:
        return [self.point, *self.near, *([self.parent] if self.parent else []), *self.children]


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    text: SafeString
    n: int


class Column(NamedTuple):
    """As shares of the highest."""

    height: float
    top: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How a selection lies over a legend's bars, beside the whole map."""

    name: str
    bars: list[tuple[Column, Column]]  # of what is selected, and of all


@dataclass(frozen=True, slots=True)
class Summary:
    n: int
    by_part: list[tuple[MapPart, int]]
    n_labelled: int
    labels: list[tuple[Key, str]]
    tokens: list[Token]
    spreads: list[Spread]


def parts(found: FeatureMap) -> list[MapPart]:
    """By their numbers."""
    return list(found.parts.all())


def number_of(found: FeatureMap, part: int, index: int) -> int | None:
    """None for a feature that is not on it."""
    places = opened(found.points_id)[f"place_{part}"]
    number = int(places[index]) if 0 <= index < len(places) else -1
    return number if number >= 0 else None


def point(file: File, number: int, cosine: float | None = None) -> Point:
    columns = (file[name][number] for name in ("part", "index", "x", "y"))
    part, index, x, y = columns
    return Point(number, int(part), int(index), float(x), float(y), cosine)


def around(found: FeatureMap, number: int) -> Around:
    file, np = opened(found.points_id), numpy()
    near = [
        point(file, int(other), float(cosine))
        for other, cosine in zip(file["near"][number], file["cosine"][number], strict=True)
        if other >= 0
    ]
    parents, children = file["parent"], []
    if len(parts(found)) > 1:
        children = [point(file, int(each)) for each in np.flatnonzero(parents == number)]
    parent = point(file, int(parents[number])) if parents[number] >= 0 else None
    return Around(point(file, number), near, parent, children, file["cluster"][:, number].tolist())


def keys(found: FeatureMap, numbers: "Array") -> list[Key]:
    """An SAE's id and an index of each."""
    file, saes = opened(found.points_id), [part.sae_id for part in parts(found)]
    of, indexes = file["part"][numbers].tolist(), file["index"][numbers].tolist()
    return [(saes[part], index) for part, index in zip(of, indexes, strict=True)]


def keys_of(found: FeatureMap, points: Sequence[Point]) -> list[Key]:
    saes = [part.sae_id for part in parts(found)]
    return [(saes[each.part], each.index) for each in points]


def numbers_of(found: FeatureMap, of_part: int, indexes: Sequence[int]) -> "Array":
    """Of those that are on it."""
    np = numpy()
    numbers: Array = opened(found.points_id)[f"place_{of_part}"][np.asarray(indexes, np.int64)]
    return numbers[numbers >= 0]


def scored(found: FeatureMap) -> "tuple[Array, Array]":
    """The points whose features have scores that are shown, rising, and in which band each is, the lowest 0."""
    np = numpy()
    by_sae = maps.scored(tuple(part.sae_id for part in parts(found)), maps.version(found.pk))
    rows: list[tuple[int, int]] = []
    for part in parts(found):
        for index, share in by_sae[part.sae_id]:
            number = number_of(found, part.number, index)
            if number is not None:
                rows.append((number, min(int(share * BANDS), BANDS - 1)))
    numbers, bands = np.array(sorted(rows), np.int64).reshape(-1, 2).T
    return numbers, bands


def labelled(found: FeatureMap) -> "Array":
    """The points whose features have a label, rising."""
    np = numpy()
    by_sae = maps.labelled(tuple(part.sae_id for part in parts(found)), maps.version(found.pk))
    numbers = [numbers_of(found, part.number, by_sae[part.sae_id]) for part in parts(found)]
    joined: Array = np.sort(np.concatenate(numbers))
    return joined


def chosen(found: FeatureMap, area: Area) -> "Array":
    return points_in(opened(found.points_id), area)


def summary(found: FeatureMap, numbers: "Array") -> Summary:
    np, file = numpy(), opened(found.points_id)
    of_parts = np.bincount(file["part"][numbers], minlength=len(parts(found))).tolist()
    named = np.intersect1d(labelled(found), numbers, assume_unique=True)
    return Summary(
        n=len(numbers),
        by_part=[(part, of_parts[part.number]) for part in parts(found)],
        n_labelled=len(named),
        labels=maps.texts_of(keys(found, named[:LABELS])),
        tokens=_tokens(found, numbers),
        spreads=[_spread(found, name, numbers) for name in found.legends_shown],
    )


def records(found: FeatureMap, numbers: "Array") -> list[dict[str, Any]]:
    """FIELDS of each; None for what is not known."""
    file, slugs, of = opened(found.points_id), [part.sae.slug for part in parts(found)], keys(found, numbers)
    named = dict(maps.texts_of(of))
    columns = [file[name][numbers].tolist() if name in file else [None] * len(of) for name in FIELDS[3:]]
    rows = zip(of, file["part"][numbers].tolist(), *columns, strict=True)
    return [
        dict(zip(FIELDS, (slugs[part], key[1], named.get(key), *figures), strict=True)) for key, part, *figures in rows
    ]


def _tokens(found: FeatureMap, numbers: "Array") -> list[Token]:
    """What most of them raise most."""
    file = opened(found.points_id)
    if "token" not in file:
        return []
    np = numpy()
    counts = np.bincount(file["token"][numbers] + 1)[1:]  # without those of which it is not known
    most = [token for token in np.argsort(-counts, kind="stable")[:TOKENS].tolist() if counts[token]]
    words = vocabulary.of(parts(found)[0].sae.lm)
    return [Token(token, alone(words, token), int(counts[token])) for token in most]


def _spread(found: FeatureMap, name: str, numbers: "Array") -> Spread:
    np = numpy()
    bars = found.legends[name]
    edges = np.asarray([bar["high"] for bar in bars[:-1]], np.float64)
    here = np.bincount(np.searchsorted(edges, opened(found.points_id)[name][numbers]), minlength=len(bars))
    everywhere = np.asarray([bar["n"] for bar in bars])
    selected, whole = ([_column(n, max(each)) for n in each] for each in (here.tolist(), everywhere.tolist()))
    return Spread(name, list(zip(selected, whole, strict=True)))


def _column(n: int, most: int) -> Column:
    share = round(n / (most or 1), 4)
    return Column(share, round(1 - share, 4))
