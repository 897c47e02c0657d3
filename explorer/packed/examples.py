"""Examples.packed: a feature's examples, and the lists that they are in; its histogram, and what fires with it.

    version, flags (uint8); of examples, histogram bins, latents that fire together and neurons how many (uint8, uint16,
    uint8, uint8); of the nine lists how many each (uint8); the lowest bin, and those at which the upper four intervals
    begin (int16)
    items of the lists, one list after the other: example (uint8), position
    the near misses' pre-activations (float32)
    of the examples: contexts, peaks (float32), how many firings each (as positions)
    of all firings, example by example: positions, the peak's first; then, of all but the peaks, fractions of the
    example's peak (uint16 of 65,535)
    of the histogram's bins: how far above the lowest, tokens, and where between its edges their mean activation lies
    (uint16 of 65,535)
    of latents that fire together: index (int32), tokens, phi (float32)
    of correlated neurons: index (int32), Pearson's r (float32)

What is mostly small is as narrow as it can be: positions uint8, or uint16 where flags say so; contexts uint16 or int32;
distances of bins uint8 or uint16; counts of tokens uint16, uint32 or float64.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from explorer.packed.feature import Cursor, Pairs

VERSION = 1
HEAD = struct.Struct("<BBBHBB9B5h")
# By the flags: which is the narrow form, and which the wide.
POSITIONS, CONTEXTS, BINS, COUNTS, MANY = 1, 2, 4, 8, 16
KINDS = {POSITIONS: ("B", "H"), CONTEXTS: ("H", "i"), BINS: ("B", "H"), COUNTS: ("H", "I"), MANY: ("H", "d")}
PARTS = 65_535  # of a peak, or of a bin
INTERVALS = 5
SHIFT = 20  # as sae_core.evidence cuts its bins: the first bits of a float32


@dataclass(frozen=True, slots=True)
class Example:
    context: int
    peak: float
    firings: Pairs  # position, activation


@dataclass(frozen=True, slots=True)
class Item:
    """Of a list: an example, and at which of its tokens."""

    example: Example
    position: int

    @property
    def value(self) -> float:
        return next((act for position, act in self.example.firings if position == self.position), 0.0)


@dataclass(frozen=True, slots=True)
class NearMiss:
    example: Example
    position: int
    value: float  # the pre-activation


@dataclass(frozen=True, slots=True)
class Bar:
    """Of the histogram."""

    low: float
    high: float
    n_fired: int
    sum: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """An interval between 0 and the maximum, and what was drawn from it."""

    low: float
    high: float
    n_fired: int
    sum: float
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Unpacked:
    top: list[Item]
    distinct: list[Item]
    intervals: list[Drawn]  # the lowest first; none where it never fired
    strip: list[Item]
    near_misses: list[NearMiss]
    histogram: list[Bar]
    together: list[tuple[int, int, float]]  # index, tokens, phi
    neurons: Pairs


@lru_cache(1 << (32 - SHIFT))
def edge(bin_: int) -> float:
    """The least value of a bin."""
    (value,) = struct.unpack("<f", struct.pack("<i", bin_ << SHIFT))
    return float(value)


def unpack(data: bytes, maximum: float) -> Unpacked:
    cursor = Cursor(data)
    version, flags, n_examples, n_bins, n_together, n_neurons, *rest = map(int, cursor.take(HEAD))
    if version != VERSION:
        raise ValueError(f"packed by version {version}; this release reads {VERSION}")
    counts, lowest, edges = rest[:9], rest[9], rest[10:]
    count_kind = kind_of(MANY if flags & MANY else COUNTS, flags)
    items = _items(cursor, kind_of(POSITIONS, flags), sum(counts))
    pre_acts = cursor.several("f", counts[-1])
    examples = _examples(cursor, flags, n_examples)
    distances = map(int, cursor.several(kind_of(BINS, flags), n_bins))
    histogram = _histogram(cursor, [lowest + distance for distance in distances], count_kind)
    numbers = cursor.several("i", n_together), cursor.several(count_kind, n_together), cursor.several("f", n_together)
    lists, at = [], 0
    for count in counts:
        lists.append([Item(examples[example], position) for example, position in items[at : at + count]])
        at += count
    top, distinct, *drawn, strip, near = lists
    return Unpacked(
        top,
        distinct,
        _intervals(drawn, edges, histogram, maximum) if histogram else [],
        strip,
        [NearMiss(each.example, each.position, value) for each, value in zip(near, pre_acts, strict=True)],
        histogram,
        [(int(index), int(n), phi) for index, n, phi in zip(*numbers, strict=True)],
        cursor.pairs("i", n_neurons),
    )


def kind_of(what: int, flags: int) -> str:
    return KINDS[what][bool(flags & what)]


def _items(cursor: Cursor, position_kind: str, count: int) -> list[tuple[int, int]]:
    form = struct.Struct(f"<B{position_kind}")
    end = cursor.at + form.size * count
    found = [(int(example), int(position)) for example, position in form.iter_unpack(cursor.data[cursor.at : end])]
    cursor.at = end
    return found


def _examples(cursor: Cursor, flags: int, n: int) -> list[Example]:
    contexts, peaks = cursor.several(kind_of(CONTEXTS, flags), n), cursor.several("f", n)
    position_kind = kind_of(POSITIONS, flags)
    counts = list(map(int, cursor.several(position_kind, n)))
    positions = list(map(int, cursor.several(position_kind, sum(counts))))
    fractions = cursor.several("H", sum(counts) - sum(map(bool, counts)))
    found, at, of_others = [], 0, 0
    for context, peak, count in zip(contexts, peaks, counts, strict=True):
        others = fractions[of_others : of_others + count - 1] if count else ()
        acts = [peak, *(peak * fraction / PARTS for fraction in others)] if count else []
        firings = sorted(zip(positions[at : at + count], acts, strict=True))
        found.append(Example(int(context), peak, firings))
        at, of_others = at + count, of_others + len(others)
    return found


def _histogram(cursor: Cursor, bins: list[int], count_kind: str) -> list[Bar]:
    counts, means = cursor.several(count_kind, len(bins)), cursor.several("H", len(bins))
    found = []
    for bin_, count, mean in zip(bins, counts, means, strict=True):
        low, high = edge(bin_), edge(bin_ + 1)
        found.append(Bar(low, high, int(count), count * (low + mean / PARTS * (high - low))))
    return found


def _intervals(drawn: list[list[Item]], edges: list[int], histogram: list[Bar], maximum: float) -> list[Drawn]:
    bounds = [0.0, *map(edge, edges), maximum]
    found = []
    for number, items in enumerate(drawn):
        low, high = bounds[number], bounds[number + 1]
        last = number == INTERVALS - 1
        bars = [bar for bar in histogram if bar.low >= low and (last or bar.low < high)]
        if number == 0:
            bars = [bar for bar in histogram if bar.low < high]
        found.append(Drawn(low, high, sum(bar.n_fired for bar in bars), sum(bar.sum for bar in bars), items))
    return found
