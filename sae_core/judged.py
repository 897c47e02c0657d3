"""A text that was written, read once more by the lm as it is: how surprising it finds it, and what fires on it."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.attached import Attached
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.sae import Sae

GRAM = 4  # tokens


class Judged(NamedTuple):
    losses: list[float]  # of each written token, in nats
    activations: list[list[list[float]]]  # by SAE and latent, of every token, the prompt's too

    @property
    def perplexity(self) -> float | None:
        return math.exp(math.fsum(self.losses) / len(self.losses)) if self.losses else None


@torch.no_grad()
def judged(lm: Lm, ids: Sequence[int], n_prompt: int, watched: Mapping[Sae, Sequence[int]]) -> Judged:
    """By one forward. `watched` are latents of each SAE whose activations are wanted."""
    tokens = lm.checked([list(ids)])
    passed: dict[str, Tensor] = {}

    def keep(hookpoint: str, x: Tensor) -> Tensor:
        passed[hookpoint] = x
        return x

    names = {sae.hookpoint for sae in watched}
    logits = lm.logits(tokens, {name: partial(keep, name) for name in names})[0]
    log_p = logits[n_prompt - 1 : -1].float().log_softmax(-1)  # (written, n_vocab)
    losses = -log_p.gather(1, tokens[0, n_prompt:, None])[:, 0]
    counts = counted(tokens, lm.mask_ids)[0]
    activations = []
    for sae, latents in watched.items():
        acts = sae.encode(Attached(lm, sae).seen(passed[sae.hookpoint])[0])[:, list(latents)]  # (length, latents)
        activations.append(torch.where(counts[:, None], acts, 0).T.tolist())
    return Judged(losses.tolist(), activations)


def repetition(ids: Sequence[int]) -> float:
    """The share of the stretches of four tokens that were there before."""
    grams = [tuple(ids[at : at + GRAM]) for at in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
