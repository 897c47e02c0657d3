import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from sae_core.errors import BadInput
from sae_core.lens import carried, embedding_inputs, logit_lens, to_residual, top_inputs, top_logits, unembedding
from sae_core.lm import Lm
from tests.sae_core import blocks_by_hand as by_hand
from tests.sae_core.blocks_by_hand import assert_close
from tests.sae_core.small_lms import D_MODEL, FAMILIES, VOCAB, new_lm, small_lm, some_tokens

TOKENS = some_tokens()
READING = ["ln2.hook_normalized", "hook_mlp_in_normed"]
GEMMAS_WITH_POST_NORMS = ["gemma2", "gemma3_text", "gemma3"]

every_family = pytest.mark.parametrize("family", FAMILIES)


def at_each(suffixes: list[str], families: list[str] = FAMILIES) -> pytest.MarkDecorator:
    """Every family at those of these hookpoints that it has."""
    pairs = [(each, suffix) for each in families for suffix in suffixes if suffix in by_hand.suffixes_of(each)]
    return pytest.mark.parametrize(("family", "suffix"), pairs)


def directions(n: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def folded(hf: Any, family: str) -> Tensor:
    """W_U with the final norm's gain folded in, centred where that norm centres what it reads.  # (n_vocab, d_model)"""
    final_norm = by_hand.final_norm_of(hf, family)
    W_U: Tensor = hf.lm_head.weight.double() * by_hand.gain(final_norm).double()
    if type(final_norm).__name__ == "LayerNorm":
        W_U = W_U @ (torch.eye(D_MODEL) - 1 / D_MODEL).double()
    return W_U - W_U.mean(0)  # the same logit more for every token is no difference


@every_family
def test_the_lens_is_the_product_with_folded_weights(family: str) -> None:
    hf = small_lm(family)
    given = directions(5, D_MODEL)
    written = {"hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out"} & {*by_hand.suffixes_of(family)}
    for hookpoint in ["hook_embed", *(f"blocks.1.{suffix}" for suffix in sorted(written))]:
        (logits,) = logit_lens(Lm(hf), given, hookpoint)
        assert logits.dtype == torch.float32
        assert_close(logits, (given.double() @ folded(hf, family).T).float())


@every_family
def test_the_lens_is_one_product_with_what_is_folded_once(family: str) -> None:
    """In the stream's own axes; elsewhere what an axis carries there comes before."""
    lm = Lm(small_lm(family))
    assert_close(unembedding(lm), folded(lm.hf, family).float())
    written = {"attn.hook_z", "hook_attn_out", "mlp.hook_post", "hook_mlp_out", "hook_resid_post"}
    for suffix in sorted(written & {*by_hand.suffixes_of(family)}):
        hookpoint = f"blocks.1.{suffix}"
        given = directions(5, lm.width(hookpoint))
        way = carried(lm, hookpoint)
        assert (way is None) <= (lm.width(hookpoint) == D_MODEL)
        (logits,) = logit_lens(lm, given, hookpoint)
        assert_close(logits, (given if way is None else given @ way) @ unembedding(lm).T)


@every_family
def test_the_lens_is_the_slope_of_the_logits_at_the_scale_that_the_norm_has(family: str) -> None:
    hf = small_lm(family)
    final_norm = by_hand.final_norm_of(hf, family)
    x = Lm(hf).activations(TOKENS, "blocks.2.hook_resid_post")[0, -1].double()
    given = directions(1, D_MODEL)[0].double()
    if type(final_norm).__name__ == "LayerNorm":
        x, given = x - x.mean(), given - given.mean()
    given -= x * (given @ x) / (x @ x)  # along this the scale stays
    step = 1e-5 * given
    forward, back = (by_hand.normed(final_norm, each) @ hf.lm_head.weight.double().T for each in (x + step, x - step))
    slope = (forward - back) / 2e-5
    scale = by_hand.normalized(final_norm, x) @ x / (x @ x)
    (lens,) = logit_lens(Lm(hf), given.float()[None], "blocks.2.hook_resid_post")
    assert_close(lens[0], ((slope - slope.mean()) / scale).float())


def stream_change(lm: Lm, hookpoint: str, reached: str, given: Tensor) -> Tensor:
    """By how much a hookpoint moves where a direction is added at another."""
    seen: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    lm.logits(TOKENS, {reached: look})
    lm.logits(TOKENS, {hookpoint: lambda x: x + given, reached: look})
    return (seen[1] - seen[0])[0, 0]


@at_each(
    ["attn.hook_z", "hook_attn_out", "mlp.hook_post", "hook_mlp_out"],
    [each for each in FAMILIES if each not in GEMMAS_WITH_POST_NORMS],
)
def test_a_direction_arrives_in_the_residual_stream_as_it_is_carried(family: str, suffix: str) -> None:
    lm = Lm(small_lm(family))
    before_mlp = "attn" in suffix and "hook_resid_mid" in by_hand.suffixes_of(family)
    reached = "blocks.1.hook_resid_mid" if before_mlp else "blocks.1.hook_resid_post"
    given = directions(4, lm.width(f"blocks.1.{suffix}"))
    carried = to_residual(lm, given, f"blocks.1.{suffix}")
    assert carried.shape == (4, D_MODEL)
    for each, expected in zip(given, carried, strict=True):
        found = stream_change(lm, f"blocks.1.{suffix}", reached, each)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", GEMMAS_WITH_POST_NORMS)
@pytest.mark.parametrize(
    ("suffix", "projection", "post_norm", "between"),
    [
        ("attn.hook_z", "self_attn.o_proj", "post_attention_layernorm", "self_attn.output"),
        ("mlp.hook_post", "mlp.down_proj", "post_feedforward_layernorm", "mlp.output"),
    ],
)
def test_gemma_s_post_norm_multiplies_by_its_gain(
    family: str, suffix: str, projection: str, post_norm: str, between: str
) -> None:
    hf = small_lm(family)
    lm = Lm(hf)
    block = by_hand.block(hf, family, 1)
    gain = 1 + block.get_submodule(post_norm).weight
    given = directions(4, lm.width(f"blocks.1.{suffix}"))
    expected = given @ block.get_submodule(projection).weight.T * gain
    assert_close(to_residual(lm, given, f"blocks.1.{suffix}"), expected)
    raw = directions(4, D_MODEL)
    for name in (between, f"{projection}.output", f"{post_norm}.input"):
        assert_close(to_residual(lm, raw, f"model.layers.1.{name}"), raw * gain)
    assert torch.equal(to_residual(lm, raw, f"model.layers.1.{post_norm}.output"), raw)
    (lens,) = logit_lens(lm, given, f"blocks.1.{suffix}")
    assert_close(lens, (expected.double() @ folded(hf, family).T).float())


@at_each(READING)
def test_where_nothing_is_written_there_is_no_lens(family: str, suffix: str) -> None:
    lm = Lm(small_lm(family))
    expected = f"blocks.1.{suffix}: nothing is written to the residual stream there, so .* at its output hookpoint"
    with pytest.raises(BadInput, match=expected):
        logit_lens(lm, directions(2, D_MODEL), f"blocks.1.{suffix}")


def test_the_norm_of_parallel_blocks_reads_and_does_not_write() -> None:
    lm = Lm(small_lm("gpt_neox"))
    with pytest.raises(BadInput, match="nothing is written"):
        to_residual(lm, directions(2, D_MODEL), "gpt_neox.layers.1.post_attention_layernorm.input")


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_blocks_hold_no_more_than_their_bytes(rows: int) -> None:
    lm = Lm(small_lm("gpt2"))
    given = directions(7, D_MODEL)
    blocks = list(logit_lens(lm, given, "blocks.1.hook_resid_post", block_bytes=rows * VOCAB * 4 + 3))
    assert [len(each) for each in blocks] == [min(rows, 7 - at) for at in range(0, 7, rows)]
    (whole,) = logit_lens(lm, given, "blocks.1.hook_resid_post")
    assert_close(torch.cat(blocks), whole)
    one_by_one = logit_lens(lm, given, "blocks.1.hook_resid_post", block_bytes=1)
    assert [len(each) for each in one_by_one] == [1] * 7


@pytest.mark.parametrize("block_bytes", [2**20, 3 * VOCAB * 4])
def test_the_top_tokens_and_the_shape_of_the_rest(block_bytes: int) -> None:
    hf = small_lm("llama")
    given = directions(7, D_MODEL)
    given[3] = 0
    logits = (given.double() @ folded(hf, "llama").T).numpy()
    found = top_logits(Lm(hf), given, "blocks.1.hook_resid_post", k=5, block_bytes=block_bytes)
    order = np.argsort(logits, axis=1)
    moving = [0, 1, 2, 4, 5, 6]
    assert found.top_ids.dtype == found.bottom_ids.dtype == torch.int64
    np.testing.assert_array_equal(found.top_ids[moving], order[moving, ::-1][:, :5])
    np.testing.assert_array_equal(found.bottom_ids[moving], order[moving, :5])
    np.testing.assert_allclose(found.top_values, np.sort(logits)[:, ::-1][:, :5], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.bottom_values, np.sort(logits)[:, :5], rtol=1e-5, atol=1e-5)
    std = logits.std(axis=1)
    z = logits[moving] / std[moving, None]
    np.testing.assert_allclose(found.std, std, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.skew[moving], (z**3).mean(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.kurtosis[moving], (z**4).mean(axis=1) - 3, rtol=1e-4, atol=1e-5)
    assert found.std[3] == found.skew[3] == found.kurtosis[3] == 0


def test_no_directions_have_no_tops() -> None:
    found = top_logits(Lm(small_lm("llama")), torch.zeros(0, D_MODEL), "blocks.1.hook_resid_post", k=5)
    assert (found.top_ids.shape, found.kurtosis.shape) == ((0, 5), (0,))


def test_huge_directions_keep_their_shape() -> None:
    lm = Lm(small_lm("llama"))
    small, huge = (top_logits(lm, directions(2, D_MODEL) * by, "blocks.1.hook_resid_post") for by in (1, 1e15))
    assert_close(huge.kurtosis, small.kurtosis)


def test_a_lm_in_low_precision_is_multiplied_in_float32() -> None:
    lm = Lm(new_lm("gemma2").to(torch.bfloat16))
    given = directions(3, lm.width("blocks.1.attn.hook_z"))
    (lens,) = logit_lens(lm, given, "blocks.1.attn.hook_z")
    exact = Lm(new_lm("gemma2").to(torch.bfloat16).float())
    (expected,) = logit_lens(exact, given, "blocks.1.attn.hook_z")
    assert_close(lens, expected)


@every_family
def test_embeddings_are_what_the_first_block_reads(family: str) -> None:
    hf = small_lm(family)
    lm = Lm(hf)
    read = lm.activations(torch.arange(VOCAB)[:, None], "blocks.0.hook_resid_pre")[:, 0]
    positions = hf.transformer.wpe.weight[0] if family == "gpt2" else 0
    for hookpoint in ("blocks.0.hook_resid_pre", "blocks.2.hook_resid_post"):
        assert_close(embedding_inputs(lm, hookpoint), read - positions)
    if "gemma" in family:
        assert_close(embedding_inputs(lm, hookpoint), hf.get_input_embeddings().weight * D_MODEL**0.5)


@pytest.mark.parametrize("block_bytes", [2**20, 3 * VOCAB * 4])
@pytest.mark.parametrize("family", ["gpt2", "gemma"])
def test_the_tokens_that_an_encoder_reads_most(family: str, block_bytes: int) -> None:
    hf = small_lm(family)
    W_enc = directions(D_MODEL, 7)
    scale = 4.0 if family == "gemma" else 1.0
    values = (hf.get_input_embeddings().weight.double() * scale).numpy() @ W_enc.double().numpy()  # (n_vocab, n)
    values = (values - values.mean(axis=0)).T
    found = top_inputs(Lm(hf), W_enc, "blocks.0.hook_resid_pre", k=4, block_bytes=block_bytes)
    np.testing.assert_array_equal(found.ids, np.argsort(-values, axis=1)[:, :4])
    np.testing.assert_allclose(found.values, -np.sort(-values, axis=1)[:, :4], rtol=1e-5, atol=1e-5)


def test_embeddings_are_read_in_the_residual_stream_alone() -> None:
    lm = Lm(small_lm("gpt2"))
    for hookpoint in ("blocks.0.hook_mlp_out", "blocks.0.ln2.hook_normalized", "transformer.wpe.output"):
        with pytest.raises(BadInput, match="embeddings are read in the residual stream alone"):
            embedding_inputs(lm, hookpoint)


@pytest.mark.parametrize("shape", [(5, 17), (D_MODEL,), (1, 5, D_MODEL)])
def test_directions_have_to_fit(shape: tuple[int, ...]) -> None:
    lm = Lm(small_lm("gpt2"))
    with pytest.raises(BadInput, match=re.escape(f"directions are {shape}, expected (n, 16)")):
        top_logits(lm, torch.zeros(shape), "blocks.1.hook_resid_post")
    with pytest.raises(BadInput, match=re.escape("directions are (16, 5), expected (n, 16); is it transposed?")):
        top_logits(lm, torch.zeros(D_MODEL, 5), "blocks.1.hook_resid_post")


@pytest.mark.parametrize("k", [0, VOCAB + 1])
def test_k_has_to_fit(k: int) -> None:
    lm = Lm(small_lm("gpt2"))
    with pytest.raises(BadInput, match=f"k is {k}, expected 1 to {VOCAB}, the tokens of gpt2"):
        top_logits(lm, directions(2, D_MODEL), "blocks.1.hook_resid_post", k=k)
    with pytest.raises(BadInput, match=f"k is {k}, expected 1 to {VOCAB}, the tokens of gpt2"):
        top_inputs(lm, directions(D_MODEL, 2), "blocks.1.hook_resid_post", k=k)


def test_an_unknown_architecture_has_no_lens_but_its_embeddings() -> None:
    sizes = {
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    lm = Lm(OPTForCausalLM(OPTConfig(vocab_size=VOCAB, **sizes)))
    given = directions(2, D_MODEL)
    assert torch.equal(to_residual(lm, given, "blocks.1.hook_resid_post"), given)
    with pytest.raises(BadInput, match="the logit lens needs the final norm, and where that lies in opt is not known"):
        logit_lens(lm, given, "blocks.1.hook_resid_post")
    assert torch.equal(embedding_inputs(lm, "blocks.0.hook_resid_pre"), lm.hf.get_input_embeddings().weight)
