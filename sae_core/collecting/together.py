"""Which latents fire together, over the whole dictionary, at the tokens of the audit sample.

    phi = (N·n_ij − n_i·n_j) / √(n_i·n_j·(N − n_i)·(N − n_j))

the correlation of one firing and the other firing. All that fires where a latent does is sorted, and runs are counted:
that is told of the pairs that there are, never of all pairs. It takes the square of L0 for each token; so of latents
that fire very often a part of their tokens tells which others are worth counting exactly.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sae_core.collecting.lists import Arrays
from sae_core.collecting.tables import rank_in_runs, run_starts, stable_order
from sae_core.evidence import COFIRE, UNKNOWN

OFTEN, LOOKED = 1024, 512  # tokens: of latents that fire at more than so many, so many tell the candidates
CANDIDATES = 3 * COFIRE
LEAST = 2  # tokens at which two fire together; once is chance
PIECE = 8  # latents that are copied at a time
BLOCK = 1 << 20  # latents that are sorted at a time by each thread
KEYS = 1 << 31


def cofiring(audit: Arrays, n_latents: int, step: Callable[[], None]) -> Arrays:
    sample = _Sample(audit, n_latents)
    found = {
        "cofire": np.full((n_latents, COFIRE), -1, np.int32),
        "cofire_n": np.zeros((n_latents, COFIRE), np.int32),
        "cofire_phi": np.full((n_latents, COFIRE), UNKNOWN, np.float32),
    }
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # numpy's own sorts and sums keep one core busy
        for pairs in threads.map(sample.strongest, *zip(*sample.blocks(), strict=True)):
            column = rank_in_runs(pairs.latent)
            found["cofire"][pairs.latent, column] = pairs.other
            found["cofire_n"][pairs.latent, column] = pairs.together
            found["cofire_phi"][pairs.latent, column] = sample.phi(pairs)
            step()
    return found


class _Pairs(NamedTuple):
    """By rising latent, and of it by rising other."""

    latent: NDArray[np.int64]
    other: NDArray[np.int32]
    together: NDArray[np.int64]  # tokens at which both fire, of those that were looked at

    def some(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> "_Pairs":
        return _Pairs(self.latent[which], self.other[which], self.together[which])


class _Sample:
    """The audit sample by token and by latent."""

    def __init__(self, audit: Arrays, n_latents: int) -> None:
        self.n_latents, self.n_tokens = n_latents, len(audit["audit_token"])
        starts, latents = audit["audit_start"], audit["audit_latent"]
        widths = np.diff(starts)
        self.n_pieces = -(-widths // PIECE)  # of each token
        self.piece_starts = np.cumsum(self.n_pieces) - self.n_pieces
        self.pieces = np.full((self.n_pieces.sum(), PIECE), n_latents, np.int32)  # short ones end in no latent
        at = np.arange(len(latents)) + np.repeat(self.piece_starts * PIECE - starts[:-1], widths)
        self.pieces.reshape(-1)[at] = latents
        of_firing = np.repeat(np.arange(self.n_tokens, dtype=np.int32), widths)
        self.by_latent: NDArray[np.int32] = of_firing[stable_order(latents)]  # tokens, latent by latent
        self.n_fired = np.bincount(latents, minlength=n_latents)
        self.looked = np.where(self.n_fired > OFTEN, np.minimum(self.n_fired, LOOKED), self.n_fired)
        self.bounds = np.zeros(n_latents + 1, np.int64)
        np.cumsum(self.n_fired, out=self.bounds[1:])
        # What of phi differs between the others of one latent, in single precision.
        spread = self.n_fired * (self.n_tokens - self.n_fired.astype(np.float64))
        self._chance = np.append(self.n_fired / max(self.n_tokens, 1), np.inf).astype(np.float32)
        self._over = np.append(1 / np.sqrt(np.maximum(spread, 1)), 1).astype(np.float32)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Neighbouring latents beside which some million fire, or one latent."""
        beside = self.looked * max(int(self.n_pieces.mean()) if self.n_tokens else 0, 1) * PIECE
        ends, first = np.cumsum(beside), 0
        while first < self.n_latents:
            stop = int(np.searchsorted(ends, ends[first] + BLOCK, side="right"))
            stop = min(stop, first + KEYS // (self.n_latents + 1))
            yield first, stop
            first = stop

    def strongest(self, first: int, stop: int) -> _Pairs:
        """Of some latents the others that fire with each, by falling phi and rising number."""
        pairs = self._candidates(first, *self._runs(*self._beside(first, stop)))
        often = self.n_fired[pairs.latent] > OFTEN
        if often.any():
            pairs.together[often] = self._exactly(pairs.some(often))
        order = np.lexsort((pairs.other, -self.phi(pairs), pairs.latent))
        pairs = pairs.some(order)
        return pairs.some(rank_in_runs(pairs.latent) < COFIRE)

    def _beside(self, first: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All that fires where some latents do, latent by latent: (pieces, PIECE) and how many pieces of each. Of those
        that fire often, at tokens spread evenly over the sample, whose order is the text's."""
        looked = self.looked[first:stop]
        row = np.repeat(np.arange(stop - first), looked)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(looked) - looked, looked)
        stride = self.n_fired[first:stop] / np.maximum(looked, 1)
        tokens = self.by_latent[self.bounds[first:stop][row] + (rank * stride[row]).astype(np.int64)]
        n_pieces = self.n_pieces[tokens]
        at = np.repeat(self.piece_starts[tokens] - (np.cumsum(n_pieces) - n_pieces), n_pieces)
        at += np.arange(len(at))
        return self.pieces.take(at, axis=0), np.bincount(row, n_pieces, stop - first).astype(np.int64)

    def _runs(
        self, beside: NDArray[np.int32], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Row, other and how often, of those that are beside a latent more than once. Itself is one of them."""
        row = np.arange(len(lengths), dtype=np.int32)
        beside += np.repeat(row * np.int32(self.n_latents + 1), lengths)[:, None]
        keys = beside.reshape(-1)
        keys.sort()
        same = np.zeros(len(keys) + 1, np.bool_)  # as the one before it
        np.equal(keys[1:], keys[:-1], out=same[1:-1])
        begin, end = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2).T
        found = keys.take(begin)
        row = found // np.int32(self.n_latents + 1)
        return row, found - row * np.int32(self.n_latents + 1), end - begin + 1

    def _candidates(
        self, first: int, row: NDArray[np.int32], other: NDArray[np.int32], together: NDArray[np.int64]
    ) -> _Pairs:
        """Of each latent the most correlated as far as was looked, and all that are as good as the last of them."""
        starts = run_starts(row)
        lengths, latents = np.diff(np.append(starts, len(row))), row[starts] + first
        of_all = (self.n_fired[latents] / np.maximum(self.looked[latents], 1)).astype(np.float32)
        phi = together.astype(np.float32)
        phi *= np.repeat(of_all, lengths)
        phi -= np.repeat(self.n_fired[latents].astype(np.float32), lengths) * self._chance.take(other)
        phi *= self._over.take(other)
        phi[other == row + np.int32(first)] = -np.inf
        table = np.full((len(starts), max(lengths.max(initial=0), CANDIDATES)), -np.inf, np.float32)
        column = np.arange(len(row)) - np.repeat(starts, lengths)
        width = table.shape[1]
        table.reshape(-1)[np.repeat(np.arange(len(starts)) * width, lengths) + column] = phi
        least = torch.from_numpy(table).topk(CANDIDATES, sorted=False).values.amin(1).numpy()
        np.maximum(least, np.finfo(np.float32).min, out=least)  # what is −∞ is none
        kept = np.flatnonzero(phi >= np.repeat(least, lengths))
        return _Pairs(row[kept].astype(np.int64) + first, other[kept], together[kept])

    def _exactly(self, pairs: _Pairs) -> NDArray[np.int64]:
        """At how many tokens of the whole sample both fire."""
        marked = np.zeros(self.n_tokens, np.bool_)
        found = np.zeros(len(pairs.latent), np.int64)
        starts = run_starts(pairs.latent)
        for start, end in zip(starts, np.append(starts[1:], len(found)), strict=True):
            mine = self._of(pairs.latent[start])
            marked[mine] = True
            theirs = [self._of(other) for other in pairs.other[start:end]]
            begins = np.cumsum([0, *map(len, theirs)])[:-1]
            found[start:end] = np.add.reduceat(marked.take(np.concatenate(theirs)), begins, dtype=np.int64)
            marked[mine] = False
        return found

    def _of(self, latent: np.integer) -> NDArray[np.int32]:
        return self.by_latent[self.bounds[latent] : self.bounds[latent + 1]]

    def phi(self, pairs: _Pairs) -> NDArray[np.float64]:
        n, a, b = float(self.n_tokens), self.n_fired[pairs.latent].astype(np.float64), self.n_fired[pairs.other]
        spread = np.sqrt(a * b * (n - a) * (n - b))
        found: NDArray[np.float64] = (n * pairs.together - a * b) / np.where(spread > 0, spread, 1)
        return np.where(spread > 0, found, 0)
