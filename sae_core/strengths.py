"""How strongly a latent has to be added for what it says to be heard, and before the lm is lost."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from sae_core.interventions import Intervention, Method, Run
from sae_core.judged import judged, repetition
from sae_core.lm import Lm
from sae_core.sae import Sae
from sae_core.steer import Plan, steered, steered_logits

NEW_TOKENS = 24
MOST_PERPLEXITY, MOST_REPETITION = 3.0, 0.4  # of a text that one would still call the lm's


class Tried(NamedTuple):
    """What comes of one strength."""

    value: float  # of activation, that is added
    likelier: float  # so many times as likely its tokens are, over all positions of the texts
    perplexity: float  # of what is written so, by the lm as it is, over that of what it writes itself
    repetition: float

    @property
    def sound(self) -> bool:
        return self.perplexity <= MOST_PERPLEXITY and self.repetition <= MOST_REPETITION


def tried(
    lm: Lm,
    sae: Sae,
    latent: int,
    values: Sequence[float],
    tokens: Sequence[int],
    texts: Sequence[Sequence[int]],
    new_tokens: int = NEW_TOKENS,
) -> list[Tried]:
    """Of each value. `tokens` are those that it speaks for; `texts`, of two tokens at least, are read as they stand,
    and their first halves gone on from."""
    runs = [Run(), *(Run((Intervention(sae, Method.ADD, (latent,), value),)) for value in values)]
    shares = torch.zeros(len(runs), dtype=torch.float64)
    losses: list[list[float]] = [[] for _ in runs]
    repeated = [0.0 for _ in runs]
    for seed, text in enumerate(texts):
        logits = steered_logits(lm, torch.tensor(text), runs, len(text))  # (runs, length, n_vocab)
        shares += logits.float().softmax(-1)[..., list(tokens)].sum(-1).double().mean(1).cpu()
        prompt = list(text[: len(text) // 2])
        for number, written in enumerate(_written(lm, prompt, runs, new_tokens, seed)):
            losses[number] += judged(lm, [*prompt, *written], len(prompt), {}).losses
            repeated[number] += repetition(written) / len(texts)
    means = [math.fsum(each) / max(1, len(each)) for each in losses]
    return [
        Tried(value, float(share / shares[0]), math.exp(min(mean - means[0], 50)), again)
        for value, share, mean, again in zip(values, shares[1:], means[1:], repeated[1:], strict=True)
    ]


def best(found: Sequence[Tried]) -> Tried:
    """That at which its tokens are likeliest while the text is still the lm's; where none is, the weakest."""
    sound = [each for each in found if each.sound]
    return max(sound, key=lambda each: each.likelier) if sound else min(found, key=lambda each: abs(each.value))


def _written(lm: Lm, prompt: list[int], runs: Sequence[Run], new_tokens: int, seed: int) -> list[list[int]]:
    if lm.max_length is not None:
        new_tokens = min(new_tokens, lm.max_length - len(prompt))
    found: list[list[int]] = [[] for _ in runs]
    seeded = [Run(run.interventions, seed) for run in runs]
    for steps in steered(lm, Plan(prompt, seeded, new_tokens)):
        for own, token in zip(found, steps, strict=True):
            own += [token.id] if token else []
    return found
