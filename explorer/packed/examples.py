"""Examples.packed: a feature's examples, and the lists that they are in; its histogram, and what fires with it.

    version, flags (uint8); of examples, histogram bins, latents that fire together and neurons how many (uint8, uint16,
    uint8, uint8); of the nine lists how many each (uint8); the bins at which the upper four intervals begin (int16)
    items of the lists, one list after the other: example (uint8), position
    the near misses' pre-activations (float32)
    of the examples: contexts (int32), peaks (float32), how many firings each (as positions)
    of all firings, example by example: positions, then fractions of the example's peak (uint16 of 65,535)
    of the histogram's bins: bin (int16), tokens (uint32), sum of activations (float32)
    of latents that fire together: index (int32), tokens (uint32), phi (float32)
    of correlated neurons: index (int32), Pearson's r (float32)

A position, and a count of firings, is a uint8, or a uint16 where flags say that contexts are longer than 255. Counts of
tokens are float64 where flags say that one of them needs more than 32 bits.
"""

import struct
from dataclasses import dataclass

from explorer.packed.feature import Cursor, Pairs

VERSION = 1
HEAD = struct.Struct("<BBBHBB9B4h")
WIDE, MANY = 1, 2  # flags: positions of 16 bits; counts of more than 32
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


def edge(bin_: int) -> float:
    """The least value of a bin."""
    (value,) = struct.unpack("<f", struct.pack("<i", bin_ << SHIFT))
    return float(value)


def unpack(data: bytes, maximum: float) -> Unpacked:
    cursor = Cursor(data)
    version, flags, n_examples, n_bins, n_together, n_neurons, *rest = map(int, cursor.take(HEAD))
    if version != VERSION:
        raise ValueError(f"packed by version {version}; this release reads {VERSION}")
    counts, edges = rest[:9], rest[9:]
    position_kind = "H" if flags & WIDE else "B"
    items = [(int(e), int(p)) for e, p in _items(cursor, position_kind, sum(counts))]
    pre_acts = cursor.several("f", counts[-1])
    examples = _examples(cursor, position_kind, n_examples)
    histogram = _histogram(cursor, n_bins, "d" if flags & MANY else "I")
    numbers = (cursor.several("i", n_together), cursor.several("d" if flags & MANY else "I", n_together))
    phis = cursor.several("f", n_together)
    together = [(int(index), int(n), phi) for index, n, phi in zip(*numbers, phis, strict=True)]
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
        together,
        cursor.pairs("i", n_neurons),
    )


def _items(cursor: Cursor, position_kind: str, count: int) -> list[tuple[int, ...]]:
    form = struct.Struct(f"<B{position_kind}")
    end = cursor.at + form.size * count
    found = list(form.iter_unpack(cursor.data[cursor.at : end]))
    cursor.at = end
    return found


def _examples(cursor: Cursor, position_kind: str, n: int) -> list[Example]:
    contexts, peaks = cursor.several("i", n), cursor.several("f", n)
    counts = list(map(int, cursor.several(position_kind, n)))
    positions, fractions = cursor.several(position_kind, sum(counts)), cursor.several("H", sum(counts))
    found, at = [], 0
    for context, peak, count in zip(contexts, peaks, counts, strict=True):
        some = slice(at, at + count)
        firings = [(int(p), peak * f / 65_535) for p, f in zip(positions[some], fractions[some], strict=True)]
        found.append(Example(int(context), peak, firings))
        at += count
    return found


def _histogram(cursor: Cursor, n: int, count_kind: str) -> list[Bar]:
    bins, counts, sums = cursor.several("h", n), cursor.several(count_kind, n), cursor.several("f", n)
    return [Bar(edge(int(b)), edge(int(b) + 1), int(c), s) for b, c, s in zip(bins, counts, sums, strict=True)]


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
