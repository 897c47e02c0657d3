import re
from typing import Any

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from sae_core.architectures import ARCHITECTURES
from sae_core.errors import BadInput
from sae_core.hookpoints import resolve
from sae_core.lens import embedding_inputs
from sae_core.lm import Lm
from tests.sae_core import blocks_by_hand as by_hand
from tests.sae_core.blocks_by_hand import assert_close
from tests.sae_core.small_lms import (
    D_MLP,
    D_MODEL,
    FAMILIES,
    HEAD_WIDTH,
    LAYERS,
    new_lm,
    randomised,
    small_lm,
    some_tokens,
)  # fmt: skip

TOKENS = some_tokens()
every_family = pytest.mark.parametrize("family", FAMILIES)


def calls(hf: Any, *paths: str) -> list[str]:
    """Goes on growing by the path of each of these modules that is run."""
    seen: list[str] = []
    for path in paths:
        hf.get_submodule(path).register_forward_pre_hook(lambda module, args, path=path: seen.append(path))
    return seen


@every_family
def test_the_hookpoints_in_the_order_of_the_forward(family: str) -> None:
    expected = [f"blocks.{layer}.{suffix}" for layer in range(LAYERS) for suffix in by_hand.suffixes_of(family)]
    assert Lm(small_lm(family)).hookpoints == ["hook_embed", *expected]


@every_family
def test_embeddings_are_read_and_replaced(family: str) -> None:
    lm = Lm(small_lm(family))
    scale = D_MODEL**0.5 if "gemma" in family else 1.0
    embedded = lm.activations(TOKENS, "hook_embed")
    assert_close(embedded, lm.hf.get_input_embeddings().weight[TOKENS] * scale)
    assert lm.width("hook_embed") == D_MODEL
    assert_close(embedding_inputs(lm, "hook_embed")[TOKENS], embedded)
    replaced = lm.logits(TOKENS, {"hook_embed": lambda x: x.flip(1)})
    assert_close(replaced, lm.logits(TOKENS.flip(1)))


@every_family
def test_every_hookpoint_reads_what_the_block_computes_there(family: str) -> None:
    hf = small_lm(family)
    lm = Lm(hf)
    states = by_hand.hidden_states(hf, TOKENS)
    for layer in range(LAYERS):
        expected = by_hand.pass_through(hf, family, layer, states[layer], by_hand.heads(hf, family, layer, TOKENS))
        assert set(expected) == set(by_hand.suffixes_of(family))
        for suffix, x in expected.items():
            assert_close(lm.activations(TOKENS, f"blocks.{layer}.{suffix}"), x)
        resid_post = lm.activations(TOKENS, f"blocks.{layer}.hook_resid_post")
        if layer < LAYERS - 1:
            assert torch.equal(resid_post, states[layer + 1])
        else:  # the last of the hidden states comes after the final norm
            assert_close(by_hand.normed(by_hand.final_norm_of(hf, family), resid_post), states[-1])


@every_family
def test_widths_are_told_without_running_anything(family: str) -> None:
    lm = Lm(new_lm(family))
    run = calls(lm.hf, *(path for path, _ in lm.hf.named_modules()))
    narrow = family in ("gpt2", "gpt_neox", "gpt_neox_sequential", "qwen2", "attention_only")
    widths = {"attn.hook_z": D_MODEL if narrow else 2 * HEAD_WIDTH, "mlp.hook_post": D_MLP}
    for suffix in by_hand.suffixes_of(family):
        assert lm.width(f"blocks.2.{suffix}") == widths.get(suffix, D_MODEL)
    blocks = by_hand.PARTS[family].blocks
    for module in by_hand.writers_of(family):
        assert lm.width(f"{blocks}.0.{module}.input") == lm.width(f"{blocks}.0.output") == D_MODEL
    assert lm.width("lm_head.output") == lm.n_vocab
    assert run == []


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma2", "gemma3"])
def test_the_forward_stops_at_the_hookpoint(family: str) -> None:
    lm = Lm(new_lm(family))
    parts = by_hand.PARTS[family]
    within = f"{parts.blocks}.1"
    above = [f"{parts.blocks}.2", parts.final_norm, "lm_head"]
    run = calls(lm.hf, within, f"{within}.{parts.W_O}", f"{within}.mlp", *above)
    lm.activations(TOKENS, "blocks.1.hook_resid_pre")
    assert run == [within]
    run.clear()
    lm.activations(TOKENS, "blocks.1.attn.hook_z")
    assert run == [within, f"{within}.{parts.W_O}"]
    run.clear()
    lm.activations(TOKENS, "blocks.1.hook_resid_post")
    assert run == [within, f"{within}.{parts.W_O}", f"{within}.mlp"]


@every_family
def test_several_hookpoints_are_read_in_one_forward_in_any_order(family: str) -> None:
    lm = Lm(new_lm(family))
    blocks = by_hand.PARTS[family].blocks
    asked = [each for each in reversed(lm.hookpoints) if not each.startswith("blocks.2")]
    run = calls(lm.hf, f"{blocks}.0", f"{blocks}.2")
    read = lm.read(TOKENS, asked)
    assert run == [f"{blocks}.0"]
    assert list(read) == asked
    for hookpoint, x in read.items():
        assert torch.equal(x, lm.activations(TOKENS, hookpoint)), hookpoint
    assert lm.read(TOKENS, []) == {}


@pytest.mark.parametrize(
    ("family", "module", "name"),
    [
        ("gpt2", "transformer.h.1.output", "blocks.1.hook_resid_post"),
        ("gpt2", "transformer.wte.output", "hook_embed"),
        ("gpt2", "transformer.h.1.ln_2.input", "blocks.1.hook_resid_mid"),
        ("gpt_neox", "gpt_neox.layers.2.attention.dense.input", "blocks.2.attn.hook_z"),
        ("llama", "model.layers.0.mlp.output", "blocks.0.hook_mlp_out"),
        ("gemma3_text", "model.layers.1.post_feedforward_layernorm.output", "blocks.1.hook_mlp_out"),
        ("gemma3", "model.layers.1.post_feedforward_layernorm.output", "blocks.1.hook_mlp_out"),
        ("attention_only", "model.layers.1.attn.o_proj.input", "blocks.1.attn.hook_z"),
        ("attention_only", "model.layers.1.attn.output", "blocks.1.hook_attn_out"),
        ("gemma3", "model.language_model.layers.1.self_attn.o_proj.input", "blocks.1.attn.hook_z"),
    ],
)
def test_a_module_with_its_side_is_the_hookpoint_that_lies_there(family: str, module: str, name: str) -> None:
    lm = Lm(small_lm(family))
    assert resolve(lm.layout, module).name == name
    assert lm.width(module) == lm.width(name)
    assert torch.equal(lm.activations(TOKENS, module), lm.activations(TOKENS, name))
    assert torch.equal(lm.logits(TOKENS, {module: torch.zeros_like}), lm.logits(TOKENS, {name: torch.zeros_like}))


def test_a_module_without_a_transformer_lens_name_can_be_hooked() -> None:
    hf = small_lm("gemma2")
    lm = Lm(hf)
    pre = lm.activations(TOKENS, "blocks.1.hook_resid_pre")
    layer = hf.model.layers[1]
    expected = by_hand.normed(layer.input_layernorm, pre)
    assert_close(lm.activations(TOKENS, "model.layers.1.input_layernorm.output"), expected)
    assert_close(lm.activations(TOKENS, "model.layers.1.self_attn.input"), expected)
    # Before the norm that the MLP's output passes, and so not blocks.1.hook_mlp_out.
    normed = lm.activations(TOKENS, "blocks.1.hook_mlp_in_normed")
    assert_close(lm.activations(TOKENS, "model.layers.1.mlp.output"), layer.mlp(normed))
    assert lm.width("model.layers.1.mlp.gate_proj.output") == D_MLP


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        ("gpt2", "blocks.3.hook_resid_pre", "this gpt2 has 3 layers, blocks.0 to blocks.2"),
        ("gpt2", "blocks.-1.hook_resid_pre", "cannot be resolved"),
        (
            "gpt2",
            "blocks.0.attn.hook_q",
            "what can be: hook_embed, blocks.0…2.hook_resid_pre, blocks.0…2.attn.hook_z, ",
        ),
        ("gpt2", "layer 3", "any module with its side, as in transformer.h.0.output"),
        ("gpt2", "transformer.h.0", "any module with its side"),
        ("gpt2", "transformer.h.9.output", "cannot be resolved"),
        ("gpt_neox", "blocks.0.hook_resid_mid", "in this gpt_neox (attention and MLP run in parallel)"),
        (
            "qwen3",
            "model.layers.0.self_attn.q_norm.output",
            "of shape (3, 9, 2, 12), expected (contexts, length, width",
        ),
        ("qwen3", "model.output", "what passes there is a BaseModelOutputWithPast"),
        ("gemma3", "model.vision_tower.post_layernorm.output", "does not come to model.vision_tower.post_layernorm"),
        ("llama", "model.rotary_emb.inv_freq.output", "cannot be resolved"),
        (
            "attention_only",
            "blocks.0.hook_resid_mid",
            "blocks.0.hook_resid_mid cannot be resolved in this attention_only; what can be: hook_embed, "
            "blocks.0…2.hook_resid_pre, blocks.0…2.attn.hook_z, blocks.0…2.hook_attn_out, blocks.0…2.hook_resid_post, "
            "any module with its side, as in model.layers.0.output",
        ),
        ("attention_only", "blocks.0.hook_mlp_out", "cannot be resolved in this attention_only"),
    ],
)
def test_what_cannot_be_hooked_is_refused(family: str, name: str, message: str) -> None:
    lm = Lm(small_lm(family))
    with pytest.raises(BadInput, match=re.escape(message)):
        lm.activations(TOKENS, name)
    with pytest.raises(BadInput, match=re.escape(message)):
        lm.logits(TOKENS, {name: lambda x: x})


def test_the_width_that_no_weight_tells_is_refused() -> None:
    with pytest.raises(BadInput, match="the weights of SiLUActivation do not tell its width"):
        Lm(small_lm("llama")).width("model.layers.0.mlp.act_fn.output")


def test_where_no_one_list_of_blocks_is_found_modules_can_be_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ARCHITECTURES, "gemma3")  # its tower for images has as many blocks
    lm = Lm(small_lm("gemma3"))
    assert (lm.n_layers, lm.hookpoints) == (0, ["hook_embed"])
    message = (
        r"cannot be resolved in this gemma3; what can be: hook_embed, any module with its side, as in lm_head\.output"
    )
    with pytest.raises(BadInput, match=message):
        lm.activations(TOKENS, "blocks.0.hook_resid_pre")
    assert torch.equal(lm.activations(TOKENS, "lm_head.output"), lm.logits(TOKENS))


def test_an_unknown_architecture_has_its_residual_stream() -> None:
    config = OPTConfig(
        vocab_size=48, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16
    )
    hf = randomised(OPTForCausalLM(config))
    lm = Lm(hf)
    streams = ["hook_resid_pre", "hook_resid_post"]
    assert lm.hookpoints == ["hook_embed", *(f"blocks.{layer}.{suffix}" for layer in (0, 1) for suffix in streams)]
    states = by_hand.hidden_states(hf, TOKENS)
    assert torch.equal(lm.activations(TOKENS, "blocks.0.hook_resid_post"), states[1])
    assert torch.equal(lm.activations(TOKENS, "blocks.1.hook_resid_pre"), states[1])
    assert lm.width("blocks.1.hook_resid_pre") == 16
    assert lm.width("model.decoder.layers.0.fc1.output") == 24
    whole = "what can be: hook_embed, blocks.0…1.hook_resid_pre, blocks.0…1.hook_resid_post, any module with its side"
    with pytest.raises(BadInput, match=re.escape(f"{whole}, as in model.")):
        lm.width("blocks.0.hook_mlp_out")
