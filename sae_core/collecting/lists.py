"""From tables of rows to the arrays of evidence, one row of each array for a latent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core.collecting.accumulators import Accumulators, Figures
from sae_core.collecting.histogram import Entries
from sae_core.collecting.kept import nearest_edge
from sae_core.collecting.tables import Ranking, Rows, best, lots, mixed, rank_in_runs
from sae_core.evidence import INTERVALS, NEAR, OF_INTERVAL, STRIP, bin_edge, bin_of

Arrays = dict[str, NDArray[Any]]
EDGES = np.arange(1, INTERVALS) / INTERVALS  # 0.2 … 0.8
QUANTILE = 0.99


def figures_and_lists(kept: Accumulators) -> Arrays:
    figures, entries, n = kept.figures, kept.histogram.entries, kept.n_latents
    lists = kept.lists
    arrays: Arrays = {
        "n_fired": figures.n_fired,
        "n_contexts": figures.n_contexts,
        "sum_act": figures.sum_act,
        "sum_sq_act": figures.sum_sq_act,
        "max_act": figures.max_act,
        "p99_act": quantile(entries, figures, n),
        "hist_start": np.searchsorted(entries.latent, np.arange(n + 1)),
        "hist_bin": entries.bin,
        "hist_n_fired": entries.n_fired,
        "hist_sum_act": entries.sum_act,
    }
    arrays |= _dense("top", lists.top, lists.top.latent, n, kept.top_k)
    arrays |= _dense("distinct", lists.distinct, lists.distinct.latent, n, kept.top_k)
    arrays |= _dense("strip", lists.strip, lists.strip.latent, n, STRIP)
    near = _dense("near", lists.near, lists.near.latent, n, NEAR)
    near["near_pre_act"] = near.pop("near_act")
    return arrays | near | intervals(lists.by_bin, entries, figures.max_act)


def intervals(rows: Rows, entries: Entries, maxima: NDArray[np.float32]) -> Arrays:
    """Five between 0 and the maximum, cut where bins of the histogram begin."""
    n = len(maxima)
    edge_bins = nearest_edge(np.outer(maxima.astype(np.float64), EDGES).ravel()).reshape(n, -1)  # (n, 4)
    edges = np.zeros((n, INTERVALS + 1), np.float32)
    edges[:, 1:-1] = bin_edge(edge_bins)
    edges[:, -1] = maxima
    edges[maxima == 0] = 0

    def group(latent: NDArray[np.int64], bins: NDArray[np.int16]) -> NDArray[np.int64]:
        """latent · 5 + interval"""
        inner: NDArray[np.int64] = (bins[:, None] >= edge_bins[latent]).sum(1)
        return latent * INTERVALS + inner

    of_entries = group(entries.latent, entries.bin)
    fired = np.zeros(n * INTERVALS, np.int64)
    np.add.at(fired, of_entries, entries.n_fired)
    sums = np.zeros(n * INTERVALS)
    np.add.at(sums, of_entries, entries.sum_act)
    of_rows = group(rows.latent.astype(np.int64), bin_of(rows.act))
    chosen = best(rows, Ranking(of_rows, lots(rows), mixed(of_rows, rows.context)), OF_INTERVAL)
    drawn = _dense("interval", rows[chosen], of_rows[chosen], n * INTERVALS, OF_INTERVAL)
    arrays: Arrays = {
        "interval_edge": edges,
        "interval_n_fired": fired.reshape(n, INTERVALS),
        "interval_sum_act": sums.reshape(n, INTERVALS),
    }
    return arrays | {name: array.reshape(n, INTERVALS, OF_INTERVAL) for name, array in drawn.items()}


def quantile(entries: Entries, figures: Figures, n: int) -> NDArray[np.float32]:
    """The 99th percentile of a latent's activations above 0, as if they lay evenly within a bin; never above its
    maximum."""
    starts = np.searchsorted(entries.latent, np.arange(n + 1))
    total = np.zeros(len(entries.key) + 1, np.int64)
    np.cumsum(entries.n_fired, out=total[1:])
    before, after = total[starts[:-1]], total[starts[1:]]
    wanted = before + QUANTILE * (after - before)  # of all entries, how many lie below
    at = np.clip(np.searchsorted(total, wanted, side="left") - 1, starts[:-1], np.maximum(starts[1:] - 1, starts[:-1]))
    found = np.zeros(n, np.float32)
    some = after > before
    at, wanted = at[some], wanted[some]
    low = bin_edge(entries.bin[at]).astype(np.float64)
    high = bin_edge(entries.bin[at] + np.int16(1)).astype(np.float64)
    within = (wanted - total[at]) / entries.n_fired[at]
    found[some] = np.minimum(low + within * (high - low), figures.max_act[some])
    return found


def _dense(name: str, rows: Rows, group: NDArray[Any], n: int, width: int) -> Arrays:
    """Sorted rows side by side; what is missing has value 0 and context −1."""
    act = np.zeros((n, width), np.float32)
    context, position = (np.full((n, width), -1, np.int64) for _ in range(2))
    column = rank_in_runs(group.astype(np.int64))
    act[group, column], context[group, column], position[group, column] = rows.act, rows.context, rows.position
    return {f"{name}_act": act, f"{name}_context": context, f"{name}_position": position}
