"""On which tokens features fire most strongly, turned round: of each token its features. Pairs wait on the disk, split
by token, so that however many features there are, few are held."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.work.copying import int_array

BUCKETS = 64


class Pairs:
    def __init__(self, folder: Path) -> None:
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in range(BUCKETS)]  # noqa: SIM115  closed below

    def add(self, tokens: NDArray[np.int64], features: NDArray[np.int64]) -> None:
        pairs = np.unique((tokens << 32) | features)
        bucket = (pairs >> 32) % BUCKETS
        order = np.argsort(bucket, kind="stable")
        bounds = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        for file, first, stop in zip(self._files, bounds[:-1], bounds[1:], strict=True):
            file.write(pairs[order[first:stop]].tobytes())

    def rows(self) -> Iterator[tuple[NDArray[np.int32], list[bytes]]]:
        """Some tokens, and each one's features as PostgreSQL's COPY takes them."""
        for file in self._files:
            file.seek(0)
            pairs = np.sort(np.frombuffer(file.read(), np.int64))
            tokens, starts = np.unique(pairs >> 32, return_index=True)
            features = (pairs & 0xFFFFFFFF).astype(np.int32)
            split = np.split(features, starts[1:]) if len(starts) else []
            yield tokens.astype(np.int32), [int_array(each) for each in split]

    def close(self) -> None:
        for file in self._files:
            file.close()
