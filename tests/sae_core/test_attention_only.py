"""The transformer of attention alone, against its equations written out in float64."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from sae_core.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from sae_core.errors import BadInput
from sae_core.lens import logit_lens
from sae_core.lm import Lm, load_lm
from tests.sae_core.small_lms import (
    D_MODEL,
    HEADS,
    LAYERS,
    LONGEST,
    VOCAB,
    new_lm,
    save_small_lm,
    small_lm,
    some_tokens,
)

D_HEAD = D_MODEL // HEADS
TOKENS = some_tokens()
GREEDY: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def precise(**changes: Any) -> Any:
    return new_lm("attention_only", **changes).double()


def heads_of(hf: Any, layer: int, name: str) -> Tensor:
    """A layer's W_Q, W_K, W_V or W_O, cut into its heads: x @ W.  # (heads, d_in, d_out)"""
    W: Tensor = hf.get_submodule(f"model.layers.{layer}.attn.{name}_proj").weight.detach().T
    if name == "o":
        return torch.stack([W[head * D_HEAD : (head + 1) * D_HEAD] for head in range(HEADS)])
    return torch.stack([W[:, head * D_HEAD : (head + 1) * D_HEAD] for head in range(HEADS)])


def patterns_of(hf: Any, layer: int, x: Tensor) -> Tensor:
    """What each position attends to.  # (contexts, length, d_model) -> (contexts, heads, length, length)"""
    placed = x + hf.model.embed_positions.weight.detach()[: x.shape[1]]
    q = torch.einsum("cld,hde->chle", placed, heads_of(hf, layer, "q"))
    k = torch.einsum("cld,hde->chle", placed, heads_of(hf, layer, "k"))
    weights = torch.exp(torch.einsum("chqe,chke->chqk", q, k) / np.sqrt(D_HEAD))
    for query, key in itertools.product(range(x.shape[1]), repeat=2):
        if key > query:
            weights[:, :, query, key] = 0
    return weights / weights.sum(-1, keepdim=True)


def z_of(hf: Any, layer: int, x: Tensor) -> Tensor:
    values = torch.einsum("cld,hde->chle", x, heads_of(hf, layer, "v"))
    return torch.einsum("chqk,chke->cqhe", patterns_of(hf, layer, x), values)  # (contexts, length, heads, d_head)


def states_of(hf: Any, tokens: Tensor) -> list[Tensor]:
    """What goes into every block, and what comes out of the last."""
    states = [hf.model.embed_tokens.weight.detach()[tokens]]
    for layer in range(len(hf.model.layers)):
        written = torch.einsum("clhe,hed->cld", z_of(hf, layer, states[-1]), heads_of(hf, layer, "o"))
        states.append(states[-1] + written)
    return states


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@torch.no_grad()
def test_the_forward_is_its_equations() -> None:
    hf = precise()
    states = states_of(hf, TOKENS)
    found = hf(TOKENS, output_hidden_states=True)
    assert_same(found.logits, states[-1] @ hf.lm_head.weight.T)
    assert len(found.hidden_states) == LAYERS + 1
    for state, expected in zip(found.hidden_states, states, strict=True):
        assert_same(state, expected)
    assert hf(TOKENS).hidden_states is None


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_logits_are_the_sum_over_paths_from_token_to_token(n_layers: int) -> None:
    """Each path takes one head of a layer, or goes past it: one direct path, and (1 + heads)^layers in all."""
    hf = precise(num_hidden_layers=n_layers)
    W_E, W_U = hf.model.embed_tokens.weight, hf.lm_head.weight.T
    n_contexts, length = TOKENS.shape
    one_hot = torch.nn.functional.one_hot(TOKENS, VOCAB).double()
    patterns = [patterns_of(hf, layer, x) for layer, x in enumerate(states_of(hf, TOKENS)[:-1])]
    total = torch.zeros(n_contexts, length, VOCAB, dtype=torch.float64)
    paths = list(itertools.product([None, *range(HEADS)], repeat=n_layers))
    for path in paths:
        moved = torch.eye(length).double().expand(n_contexts, length, length)
        circuit = W_E
        for layer, head in enumerate(path):
            if head is not None:
                moved = patterns[layer][:, head] @ moved
                circuit = circuit @ heads_of(hf, layer, "v")[head] @ heads_of(hf, layer, "o")[head]
        total += moved @ one_hot @ (circuit @ W_U)  # a (vocabulary, vocabulary) matrix for each path
    assert len(paths) == 3**n_layers
    torch.testing.assert_close(hf(TOKENS).logits, total, rtol=0, atol=1e-10)


def test_positions_are_read_by_queries_and_keys_alone() -> None:
    lm = Lm(precise())
    positions = lm.hf.model.embed_positions.weight[: TOKENS.shape[1]]
    for layer in range(LAYERS):
        attention = f"model.layers.{layer}.attn"
        sides = [f"{attention}.{each}_proj.input" for each in "qkv"]
        x = lm.activations(TOKENS, f"blocks.{layer}.hook_resid_pre")
        read = lm.read(TOKENS, sides)
        assert torch.equal(read[sides[0]], x + positions)
        assert torch.equal(read[sides[1]], x + positions)
        assert torch.equal(read[sides[2]], x)
    embedded = lm.hf.model.embed_tokens.weight[TOKENS]
    assert torch.equal(lm.activations(TOKENS, "blocks.0.hook_resid_pre"), embedded)


@torch.no_grad()
def test_where_there_is_one_token_to_attend_to_its_position_changes_nothing() -> None:
    hf = precise()
    token = TOKENS[:, :1]
    logits = hf(token).logits
    assert_same(hf(token, position_ids=torch.tensor([[7]])).logits, logits)
    two = TOKENS[:, :2]
    assert (hf(two, position_ids=torch.tensor([[3, 7]])).logits - hf(two).logits).abs().max() > 0.1


def test_a_fresh_process_loads_what_was_saved(tmp_path: Path) -> None:
    saved = save_small_lm(tmp_path / "lm", "attention_only")
    code = (
        "import sys, torch, sae_core; lm = sae_core.load_lm(sys.argv[1]);"
        "torch.save((type(lm.hf).__name__, lm.logits([[3, 4, 5]])), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "lm", tmp_path / "found"], check=True)
    name, logits = torch.load(tmp_path / "found")
    assert name == "AttentionOnlyForCausalLM"
    with torch.no_grad():
        torch.testing.assert_close(logits, saved(torch.tensor([[3, 4, 5]])).logits)


def test_the_weights_have_the_names_that_others_rely_on(tmp_path: Path) -> None:
    save_small_lm(tmp_path, "attention_only", num_hidden_layers=1)
    attention = [f"model.layers.0.attn.{each}_proj.weight" for each in "qkvo"]
    embeddings = ["model.embed_tokens.weight", "model.embed_positions.weight", "lm_head.weight"]
    parameters = dict(load_lm(tmp_path).hf.named_parameters())
    assert sorted(parameters) == sorted(attention + embeddings)
    assert parameters["model.embed_positions.weight"].shape == (LONGEST, D_MODEL)
    assert all(parameters[each].shape == (D_MODEL, D_MODEL) for each in attention)


def test_fresh_weights_are_normal() -> None:
    config = AttentionOnlyConfig(
        vocab_size=500, hidden_size=64, num_attention_heads=4, max_position_embeddings=300, initializer_range=0.3
    )
    for name, weight in AttentionOnlyForCausalLM(config).named_parameters():
        assert weight.std().item() == pytest.approx(0.3, rel=0.05), name
        assert abs(weight.mean().item()) < 0.02, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 3}, "its config.json cannot be used"),
        ({"num_attention_heads": 0}, "its config.json cannot be used"),
        ({"hidden_size": "wide"}, "its config.json cannot be used"),
        ({"tie_word_embeddings": True}, "its config.json cannot be used"),
        ({"num_hidden_layers": 4}, r"its safetensors lack 4 of the weights, model\.layers\.3\.attn"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_small_lm(tmp_path, "attention_only")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(BadInput, match=message):
        load_lm(tmp_path)


@torch.no_grad()
def test_the_loss_is_that_of_the_next_token() -> None:
    hf = precise()
    labels = TOKENS.clone()
    labels[0, 4:6] = -100  # as transformers marks what does not count
    found = hf(TOKENS, labels=labels)
    log_probs = found.logits.log_softmax(-1)
    terms = [
        -log_probs[context, position, labels[context, position + 1]]
        for context, position in itertools.product(range(3), range(8))
        if labels[context, position + 1] != -100
    ]
    assert len(terms) == 22
    assert found.loss.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)
    assert hf(TOKENS).loss is None


@torch.no_grad()
@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3), (3, 8)])
def test_a_forward_in_pieces_with_a_cache_is_the_whole(cuts: tuple[int, ...]) -> None:
    hf = precise()
    whole = hf(TOKENS, use_cache=False)
    assert whole.past_key_values is None
    cache, pieces = None, []
    for piece in torch.tensor_split(TOKENS, cuts, dim=1):
        found = hf(piece, past_key_values=cache, use_cache=True)
        cache = found.past_key_values
        pieces.append(found.logits)
    assert isinstance(cache, DynamicCache)
    assert cache.get_seq_length() == TOKENS.shape[1]
    assert_same(torch.cat(pieces, 1), whole.logits)
    assert isinstance(hf(TOKENS).past_key_values, DynamicCache)
    assert precise(use_cache=False)(TOKENS).past_key_values is None
    assert_same(hf(TOKENS, logits_to_keep=2).logits, whole.logits[:, -2:])
    assert_same(hf(inputs_embeds=hf.model.embed_tokens(TOKENS)).logits, whole.logits)


@torch.no_grad()
def test_generation_is_the_same_with_a_cache_and_without_and_by_hand() -> None:
    hf = precise()
    by_hand = TOKENS
    for _ in range(GREEDY["max_new_tokens"]):
        best = (states_of(hf, by_hand)[-1][:, -1:] @ hf.lm_head.weight.T).argmax(-1)
        by_hand = torch.cat([by_hand, best], 1)
    assert len(set(by_hand[:, 9:].flatten().tolist())) > 5  # and not the same token over and over
    assert torch.equal(hf.generate(TOKENS, use_cache=True, **GREEDY), by_hand)
    assert torch.equal(hf.generate(TOKENS, use_cache=False, **GREEDY), by_hand)


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False])
def test_padding_on_the_left_changes_nothing(use_cache: bool) -> None:
    hf = precise()
    prompts = [TOKENS[0, :9], TOKENS[1, :4], TOKENS[2, :1]]
    padded = torch.zeros(3, 9, dtype=torch.int64)
    for row, prompt in zip(padded, prompts, strict=True):
        row[9 - len(prompt) :] = prompt
    attention_mask = (padded != 0).long()
    logits = hf(padded, attention_mask=attention_mask, use_cache=use_cache).logits
    assert logits.isfinite().all()
    generated = hf.generate(padded, attention_mask=attention_mask, use_cache=use_cache, **GREEDY)
    for row, prompt in enumerate(prompts):
        assert_same(logits[row, 9 - len(prompt) :], hf(prompt[None]).logits[0])
        alone = hf.generate(prompt[None], **GREEDY)[0]
        assert torch.equal(generated[row, 9 - len(prompt) :], alone)


def test_hookpoints_and_what_passes_there() -> None:
    lm = Lm(precise())
    suffixes = ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_post"]
    assert lm.hookpoints == [
        "hook_embed",
        *(f"blocks.{layer}.{suffix}" for layer in range(LAYERS) for suffix in suffixes),
    ]
    states = states_of(lm.hf, TOKENS)
    for layer in range(LAYERS):
        found = lm.read(TOKENS, [f"blocks.{layer}.{suffix}" for suffix in suffixes])
        z = z_of(lm.hf, layer, states[layer]).flatten(2)
        expected = [states[layer], z, states[layer + 1] - states[layer], states[layer + 1]]
        for x, by_hand in zip(found.values(), expected, strict=True):
            assert_same(x, by_hand)


def test_without_a_head_its_path_is_missing_from_the_logits() -> None:
    """In the last layer, where nothing reads what the head writes but the unembedding."""
    lm = Lm(precise())
    last = LAYERS - 1
    z = z_of(lm.hf, last, states_of(lm.hf, TOKENS)[last])[:, :, 1]
    path = z @ heads_of(lm.hf, last, "o")[1] @ lm.hf.lm_head.weight.T

    def without(x: Tensor) -> Tensor:
        return torch.cat([x[..., :D_HEAD], torch.zeros_like(x[..., D_HEAD:])], -1)

    clean = lm.logits(TOKENS)
    assert_same(clean - lm.logits(TOKENS, {f"blocks.{last}.attn.hook_z": without}), path)
    assert path.abs().max() > 0.1


def test_without_attention_there_is_the_direct_path_alone() -> None:
    lm = Lm(precise())
    nothing = {f"blocks.{layer}.hook_attn_out": torch.zeros_like for layer in range(LAYERS)}
    direct = lm.hf.model.embed_tokens.weight @ lm.hf.lm_head.weight.T
    assert_same(lm.logits(TOKENS, nothing), direct[TOKENS])


def test_the_lens_of_the_residual_stream_is_the_unembedding() -> None:
    lm = Lm(small_lm("attention_only"))
    W_U = lm.hf.lm_head.weight.T.contiguous()  # (d_model, n_vocab)
    (lens,) = logit_lens(lm, torch.eye(D_MODEL), "blocks.1.hook_resid_post")
    assert torch.equal(lens, W_U - W_U.mean(-1, keepdim=True))
