"""Features of a map that somebody looks for: by words of a label, by a token that they raise most, or by an index."""

from dataclasses import dataclass

from explorer.map_cards import with_collection
from explorer.map_points import Point, number_of, parts, point
from explorer.mapped import numpy, opened
from explorer.models import FeatureMap, Sae
from explorer.queries import search as search_queries
from explorer.queries.search import Hit, Key
from explorer.queries.words import words_of
from explorer.searching import meant

MOST = 2_000  # that are shown on the map
LISTED = 40


@dataclass(frozen=True, slots=True)
class Found:
    points: list[Point]
    listed: list[tuple[Hit, Point]]
    more: bool  # whether there are others


def search(found: FeatureMap, q: str) -> Found:
    saes = [with_collection(part.sae) for part in parts(found)]
    wanted = {**_by_index(found, q), **_by_label(found, saes, q), **_by_token(found, q)}
    keys = list(wanted)[: MOST + 1]
    points = [point(opened(found.points_id), wanted[key]) for key in keys[:MOST]]
    hits = search_queries.hits(saes, keys[:LISTED])
    return Found(points, list(zip(hits, points, strict=False)), len(keys) > MOST)


def _by_index(found: FeatureMap, q: str) -> dict[Key, int]:
    if not q.isdecimal() or len(q) > 9:
        return {}
    numbers = {part.sae_id: number_of(found, part.number, int(q)) for part in parts(found)}
    return {(sae, int(q)): number for sae, number in numbers.items() if number is not None}


def _by_label(found: FeatureMap, saes: list[Sae], q: str) -> dict[Key, int]:
    words = words_of(q)
    if not words:
        return {}
    whose = {part.sae_id: part.number for part in parts(found)}
    keys = search_queries.labels(saes, words, size=MOST + 1).keys
    numbers = ((key, number_of(found, whose[key[0]], key[1])) for key in keys)
    return {key: number for key, number in numbers if number is not None}


def _by_token(found: FeatureMap, q: str) -> dict[Key, int]:
    """Those that raise it most, or it with a space before it."""
    file, np, of = opened(found.points_id), numpy(), parts(found)
    if "token" not in file or not q:
        return {}
    ids = meant(of[0].sae.lm, q)
    numbers = np.flatnonzero(np.isin(file["token"], ids))[: MOST + 1].tolist() if ids else []
    parts_and_indexes = zip(file["part"][numbers].tolist(), file["index"][numbers].tolist(), numbers, strict=True)
    return {(of[part].sae_id, index): number for part, index, number in parts_and_indexes}
