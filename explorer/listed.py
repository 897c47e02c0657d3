"""Rows of the browser as its page shows them."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from explorer import models, vocabulary
from explorer.excerpts import Excerpt, excerpts
from explorer.models.features import UNKNOWN
from explorer.numbers import count, significant
from explorer.packed.examples import edge
from explorer.queries.browsing import Asked, Row
from explorer.queries.glimpses import Glimpse, glimpses
from explorer.tokens import Vocabulary, alone

Figure = Callable[[Row, models.Collection | None], str | None]

AROUND = 8  # tokens
BARS, HEIGHT = 48, 16  # of a sparkline, at most


@dataclass(frozen=True, slots=True)
class Sparkline:
    width: int
    path: str
    says: str


@dataclass(frozen=True, slots=True)
class Listed:
    index: int
    label: str
    figures: list[str]  # of the columns that hold numbers
    sparkline: Sparkline | None
    token: SafeString | str  # that it raises most
    excerpt: Excerpt | None


def listed(asked: Asked, rows: list[Row], columns: Collection[str]) -> list[Listed]:
    """What these columns show; evidence that none of them shows is not read."""
    words, collection = vocabulary.of(asked.sae.lm), asked.collection
    figures = [figure for name, figure in FIGURES.items() if name in columns]
    seen: dict[int, Glimpse] = {}
    if collection and ("histogram" in columns or "example" in columns):
        seen = glimpses(collection, [row.index for row in rows])
    found = []
    for row in rows:
        glimpse = seen.get(row.index)
        excerpt = None
        if glimpse and glimpse.strongest and "example" in columns:
            (excerpt,) = excerpts(words, [glimpse.strongest], around=AROUND, peak=glimpse.strongest.value)
        texts = [text for figure in figures if (text := figure(row, collection)) is not None]
        line = sparkline(glimpse.histogram) if glimpse and glimpse.histogram else None
        found.append(Listed(row.index, row.label, texts, line, _top_token(words, row), excerpt))
    return found


def _top_token(words: Vocabulary, row: Row) -> SafeString | str:
    known = row.activity is not None and row.activity.top_token >= 0
    return alone(words, row.activity.top_token) if row.activity and known else ""


def _firing(name: str) -> Figure:
    """Of those that fire; None where there was no text, and so no such column."""

    def shown(row: Row, collection: models.Collection | None) -> str | None:
        if row.activity is None:
            return None
        return significant(getattr(row.activity, name)) if row.activity.n_fired else "–"

    return shown


def _n_fired(row: Row, collection: models.Collection | None) -> str | None:
    return count(row.activity.n_fired) if row.activity else None


def _density(row: Row, collection: models.Collection | None) -> str | None:
    if row.activity is None or collection is None:
        return None
    return significant(row.activity.n_fired / collection.tokens) if row.activity.n_fired else "never fired"


def _cosine(cosine: float) -> str:
    return "–" if cosine == UNKNOWN else significant(cosine)


FIGURES: dict[str, Figure] = {
    "score": lambda row, _: significant(row.score),
    "n_fired": _n_fired,
    "density": _density,
    "maximum": _firing("maximum"),
    "mean": _firing("mean"),
    "p99": _firing("p99"),
    "decoder_norm": lambda row, _: significant(row.decoder_norm),
    "neighbour_cosine": lambda row, _: _cosine(row.activity.neighbour_cosine) if row.activity else None,
    "encoder_cosine": lambda row, _: _cosine(row.encoder_cosine),
}


def sparkline(histogram: Sequence[tuple[int, int]]) -> Sparkline:
    """How often it fires how strongly: bins of equal ratios side by side, from its weakest to its strongest."""
    lowest, highest = histogram[0][0], histogram[-1][0]
    together = -(-(highest - lowest + 1) // BARS)
    bars: Counter[int] = Counter()
    for bin_, n in histogram:
        bars[(bin_ - lowest) // together] += n
    most = max(bars.values())
    width = (highest - lowest) // together + 1
    tops = [HEIGHT - max(1, round(HEIGHT * bars[bar] / most)) if bars[bar] else HEIGHT for bar in range(width)]
    path = f"M0 {HEIGHT}" + "".join(f"V{top}h1" for top in tops) + f"V{HEIGHT}z"
    often = lowest + together * max(range(width), key=lambda bar: bars[bar])
    says = f"{significant(edge(lowest), 2)} to {significant(edge(highest + 1), 2)}, most often from "
    return Sparkline(width, path, says + significant(edge(often), 2))
