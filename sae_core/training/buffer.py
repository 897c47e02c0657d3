"""Shuffled activations, from a source that gives them in the order of its texts."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.training.sources import Source

TOKENS = 131_072  # held, where nobody says how many


class Batch(NamedTuple):
    x: Tensor  # (n, d_in)
    y: Tensor  # (n, d_out), the same tensor as x but for transcoders


class ShuffledBuffer:
    """A ring of activations, of which batches are drawn without putting back.

    Where less than half of it would be left, it takes new chunks into the slots that are free, and all that lies in it
    is shuffled anew. A chunk is taken only while the largest would fit, so that of none a rest has to be kept. Each
    token is given out once each reading of the source. All memory is taken at the start, and no activations are joined.

    A capacity of None: 131,072 tokens, or the whole text where that is shorter; in any case enough for two batches and
    for a batch beside a chunk, though a short text may then lie in it more than once.

    What is random depends on the seed and on how often it was refilled, so `state` is the ring and some counters.
    """

    def __init__(
        self,
        source: Source,
        capacity: int | None,
        batch_size: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not dtype.is_floating_point:
            raise BadInput(f"the buffer's dtype is {dtype}, expected floating point")
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.capacity = _capacity(source, capacity, batch_size)
        zeros = torch.zeros(self.capacity, source.d_in, dtype=dtype, device=source.device)
        self._ring = {"x": zeros}
        if source.transcoder:
            self._ring["y"] = zeros.new_zeros(self.capacity, source.d_out)
        self._batch = {name: ring.new_empty(batch_size, ring.shape[1]) for name, ring in self._ring.items()}
        self._queue = torch.empty(0, dtype=torch.int64, device=source.device)  # slots that wait, in the order to come
        self._chunks = 0  # that have gone in
        self._refills = 0

    def take(self) -> Batch:
        """The next tokens, in tensors that the next call writes over."""
        if 2 * (len(self._queue) - self.batch_size) < self.capacity:
            self._refill()
        slots, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        for name, ring in self._ring.items():
            torch.index_select(ring, 0, slots, out=self._batch[name])
        return _batch(self._batch)

    def sample(self, n: int) -> Batch:
        """Copies of n tokens that wait, or of all where those are fewer; the batches to come stay what they are."""
        if not self._refills:
            self._refill()
        return _batch({name: ring[self._queue[:n]] for name, ring in self._ring.items()})

    @property
    def place(self) -> str:
        """How far the source has been read, in words."""
        if not self._chunks:
            return "before the first chunk"
        return f"up to chunk {self._chunks - 1} ({self.source.where(self._chunks - 1)})"

    # --- between two sessions

    def state(self) -> dict[str, Tensor]:
        """All that the batches to come depend on, beside the source. The ring is the ring itself, not a copy."""
        return {**self._ring, "queue": self._queue.clone(), **self._kind(), **self._counters()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where the state was taken. A state that does not fit is refused, and then nothing is changed."""
        self._check(state)
        for name, ring in self._ring.items():
            ring.copy_(state[name])
        self._queue = state["queue"].to(self._queue.device, copy=True)
        self._chunks, self._refills = int(state["chunks"]), int(state["refills"])

    def _kind(self) -> dict[str, Tensor]:
        """What has to be the same for the same batches to come."""
        return {
            "batch_size": torch.tensor(self.batch_size),
            "seed": torch.tensor(self.seed),
            "n_tokens": torch.tensor(self.source.n_tokens),
            "largest_chunk": torch.tensor(self.source.largest_chunk),
        }

    def _counters(self) -> dict[str, Tensor]:
        return {"chunks": torch.tensor(self._chunks), "refills": torch.tensor(self._refills)}

    def _check(self, state: Mapping[str, Tensor]) -> None:
        kind = self._kind()
        names = {*self._ring, "queue", *kind, *self._counters()}
        if names != set(state):
            raise BadInput(
                f"the buffer's state holds {', '.join(sorted(state)) or 'nothing'}, expected "
                f"{', '.join(sorted(names))}; a transcoder's has a y, others have none"
            )
        for name, ring in self._ring.items():
            if state[name].shape != ring.shape or state[name].dtype != ring.dtype:
                raise BadInput(
                    f"the buffer's state: {name} is {state[name].dtype} of {tuple(state[name].shape)}, expected "
                    f"{ring.dtype} of {tuple(ring.shape)}; go on with the capacity, the hookpoint and the dtype that "
                    "it was made with"
                )
        for name, each in kind.items():
            if not torch.equal(state[name].cpu(), each):
                raise BadInput(
                    f"the buffer's state: {name} was {state[name].tolist()} and is {each.item()} here; go on with what "
                    "it was made with"
                )
        slots = state["queue"].tolist()
        if len(set(slots)) < len(slots) or not all(0 <= each < self.capacity for each in slots):
            raise BadInput(f"the buffer's state: its queue does not name slots of {self.capacity:,}, each once")

    # --- filling

    def _refill(self) -> None:
        """Counted at its end alone: where a chunk cannot be used, all is as it was before."""
        free = torch.ones(self.capacity, dtype=torch.bool, device=self._queue.device)
        free[self._queue] = False
        slots = free.nonzero().flatten()
        chunks = self._chunks
        while len(slots) >= self.source.largest_chunk:
            filled = self._put(chunks, slots)
            free[slots[:filled]] = False
            slots, chunks = slots[filled:], chunks + 1
        if chunks == self._chunks:
            return
        self._chunks, self._refills = chunks, self._refills + 1
        lying = (~free).nonzero().flatten()
        generator = torch.Generator().manual_seed(_hash(self.seed, self._refills))
        self._queue = lying[torch.randperm(len(lying), generator=generator).to(lying.device)]

    def _put(self, number: int, slots: Tensor) -> int:
        """How many tokens of a chunk went into the first of these slots: all of them."""
        chunk = self.source.chunk(number)
        for name, ring in self._ring.items():
            each = getattr(chunk, name)
            converted = each.to(ring.dtype)  # (m, width)
            if torch.finfo(ring.dtype).max < torch.finfo(each.dtype).max and not converted.isfinite().all():
                most = each.abs().max().item()
                raise BadInput(
                    f"{self.source.where(number)}: activations of up to {most:,.0f}, and {ring.dtype} holds no more "
                    f"than {torch.finfo(ring.dtype).max:,.0f}; let the buffer keep torch.float32"
                )
            ring.index_copy_(0, slots[: len(each)], converted)
        return len(chunk.x)


def _batch(of: Mapping[str, Tensor]) -> Batch:
    return Batch(of["x"], of.get("y", of["x"]))


def _hash(seed: int, refill: int) -> int:
    """The same on every machine, and nothing like that of the next refill or seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {refill}".encode(), digest_size=8).digest(), "big")


def _capacity(source: Source, given: int | None, batch_size: int) -> int:
    if batch_size < 1:
        raise BadInput(f"the batch size is {batch_size}, expected at least 1")
    tokens, chunk = source.n_tokens, source.largest_chunk
    if tokens < batch_size:
        raise BadInput(
            f"the text has {tokens:,} tokens that count and a batch is to hold {batch_size:,}: give more text, or "
            "smaller batches"
        )
    least = batch_size + chunk
    if given is None:
        return max(min(TOKENS, tokens), 2 * batch_size, least)
    if given < least:
        raise BadInput(
            f"the buffer is to hold {given:,} tokens, and has to hold a batch of {batch_size:,} beside a chunk of up "
            f"to {chunk:,}: let it hold at least {least:,}"
        )
    if given > max(tokens, least):  # a text so short that it is one chunk has to lie in it twice
        raise BadInput(
            f"the text has {tokens:,} tokens that count and the buffer is to hold {given:,}: give more text, or a "
            "smaller buffer"
        )
    return given
