import json
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from sae_core.errors import BadInput
from sae_core.lm import Lm, load_lm
from tests.sae_core import small_tokenizers
from tests.sae_core.small_lms import (
    D_MODEL,
    FAMILIES,
    LAYERS,
    LONGEST,
    VOCAB,
    new_lm,
    save_small_lm,
    small_lm,
    some_tokens,
)  # fmt: skip

TOKENS = some_tokens()


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_small_lm(tmp_path / "gpt2-small", "gpt2")
    return tmp_path / "gpt2-small"


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_saved_is_loaded(family: str, tmp_path: Path) -> None:
    saved = save_small_lm(tmp_path / "a name", family)
    lm = load_lm(tmp_path / "a name", device="cpu")
    assert (lm.name, lm.d_model, lm.n_layers, lm.n_vocab, lm.max_length) == ("a name", D_MODEL, LAYERS, VOCAB, LONGEST)
    assert (lm.device, lm.dtype, lm.tokenizer) == (torch.device("cpu"), torch.float32, None)
    assert not any(each.requires_grad for each in lm.hf.parameters())
    with torch.no_grad():
        expected = saved(TOKENS).logits
    assert torch.equal(lm.logits(TOKENS), expected)
    assert torch.equal(lm.logits(TOKENS), expected)  # no dropout
    assert Lm(saved).layout.architecture == lm.layout.architecture


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_other_precisions_when_asked_for(dtype: str | torch.dtype, folder: Path) -> None:
    lm = load_lm(str(folder), dtype=dtype)
    assert lm.dtype == torch.bfloat16
    x = lm.activations(TOKENS, "blocks.1.ln2.hook_normalized")
    assert x.dtype == torch.bfloat16
    torch.testing.assert_close(
        x.float(), load_lm(folder).activations(TOKENS, "blocks.1.ln2.hook_normalized"), rtol=0.1, atol=0.1
    )
    assert lm.logits(TOKENS, {"blocks.1.ln2.hook_normalized": lambda x: x.float()}).dtype == torch.bfloat16


def test_several_threads_may_load_at_once() -> None:
    """Where two tied weights are one, as in the demo's."""
    demo = Path(__file__).resolve().parents[2] / "demo/lms"
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(load_lm, [demo / "deep", demo / "one-layer"] * 6))
    for of_one in (found[::2], found[1::2]):
        assert len({lm.fingerprint for lm in of_one}) == 1


def test_weights_in_lower_precision_are_loaded_in_float32(tmp_path: Path) -> None:
    new_lm("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_lm(tmp_path).dtype == torch.float32


def test_weights_in_several_files_are_loaded(tmp_path: Path) -> None:
    saved = new_lm("llama")
    saved.save_pretrained(tmp_path, max_shard_size="10KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    with torch.no_grad():
        assert torch.equal(load_lm(tmp_path).logits(TOKENS), saved(TOKENS).logits)
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:-1])
    with pytest.raises(BadInput, match=f"{re.escape(str(shards[1]))} is not a whole safetensors file"):
        load_lm(tmp_path)
    shards[1].unlink()
    with pytest.raises(
        BadInput, match=f"{re.escape(str(shards[1]))} is missing; model.safetensors.index.json names it"
    ):
        load_lm(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "../other.safetensors"}}')
    with pytest.raises(BadInput, match=r"names .\.\./other\.safetensors., expected a file beside it"):
        load_lm(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(BadInput, match="does not name the files of the weights"):
        load_lm(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "empty"), (b"\xff" * 400, "no header"), (struct.pack("<Q", 2) + b"{}" + b"more", "longer than it says")],
)
def test_a_damaged_file_is_named(content: bytes, what: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=r"gpt2-small/model\.safetensors is not a whole safetensors file"):
        load_lm(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for wrong in (tmp_path / "no", Path("no"), "./no", "~/surely/not/here", "a/b/c", "two words"):
        with pytest.raises(BadInput, match=f"^{re.escape(str(wrong))}: there is no such folder"):
            load_lm(wrong)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="file is a file; give the folder that holds it"):
        load_lm(tmp_path / "file")


def test_what_neither_lies_here_nor_comes_from_the_hub() -> None:
    with pytest.raises(BadInput, match=r"^nobody/no-such-lm: neither a folder here nor an lm that the Hub gives: "):
        load_lm("nobody/no-such-lm")


def test_what_a_folder_lacks_is_said(folder: Path) -> None:
    (folder / "config.json").rename(folder / "else.json")
    with pytest.raises(BadInput, match=f"{re.escape(str(folder))}: there is no config.json"):
        load_lm(folder)
    (folder / "else.json").rename(folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=f"{re.escape(str(folder))}: expected model.safetensors, found no weights"):
        load_lm(folder)


def test_pickles_stay_closed(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = r"found pytorch_model\.bin\. .* call save_pretrained\(folder, safe_serialization=True\)"
    with pytest.raises(BadInput, match=expected):
        load_lm(folder)


def test_weights_that_do_not_fit_the_config_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    change_config(folder, n_inner=44)
    with pytest.raises(
        BadInput, match=r"transformer\.h\.0\.mlp\.c_fc\.bias is \(40,\), expected \(44,\) by its config"
    ):
        load_lm(folder)
    change_config(folder, n_inner=40)
    del weights["transformer.h.1.ln_2.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"lack 1 of the weights, transformer\.h\.1\.ln_2\.weight among them"):
        load_lm(folder)


def test_a_config_that_cannot_be_used_is_refused(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    for wrong in ("{", "[]", "{}", '{"model_type": "no-such-type"}', config.replace('"n_head": 2', '"n_head": "two"')):
        (folder / "config.json").write_text(wrong)
        with pytest.raises(BadInput, match=r"its config\.json cannot be used: "):
            load_lm(folder)
    (folder / "config.json").write_text(config.replace('"n_head": 2', '"n_head": 5'))
    with pytest.raises(BadInput, match="its weights cannot be loaded: `embed_dim` must be divisible by num_heads"):
        load_lm(folder)


def test_what_is_no_causal_lm_is_refused(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(tmp_path / "bert")
    with pytest.raises(BadInput, match="bert is not a causal language model: its config says BertForMaskedLM"):
        load_lm(tmp_path / "bert")
    t5 = T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=9)
    T5ForConditionalGeneration(t5).save_pretrained(tmp_path / "t5")
    with pytest.raises(BadInput, match="t5 is not a causal language model: its config says T5ForConditionalGeneration"):
        load_lm(tmp_path / "t5")


def test_code_beside_the_weights_is_not_run(folder: Path) -> None:
    (folder / "modeling_evil.py").write_text("raise SystemExit('this was run')")
    classes = {"AutoConfig": "modeling_evil.EvilConfig", "AutoModelForCausalLM": "modeling_evil.Evil"}
    change_config(folder, auto_map=classes)
    load_lm(folder)  # its type is known, and so is its code
    change_config(folder, model_type="evil")
    with pytest.raises(BadInput, match=r"its config\.json cannot be used"):
        load_lm(folder)


def test_the_tokenizer_comes_along_and_has_to_fit(folder: Path) -> None:
    words = [f"word{index}" for index in range(VOCAB - 4)]
    small_tokenizers.save(small_tokenizers.words(words), folder)
    lm = load_lm(folder)
    assert lm.tokenizer is not None
    assert lm.tokenizer.n_vocab == VOCAB
    small_tokenizers.save(small_tokenizers.words([*words, "one", "two"]), folder)
    expected = f"gpt2-small: its tokenizer has {VOCAB + 2} tokens and its lm {VOCAB} embeddings, so that token {VOCAB} "
    with pytest.raises(BadInput, match=expected):
        load_lm(folder)


def test_a_special_token_may_lie_beyond_the_embeddings(folder: Path) -> None:
    """As that for images does in Gemma 3 1B; no text gives it."""
    backend = small_tokenizers.words([f"word{index}" for index in range(VOCAB - 4)])
    backend.add_special_tokens(["<image>"])
    small_tokenizers.save(backend, folder)
    tokenizer = load_lm(folder).tokenizer
    assert tokenizer is not None
    assert tokenizer.n_vocab == VOCAB + 1


@pytest.mark.parametrize(
    ("bos", "pad", "mask_ids", "bos_id"),
    [(5, 2, (2, 5), 5), (None, None, (), None), (None, 2, (2,), None), ([7, 5], 5, (5, 7), 7), (4, -1, (4,), 4)],
)
def test_beginning_and_padding_are_masked(bos: Any, pad: Any, mask_ids: tuple[int, ...], bos_id: int | None) -> None:
    hf = new_lm("llama")
    for name, value in (("bos_token_id", bos), ("pad_token_id", pad)):
        object.__setattr__(hf.config, name, value)  # Llama's own config would not take a list
    lm = Lm(hf)
    assert (lm.mask_ids, lm.bos_id) == (mask_ids, bos_id)


def test_a_multimodal_lm_masks_by_the_config_of_its_text_tower() -> None:
    assert Lm(small_lm("gemma3")).mask_ids == (0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", ">u2", "uint64"])
def test_tokens_of_any_whole_type(dtype: str) -> None:
    lm = Lm(small_lm("gpt2"))
    expected = lm.activations(TOKENS, "blocks.1.hook_resid_pre")
    array = TOKENS.numpy().astype(dtype)
    array.flags.writeable = False  # as a memmap's
    assert torch.equal(lm.activations(array, "blocks.1.hook_resid_pre"), expected)
    if dtype not in (">u2", "uint64"):
        assert torch.equal(lm.activations(torch.from_numpy(array.copy()), "blocks.1.hook_resid_pre"), expected)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([1, 2]), "of shape (2,), expected (contexts, length)"),
        (torch.zeros(2, 2, 2, dtype=torch.int64), "of shape (2, 2, 2), expected (contexts, length)"),
        (torch.zeros(0, 4, dtype=torch.int64), "of shape (0, 4), expected (contexts, length), both above 0"),
        (torch.zeros(2, 4), "the tokens are torch.float32, expected"),
        (np.zeros((2, 4)), "the tokens are float64, expected"),
        (torch.zeros(2, 4, dtype=torch.bool), "the tokens are torch.bool, expected"),
        ([[1, 2], [3]], "the tokens are no rows of whole numbers, all of one length"),
        ([["a"]], "the tokens are no rows of whole numbers"),
        ([[0.5]], "the tokens are torch.float32, expected"),
        (
            torch.tensor([[1, VOCAB]]),
            "token id 48 does not exist in gpt2, whose ids are 0 to 47 (n_vocab is 48); were the",
        ),
        (torch.tensor([[-1, 5]]), "token id -1 does not exist in gpt2"),
        (torch.zeros(1, LONGEST + 1, dtype=torch.int64), "the contexts are 33 tokens long; gpt2 takes at most 32"),
    ],
)
def test_tokens_that_cannot_be_run_are_refused(tokens: Any, message: str) -> None:
    lm = Lm(small_lm("gpt2"))
    with pytest.raises(BadInput, match=re.escape(message)):
        lm.activations(tokens, "blocks.0.hook_resid_pre")
    with pytest.raises(BadInput, match=re.escape(message)):
        lm.logits(tokens)


def test_the_longest_context_and_every_id_can_be_run() -> None:
    lm = Lm(small_lm("gpt2"))
    assert lm.logits(torch.arange(LONGEST)[None] + VOCAB - LONGEST).shape == (1, LONGEST, VOCAB)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_right_changes_nothing_before_it(family: str) -> None:
    lm = Lm(small_lm(family))
    padded = TOKENS.clone()
    padded[:, 5:] = 0
    short, long = (lm.activations(each, "blocks.2.hook_resid_post") for each in (TOKENS[:, :5], padded))
    torch.testing.assert_close(long[:, :5], short, rtol=1e-5, atol=1e-5)


def test_centred_takes_each_position_s_mean() -> None:
    lm = Lm(small_lm("gpt2"))
    x = lm.activations(TOKENS, "blocks.1.hook_resid_pre")
    centred = lm.activations(TOKENS, "blocks.1.hook_resid_pre", centred=True)
    np.testing.assert_allclose(centred, x.numpy() - x.numpy().mean(axis=2)[:, :, None], rtol=1e-5, atol=1e-6)
    assert x.mean(-1).abs().max() > 0.1
