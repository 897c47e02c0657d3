"""Where activations for training come from: an lm that reads text, or a file of activations."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.devices import pick
from sae_core.errors import BadInput
from sae_core.finite import finite, not_finite
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.token_files import map_npy

COUNTED_TOGETHER = 1 << 20  # ids
BOS_LOOKED_FOR = 100  # contexts, to tell whether each begins with the bos
NAMED = 3  # contexts, where those of a chunk are told in words


class Chunk(NamedTuple):
    """Some tokens, those that count alone; float32, or float64 where the lm is."""

    x: Tensor  # (m, d_in) what the SAE reads
    y: Tensor | None  # (m, d_out) what it reconstructs, where that is another hookpoint


class Source(Protocol):
    """What a buffer is filled from."""

    d_in: int
    d_out: int
    transcoder: bool  # whether chunks have a y
    n_tokens: int  # that count, in one reading of everything
    largest_chunk: int  # tokens at most in a chunk
    device: torch.device
    place: SaeConfig | None  # what an SAE is to know of where it reads, beside the sizes; None where nothing is known

    def chunk(self, number: int) -> Chunk:
        """The number-th since the start of the first reading; the same one whenever it is asked for."""

    def where(self, number: int) -> str:
        """What that chunk is made of, in words."""


class LmSource:
    """What passes at a hookpoint of an lm (at two, for transcoders), from one forward for so many contexts.

    A token counts unless its id is masked, by default those that the lm masks, or it is padding beyond the `lengths`.
    """

    def __init__(
        self,
        lm: Lm,
        contexts: NDArray[Any],
        hookpoint: str,
        *,
        hookpoint_out: str | None = None,
        lengths: NDArray[Any] | None = None,
        mask_ids: Sequence[int] | None = None,
        batch_contexts: int = 32,
        seed: int = 0,
        centred: bool = False,
    ) -> None:
        if contexts.ndim != 2 or contexts.dtype.kind not in "iu" or not contexts.size:
            raise BadInput(
                f"the contexts are {contexts.dtype} of shape {contexts.shape}, expected whole numbers of "
                "(contexts, length), both above 0"
            )
        if batch_contexts < 1:
            raise BadInput(f"batch_contexts is {batch_contexts}, expected at least 1")
        self.lm, self.contexts, self.centred = lm, contexts, centred
        self.hookpoint, self.hookpoint_out = hookpoint, hookpoint if hookpoint_out is None else hookpoint_out
        self.lengths = None if lengths is None else _checked_lengths(lengths, contexts)
        self.mask_ids = lm.mask_ids if mask_ids is None else tuple(mask_ids)
        self.transcoder = self.hookpoint_out != hookpoint
        self.device = lm.device
        self.d_in, self.d_out = lm.width(hookpoint), lm.width(self.hookpoint_out)
        self._order = _Order(len(contexts), batch_contexts, seed)
        counts = self._counts()
        self.n_tokens = int(counts.sum())
        if not self.n_tokens:
            listed = ", ".join(map(str, self.mask_ids)) or "none"
            raise BadInput(f"none of {contexts.size:,} tokens counts: all are padding or masked ids ({listed})")
        self.place: SaeConfig | None = SaeConfig(
            Family.RELU,
            self.d_in,
            1,
            self.d_out,
            hookpoint=hookpoint,
            hookpoint_out=self.hookpoint_out if self.transcoder else "",
            centred=centred,
            lm=lm.name,
            context_length=contexts.shape[1],
            prepend_bos=lm.bos_id is not None and bool((contexts[:BOS_LOOKED_FOR, 0] == lm.bos_id).all()),
            dtype=str(lm.dtype).removeprefix("torch."),
        )
        fullest = min(batch_contexts, len(counts))
        self.largest_chunk = int(np.partition(counts, len(counts) - fullest)[-fullest:].sum())

    def chunk(self, number: int) -> Chunk:
        _, rows = self._order.part(number)
        tokens, keep = self._read(rows)
        keep = keep.to(self.device)
        passed = self.lm.read(tokens, [self.hookpoint, self.hookpoint_out])
        x = self._kept(passed, self.hookpoint, keep, number)  # (contexts, length, d_in) -> (m, d_in)
        return Chunk(x, self._kept(passed, self.hookpoint_out, keep, number) if self.transcoder else None)

    def where(self, number: int) -> str:
        reading, rows = self._order.part(number)
        named = ", ".join(str(each) for each in rows[:NAMED]) + (" …" if len(rows) > NAMED else "")
        return f"context{'s' if len(rows) > 1 else ''} {named} of reading {reading + 1}"

    def _read(self, rows: NDArray[np.int64] | slice) -> tuple[Tensor, Tensor]:
        """Ids, and which of them count.  # (contexts, length) both"""
        tokens = torch.from_numpy(self.contexts[rows].astype(np.int64))
        keep = counted(tokens, self.mask_ids)
        if self.lengths is not None:
            keep &= torch.arange(tokens.shape[1]) < torch.from_numpy(self.lengths[rows].astype(np.int64))[:, None]
        return tokens, keep

    def _counts(self) -> NDArray[np.int64]:
        """How many tokens of each context count."""
        counts = np.empty(len(self.contexts), np.int64)
        together = max(COUNTED_TOGETHER // self.contexts.shape[1], 1)
        for start in range(0, len(counts), together):
            rows = slice(start, start + together)
            counts[rows] = self._read(rows)[1].sum(1).numpy()
        return counts

    def _kept(self, passed: dict[str, Tensor], hookpoint: str, keep: Tensor, number: int) -> Tensor:
        x = _wide(passed[hookpoint][keep])
        if not finite(x):
            raise BadInput(self._spoiled(x, hookpoint, keep, number))
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def _spoiled(self, x: Tensor, hookpoint: str, keep: Tensor, number: int) -> str:
        found = not_finite(x)
        row, position = keep.nonzero()[found.first].tolist()
        context = self._order.part(number)[1][row]
        overflow = self.lm.dtype == torch.float16 and found.what != "NaN"
        advice = "float16 holds no more than 65,504: load" if overflow else "are its weights whole? If so, load"
        return (
            f"{hookpoint} of {self.lm.name}: {found.what} in {found.tokens:,} of {len(x):,} tokens of "
            f"{self.where(number)}, the first in context {context} at {position}; {advice} the lm in float32"
        )


class FileSource:
    """Activations in .npy files, a token a row, of which only a block is in memory: for transcoders two files, whose
    rows belong together."""

    def __init__(
        self,
        path: str | Path,
        *,
        path_out: str | Path | None = None,
        rows_per_chunk: int = 4096,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if rows_per_chunk < 1:
            raise BadInput(f"rows_per_chunk is {rows_per_chunk}, expected at least 1")
        self.device = pick(device)
        self.place: SaeConfig | None = None
        self.path, self.path_out = Path(path), None if path_out is None else Path(path_out)
        self._x = _mapped(self.path)
        self._y = None if self.path_out is None else _mapped(self.path_out)
        self.transcoder = self._y is not None
        self.n_tokens, self.d_in = self._x.shape
        self.d_out = self.d_in if self._y is None else self._y.shape[1]
        if self._y is not None and len(self._y) != self.n_tokens:
            raise BadInput(
                f"{self.path_out}: {len(self._y):,} rows, and {self.path} has {self.n_tokens:,}; give files of the "
                "same tokens in the same order"
            )
        self.rows_per_chunk = rows_per_chunk
        self.largest_chunk = min(rows_per_chunk, self.n_tokens)
        self._order = _Order(math.ceil(self.n_tokens / rows_per_chunk), 1, seed)

    def chunk(self, number: int) -> Chunk:
        x = self._block(self.path, self._x, number)  # (m, d_in)
        if self.path_out is None or self._y is None:
            return Chunk(x, None)
        return Chunk(x, self._block(self.path_out, self._y, number))

    def where(self, number: int) -> str:
        return f"{self._in_words(number)} of reading {self._order.part(number)[0] + 1}"

    def _block(self, path: Path, array: NDArray[Any], number: int) -> Tensor:
        start, stop = self._rows(number)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is refused below
            x = torch.from_numpy(np.array(array[start:stop], np.float32, order="C"))
        if not finite(x):
            found = not_finite(x)
            raise BadInput(
                f"{path}: {self._in_words(number)} hold {found.what} in {found.tokens:,} of {len(x):,} rows, "
                f"row {start + found.first} the first; leave them out, or write the file anew from what it was made of"
            )
        return x.to(self.device)

    def _rows(self, number: int) -> tuple[int, int]:
        start = int(self._order.part(number)[1][0]) * self.rows_per_chunk
        return start, min(start + self.rows_per_chunk, self.n_tokens)

    def _in_words(self, number: int) -> str:
        start, stop = self._rows(number)
        return f"rows {start} to {stop - 1}"


class _Order:
    """In which order things are read, so many at a time; another one each reading, which the seed decides."""

    def __init__(self, things: int, together: int, seed: int) -> None:
        if seed < 0:
            raise BadInput(f"the seed is {seed}, expected 0 or more")
        self.things, self.together, self.seed = things, together, seed
        self.parts = math.ceil(things / together)  # of a reading
        self._last = 0, self._drawn(0)

    def part(self, number: int) -> tuple[int, NDArray[np.int64]]:
        """The reading that it is of, from 0 on, and what it holds."""
        reading, part = divmod(number, self.parts)
        drawn_for, order = self._last
        if drawn_for != reading:
            order = self._drawn(reading)
            self._last = reading, order
        return reading, order[part * self.together : (part + 1) * self.together]

    def _drawn(self, reading: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, reading)).permutation(self.things)


def _checked_lengths(lengths: NDArray[Any], contexts: NDArray[Any]) -> NDArray[Any]:
    if lengths.shape != contexts.shape[:1] or lengths.dtype.kind not in "iu":
        raise BadInput(
            f"the lengths are {lengths.dtype} of shape {lengths.shape}, expected a whole number for each of "
            f"{len(contexts):,} contexts"
        )
    least, most = int(lengths.min()), int(lengths.max())
    if least < 0 or most > contexts.shape[1]:
        wrong = least if least < 0 else most
        raise BadInput(f"a length is {wrong}, expected 0 to {contexts.shape[1]}, the tokens of a context")
    return lengths


def _mapped(path: Path) -> NDArray[Any]:
    array = map_npy(path)
    if array.dtype.kind == "V":  # what numpy makes of a type that it does not know
        raise BadInput(f"{path}: {array.dtype}, no type of numpy's; bfloat16 cannot be kept in .npy, save float32")
    if array.dtype.kind != "f":
        hint = "; are these the ids of tokens?" if array.dtype.kind in "iu" else ""
        raise BadInput(f"{path}: {array.dtype}, expected floating point{hint}")
    if array.ndim != 2:
        raise BadInput(f"{path}: shape {array.shape}, expected (tokens, width); reshape it to a token a row")
    if not array.size:
        raise BadInput(f"{path}: shape {array.shape}, there is not one number in it; was it written to the end?")
    return array


def _wide(x: Tensor) -> Tensor:
    """A mean, and a difference of two numbers, lose too much in half precision."""
    return x if x.dtype == torch.float64 else x.float()
