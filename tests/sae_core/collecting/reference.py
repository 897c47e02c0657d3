"""What evidence has to hold, by its description alone: every activation dense in float64, then loops over tokens.

Nothing of sae_core.collecting is used here. One latent at a time, one list at a time; small sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_core.evidence import FIRST_BIN, LAST_BIN, WINDOW, bin_edge
from sae_core.lm import Lm
from sae_core.sae import Sae

EDGES = bin_edge(np.arange(FIRST_BIN, LAST_BIN + 2, dtype=np.int16)).astype(np.float64)  # of all bins, rising
LEAST_TOGETHER = 2  # tokens at which two latents fire, below which it is chance


class Token(NamedTuple):
    context: int
    position: int
    act: float  # a float32's value


@dataclass(frozen=True)
class Reference:
    ids: NDArray[np.int64]  # (contexts, length)
    counted: NDArray[np.bool_]  # (contexts, length)
    x: NDArray[np.float64]  # (contexts, length, d_in) what the SAE reads
    acts: NDArray[np.float32]  # (contexts, length, F) 0 where a token does not count
    pre: NDArray[np.float64]  # (contexts, length, F)

    @classmethod
    def of(
        cls, lm: Lm, sae: Sae, contexts: NDArray[Any], mask_ids: Sequence[int], lengths: Sequence[int] | None = None
    ) -> "Reference":
        """Contexts go through the lm one by one."""
        ids = np.asarray(contexts, np.int64)
        read = [lm.activations(row[None], sae.hookpoint, centred=sae.config.centred)[0].double() for row in ids]
        acts = np.stack([sae.encode(x).float().numpy() for x in read])
        pre = np.stack([sae.pre_acts(x).double().numpy() for x in read])
        counted = np.zeros(ids.shape, np.bool_)
        for c, row in enumerate(ids.tolist()):
            for p, token in enumerate(row):
                counted[c, p] = token not in mask_ids and (lengths is None or p < lengths[c])
        acts[~counted] = 0
        return cls(ids, counted, np.stack([x.numpy() for x in read]), acts, pre)

    @property
    def n_latents(self) -> int:
        return int(self.acts.shape[2])

    @property
    def tokens(self) -> int:
        return int(self.counted.sum())

    # --- one latent

    @cached_property
    def all_firings(self) -> list[list[Token]]:
        """Of each latent, by context and position."""
        return [
            [Token(c, p, float(self.acts[c, p, latent])) for c, p in np.argwhere(self.acts[:, :, latent]).tolist()]
            for latent in range(self.n_latents)
        ]

    def firings(self, latent: int) -> list[Token]:
        return self.all_firings[latent]

    def above(self, latent: int) -> list[Token]:
        return [each for each in self.firings(latent) if each.act > 0]

    def maximum(self, latent: int) -> float:
        return max((each.act for each in self.above(latent)), default=0.0)

    def peaks(self, latent: int) -> list[Token]:
        """Of each context its strongest token, the strongest context first."""
        by_context = groupby(self.above(latent), key=lambda each: each.context)
        strongest = [min(tokens, key=lambda each: (-each.act, each.position)) for _, tokens in by_context]
        return sorted(strongest, key=lambda each: (-each.act, each.context, each.position))

    def window(self, token: Token) -> tuple[int | None, ...]:
        around = range(token.position - WINDOW, token.position + WINDOW + 1)
        length = self.ids.shape[1]
        return tuple(int(self.ids[token.context, p]) if 0 <= p < length else None for p in around)

    def distinct(self, latent: int) -> list[Token]:
        seen, found = set(), []
        for each in self.peaks(latent):
            if self.window(each) not in seen:
                seen.add(self.window(each))
                found.append(each)
        return found

    def near_misses(self, latent: int) -> list[Token]:
        """Of each context in which it does not fire the highest pre-activation, the highest first."""
        found = []
        for c in range(len(self.ids)):
            there = [p for p in range(self.ids.shape[1]) if self.counted[c, p]]
            if there and not self.acts[c, :, latent].any():
                p = min(there, key=lambda p: (-self.pre[c, p, latent], p))
                found.append(Token(c, p, float(np.float32(self.pre[c, p, latent]))))
        return sorted(found, key=lambda each: (-each.act, each.context))

    def interval_edges(self, latent: int) -> list[float]:
        maximum = self.maximum(latent)
        if maximum == 0:
            return [0.0] * 6
        inner = [float(EDGES[np.abs(EDGES - share * maximum).argmin()]) for share in (0.2, 0.4, 0.6, 0.8)]
        return [0.0, *inner, maximum]

    def within(self, latent: int) -> list[list[Token]]:
        """What fires in each interval; an edge belongs to the one above."""
        inner = self.interval_edges(latent)[1:-1]
        found: list[list[Token]] = [[] for _ in range(5)]
        for each in self.above(latent):
            found[sum(each.act >= edge for edge in inner)].append(each)
        return found

    def bin_of(self, act: float) -> int:
        """By looking for it among all edges."""
        return FIRST_BIN + min(max(int(np.searchsorted(EDGES, act, side="right")) - 1, 0), LAST_BIN - FIRST_BIN)

    def histogram(self, latent: int) -> dict[int, tuple[int, float]]:
        """By bin: how often, and the sum."""
        found: dict[int, tuple[int, float]] = {}
        for each in self.above(latent):
            n, total = found.get(self.bin_of(each.act), (0, 0.0))
            found[self.bin_of(each.act)] = n + 1, total + each.act
        return dict(sorted(found.items()))

    def p99_between(self, latent: int) -> tuple[float, float]:
        """The edges of the bin of the activation below or at which 99 of 100 lie."""
        ordered = sorted(each.act for each in self.above(latent))
        if not ordered:
            return 0.0, 0.0
        which = self.bin_of(ordered[-(-99 * len(ordered) // 100) - 1]) - FIRST_BIN
        return float(EDGES[which]), min(float(EDGES[which + 1]), ordered[-1])

    def n_documents(self, latent: int, document: NDArray[np.int64]) -> int:
        """document (contexts, length): which each token comes from"""
        return len({int(document[each.context, each.position]) for each in self.firings(latent)})

    # --- all of them

    @cached_property
    def flat(self) -> NDArray[np.float64]:
        """(tokens, F) of those that count"""
        return self.acts[self.counted].astype(np.float64)

    def together(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """At how many tokens each two latents fire, and phi; itself, and what is chance alone, left out as −∞."""
        fires = self.flat != 0
        n, f = fires.shape
        counts = np.array([[int((fires[:, i] & fires[:, j]).sum()) for j in range(f)] for i in range(f)])
        phi = np.full((f, f), -np.inf)
        for i in range(f):
            for j in range(f):
                a, b, both = int(fires[:, i].sum()), int(fires[:, j].sum()), int(counts[i, j])
                if i != j and both >= LEAST_TOGETHER:
                    spread = np.sqrt(float(a * b * (n - a) * (n - b)))
                    phi[i, j] = (n * both - a * b) / spread if spread else 0
        return counts, phi

    def pearson(self) -> NDArray[np.float64]:
        """(F, d_in) with the hookpoint's axes, 0 where either is constant"""
        x = self.x[self.counted]
        found = np.zeros((self.n_latents, x.shape[1]))
        for i in range(self.n_latents):
            for j in range(x.shape[1]):
                if np.ptp(self.flat[:, i]) and np.ptp(x[:, j]):
                    found[i, j] = np.corrcoef(self.flat[:, i], x[:, j])[0, 1]
        return found


def documents(pieces: Sequence[tuple[int, int, int, int]], contexts: int, length: int) -> NDArray[np.int64]:
    """Of each token; what comes before the first piece of a context goes with it."""
    found = np.zeros((contexts, length), np.int64)
    for c in range(contexts):
        here = [(position, document) for context, position, document, _ in pieces if context == c]
        for p in range(length):
            found[c, p] = [here[0][1], *(document for position, document in here if position <= p)][-1]
    return found


def cosines(rows: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    def unit(each: NDArray[np.float64]) -> NDArray[np.float64]:
        norms = np.linalg.norm(each, axis=1, keepdims=True)
        return each / np.where(norms > 0, norms, 1)

    found: NDArray[np.float64] = unit(rows) @ unit(others).T
    return found
