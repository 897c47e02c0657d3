"""One latent's activations on a text, as the pass computes them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sae_core.attached import BLOCK_BYTES, Attached
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.sae import Sae


class Watched:
    """Masked tokens count for nothing, and it is silent there."""

    def __init__(self, lm: Lm, sae: Sae, index: int, mask_ids: Sequence[int]) -> None:
        self._attached, self._index, self.mask_ids = Attached(lm, sae), index, mask_ids

    def acts(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Of every token.  # (length)"""
        sae = self._attached.sae
        x = self._attached.read([list(ids)]).x[0]  # (length, d_in)
        rows = max(1, BLOCK_BYTES // (sae.n_latents * sae.dtype.itemsize))
        acts = torch.cat([sae.encode(some)[:, self._index] for some in torch.split(x, rows)])
        found: NDArray[np.float32] = torch.where(self._counted(ids).to(acts.device), acts, 0).float().cpu().numpy()
        return found

    def n_counted(self, ids: Sequence[int]) -> int:
        return int(self._counted(ids).sum())

    def _counted(self, ids: Sequence[int]) -> torch.Tensor:
        return counted(torch.tensor(ids), self.mask_ids)
