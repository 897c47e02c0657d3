"""Which latents fire together, over the whole dictionary, at the tokens of the audit sample.

    phi = (N·n_ij − n_i·n_j) / √(n_i·n_j·(N − n_i)·(N − n_j))

the correlation of one firing and the other firing. Counting all pairs takes the square of L0 for each token. Of latents
that fire often a few hundred of their tokens tell which others are worth counting exactly.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.collecting.lists import Arrays
from sae_core.collecting.tables import stable_order
from sae_core.evidence import COFIRE, UNKNOWN

OFTEN = 256  # tokens, of which candidates are told where a latent has more
CANDIDATES = 3 * COFIRE
LEAST = 2  # tokens at which two fire together; once is chance
BLOCK = 1 << 21  # counts held at a time by each thread
INCIDENCES = 1 << 20  # pairs of latents gone through at a time


def cofiring(audit: Arrays, n_latents: int, step: Callable[[], None]) -> Arrays:
    sample = _Sample(audit, n_latents)
    found = {
        "cofire": np.full((n_latents, COFIRE), -1, np.int32),
        "cofire_n": np.zeros((n_latents, COFIRE), np.int32),
        "cofire_phi": np.full((n_latents, COFIRE), UNKNOWN, np.float32),
    }
    rows = max(1, BLOCK // n_latents)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # numpy's own sorts and sums keep one core busy
        starts = range(0, n_latents, rows)
        for start, block in zip(starts, threads.map(lambda first: sample.block(first, rows), starts), strict=True):
            for name, array in block.items():
                found[name][start : start + rows, : array.shape[1]] = array
            step()
    return found


class _Sample:
    """The audit sample by token and by latent."""

    def __init__(self, audit: Arrays, n_latents: int) -> None:
        self.tokens = len(audit["audit_token"])
        self.starts, self.latents = audit["audit_start"], audit["audit_latent"].astype(np.int64)
        order = stable_order(self.latents)
        of_pair = np.repeat(np.arange(self.tokens), np.diff(self.starts))
        self.by_latent: NDArray[np.int64] = of_pair[order]  # tokens, latent by latent
        self.n_fired = np.bincount(self.latents, minlength=n_latents)
        self.bounds = np.zeros(n_latents + 1, np.int64)
        np.cumsum(self.n_fired, out=self.bounds[1:])
        self.n_latents = n_latents

    def of(self, latent: int) -> NDArray[np.int64]:
        return self.by_latent[self.bounds[latent] : self.bounds[latent + 1]]

    def counts(self, first: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """How often each of some latents fires with each, and at which share of its tokens that was looked at."""
        counts = np.zeros((stop - first) * self.n_latents, np.int32)
        n_fired = self.n_fired[first:stop]
        looked = np.minimum(n_fired, OFTEN)
        # Evenly spread over the sample, whose order is the text's.
        rank = np.arange(looked.sum()) - np.repeat(np.cumsum(looked) - looked, looked)
        stride = np.repeat(n_fired / np.maximum(looked, 1), looked)
        at = np.repeat(self.bounds[first:stop], looked) + (rank * stride).astype(np.int64)
        tokens, row = self.by_latent[at], np.repeat(np.arange(stop - first), looked)
        widths = self.starts[tokens + 1] - self.starts[tokens]
        ends = np.cumsum(widths)
        start = 0
        while start < len(tokens):
            before = ends[start] - widths[start]
            end = max(int(np.searchsorted(ends, before + INCIDENCES, side="right")), start + 1)
            some = widths[start:end]
            offset = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
            partner = self.latents[np.repeat(self.starts[tokens[start:end]], some) + offset]
            low, high = int(row[start]), int(row[end - 1]) + 1
            key = np.repeat((row[start:end] - low) * self.n_latents, some) + partner
            counts[low * self.n_latents : high * self.n_latents] += np.bincount(
                key, minlength=(high - low) * self.n_latents
            ).astype(np.int32)
            start = end
        share = looked / np.maximum(n_fired, 1)
        return counts.reshape(stop - first, self.n_latents), share

    def block(self, first: int, rows: int) -> Arrays:
        """Of some latents those that fire with each, by falling phi."""
        stop = min(first + rows, self.n_latents)
        counts, share = self.counts(first, stop)
        itself = np.arange(first, stop)[:, None]
        np.put_along_axis(counts, itself, 0, axis=1)
        estimated = self._estimated(first, counts, share)
        likely = estimated.topk(min(CANDIDATES, self.n_latents), dim=1, sorted=False).indices.numpy()
        n = np.take_along_axis(counts, likely, axis=1)
        for row in np.flatnonzero(share < 1):
            n[row] = self._exactly(first + int(row), likely[row])
        phi = self._phi(itself, likely, n)
        phi[(n < LEAST) | (likely == itself)] = UNKNOWN
        order = np.lexsort((likely, -phi), axis=1)[:, :COFIRE]
        best, correlation = (np.take_along_axis(each, order, axis=1) for each in (likely, phi))
        none = correlation == UNKNOWN
        return {
            "cofire": np.where(none, -1, best),
            "cofire_n": np.where(none, 0, np.take_along_axis(n, order, axis=1)),
            "cofire_phi": correlation,
        }

    def _estimated(self, first: int, counts: NDArray[np.int32], share: NDArray[np.float64]) -> Tensor:
        """phi of all, by which the few are chosen that are looked at closely; in single precision, and in as few goes
        over all pairs as there can be."""
        n = float(self.tokens)
        a, b = self.n_fired[first : first + len(counts)].astype(np.float64), self.n_fired.astype(np.float64)
        spread_a, spread_b = (np.sqrt(np.maximum(each * (n - each), 1)) for each in (a, b))
        of_count = n / np.maximum(share, 1e-9) / spread_a
        least = np.ceil(np.maximum(LEAST * share, 1)).astype(np.int32)  # of which fewer would not be listed
        times, by_chance, others, over, few = map(
            torch.from_numpy, (*(each.astype(np.float32) for each in (of_count, a / spread_a, b, 1 / spread_b)), least)
        )
        counted = torch.from_numpy(counts)
        found = counted.float().mul_(times[:, None]).addr_(by_chance, others, alpha=-1).mul_(over)
        return found.masked_fill_(counted < few[:, None], UNKNOWN * 2)

    def _exactly(self, latent: int, others: NDArray[np.int64]) -> NDArray[np.int64]:
        """At how many tokens it fires with each of these."""
        marked = np.zeros(self.tokens, np.bool_)
        marked[self.of(latent)] = True
        return np.array([np.count_nonzero(marked[self.of(other)]) for other in others])

    def _phi(
        self, latent: NDArray[np.int64], others: NDArray[np.int64], together: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        n, a, b = float(self.tokens), self.n_fired[latent].astype(np.float64), self.n_fired[others].astype(np.float64)
        spread = np.sqrt(a * b * (n - a) * (n - b))
        found: NDArray[np.float64] = np.where(spread > 0, (n * together - a * b) / np.where(spread > 0, spread, 1), 0)
        return found
