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

BLOCK = 4096  # features at a time
MANY = 1 << 32  # tokens, above which counts take more bits
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

    sections = Sections(n)
    head = np.zeros((n, 6), np.uint8)
    head[:] = (
        feature_form.VERSION,
        feature_form.HAS_LENS if has_lens else 0,
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
            sections.add(rows(f"logit_{side}_id")[:, :n_logits].astype(np.uint32).ravel(), n_logits)
            sections.add(rows(f"logit_{side}")[:, :n_logits].ravel(), n_logits)
        sections.add(rows("logit_hist").astype(np.uint32).ravel(), n_bins)
    if n_inputs:
        sections.add(rows("input_id")[:, :n_inputs].astype(np.uint32).ravel(), n_inputs)
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
    n = stop - first
    wide = int(evidence.about["context_length"]) > 255
    many = int(evidence.about["tokens"]) >= MANY
    position_type, count_type = (np.uint16 if wide else np.uint8), (np.float64 if many else np.uint32)

    starts = np.asarray(evidence["example_start"][first : stop + 1])
    n_examples = np.diff(starts)
    context = np.asarray(evidence["example_context"][starts[0] : starts[-1]])
    firing_starts = np.asarray(evidence["firing_start"][starts[0] : starts[-1] + 1])
    n_firings = np.diff(firing_starts)
    position = np.asarray(evidence["firing_position"][firing_starts[0] : firing_starts[-1]])
    act = np.maximum(np.asarray(evidence["firing_act"][firing_starts[0] : firing_starts[-1]]), 0)
    peaks = _largest(act, n_firings)
    of_peak = np.repeat(peaks, n_firings)
    fraction = np.rint(act / np.where(of_peak > 0, of_peak, 1) * 65_535).astype(np.uint16)
    fraction[(fraction == 0) & (act > 0)] = 1  # the weakest still fires
    owner = np.repeat(np.arange(n), n_examples)
    key = (owner.astype(np.int64) << 32) | context

    item_example, item_position, counts = _items(evidence, first, stop, key, starts)
    pre_acts = np.asarray(evidence["near_pre_act"][first:stop])
    near = np.asarray(evidence["near_context"][first:stop]) >= 0

    hist = np.asarray(evidence["hist_start"][first : stop + 1])
    some = slice(int(hist[0]), int(hist[-1]))
    n_bins = np.diff(hist)
    cofire = np.asarray(evidence["cofire"][first:stop])
    together = cofire >= 0
    n_neurons = evidence["correlated_neuron"].shape[1] if "correlated_neuron" in evidence else 0

    sections = Sections(n)
    sections.add(_heads(evidence, first, stop, n_examples, n_bins, together.sum(1), n_neurons, counts, wide, many), 1)
    n_items = counts.sum(1)
    items = np.zeros(len(item_example), [("example", np.uint8), ("position", position_type)])
    items["example"], items["position"] = item_example, item_position
    sections.add(items, n_items)
    sections.add(pre_acts[near], near.sum(1))
    sections.add(context, n_examples)
    sections.add(peaks, n_examples)
    sections.add(n_firings.astype(position_type), n_examples)
    per_feature = np.diff(firing_starts[starts - starts[0]])
    sections.add(position.astype(position_type), per_feature)
    sections.add(fraction, per_feature)
    sections.add(np.asarray(evidence["hist_bin"][some]), n_bins)
    sections.add(np.asarray(evidence["hist_n_fired"][some]).astype(count_type), n_bins)
    sections.add(np.asarray(evidence["hist_sum_act"][some]).astype(np.float32), n_bins)
    sections.add(cofire[together], together.sum(1))
    sections.add(np.asarray(evidence["cofire_n"][first:stop])[together].astype(count_type), together.sum(1))
    sections.add(np.asarray(evidence["cofire_phi"][first:stop])[together], together.sum(1))
    if n_neurons:
        sections.add(np.asarray(evidence["correlated_neuron"][first:stop]).ravel(), n_neurons)
        sections.add(np.asarray(evidence["correlated_pearson"][first:stop]).ravel(), n_neurons)
    return sections.joined()


def _largest(act: Array, n_firings: Array) -> Array:
    """Of each example the largest activation; 0 where nothing fires."""
    ends = np.cumsum(n_firings)
    padded = np.append(act, np.float32(0))
    largest = np.maximum.reduceat(padded, np.minimum(ends - n_firings, len(act))) if len(ends) else padded[:0]
    return np.where(n_firings > 0, largest, np.float32(0)).astype(np.float32)


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


def _heads(
    evidence: ArrayFile,
    first: int,
    stop: int,
    n_examples: Array,
    n_bins: Array,
    n_together: Array,
    n_neurons: int,
    counts: Array,
    wide: bool,
    many: bool,
) -> Array:
    kinds = [
        ("version", "u1"), ("flags", "u1"), ("examples", "u1"), ("bins", "<u2"), ("together", "u1"), ("neurons", "u1"),
        ("counts", "u1", (9,)), ("edges", "<i2", (INTERVALS - 1,)),
    ]  # fmt: skip
    heads = np.zeros(stop - first, kinds)
    assert heads.dtype.itemsize == examples_form.HEAD.size
    heads["version"] = examples_form.VERSION
    heads["flags"] = examples_form.WIDE * wide | examples_form.MANY * many
    heads["examples"], heads["bins"], heads["together"] = n_examples, n_bins, n_together
    heads["neurons"], heads["counts"] = n_neurons, counts
    edges = np.asarray(evidence["interval_edge"][first:stop, 1:-1]).astype(np.float32)
    heads["edges"] = edges.copy().view(np.int32) >> examples_form.SHIFT
    return heads
