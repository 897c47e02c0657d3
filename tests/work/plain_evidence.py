"""Evidence made up of plain values, awkward on purpose, and the file that says the same."""

import random
import struct
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sae_core import ArrayFile
from sae_core.array_files import write_arrays
from sae_core.evidence import FIRST_BIN, LAST_BIN, SHIFT, bin_edge

WIDTHS = {"top": 20, "distinct": 20, "strip": 10}
N_NEURONS = 99
Place = tuple[int, int]  # context, position
Pairs = list[tuple[int, float]]


@dataclass
class Latent:
    acts: dict[int, dict[int, float]]  # by context, of each position where it fires
    lists: dict[str, list[Place]] = field(default_factory=dict)
    intervals: list[list[Place]] = field(default_factory=lambda: [[] for _ in range(5)])
    edges: list[int] = field(default_factory=lambda: [0] * 4)  # bins
    near: list[tuple[int, int, float]] = field(default_factory=list)  # and the pre-activation
    histogram: dict[int, tuple[int, float]] = field(default_factory=dict)  # by bin
    together: list[tuple[int, int, float]] = field(default_factory=list)
    correlated: Pairs = field(default_factory=list)
    neighbours: Pairs = field(default_factory=list)
    aligned: Pairs = field(default_factory=list)
    inputs: Pairs = field(default_factory=list)
    lens: dict[str, Any] = field(default_factory=dict)

    @property
    def maximum(self) -> float:
        return max((act for context in self.acts.values() for act in context.values()), default=0.0)

    @property
    def contexts(self) -> list[int]:
        """Of its examples."""
        places = chain(*self.lists.values(), *self.intervals, ((context, p) for context, p, _ in self.near))
        return sorted({context for context, _ in places})


@dataclass(frozen=True)
class Shape:
    latents: int
    contexts: int = 300
    length: int = 128
    tokens: int | None = None  # that are said to count
    lens: bool = True
    inputs: bool = True
    neurons: bool = False
    n_vocab: int = 50_257


def single(value: float) -> float:
    """As float32 has it."""
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def made(path: Path, shape: Shape, seed: int) -> tuple[ArrayFile, list[Latent]]:
    rng = random.Random(seed)
    latents = [_latent(rng, shape, number) for number in range(shape.latents)]
    write_arrays(path, _arrays(latents, shape), _about(shape))
    return ArrayFile(path), latents


def _about(shape: Shape) -> dict[str, Any]:
    tokens = shape.contexts * shape.length if shape.tokens is None else shape.tokens
    return {
        "latents": shape.latents, "contexts": shape.contexts, "context_length": shape.length, "tokens": tokens,
        "masked": 0, "top_k": 20,
    }  # fmt: skip


def _latent(rng: random.Random, shape: Shape, number: int) -> Latent:
    n_contexts = rng.choice([0, 1, 2, 30, 100])  # in which it fires
    scale = rng.choice([1.0, 1e-38, 1e-44, 1e9])  # below the least normal number too
    firing = rng.sample(range(shape.contexts), n_contexts)
    latent = Latent({context: _acts(rng, shape, scale) for context in firing})
    if firing:  # one that fires everywhere
        latent.acts[firing[0]] |= {position: single(scale) for position in range(shape.length)}
    peaks = [(context, max(acts, key=acts.__getitem__)) for context, acts in latent.acts.items()]
    every = [(context, position) for context, acts in latent.acts.items() for position in acts]
    for name, width in WIDTHS.items():
        places = every if name == "strip" else peaks
        latent.lists[name] = rng.sample(places, min(width, len(places)))
    silent = [context for context in range(shape.contexts) if context not in latent.acts]
    latent.near = [
        (context, rng.randrange(shape.length), single(-rng.random()))
        for context in rng.sample(silent, rng.choice([0, 5]))
    ]
    _cut(rng, latent, every)
    latent.together = [
        (rng.randrange(shape.latents), rng.randrange(999), single(rng.random())) for _ in range(number % 11)
    ]
    latent.neighbours = _pairs(rng, shape.latents, min(16, shape.latents - 1))
    if shape.neurons:
        latent.correlated, latent.aligned = _pairs(rng, N_NEURONS, 10), _pairs(rng, N_NEURONS, 10)
    if shape.inputs:
        latent.inputs = _pairs(rng, shape.n_vocab, 10)
    if shape.lens:
        moments = {name: single(rng.gauss(0, 3)) for name in ("std", "skew", "kurtosis", "low", "high")}
        counts = [0] * 30 + [shape.n_vocab - 7, 7]
        latent.lens = moments | {
            "histogram": counts,
            "top": _pairs(rng, shape.n_vocab, 20),
            "bottom": _pairs(rng, shape.n_vocab, 20),
        }
    return latent


def _acts(rng: random.Random, shape: Shape, scale: float) -> dict[int, float]:
    """The last position and the first are among them, and one that is next to nothing beside the others."""
    positions = {0, shape.length - 1, *rng.sample(range(shape.length), rng.choice([1, 6, 24]))}
    acts = {position: single((rng.random() + 0.1) * scale) for position in positions}
    if scale > 1e-30:
        acts[0] = single(scale * rng.choice([1e-3, 1e-11]))
    return acts


def _cut(rng: random.Random, latent: Latent, every: list[Place]) -> None:
    """A histogram of all that fires, and intervals that begin at four of its bins."""
    often = rng.choice([1, 70_000])  # as if the text were that much longer
    bins: dict[int, list[Place]] = {}
    for context, position in every:
        bins.setdefault(_bin(latent.acts[context][position]), []).append((context, position))
    for bin_, places in sorted(bins.items()):
        acts = [latent.acts[context][position] for context, position in places]
        latent.histogram[bin_] = len(places) * often, sum(acts) * often
    if not every:
        return
    highest = max(bins)
    latent.edges = sorted(rng.choice([*bins, highest]) for _ in range(4))
    for place in every:
        inside = sum(_bin(latent.acts[place[0]][place[1]]) >= edge for edge in latent.edges)
        if len(latent.intervals[inside]) < 5:
            latent.intervals[inside].append(place)


def _bin(act: float) -> int:
    (bits,) = struct.unpack("<i", struct.pack("<f", act))
    return int(min(max(bits >> SHIFT, FIRST_BIN), LAST_BIN))


def _pairs(rng: random.Random, below: int, n: int) -> Pairs:
    return [(rng.randrange(below), single(rng.uniform(-1, 1))) for _ in range(n)]


def _arrays(latents: list[Latent], shape: Shape) -> dict[str, Any]:
    n = len(latents)
    arrays: dict[str, Any] = {}
    for name, width in WIDTHS.items():
        arrays |= _places(name, [each.lists[name] for each in latents], width)
    drawn = _places("interval", [places for each in latents for places in each.intervals], 5)
    arrays |= {name: array.reshape(n, 5, 5) for name, array in drawn.items()}
    arrays |= _places("near", [[(context, position) for context, position, _ in each.near] for each in latents], 5)
    arrays["near_pre_act"] = _padded([[act for _, _, act in each.near] for each in latents], 5, 0, np.float32)
    edges = np.zeros((n, 6), np.float32)
    for row, each in enumerate(latents):
        if each.acts:
            edges[row, 1:-1] = bin_edge(np.array(each.edges, np.int16))
        edges[row, -1] = each.maximum
    arrays["interval_edge"] = edges
    arrays |= _histograms(latents) | _examples(latents)
    for name, column, kind in (("cofire", 0, np.int32), ("cofire_n", 1, np.int32), ("cofire_phi", 2, np.float32)):
        rows = [[pair[column] for pair in each.together] for each in latents]
        arrays[name] = _padded(rows, 10, -1, kind)
    arrays |= _listed("neighbour", "neighbour_cosine", [each.neighbours for each in latents], 16)
    if shape.neurons:
        arrays |= _listed("correlated_neuron", "correlated_pearson", [each.correlated for each in latents], 10)
        arrays |= _listed("aligned_neuron", "aligned_weight", [each.aligned for each in latents], 10)
    if shape.inputs:
        arrays |= _listed("input_id", "input", [each.inputs for each in latents], 10)
    if shape.lens:
        for side in ("top", "bottom"):
            arrays |= _listed(f"logit_{side}_id", f"logit_{side}", [each.lens[side] for each in latents], 20)
        for name in ("std", "skew", "kurtosis", "low", "high"):
            arrays[f"logit_{name}"] = np.array([each.lens[name] for each in latents], np.float32)
        arrays["logit_hist"] = np.array([each.lens["histogram"] for each in latents], np.int32)
    return arrays


def _places(name: str, lists: list[list[Place]], width: int) -> dict[str, Any]:
    return {
        f"{name}_context": _padded([[context for context, _ in places] for places in lists], width, -1, np.int64),
        f"{name}_position": _padded([[position for _, position in places] for places in lists], width, -1, np.int64),
    }


def _listed(numbers: str, values: str, lists: list[Pairs], width: int) -> dict[str, Any]:
    return {
        numbers: _padded([[number for number, _ in pairs] for pairs in lists], width, -1, np.int32),
        values: _padded([[value for _, value in pairs] for pairs in lists], width, -2, np.float32),
    }


def _padded(rows: list[list[Any]], width: int, rest: float, kind: Any) -> Any:
    return np.array([row + [rest] * (width - len(row)) for row in rows], kind).reshape(len(rows), width)


def _histograms(latents: list[Latent]) -> dict[str, Any]:
    bars = [(bin_, *rest) for each in latents for bin_, rest in each.histogram.items()]
    assert all(FIRST_BIN <= bin_ <= LAST_BIN for bin_, _, _ in bars)
    return {
        "hist_start": _starts([len(each.histogram) for each in latents]),
        "hist_bin": np.array([bin_ for bin_, _, _ in bars], np.int16),
        "hist_n_fired": np.array([count for _, count, _ in bars], np.int64),
        "hist_sum_act": np.array([total for _, _, total in bars], np.float64),
    }


def _examples(latents: list[Latent]) -> dict[str, Any]:
    contexts = [(each, context) for each in latents for context in each.contexts]
    firings = [sorted(each.acts.get(context, {}).items()) for each, context in contexts]
    return {
        "example_start": _starts([len(each.contexts) for each in latents]),
        "example_context": np.array([context for _, context in contexts], np.int32),
        "firing_start": _starts([len(some) for some in firings]),
        "firing_position": np.array([position for some in firings for position, _ in some], np.uint16),
        "firing_act": np.array([act for some in firings for _, act in some], np.float32),
    }


def _starts(counts: list[int]) -> Any:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
