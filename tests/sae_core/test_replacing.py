import re
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.lm import Lm
from tests.sae_core import blocks_by_hand as by_hand
from tests.sae_core.blocks_by_hand import assert_close
from tests.sae_core.small_lms import D_MODEL, FAMILIES, LAYERS, new_lm, small_lm, some_tokens

TOKENS = some_tokens()

every_family = pytest.mark.parametrize("family", FAMILIES)


def n_hooks(hf: Any) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in hf.modules())


@pytest.mark.parametrize(
    ("family", "suffix"), [(family, each) for family in FAMILIES for each in by_hand.suffixes_of(family)]
)
def test_what_is_put_at_a_hookpoint_goes_on_from_there(family: str, suffix: str) -> None:
    hf = small_lm(family)
    lm = Lm(hf)
    z = by_hand.heads(hf, family, 1, TOKENS)
    states = by_hand.hidden_states(hf, TOKENS)
    clean = by_hand.pass_through(hf, family, 1, states[1], z)
    new = torch.randn(clean[suffix].shape, generator=torch.Generator().manual_seed(1)) * clean[suffix].std()
    if suffix == "hook_resid_pre":
        expected = by_hand.logits_after(hf, family, 0, new, TOKENS)
    else:
        changed = by_hand.pass_through(hf, family, 1, states[1], z, **{suffix.replace(".", "_"): new})
        expected = by_hand.logits_after(hf, family, 1, changed["hook_resid_post"], TOKENS)
    given: list[Tensor] = []

    def put(x: Tensor) -> Tensor:
        given.append(x)
        return new

    logits = lm.logits(TOKENS, {f"blocks.1.{suffix}": put})
    assert_close(logits, expected)
    assert (logits - lm.logits(TOKENS)).abs().max() > 0.05
    assert_close(given[0], clean[suffix])  # and writing has not changed it


@every_family
def test_what_is_put_back_as_it_was_changes_no_bit(family: str) -> None:
    lm = Lm(small_lm(family))
    clean = lm.logits(TOKENS)
    for hookpoint in lm.hookpoints:
        again = lm.logits(TOKENS, {hookpoint: lambda x: x.clone()})
        if hookpoint.endswith("hook_normalized"):  # LayerNorm's own kernel rounds otherwise
            assert_close(again, clean)
        else:
            assert torch.equal(again, clean), hookpoint


@every_family
def test_after_the_last_block_come_the_final_norm_and_the_unembedding(family: str) -> None:
    hf = small_lm(family)
    new = torch.randn(*TOKENS.shape, D_MODEL, generator=torch.Generator().manual_seed(2))
    logits = Lm(hf).logits(TOKENS, {f"blocks.{LAYERS - 1}.hook_resid_post": lambda x: new})
    assert_close(logits, by_hand.logits_of(hf, family, new))


def test_a_function_sees_what_those_before_it_in_the_forward_did() -> None:
    hf = small_lm("gpt2")
    lm = Lm(hf)
    below = lm.activations(TOKENS, "blocks.0.hook_resid_post")
    seen: dict[str, Tensor] = {}

    def times(name: str, factor: float) -> Any:
        def function(x: Tensor) -> Tensor:
            seen[name] = x
            return x * factor

        return function

    # Those at one module are given against the order of the forward.
    factors = {"hook_mlp_in_normed": 1.0, "ln2.hook_normalized": 2.0, "hook_resid_mid": 0.1}
    changes = {f"blocks.1.{name}": times(name, factor) for name, factor in factors.items()}
    lm.logits(TOKENS, changes | {"blocks.0.hook_resid_post": times("below", 3.0)})
    assert torch.equal(seen["below"], below)
    with torch.no_grad():
        mid = 3 * below + hf.transformer.h[1].attn(hf.transformer.h[1].ln_1(3 * below), attention_mask=causal(9))[0]
    ln_2 = hf.transformer.h[1].ln_2
    normalized = by_hand.normalized(ln_2, mid * 0.1)
    assert_close(seen["hook_resid_mid"], mid)
    assert_close(seen["ln2.hook_normalized"], normalized)
    assert_close(seen["hook_mlp_in_normed"], by_hand.scaled(ln_2, normalized * 2))


def causal(length: int) -> Tensor:
    return torch.full((length, length), -torch.inf).triu(1)[None, None]


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_no_hook_stays(family: str) -> None:
    lm = Lm(new_lm(family))
    before = n_hooks(lm.hf)

    def fails(x: Tensor) -> Tensor:
        raise ZeroDivisionError

    lm.activations(TOKENS, "blocks.1.hook_resid_mid")
    lm.logits(TOKENS, {"blocks.1.hook_resid_mid": lambda x: x})
    with pytest.raises(ZeroDivisionError):
        lm.logits(TOKENS, {"blocks.0.hook_resid_pre": lambda x: x, "blocks.1.hook_mlp_out": fails})
    with pytest.raises(BadInput, match="cannot be resolved"):
        lm.read(TOKENS, ["blocks.0.hook_resid_pre", "blocks.0.hook_q"])
    assert n_hooks(lm.hf) == before


def test_hooks_are_those_of_the_thread_that_installed_them() -> None:
    lm = Lm(small_lm("gpt2"))
    clean = lm.logits(TOKENS)
    inside, done = threading.Event(), threading.Event()
    found: list[Tensor] = []

    def waits(x: Tensor) -> Tensor:
        inside.set()
        assert done.wait(30)
        return x * 0

    thread = threading.Thread(target=lambda: found.append(lm.logits(TOKENS, {"blocks.1.hook_resid_pre": waits})))
    thread.start()
    assert inside.wait(30)
    assert torch.equal(lm.logits(TOKENS), clean)  # the other one's hook would wait here, and change it
    done.set()
    thread.join()
    assert not torch.equal(found[0], clean)


def test_what_is_put_there_has_to_fit() -> None:
    def forgets_to_return(x: Tensor) -> Any:
        x * 0

    lm = Lm(small_lm("gpt2"))
    with pytest.raises(BadInput, match=re.escape("of shape (3, 9, 15), expected a tensor of shape (3, 9, 16)")):
        lm.logits(TOKENS, {"blocks.0.hook_mlp_out": lambda x: x[..., 1:]})
    with pytest.raises(BadInput, match=r"blocks\.0\.hook_mlp_out: what is put in its place is a NoneType"):
        lm.logits(TOKENS, {"blocks.0.hook_mlp_out": forgets_to_return})
    wider = lm.logits(TOKENS, {"blocks.0.hook_mlp_out": lambda x: x.double()})
    assert torch.equal(wider, lm.logits(TOKENS))
