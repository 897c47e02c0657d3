"""Which latents fire together, over the whole dictionary, at the tokens of the audit sample.

    phi = (N·n_ij − n_i·n_j) / √(n_i·n_j·(N − n_i)·(N − n_j))

the correlation of one firing and the other firing. Counting all pairs takes the square of L0 for each token. Of latents
that fire often a few hundred of their tokens tell which others are worth counting exactly.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sae_core.collecting.lists import Arrays
from sae_core.collecting.tables import stable_order
from sae_core.evidence import COFIRE, UNKNOWN

OFTEN = 256  # tokens, of which candidates are told where a latent has more
CANDIDATES = 3 * COFIRE
LEAST = 2  # tokens at which two fire together; once is chance
BLOCK = 1 << 23  # counts held at a time
INCIDENCES = 1 << 22  # pairs of latents gone through at a time


def cofiring(audit: Arrays, n_latents: int, step: Callable[[], None]) -> Arrays:
    sample = _Sample(audit, n_latents)
    index = np.full((n_latents, COFIRE), -1, np.int32)
    together = np.zeros((n_latents, COFIRE), np.int32)
    phi = np.full((n_latents, COFIRE), UNKNOWN, np.float32)
    rows = max(1, BLOCK // n_latents)
    for first in range(0, n_latents, rows):
        stop = min(first + rows, n_latents)
        counts, share = sample.counts(first, stop)
        for latent in np.flatnonzero(sample.n_fired[first:stop]) + first:
            likely = np.flatnonzero(counts[latent - first])
            likely = likely[likely != latent]
            n = counts[latent - first, likely]
            if share[latent - first] < 1:
                estimated = sample.phi(latent, likely, n / share[latent - first])
                if len(likely) > CANDIDATES:
                    likely = np.sort(likely[np.argpartition(-estimated, CANDIDATES)[:CANDIDATES]])
                n = sample.exactly(latent, likely)
            likely, n = likely[n >= LEAST], n[n >= LEAST]
            correlation = sample.phi(latent, likely, n)
            best = np.argsort(-correlation, kind="stable")[:COFIRE]
            index[latent, : len(best)] = likely[best]
            together[latent, : len(best)] = n[best]
            phi[latent, : len(best)] = correlation[best]
        step()
    return {"cofire": index, "cofire_n": together, "cofire_phi": phi}


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
        self._marked = np.zeros(self.tokens, np.bool_)

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

    def exactly(self, latent: int, others: NDArray[np.int64]) -> NDArray[np.int64]:
        """At how many tokens it fires with each of these."""
        if not len(others):
            return np.zeros(0, np.int64)
        self._marked[self.of(latent)] = True
        found = np.array([np.count_nonzero(self._marked[self.of(other)]) for other in others])
        self._marked[self.of(latent)] = False
        return found

    def phi(
        self, latent: int, others: NDArray[np.int64], together: NDArray[np.int64] | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        n, a, b = float(self.tokens), float(self.n_fired[latent]), self.n_fired[others].astype(np.float64)
        spread = np.sqrt(a * b * (n - a) * (n - b))
        found: NDArray[np.float64] = np.where(spread > 0, (n * together - a * b) / np.where(spread > 0, spread, 1), 0)
        return found
