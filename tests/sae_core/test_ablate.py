"""Texts read without some latents, beside plain hooks on modules of transformers; forwards that begin at a block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_core.ablate import Effect, ablation, effect
from sae_core.config import Family
from sae_core.lm import Lm
from sae_core.resuming import Resumed
from sae_core.sae import Sae
from tests.sae_core import blocks_by_hand as by_hand
from tests.sae_core import random_saes
from tests.sae_core.small_lms import D_MODEL, FAMILIES, LAYERS, new_lm, small_lm, some_tokens

TOKENS = some_tokens()
LATENTS = (2, 7)


def made(hookpoint: str, **changes: Any) -> Sae:
    return random_saes.make(Family.TOPK, d_in=D_MODEL, hookpoint=hookpoint, **changes).float()


@contextmanager
def computed(lm: Lm) -> Iterator[list[int]]:
    """The layers whose attention is computed."""
    seen: list[int] = []
    writer = lm.layout.architecture.block
    assert writer is not None
    handles = [
        block.get_submodule(writer.attention.module).register_forward_hook(lambda *_, at=at: seen.append(at))
        for at, block in enumerate(lm.layout.blocks)
    ]
    yield seen
    for each in handles:
        each.remove()


@pytest.mark.parametrize(
    ("family", "suffix"), [(family, each) for family in FAMILIES for each in by_hand.suffixes_of(family)]
)
def test_a_forward_that_begins_at_a_block_is_the_whole_one(family: str, suffix: str) -> None:
    lm, hookpoint = Lm(new_lm(family)), f"blocks.1.{suffix}"
    resumed = Resumed(lm, TOKENS, {hookpoint})
    assert torch.equal(resumed.clean, lm.logits(TOKENS))
    changes = {hookpoint: lambda x: x * 1.5 + 0.1}
    expected = lm.logits(TOKENS, changes)
    with computed(lm) as layers:
        assert torch.equal(resumed.logits(changes), expected)
    assert layers == ([2] if suffix == "hook_resid_post" else [1, 2])
    assert torch.equal(resumed.logits({hookpoint: lambda x: x * 1}), lm.logits(TOKENS, {hookpoint: lambda x: x * 1}))
    with computed(lm) as layers:
        assert torch.equal(lm.logits(TOKENS, changes), expected)  # and all is as it was
    assert layers == [0, 1, 2]


def test_it_begins_below_all_that_is_changed() -> None:
    lm = Lm(small_lm("llama"))
    both = {"blocks.2.hook_resid_pre": lambda x: x * 2, "blocks.0.hook_resid_post": lambda x: x + 1}
    with computed(lm) as layers:
        found = Resumed(lm, TOKENS, both).logits(both)
    assert layers == [0, 1, 2, 1, 2]
    assert torch.equal(found, lm.logits(TOKENS, both))
    embedded = {"hook_embed": lambda x: x * 2}
    assert torch.equal(Resumed(lm, TOKENS, embedded).logits(embedded), lm.logits(TOKENS, embedded))


def test_threads_leave_out_what_is_theirs() -> None:
    lm = Lm(new_lm("gpt2"))
    texts = [some_tokens(seed=seed) for seed in range(8)]
    hookpoints = [f"blocks.{number % LAYERS}.hook_resid_post" for number in range(len(texts))]

    def twice(x: Tensor) -> Tensor:
        return x * 2

    expected = [lm.logits(text, {at: twice}) for text, at in zip(texts, hookpoints, strict=True)]
    found: list[Any] = [None] * len(texts)

    def read(number: int) -> None:
        resumed = Resumed(lm, texts[number], {hookpoints[number]})
        for _ in range(20):
            found[number] = resumed.logits({hookpoints[number]: twice})

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(texts))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def without_latents(lm: Lm, sae: Sae) -> tuple[Tensor, Tensor]:
    """The logits, and the larger of the two activations, where they are taken out by hand at the second block."""
    block = lm.layout.blocks[1]
    seen: list[Tensor] = []

    def hook(_: Any, __: Any, output: Any) -> Any:
        y = output[0] if isinstance(output, tuple) else output
        f = sae.encode(y.flatten(0, 1)).reshape(*y.shape[:2], -1)
        seen.append(f[..., list(LATENTS)].amax(-1))
        new = y - sum(f[..., [each]] * sae.W_dec[each] for each in LATENTS)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = block.register_forward_hook(hook)
    with torch.no_grad():
        logits: Tensor = lm.hf(input_ids=TOKENS, use_cache=False).logits
    handle.remove()
    return logits, seen[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_each_token_loses(family: str) -> None:
    lm, sae = Lm(small_lm(family)), made("blocks.1.hook_resid_post")
    found = ablation(lm, sae, LATENTS, TOKENS)
    without, acts = without_latents(lm, sae)
    clean = lm.logits(TOKENS)
    p, q = clean.double().softmax(-1), without.double().softmax(-1)
    torch.testing.assert_close(found.activation, acts, rtol=1e-4, atol=1e-5)
    assert found.loss[:, -1].isnan().all()
    for context, text in enumerate(TOKENS):
        for place, token in enumerate(text[1:]):
            expected = float(p[context, place, token].log() - q[context, place, token].log())
            assert float(found.loss[context, place]) == pytest.approx(expected, abs=2e-5)
    expected_kl = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1)
    torch.testing.assert_close(found.kl.double(), expected_kl, rtol=1e-3, atol=1e-6)
    assert (acts > 0).any()
    assert found.kl[acts > 0].min() > 0
    assert found.kl[:, 0][acts[:, 0] == 0].abs().sum() == 0  # a first token at which nothing was to take

    by_logit = (without - clean) - (without - clean).mean(-1, keepdim=True)
    for votes, change in (
        (found.likelier, q - p), (found.unlikelier, p - q), (found.raised, by_logit), (found.lowered, -by_logit),
    ):  # fmt: skip
        best = change.double().sort(-1, descending=True).values[..., :5]
        torch.testing.assert_close(votes.changes.abs().double(), best.abs(), rtol=1e-3, atol=2e-5)
        there = change.double().gather(-1, votes.ids)
        torch.testing.assert_close(there, best, rtol=1e-3, atol=2e-5)


def test_of_a_transcoder_and_of_one_that_never_fires() -> None:
    lm = Lm(small_lm("gpt2"))
    transcoder = made("blocks.0.hook_resid_pre", hookpoint_out="blocks.2.hook_mlp_out")
    assert ablation(lm, transcoder, LATENTS, TOKENS).kl.max() > 0
    tensors = transcoder.tensors()
    silent = Sae(
        transcoder.config, tensors | {"b_enc": tensors["b_enc"].clone().index_fill(0, torch.tensor([3]), -1e4)}
    )
    found = ablation(lm, silent, [3], TOKENS)
    assert found.activation.abs().max() == 0
    assert found.kl.abs().max() == 0
    assert found.loss[:, :-1].abs().max() == 0


def test_a_beginning_of_text_is_left_alone() -> None:
    lm, sae = Lm(small_lm("llama")), made("blocks.1.hook_resid_post")
    tokens = torch.cat([torch.ones(3, 1, dtype=torch.int64), TOKENS], 1)
    found = ablation(lm, sae, range(sae.n_latents), tokens)
    assert found.activation[:, 0].abs().sum() == 0
    assert found.kl[:, 0].abs().sum() == 0
    assert found.kl[:, 1:].min() > 0


def test_a_mean_and_between_what_it_may_lie() -> None:
    assert effect([]) is None
    assert effect([2.0, 2.0, 2.0]) == Effect(2.0, 3, 2.0, 2.0)
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = effect(values.tolist())
    assert found is not None
    half = 1.96 * values.std(ddof=1) / 20
    assert found.n == 400
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert effect(values.tolist()) == found


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(2).exponential(1.0, (300, 60))
    held = [found.low <= 1.0 <= found.high for row in drawn if (found := effect(row.tolist()))]
    assert 0.88 <= np.mean(held) <= 0.98
