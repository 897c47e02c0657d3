"""Of Examples.packed what a row of a list shows: the histogram, and the strongest example. The rest is passed over, as
a list has many rows."""

from dataclasses import dataclass

from explorer.packed.examples import (
    BINS,
    CONTEXTS,
    COUNTS,
    HEAD,
    MANY,
    PARTS,
    POSITIONS,
    VERSION,
    Example,
    Item,
    kind_of,
)
from explorer.packed.feature import Cursor


@dataclass(frozen=True, slots=True)
class Glimpse:
    histogram: list[tuple[int, int]]  # bin, tokens
    strongest: Item | None  # None: it never fired


def unpack(data: bytes) -> Glimpse:
    cursor = Cursor(data)
    version, flags, n_examples, n_bins, _, _, *rest = map(int, cursor.take(HEAD))
    if version != VERSION:
        raise ValueError(f"packed by version {version}; this release reads {VERSION}")
    counts, lowest = rest[:9], rest[9]
    position_kind = kind_of(POSITIONS, flags)
    width = 2 if position_kind == "H" else 1
    items_at = cursor.at
    cursor.at += sum(counts) * (1 + width) + 4 * counts[-1]
    contexts, peaks = cursor.several(kind_of(CONTEXTS, flags), n_examples), cursor.several("f", n_examples)
    firings = list(map(int, cursor.several(position_kind, n_examples)))
    positions_at = cursor.at
    cursor.at += sum(firings) * width
    fractions_at = cursor.at
    cursor.at += 2 * (sum(firings) - sum(map(bool, firings)))
    distances = map(int, cursor.several(kind_of(BINS, flags), n_bins))
    tokens = map(int, cursor.several(kind_of(MANY if flags & MANY else COUNTS, flags), n_bins))
    histogram = [(lowest + distance, n) for distance, n in zip(distances, tokens, strict=True)]
    if not counts[0]:
        return Glimpse(histogram, None)
    cursor.at = items_at
    example, position = int(cursor.several("B", 1)[0]), int(cursor.several(position_kind, 1)[0])
    n, before = firings[example], firings[:example]
    cursor.at = positions_at + sum(before) * width
    positions = map(int, cursor.several(position_kind, n))
    cursor.at = fractions_at + 2 * (sum(before) - sum(map(bool, before)))
    fractions = cursor.several("H", n - 1)
    peak = peaks[example]
    acts = [peak, *(peak * fraction / PARTS for fraction in fractions)]
    pairs = sorted(zip(positions, acts, strict=True))
    return Glimpse(histogram, Item(Example(int(contexts[example]), peak, pairs), position))
