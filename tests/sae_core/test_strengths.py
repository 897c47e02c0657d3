import math
from functools import partial

import pytest
import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.interventions import Intervention, Method, Run
from sae_core.judged import judged, repetition
from sae_core.lm import Lm
from sae_core.sae import Sae
from sae_core.steer import Plan, steered
from sae_core.strengths import MOST_PERPLEXITY, MOST_REPETITION, Tried, best, tried
from tests.sae_core import random_saes
from tests.sae_core.small_lms import D_MODEL, small_lm, some_tokens

TEXTS = [some_tokens(1, length, seed=length)[0].tolist() for length in (8, 5)]
LATENT, TOKENS, HOOKPOINT = 3, [1, 4, 9], "blocks.1.hook_resid_post"


def added(value: float, direction: Tensor, x: Tensor) -> Tensor:
    return x + value * direction


def test_each_strength_is_tried_beside_the_lm_as_it_is() -> None:
    lm, sae = Lm(small_lm("llama")), random_saes.make(Family.RELU, d_in=D_MODEL, hookpoint=HOOKPOINT).float()
    found = tried(lm, sae, LATENT, [1.5, -4.0], TOKENS, TEXTS, new_tokens=6)
    assert [each.value for each in found] == [1.5, -4.0]
    for each in found:
        push = partial(added, each.value, sae.W_dec[LATENT])
        shares, again = [0.0, 0.0], 0.0
        losses: tuple[list[float], list[float]] = ([], [])
        for seed, text in enumerate(TEXTS):
            for number, change in enumerate(({}, {HOOKPOINT: push})):
                p = lm.logits([text], change)[0].softmax(-1)
                shares[number] += float(p[:, TOKENS].sum(1).mean())
            prompt = text[: len(text) // 2]
            for number, run in enumerate((Run((), seed), Run((one(sae, each.value),), seed))):
                ids = [step[0].id for step in steered(lm, Plan(prompt, [run], 6)) if step[0]]
                losses[number].extend(judged(lm, [*prompt, *ids], len(prompt), {}).losses)
            again += repetition(ids) / len(TEXTS)
        plain, changed = (math.fsum(some) / len(some) for some in losses)
        assert each.likelier == pytest.approx(shares[1] / shares[0], rel=1e-4)
        assert each.perplexity == pytest.approx(math.exp(changed - plain), rel=1e-3)
        assert each.repetition == pytest.approx(again)


def one(sae: Sae, value: float) -> Intervention:
    return Intervention(sae, Method.ADD, (LATENT,), value)


def test_the_best_is_the_likeliest_of_those_that_leave_the_text_the_lms() -> None:
    weak, good, wild = Tried(1, 2, 1, 0), Tried(2, 5, MOST_PERPLEXITY, MOST_REPETITION), Tried(4, 50, 3.1, 0)
    stuck = Tried(3, 60, 1, 0.41)
    assert best([weak, good, wild, stuck]) == good
    assert best([wild, stuck]) == stuck
    assert best([weak]) == weak


def test_it_depends_on_nothing_but_what_is_given() -> None:
    lm, sae = Lm(small_lm("gpt2")), random_saes.make(Family.RELU, d_in=D_MODEL, hookpoint=HOOKPOINT).float()
    torch.manual_seed(1)
    first = tried(lm, sae, LATENT, [2.0], TOKENS, TEXTS, new_tokens=4)
    torch.manual_seed(2)
    assert tried(lm, sae, LATENT, [2.0], TOKENS, TEXTS, new_tokens=4) == first
