"""All firings of a part, token by token, in files: what lists choose at the end is looked up there, and nothing is
encoded twice."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_core.array_files import ArrayFile, Streamed, not_written

MASKED = -1  # instead of a count
SCANNED = 1 << 13  # tokens at a time


class Spill:
    """Three arrays, each appended to a file of its own; a part's file takes them in."""

    FIELDS = {"spill_count": np.int32, "spill_latent": np.int32, "spill_act": np.float32}

    def __init__(self, folder: Path, part: Path) -> None:
        self.folder, self.part = folder, part
        self._stack = ExitStack()
        self._files = {name: self._stack.enter_context(self._path(name).open("wb")) for name in self.FIELDS}
        self._lengths = dict.fromkeys(self.FIELDS, 0)

    def add(self, counts: NDArray[np.int32], latents: NDArray[np.int32], acts: NDArray[np.float32]) -> None:
        """How many latents fire at each token, or MASKED; which, and how strongly."""
        try:
            for (name, file), array in zip(self._files.items(), (counts, latents, acts), strict=True):
                file.write(array.tobytes())
                self._lengths[name] += len(array)
        except OSError as error:
            raise not_written(self.part, error) from error

    def arrays(self) -> dict[str, Streamed]:
        """Everything so far; nothing can be added any more."""
        try:
            self._stack.close()
        except OSError as error:
            raise not_written(self.part, error) from error
        return {name: Streamed(kind, (self._lengths[name],), self._path(name)) for name, kind in self.FIELDS.items()}

    def close(self) -> None:
        """What a full disk does not take was told before, or is not wanted any more."""
        with suppress(OSError):
            self._stack.close()

    def _path(self, name: str) -> Path:
        return self.folder / name


class Scanned(NamedTuple):
    """Some whole contexts of a spill."""

    first: int  # context
    counted: NDArray[np.bool_]  # (tokens)
    starts: NDArray[np.int64]  # (tokens + 1) where each token's firings begin
    token: NDArray[np.int64]  # (pairs) token of each firing
    latent: NDArray[np.int32]  # (pairs)
    act: NDArray[np.float32]  # (pairs)


def scan(part: ArrayFile, first: int, length: int) -> Iterator[Scanned]:
    """A part's firings in order, a few contexts at a time; `first` is its first context."""
    counts, latents, acts = Spill.FIELDS
    step = max(1, SCANNED // length) * length
    at = 0
    for start in range(0, len(part[counts]), step):
        some = part.piece(counts, start, start + step)
        fired = np.maximum(some, 0)
        starts = np.zeros(len(some) + 1, np.int64)
        np.cumsum(fired, out=starts[1:])
        end = at + int(starts[-1])
        yield Scanned(
            first + start // length,
            some != MASKED,
            starts,
            np.repeat(np.arange(len(some)), fired),
            part.piece(latents, at, end),
            part.piece(acts, at, end),
        )
        at = end
