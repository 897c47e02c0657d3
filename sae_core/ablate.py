"""What latents do for the lm: texts read without them, beside the texts as they are."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae_core.attached import Attached
from sae_core.changes import Changes
from sae_core.interventions import Intervention, Method, Run
from sae_core.lm import Lm, Tokens
from sae_core.masks import counted
from sae_core.resuming import Resumed
from sae_core.sae import Sae

VOTES = 5
DRAWS, CONFIDENCE = 4000, 0.95  # of the interval


class Votes(NamedTuple):
    """The tokens whose figure rises or falls most, the first most of all."""

    ids: Tensor  # (contexts, length, VOTES)
    changes: Tensor  # (contexts, length, VOTES)


class Ablation(NamedTuple):
    """Of each token, with the latents ablated in the whole context beside the lm as it is."""

    activation: Tensor  # (contexts, length) the latents' largest, 0 where the token does not count
    loss: (
        Tensor  # (contexts, length) of the next token, in nats: above 0 it is less likely without them; NaN at the end
    )
    kl: Tensor  # (contexts, length) KL(clean ‖ ablated), in nats
    likelier: Votes  # without them, by probability
    unlikelier: Votes
    raised: Votes  # by logit, less the mean over the vocabulary, which changes no probability
    lowered: Votes


class Effect(NamedTuple):
    """A mean, and between what it may well lie."""

    mean: float
    n: int
    low: float
    high: float


@torch.no_grad()
def ablation(lm: Lm, sae: Sae, latents: Sequence[int], tokens: Tokens) -> Ablation:
    """The lm runs over the tokens as they are, and from the hookpoint on once more without the latents.
    # tokens (contexts, length)"""
    ids = lm.checked(tokens)
    run = Run((Intervention(sae, Method.ABLATE, tuple(latents)),))
    changes = Changes(lm, [run] * len(ids))
    changes.at(ids, n_prompt=ids.shape[1])
    resumed = Resumed(lm, ids, {sae.hookpoint, sae.hookpoint_out})
    attached = Attached(lm, sae)
    acts = sae.encode(attached.read(ids).x.flatten(0, 1))[:, list(latents)].amax(-1).reshape(ids.shape)
    acts = torch.where(counted(ids, lm.mask_ids), acts, 0)
    without = resumed.logits(changes.replace)
    rows = [
        _compared(*each) for each in zip(resumed.clean, without, ids, strict=True)
    ]  # one by one: vocabularies are wide
    loss, kl, *votes = (torch.stack(each) for each in zip(*rows, strict=True))
    pairs = [Votes(votes[at], votes[at + 1]) for at in range(0, len(votes), 2)]
    return Ablation(acts, loss, kl, *pairs)


def _compared(clean: Tensor, without: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """(length, n_vocab) twice, (length)"""
    clean, without = (each.to(torch.promote_types(each.dtype, torch.float32)) for each in (clean, without))
    log_p, log_q = clean.log_softmax(-1), without.log_softmax(-1)
    next_ids = ids[1:, None]
    loss = (log_p[:-1].gather(1, next_ids) - log_q[:-1].gather(1, next_ids))[:, 0]
    loss = torch.cat([loss, loss.new_full((1,), math.nan)])
    p = log_p.exp()
    kl = (p * (log_p - log_q)).sum(-1)
    by_p, by_logit = log_q.exp() - p, without - clean
    by_logit = by_logit - by_logit.mean(-1, keepdim=True)
    k = min(VOTES, clean.shape[-1])
    found = [loss, kl]
    for change, largest in ((by_p, True), (by_p, False), (by_logit, True), (by_logit, False)):
        top = change.topk(k, largest=largest)
        found += [top.indices, top.values]
    return tuple(found)


def effect(values: Sequence[float], seed: int = 0) -> Effect | None:
    """The mean of values that were drawn uniformly, with an interval by bootstrap; None of none."""
    if not len(values):
        return None
    drawn = np.random.default_rng(seed).choice(np.asarray(values, np.float64), (DRAWS, len(values)))
    low, high = np.quantile(drawn.mean(1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Effect(float(np.mean(values)), len(values), float(low), float(high))
