"""How often each latent fires how strongly: counts and sums by bin, of those bins alone that something lies in."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_core.collecting.kept import BINS
from sae_core.collecting.tables import run_starts
from sae_core.evidence import FIRST_BIN, bin_of

PENDING = 1 << 19  # entries held before they are added up


class Entries(NamedTuple):
    key: NDArray[np.int64]  # latent · BINS + bin, rising
    n_fired: NDArray[np.int64]
    sum_act: NDArray[np.float64]

    @property
    def latent(self) -> NDArray[np.int64]:
        return self.key // BINS

    @property
    def bin(self) -> NDArray[np.int16]:
        return (self.key % BINS + FIRST_BIN).astype(np.int16)


class Histogram:
    def __init__(self, entries: Entries | None = None) -> None:
        self._entries = entries or Entries(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
        self._pending: list[Entries] = []
        self._n_pending = 0

    @property
    def entries(self) -> Entries:
        if self._pending:
            every = [self._entries, *self._pending]
            self._pending, self._n_pending = [], 0
            self._entries = _added_up(*(np.concatenate(columns) for columns in zip(*every, strict=True)))
        return self._entries

    def add(self, latents: NDArray[np.int64], acts: NDArray[np.float32]) -> None:
        """acts above 0"""
        key = latents * BINS + (bin_of(acts).astype(np.int64) - FIRST_BIN)
        packed = np.sort((key << 32) | acts.view(np.int32))  # numbers alone, which is sorted fastest
        starts = run_starts(packed >> 32)
        if len(starts):
            sums = np.add.reduceat((packed & 0xFFFFFFFF).astype(np.int32).view(np.float32), starts, dtype=np.float64)
            self.join(Entries(packed[starts] >> 32, np.diff(np.append(starts, len(packed))), sums))

    def join(self, entries: Entries) -> None:
        self._pending.append(entries)
        self._n_pending += len(entries.key)
        if self._n_pending > max(PENDING, len(self._entries.key)):
            _ = self.entries


def _added_up(key: NDArray[np.int64], n_fired: NDArray[np.int64], sum_act: NDArray[np.float64]) -> Entries:
    order = np.argsort(key)
    key = key[order]
    starts = run_starts(key)
    if not len(starts):
        return Entries(key, n_fired, sum_act)
    return Entries(key[starts], np.add.reduceat(n_fired[order], starts), np.add.reduceat(sum_act[order], starts))
