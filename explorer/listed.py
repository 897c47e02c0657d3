"""Rows of the browser as its page shows them."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from explorer import vocabulary
from explorer.excerpts import Excerpt, excerpts
from explorer.models import Activity
from explorer.numbers import significant
from explorer.packed.examples import edge
from explorer.queries.browsing import Asked, Row
from explorer.queries.glimpses import Glimpse, glimpses
from explorer.tokens import alone

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
    decoder_norm: float
    encoder_cosine: float
    activity: Activity | None
    token: SafeString | str  # that it raises most
    sparkline: Sparkline | None
    excerpt: Excerpt | None


def listed(asked: Asked, rows: list[Row], columns: Collection[str]) -> list[Listed]:
    """The evidence is read only where a column shows something of it."""
    words, collection = vocabulary.of(asked.sae.lm), asked.collection
    seen: dict[int, Glimpse] = {}
    if collection and ("histogram" in columns or "example" in columns):
        seen = glimpses(collection, [row.index for row in rows])
    found = []
    for row in rows:
        glimpse, activity = seen.get(row.index), row.activity
        known = activity is not None and activity.top_token >= 0
        excerpt = None
        if glimpse and glimpse.strongest and "example" in columns:
            (excerpt,) = excerpts(words, [glimpse.strongest], around=AROUND, peak=glimpse.strongest.value)
        found.append(
            Listed(
                row.index,
                row.label,
                row.decoder_norm,
                row.encoder_cosine,
                activity,
                alone(words, activity.top_token) if activity and known else "",
                sparkline(glimpse.histogram) if glimpse and glimpse.histogram else None,
                excerpt,
            )
        )
    return found


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
