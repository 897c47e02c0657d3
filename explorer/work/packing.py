"""From evidence to what explorer/packed reads, many features at a time: whole columns are made by numpy, and for each
feature but joined."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.packed import examples as examples_form
from explorer.packed import feature as feature_form
from sae_core import ArrayFile
from sae_core.evidence import NEAR, OF_INTERVAL, STRIP

BLOCK = 1024  # features at a time; more take more memory and no less time
NARROW = 1 << 16  # what fits in two bytes is below
INTERVALS = examples_form.INTERVALS
# Examples are counted by a byte: those of two lists of the strongest, and what other lists may add.
MOST_TOP_K = (255 - INTERVALS * OF_INTERVAL - STRIP - NEAR) // 2

Array = NDArray[Any]


class Sections:
    """Columns of unequal length; `joined` gives each feature its share of all, one after the other."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._bytes: list[bytes] = []
        self._bounds: list[list[int]] = []

    def add(self, values: Array, counts: Array | int) -> None:
        """Values feature by feature, and how many each has."""
        size = values.dtype.itemsize
        bounds = np.zeros(self.n + 1, np.int64)
        np.cumsum(np.broadcast_to(counts, self.n), out=bounds[1:])
        assert bounds[-1] == len(values), "as many as are counted"
        self._bytes.append(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
        self._bounds.append((bounds * size).tolist())

    def add_fitting(self, values: Array, counts: Array, what: int, wide: Array) -> None:
        """In the wide or the narrow form of each row."""
        narrow_kind, wide_kind = examples_form.KINDS[what]
        of_wide = np.repeat(wide, counts)
        for kind, rows, some in ((narrow_kind, ~wide, ~of_wide), (wide_kind, wide, of_wide)):
            if rows.any():
                self.add(values[some].astype(kind), np.where(rows, counts, 0))

    def joined(self) -> Iterator[bytes]:
        parts = list(zip(self._bytes, self._bounds, strict=True))
        for row in range(self.n):
            yield b"".join([data[bounds[row] : bounds[row + 1]] for data, bounds in parts])


def features(evidence: ArrayFile, first: int, stop: int) -> Iterator[bytes]:
    """Feature.packed of some latents."""
    n = stop - first

    def rows(name: str) -> Array:
        return np.asarray(evidence[name][first:stop])

    has_lens = "logit_top" in evidence
    n_logits = int((rows("logit_top_id")[:1] >= 0).sum()) if has_lens else 0
    n_bins = evidence["logit_hist"].shape[1] if has_lens else 0
    n_inputs = int((rows("input_id")[:1] >= 0).sum()) if "input_id" in evidence else 0
    neighbours = rows("neighbour")
    near = neighbours >= 0
    n_aligned = int((rows("aligned_neuron")[:1] >= 0).sum()) if "aligned_neuron" in evidence else 0
    narrow = has_lens and int(rows("logit_hist")[:1].sum()) < NARROW  # each token of the lm is in one bin
    of_tokens = np.uint16 if narrow else np.uint32

    sections = Sections(n)
    head = np.zeros((n, 6), np.uint8)
    head[:] = (
        feature_form.VERSION,
        feature_form.HAS_LENS * has_lens | feature_form.WIDE * (not narrow),
        n_logits,
        n_bins,
        n_inputs,
        0,
    )
    head[:, 5] = near.sum(1)
    sections.add(head.ravel(), 6)
    if has_lens:
        moments = [rows(f"logit_{name}") for name in ("std", "skew", "kurtosis", "low", "high")]
        sections.add(np.stack(moments, axis=1).astype(np.float32).ravel(), 5)
        for side in ("top", "bottom"):
            sections.add(rows(f"logit_{side}_id")[:, :n_logits].astype(of_tokens).ravel(), n_logits)
            sections.add(rows(f"logit_{side}")[:, :n_logits].ravel(), n_logits)
        sections.add(rows("logit_hist").astype(of_tokens).ravel(), n_bins)
    if n_inputs:
        sections.add(rows("input_id")[:, :n_inputs].astype(of_tokens).ravel(), n_inputs)
        sections.add(rows("input")[:, :n_inputs].ravel(), n_inputs)
    sections.add(neighbours[near], near.sum(1))
    sections.add(rows("neighbour_cosine")[near], near.sum(1))
    sections.add(np.full(n, n_aligned, np.uint8), 1)
    if n_aligned:
        sections.add(rows("aligned_neuron")[:, :n_aligned].ravel(), n_aligned)
        sections.add(rows("aligned_weight")[:, :n_aligned].ravel(), n_aligned)
    return sections.joined()


LISTS = ("top", "distinct", *(f"interval {number}" for number in range(INTERVALS)), "strip", "near")


def examples(evidence: ArrayFile, first: int, stop: int) -> Iterator[bytes]:
    """Examples.packed of some latents."""
    n, about = stop - first, evidence.about
    flags = np.zeros(n, np.int64)
    flags |= examples_form.POSITIONS * (about["context_length"] > 255)
    flags |= examples_form.CONTEXTS * (about["contexts"] > NARROW)
    position_kind = examples_form.kind_of(examples_form.POSITIONS, flags[0])
    starts = np.asarray(evidence["example_start"][first : stop + 1])
    n_examples = np.diff(starts)
    context = np.asarray(evidence["example_context"][starts[0] : starts[-1]])
    key = (np.repeat(np.arange(n, dtype=np.int64), n_examples) << 32) | context
    item_example, item_position, counts = _items(evidence, first, stop, key, starts)
    items = np.zeros(len(item_example), [("example", np.uint8), ("position", position_kind)])
    items["example"], items["position"] = item_example, item_position
    near = np.asarray(evidence["near_context"][first:stop]) >= 0
    firings = _Firings(evidence, starts)
    bars = _Bars(evidence, first, stop)
    cofire, cofire_n, phi = (np.asarray(evidence[name][first:stop]) for name in ("cofire", "cofire_n", "cofire_phi"))
    together = cofire >= 0
    many = about["tokens"] >= NARROW**2
    large = np.maximum(bars.largest_count, cofire_n.max(1, initial=0)) >= NARROW
    flags |= examples_form.MANY if many else examples_form.COUNTS * large
    flags |= examples_form.BINS * (bars.span > 255)
    n_neurons = evidence["correlated_neuron"].shape[1] if "correlated_neuron" in evidence else 0
    heads = _heads(evidence, first, stop, bars.lowest)
    heads["flags"], heads["counts"], heads["examples"], heads["bins"] = flags, counts, n_examples, bars.n
    heads["together"], heads["neurons"] = together.sum(1), n_neurons
    how_many = (examples_form.MANY, np.ones(n, bool)) if many else (examples_form.COUNTS, large)

    sections = Sections(n)
    sections.add(heads, 1)
    sections.add(items, counts.sum(1))
    sections.add(np.asarray(evidence["near_pre_act"][first:stop])[near], near.sum(1))
    sections.add_fitting(context, n_examples, examples_form.CONTEXTS, flags & examples_form.CONTEXTS > 0)
    sections.add(firings.peaks, n_examples)
    sections.add(firings.n.astype(position_kind), n_examples)
    sections.add(firings.positions.astype(position_kind), firings.of_feature)
    sections.add(firings.fractions, firings.of_feature - firings.peaks_of_feature)
    sections.add_fitting(bars.distance, bars.n, examples_form.BINS, flags & examples_form.BINS > 0)
    sections.add_fitting(bars.n_fired, bars.n, *how_many)
    sections.add(bars.mean, bars.n)
    sections.add(cofire[together], together.sum(1))
    sections.add_fitting(cofire_n[together], together.sum(1), *how_many)
    sections.add(phi[together], together.sum(1))
    if n_neurons:
        sections.add(np.asarray(evidence["correlated_neuron"][first:stop]).ravel(), n_neurons)
        sections.add(np.asarray(evidence["correlated_pearson"][first:stop]).ravel(), n_neurons)
    return sections.joined()


class _Firings:
    """Of the examples of some latents, which begin at `starts`."""

    def __init__(self, evidence: ArrayFile, starts: Array) -> None:
        bounds = np.asarray(evidence["firing_start"][starts[0] : starts[-1] + 1])
        some = slice(int(bounds[0]), int(bounds[-1]))
        position = np.asarray(evidence["firing_position"][some])
        act = np.maximum(np.asarray(evidence["firing_act"][some]), 0)
        self.n = np.diff(bounds)
        fires, begins = self.n > 0, bounds[:-1] - bounds[0]
        self.peaks = np.zeros(len(self.n), np.float32)
        self.peaks[fires] = np.maximum.reduceat(act, begins[fires]) if len(act) else 0
        self.of_feature = np.diff(bounds[starts - starts[0]])
        self.peaks_of_feature = np.diff(np.concatenate([[0], np.cumsum(fires)])[starts - starts[0]])

        of_peak, example = np.repeat(self.peaks, self.n), np.repeat(np.arange(len(self.n)), self.n)
        at_peak = np.flatnonzero(act == of_peak)
        at_peak = at_peak[np.diff(example[at_peak], prepend=-1) > 0]  # the first of each example
        others, after_first = np.ones(len(act), bool), np.ones(len(act), bool)
        others[at_peak], after_first[begins[fires]] = False, False
        self.positions = np.empty_like(position)
        self.positions[begins[fires]], self.positions[after_first] = position[at_peak], position[others]
        act, of_peak = act[others], of_peak[others]
        self.fractions = np.rint(act / np.where(of_peak > 0, of_peak, 1) * examples_form.PARTS).astype(np.uint16)
        self.fractions[(self.fractions == 0) & (act > 0)] = 1  # the weakest still fires


class _Bars:
    """The histograms of some latents."""

    def __init__(self, evidence: ArrayFile, first: int, stop: int) -> None:
        bounds = np.asarray(evidence["hist_start"][first : stop + 1])
        some = slice(int(bounds[0]), int(bounds[-1]))
        bins = np.asarray(evidence["hist_bin"][some]).astype(np.int32)
        self.n, self.n_fired = np.diff(bounds), np.asarray(evidence["hist_n_fired"][some])
        there, begins = self.n > 0, bounds[:-1][self.n > 0] - bounds[0]
        self.lowest, self.span, self.largest_count = (np.zeros(stop - first, np.int64) for _ in range(3))
        if len(bins):
            self.lowest[there] = bins[begins]
            self.span[there] = np.maximum.reduceat(bins, begins) - bins[begins]
            self.largest_count[there] = np.maximum.reduceat(self.n_fired, begins)
        self.distance = bins - np.repeat(self.lowest, self.n)
        low, high = ((each << examples_form.SHIFT).view(np.float32).astype(np.float64) for each in (bins, bins + 1))
        within = (np.asarray(evidence["hist_sum_act"][some]) / self.n_fired - low) / (high - low)
        self.mean = np.rint(np.clip(within, 0, 1) * examples_form.PARTS).astype(np.uint16)


def _items(evidence: ArrayFile, first: int, stop: int, key: Array, starts: Array) -> tuple[Array, Array, Array]:
    """Of each feature's lists, joined: which of its examples, and at which position; and how many each list has."""
    n = stop - first
    contexts, positions = [], []
    for name in ("top", "distinct", "interval", "strip", "near"):
        contexts.append(np.asarray(evidence[f"{name}_context"][first:stop]).reshape(n, -1))
        positions.append(np.asarray(evidence[f"{name}_position"][first:stop]).reshape(n, -1))
    counts = np.concatenate(
        [(each >= 0).reshape(n, INTERVALS if name == 2 else 1, -1).sum(2) for name, each in enumerate(contexts)],
        axis=1,
    )  # (n, 9)
    context, position = np.concatenate(contexts, axis=1), np.concatenate(positions, axis=1)
    there = context >= 0
    owner = np.broadcast_to(np.arange(n)[:, None], context.shape)[there]
    example = np.searchsorted(key, (owner.astype(np.int64) << 32) | context[there]) - (starts[owner] - starts[0])
    return example.astype(np.uint8), position[there], counts


def _heads(evidence: ArrayFile, first: int, stop: int, lowest: Array) -> Array:
    kinds = [
        ("version", "u1"), ("flags", "u1"), ("examples", "u1"), ("bins", "<u2"), ("together", "u1"), ("neurons", "u1"),
        ("counts", "u1", (9,)), ("lowest", "<i2"), ("edges", "<i2", (INTERVALS - 1,)),
    ]  # fmt: skip
    heads = np.zeros(stop - first, kinds)
    assert heads.dtype.itemsize == examples_form.HEAD.size
    edges = np.asarray(evidence["interval_edge"][first:stop, 1:-1]).astype(np.float32)
    heads["version"], heads["lowest"] = examples_form.VERSION, lowest
    heads["edges"] = edges.copy().view(np.int32) >> examples_form.SHIFT
    return heads
