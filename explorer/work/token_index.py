"""On which tokens features fire most strongly, turned round: of each token its features. Pairs wait on the disk, split
by token, so that however many features there are, few are held."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.packed.token_index import HEAD, TOKENS, VERSION, WIDE
from explorer.work.packing import NARROW, Sections

BUCKETS = 64


class Pairs:
    def __init__(self, folder: Path, n_features: int) -> None:
        self._wide = n_features > NARROW
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in range(BUCKETS)]  # noqa: SIM115  closed below

    def add(self, tokens: NDArray[np.int64], features: NDArray[np.int64]) -> None:
        pairs = np.sort((tokens << 32) | features)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # what several examples of a feature say
        bucket = (pairs >> 32) // TOKENS % BUCKETS
        order = np.argsort(bucket, kind="stable")
        bounds = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        for file, first, stop in zip(self._files, bounds[:-1], bounds[1:], strict=True):
            file.write(pairs[order[first:stop]].tobytes())

    def rows(self) -> Iterator[tuple[NDArray[np.int32], Iterator[bytes]]]:
        """Blocks of tokens, and TokenIndex.packed of each."""
        for file in self._files:
            file.seek(0)
            pairs = np.sort(np.frombuffer(file.read(), np.int64))
            tokens = pairs >> 32
            blocks, of_pair, n_features = np.unique(tokens // TOKENS, return_inverse=True, return_counts=True)
            heads = np.zeros(len(blocks), [("version", "u1"), ("flags", "u1"), ("counts", "<u4", (TOKENS,))])
            assert heads.dtype.itemsize == HEAD.size
            heads["version"], heads["flags"] = VERSION, WIDE * self._wide
            of_token = np.bincount(of_pair * TOKENS + tokens % TOKENS, minlength=len(blocks) * TOKENS)
            heads["counts"] = of_token.reshape(-1, TOKENS)
            sections = Sections(len(blocks))
            sections.add(heads, 1)
            sections.add((pairs & 0xFFFFFFFF).astype(np.uint32 if self._wide else np.uint16), n_features)
            yield blocks.astype(np.int32), sections.joined()

    def close(self) -> None:
        for file in self._files:
            file.close()
