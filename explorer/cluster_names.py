"""What a map's clusters are called: by what people call their features where enough are called anything, else by the
tokens that they raise more than others do."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from explorer import spelling, vocabulary
from explorer.map_points import keys, labelled, parts
from explorer.mapped import opened
from explorer.models import FeatureMap
from explorer.queries import maps

ENOUGH, LEAST = 0.1, 2  # of a cluster's features that have a label: a share, and how many
KEPT = 32  # maps
NO_TEXT = "\ufffd"  # as bytes are shown that are no characters


@dataclass(frozen=True, slots=True)
class Cluster:
    grain: int
    number: int
    n: int
    x: float
    y: float
    name: str


def clusters(found: FeatureMap) -> list[list[Cluster]]:
    """By grain, the largest first."""
    return _named(found.pk, maps.version(found.pk))


@lru_cache(KEPT)
def _named(map_id: int, version: tuple[int, ...]) -> list[list[Cluster]]:
    found = maps.feature_map(map_id)
    if found is None:  # removed at this very moment
        return []
    said, words = _labels(found), vocabulary.of(parts(found)[0].sae.lm)

    def named(grain: int, number: int, told: dict[str, Any]) -> Cluster:
        by_tokens = _tokens(words.text(told["tokens"]))
        name = central(said[grain, number], told["n"]) or by_tokens or f"{told['n']:,} features"
        return Cluster(grain, number, told["n"], told["x"], told["y"], name)

    return [
        [named(grain, number, told) for number, told in enumerate(of_grain)]
        for grain, of_grain in enumerate(found.clusters)
    ]


def central(labels: list[str], n: int) -> str:
    """The label whose words most others have too; "" where too few have one to speak for all."""
    if len(labels) < max(LEAST, ENOUGH * n):
        return ""
    counted = Counter(word for label in labels for word in set(spelling.words_of(label)))

    def weight(label: str) -> tuple[float, int]:
        words = set(spelling.words_of(label))
        return sum(counted[word] for word in words) / max(len(words), 1), -len(label)

    return max(sorted(labels), key=weight)


def _tokens(texts: Iterable[str]) -> str:
    """As far as they are text: of a character that is cut in two neither half is any."""
    return " · ".join(
        shown for text in texts if (shown := text.strip() or _blank(text)).isprintable() and NO_TEXT not in shown
    )


def _blank(text: str) -> str:
    """What cannot be seen."""
    if "\n" in text:
        return "↵"
    return "␣" if len(text) == 1 else f"␣×{len(text)}"


def _labels(found: FeatureMap) -> dict[tuple[int, int], list[str]]:
    """By grain and number."""
    said: dict[tuple[int, int], list[str]] = defaultdict(list)
    numbers = labelled(found)
    clusters_of = opened(found.points_id)["cluster"][:, numbers].T.tolist()
    texts = dict(maps.texts_of(keys(found, numbers)))
    for key, of_point in zip(keys(found, numbers), clusters_of, strict=True):
        for grain, number in enumerate(of_point):
            if number >= 0 and key in texts:
                said[grain, number].append(texts[key])
    return said
