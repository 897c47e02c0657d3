"""All that is kept of one SAE while text is read: figures, lists, histogram. Two of them make one, in any order."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.collecting.histogram import Histogram
from sae_core.collecting.kept import Distinct, Drawn, DrawnByBin, Strongest, WindowRows
from sae_core.collecting.tables import Rows, falling, lots, mixed, run_starts, stable_order
from sae_core.evidence import NEAR, STRIP, WINDOW


@dataclass(frozen=True)
class Firings:
    """What fires in some contexts, by rising context and position."""

    token: NDArray[np.int64]  # which of the contexts · length + position
    latent: NDArray[np.int64]
    act: NDArray[np.float32]


@dataclass
class Figures:
    n_fired: NDArray[np.int64]  # (n_latents), as all of these
    n_contexts: NDArray[np.int64]
    sum_act: NDArray[np.float64]
    sum_sq_act: NDArray[np.float64]
    max_act: NDArray[np.float32]

    @classmethod
    def none(cls, n: int) -> "Figures":
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n), np.zeros(n), np.zeros(n, np.float32))


@dataclass
class Neurons:
    """Sums over all tokens that count, for correlations with the hookpoint's own axes."""

    products: NDArray[np.float64]  # (n_latents, d) Σ act · x
    sums: NDArray[np.float64]  # (d) Σ x
    squares: NDArray[np.float64]  # (d) Σ x²

    @classmethod
    def none(cls, n_latents: int, d: int) -> "Neurons":
        return cls(np.zeros((n_latents, d)), np.zeros(d), np.zeros(d))

    def add(self, firings: Firings, x: Tensor, keep: Tensor) -> None:
        """x (n, d), keep (n)"""
        kept = x[keep]
        self.sums += kept.sum(0, dtype=torch.float64).numpy(force=True)
        self.squares += kept.square().sum(0, dtype=torch.float64).numpy(force=True)
        order = stable_order(firings.latent)
        bounds = np.searchsorted(firings.latent[order], np.arange(len(self.products) + 1))
        if len(order):
            sums = torch.nn.functional.embedding_bag(
                torch.from_numpy(firings.token[order]).to(x.device),
                x.float(),
                torch.from_numpy(bounds).to(x.device),
                per_sample_weights=torch.from_numpy(firings.act[order]).to(x.device),
                mode="sum",
                include_last_offset=True,
            )  # (n_latents, d)
            self.products += sums.numpy(force=True)

    def join(self, other: "Neurons") -> None:
        self.products += other.products
        self.sums += other.sums
        self.squares += other.squares


@dataclass
class Lists:
    """The rows of every table, as they are kept in a part's file."""

    top: Rows
    distinct: WindowRows
    strip: Rows
    by_bin: Rows
    near: Rows

    @classmethod
    def none(cls) -> "Lists":
        return cls(Rows.none(), WindowRows.none(), Rows.none(), Rows.none(), Rows.none())


class Accumulators:
    def __init__(
        self,
        n_latents: int,
        top_k: int,
        *,
        figures: Figures | None = None,
        histogram: Histogram | None = None,
        lists: Lists | None = None,
        neurons: Neurons | None = None,
    ) -> None:
        self.n_latents, self.top_k = n_latents, top_k
        self.tokens = self.masked = 0
        self.figures = figures or Figures.none(n_latents)
        self.histogram = histogram or Histogram()
        self.neurons = neurons
        lists = lists or Lists.none()
        self.top = Strongest(n_latents, top_k, lists.top)
        self.distinct = Distinct(n_latents, top_k, lists.distinct)
        self.strip = Drawn(n_latents, STRIP, lists.strip)
        self.by_bin = DrawnByBin(n_latents, lists.by_bin, self.figures.max_act)
        self.near = Strongest(n_latents, NEAR, lists.near)

    @property
    def lists(self) -> Lists:
        return Lists(self.top.rows, self.distinct.rows, self.strip.rows, self.by_bin.rows, self.near.rows)

    def add(self, firings: Firings, ids: NDArray[np.int64], first: int) -> None:
        """What fires in whole contexts, of which `first` is the number of the first.  # ids (contexts, length)"""
        length, figures, n = ids.shape[1], self.figures, self.n_latents
        wide = firings.act.astype(np.float64)
        figures.n_fired += np.bincount(firings.latent, minlength=n)
        figures.sum_act += np.bincount(firings.latent, wide, minlength=n)
        figures.sum_sq_act += np.bincount(firings.latent, wide * wide, minlength=n)
        self._add_peaks(firings, ids, first)

        above = firings.act > 0  # all, but for signed TopK
        if not above.all():
            firings = Firings(firings.token[above], firings.latent[above], firings.act[above])
        self.histogram.add(firings.latent, firings.act)
        rows = Rows(
            firings.latent.astype(np.int32),
            (firings.token // length + first).astype(np.int32),
            (firings.token % length).astype(np.int32),
            firings.act,
        )
        drawn = lots(rows)
        self.strip.add(rows[self.strip.may_stay(rows, drawn)])
        self.by_bin.add(rows[self.by_bin.may_stay(rows, drawn)])

    def _add_peaks(self, firings: Firings, ids: NDArray[np.int64], first: int) -> None:
        """Of each latent the strongest token in each context, the earliest of several."""
        length = ids.shape[1]
        context, position = np.divmod(firings.token, length)
        pair = context * self.n_latents + firings.latent  # one for each context and latent
        peaks = _peaks(pair, firings.act)
        latent, act = firings.latent[peaks], firings.act[peaks]
        self.figures.n_contexts += np.bincount(latent, minlength=self.n_latents)
        np.maximum.at(self.figures.max_act, latent, np.maximum(act, 0))
        rows = Rows(
            latent.astype(np.int32),
            (context[peaks] + first).astype(np.int32),
            position[peaks].astype(np.int32),
            act,
        )
        rows = rows[(act > 0) & self.distinct.may_stay(rows)]
        self.top.add(rows[self.top.may_stay(rows)])
        windows = window_keys(ids, rows.context - first, rows.position)
        self.distinct.add(WindowRows(rows.latent, rows.context, rows.position, rows.act, windows))

    def join(self, other: "Accumulators") -> None:
        """Takes in what another has kept of other contexts."""
        assert (self.n_latents, self.top_k) == (other.n_latents, other.top_k)
        mine, theirs = self.figures, other.figures
        self.tokens += other.tokens
        self.masked += other.masked
        mine.n_fired += theirs.n_fired
        mine.n_contexts += theirs.n_contexts
        mine.sum_act += theirs.sum_act
        mine.sum_sq_act += theirs.sum_sq_act
        np.maximum(mine.max_act, theirs.max_act, out=mine.max_act)  # in place: by_bin looks at it
        self.histogram.join(other.histogram.entries)
        self.top.add(other.top.rows)
        self.distinct.add(other.distinct.rows)
        self.strip.add(other.strip.rows)
        self.by_bin.add(other.by_bin.rows)
        self.near.add(other.near.rows)
        if self.neurons and other.neurons:
            self.neurons.join(other.neurons)


def _peaks(pair: NDArray[np.int64], act: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of firings by rising token, the strongest of each pair; of equals the first."""
    order = np.argsort((pair << 32) | falling(act))
    starts = run_starts(pair[order])
    if not len(starts):
        return order
    strongest = order[starts]
    # The sort is not stable: the first of those that are as strong.
    as_strong = act[order] == np.repeat(act[strongest], np.diff(np.append(starts, len(order))))
    return np.minimum.reduceat(np.where(as_strong, order, len(order)), starts)


def window_keys(ids: NDArray[np.int64], context: NDArray[np.int32], position: NDArray[np.int32]) -> NDArray[np.uint64]:
    """One number for the tokens around a position; what lies beyond the context is a token of its own."""
    keys = np.zeros(len(context), np.uint64)
    for step in range(-WINDOW, WINDOW + 1):
        place = position + step
        inside = (place >= 0) & (place < ids.shape[1])
        token = np.where(inside, ids[context, np.clip(place, 0, ids.shape[1] - 1)], -1)
        keys = mixed(keys, token)
    return keys
