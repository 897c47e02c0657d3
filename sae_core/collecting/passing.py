"""The pass: one forward of the lm as far as the hookpoints, one encode, no second look."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.attached import Attached
from sae_core.collecting.accumulators import Accumulators, Firings, Neurons
from sae_core.collecting.firing import Encoder
from sae_core.collecting.silent import Silent
from sae_core.collecting.spill import MASKED, Spill
from sae_core.devices import out_of_memory
from sae_core.errors import BadInput
from sae_core.finite import finite, not_finite
from sae_core.lm import Lm
from sae_core.masks import counted

# Of the widest activation within a block, taken to be four times d_model, in one forward on a CPU. Above some 32 MB
# the C library fetches every one from the system anew and gives it back, which costs a third of the forward.
TOGETHER_BYTES = 16 << 20

OnBatch = Callable[[int, int], None]  # contexts done, of how many; what it raises ends the pass


class Batch(NamedTuple):
    first: int  # context
    ids: NDArray[np.int64]  # (contexts, length) those that are there; `tokens` and `keep` may have more
    tokens: Tensor  # (batch, length)
    keep: Tensor  # (batch, length) which count


class Text:
    """Contexts in batches of one size: the last is filled up with what does not count, since matrix products of fewer
    rows round differently."""

    def __init__(
        self, contexts: NDArray[Any], lengths: NDArray[Any] | None, mask_ids: Sequence[int], batch: int, device: Any
    ) -> None:
        self.contexts, self.lengths, self.mask_ids, self.batch, self.device = contexts, lengths, mask_ids, batch, device

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        length = self.contexts.shape[1]
        for start in range(first, stop, self.batch):
            end = min(start + self.batch, stop)
            ids = np.zeros((self.batch, length), np.int64)
            ids[: end - start] = self.contexts[start:end]
            real = np.zeros(self.batch, np.int64)
            real[: end - start] = length if self.lengths is None else self.lengths[start:end]
            tokens = torch.from_numpy(ids).to(self.device)
            there = torch.arange(length, device=self.device) < torch.from_numpy(real).to(self.device)[:, None]
            yield Batch(start, ids[: end - start], tokens, counted(tokens, self.mask_ids) & there)


class Reader:
    """One SAE during the pass: what fires is counted, kept and spilled."""

    def __init__(self, attached: Attached, length: int, top_k: int, spill: Spill, *, neurons: bool) -> None:
        sae = attached.sae
        self.attached, self.spill, self.length = attached, spill, length
        self.encoder = Encoder(sae, length)
        sums = Neurons.none(sae.n_latents, sae.d_in) if neurons else None
        self.kept = Accumulators(sae.n_latents, top_k, neurons=sums)
        self.silent = Silent(self.kept.near)

    def encode(self, batch: Batch, activation: Tensor) -> Firings:
        x = self.attached.seen(activation)  # (batch, length, d_in)
        parts = []
        for block in self.encoder.blocks(x, batch.keep):
            self.silent.see(block, batch.first, self.length)
            before = block.first * self.length + block.position
            found = block.fired
            parts.append((found.tokens + before, found.latents, found.acts.float()))
        firings = Firings(*(torch.cat(each).numpy(force=True) for each in zip(*parts, strict=True)))
        if self.kept.neurons:
            self.kept.neurons.add(firings, x.flatten(0, 1), batch.keep.flatten())
        return firings

    def keep(self, batch: Batch, firings: Firings) -> None:
        counted_here = batch.keep[: len(batch.ids)].numpy(force=True).reshape(-1)
        tokens = int(counted_here.sum())
        self.kept.tokens += tokens
        self.kept.masked += len(counted_here) - tokens
        self.kept.add(firings, batch.ids, batch.first)
        counts = np.bincount(firings.token, minlength=len(counted_here)).astype(np.int32)
        counts[~counted_here] = MASKED
        self.spill.add(counts, firings.latent.astype(np.int32), firings.act)


def read_text(
    lm: Lm, readers: Sequence[Reader], text: Text, first: int, stop: int, on_batch: OnBatch | None = None
) -> None:
    """While the lm reads one batch, what fired in the one before is sorted into its lists: that keeps one core busy,
    and matrix products wait for memory often enough to leave room."""
    hookpoints = sorted({reader.attached.sae.hookpoint for reader in readers})
    forward = Forward(lm, hookpoints, text)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="keeping") as thread:
        keeping: list[Future[None]] = []
        for batch in text.batches(first, stop):
            passed = forward.read(batch)
            for reader in readers:
                firings = reader.encode(batch, passed[reader.attached.sae.hookpoint])
                if len(keeping) == len(readers):  # a batch behind at most
                    keeping.pop(0).result()
                keeping.append(thread.submit(reader.keep, batch, firings))
            done = min(batch.first + text.batch, stop)
            if done == stop:
                for each in keeping:
                    each.result()
            if on_batch:
                on_batch(done - first, stop - first)


class Forward:
    """The lm as far as the hookpoints, some contexts of a batch together. Where the device's memory does not do for
    these, it is half of them from then on."""

    def __init__(self, lm: Lm, hookpoints: Sequence[str], text: Text) -> None:
        self.lm, self.hookpoints, self.together = lm, hookpoints, text.batch
        if lm.device.type == "cpu":
            fitting = TOGETHER_BYTES // (text.contexts.shape[1] * 4 * lm.d_model * lm.dtype.itemsize)
            # As many each time: matrix products of other numbers of rows round differently.
            self.together = max(
                each for each in range(1, text.batch + 1) if not text.batch % each and each <= max(fitting, 1)
            )

    def read(self, batch: Batch) -> dict[str, Tensor]:
        while True:
            try:
                pieces = [self.lm.read(each, self.hookpoints) for each in torch.split(batch.tokens, self.together)]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self.together == 1:
                    raise BadInput(
                        f"{self.lm.device}: its memory does not do for one context of {batch.tokens.shape[1]} tokens "
                        f"of {self.lm.name}; take shorter contexts, or another device"
                    ) from error
                self.together = -(-self.together // 2)
            else:
                break
        passed = pieces[0]
        if len(pieces) > 1:
            passed = {name: torch.cat([piece[name] for piece in pieces]) for name in self.hookpoints}
        for name, x in passed.items():
            if not finite(x):
                self._refuse(batch, name, x)
        return passed

    def _refuse(self, batch: Batch, hookpoint: str, x: Tensor) -> None:
        """What does not count may be anything: it is encoded, and then left out."""
        kept = x[batch.keep]
        if finite(kept):
            return
        found = not_finite(kept)
        row, position = batch.keep.nonzero()[found.first].tolist()
        raise BadInput(
            f"{hookpoint} of {self.lm.name}: {found.what} in context {batch.first + row} at {position}, and at "
            f"{found.tokens:,} tokens of that batch; are its weights whole? If so, load the lm in float32"
        )
