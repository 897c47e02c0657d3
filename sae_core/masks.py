"""The one masking function: which tokens count."""

from collections.abc import Sequence

import torch
from torch import Tensor


def counted(tokens: Tensor, mask_ids: Sequence[int]) -> Tensor:
    """True where a token counts: everywhere but at the masked ids (beginning of text, padding)."""
    keep = torch.ones_like(tokens, dtype=torch.bool)  # (contexts, length)
    for each in mask_ids:
        keep &= tokens != each
    return keep
