"""Near misses: contexts in which a latent does not fire, though its pre-activation comes closest."""

import torch
from torch import Tensor

from sae_core.collecting.firing import Block
from sae_core.collecting.kept import Strongest
from sae_core.collecting.tables import Rows

MANY = 1 / 8  # of all pairs of context and latent, above which all positions are looked for at once


class Silent:
    """Sees every block of a pass, and gives the table what may stay in it."""

    def __init__(self, kept: Strongest[Rows]) -> None:
        self._kept = kept
        self._peaks: Tensor | None = None  # of a context that several blocks share, so far
        self._positions: Tensor | None = None

    def see(self, block: Block, first: int, length: int) -> None:
        """`first` is the number of the batch's first context."""
        n_latents = block.pre.shape[2]
        peaks = self._peaks_of(block)  # (contexts, n_latents) float32
        contexts = block.fired.tokens // block.pre.shape[1]
        peaks.view(-1)[contexts * n_latents + block.fired.latents] = torch.inf  # it fires there
        if block.position + block.pre.shape[1] < length:
            self._peaks = peaks
            return
        least = torch.from_numpy(self._kept.least).to(peaks.device)
        stays = (peaks >= least) & peaks.isfinite()
        context, latent = stays.nonzero(as_tuple=True)
        positions = self._positions_of(block, context, latent)
        self._peaks = self._positions = None
        rows = (latent, context + block.first + first, positions)
        latents, where, places = (each.int().numpy(force=True) for each in rows)
        self._kept.add(Rows(latents, where, places, peaks[context, latent].numpy(force=True)))

    def _peaks_of(self, block: Block) -> Tensor:
        if block.whole:
            return block.pre.amax(1).float()
        top = block.pre.max(1)
        peaks, positions = top.values.float(), top.indices + block.position
        if self._peaks is not None and self._positions is not None:
            higher = peaks > self._peaks
            peaks = torch.where(higher, peaks, self._peaks)
            positions = torch.where(higher, positions, self._positions)
        self._positions = positions
        return peaks

    def _positions_of(self, block: Block, context: Tensor, latent: Tensor) -> Tensor:
        if self._positions is not None:
            return self._positions[context, latent]
        if len(context) > MANY * block.pre.shape[0] * block.pre.shape[2]:
            return block.pre.max(1).indices[context, latent]
        return block.pre[context, :, latent].argmax(1)
