"""Feature.packed: what weights alone tell.

    version, flags (uint8); n of logits, bins, inputs, neighbours (uint8 each)
    where there is a logit lens: std, skew, kurtosis, low, high (float32); then of the tokens raised most and least,
    n ids and n values (float32) each; counts of the histogram
    of the input lens, n ids and values (float32)
    of the nearest, n indexes (int32) and cosines (float32)
    of aligned neurons, n (uint8), indexes (int32) and weights (float32)

Ids and counts of the lm's tokens are uint16, or uint32 where flags say that it may have more than so many.
"""

import struct
from dataclasses import dataclass

VERSION = 1
HEAD = struct.Struct("<BBBBBB")
MOMENTS = struct.Struct("<5f")
HAS_LENS, WIDE = 1, 2  # flags

Pairs = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Lens:
    top: Pairs  # token, value; falling
    bottom: Pairs  # rising
    std: float
    skew: float
    kurtosis: float
    low: float
    high: float
    histogram: list[int]  # of equal bins between low and high


@dataclass(frozen=True, slots=True)
class Weights:
    lens: Lens | None
    inputs: Pairs  # token, value
    neighbours: Pairs  # index, cosine
    aligned: Pairs  # neuron, weight


class Cursor:
    """Reads on from where it is."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: struct.Struct) -> tuple[float, ...]:
        found = form.unpack_from(self.data, self.at)
        self.at += form.size
        return found

    def several(self, kind: str, count: int) -> tuple[float, ...]:
        found = struct.unpack_from(f"<{count}{kind}", self.data, self.at)
        self.at += count * struct.calcsize(f"<{kind}")
        return found

    def pairs(self, kind: str, count: int) -> Pairs:
        """count whole numbers, then as many real ones."""
        numbers = self.several(kind, count)
        return list(zip(map(int, numbers), self.several("f", count), strict=True))


def unpack(data: bytes) -> Weights:
    cursor = Cursor(data)
    version, flags, n_logits, n_bins, n_inputs, n_neighbours = map(int, cursor.take(HEAD))
    if version != VERSION:
        raise ValueError(f"packed by version {version}; this release reads {VERSION}")
    token = "I" if flags & WIDE else "H"
    lens = None
    if flags & HAS_LENS:
        std, skew, kurtosis, low, high = cursor.take(MOMENTS)
        top, bottom = cursor.pairs(token, n_logits), cursor.pairs(token, n_logits)
        histogram = list(map(int, cursor.several(token, n_bins)))
        lens = Lens(top, bottom, std, skew, kurtosis, low, high, histogram)
    inputs, neighbours = cursor.pairs(token, n_inputs), cursor.pairs("i", n_neighbours)
    (n_aligned,) = map(int, cursor.several("B", 1))
    return Weights(lens, inputs, neighbours, cursor.pairs("i", n_aligned))
