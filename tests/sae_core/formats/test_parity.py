"""Every format's forward against its own library's, restated in `written`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_core.config import Family
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.formats import load_sae, recognise, save_sae
from sae_core.sae import Sae
from tests.sae_core.formats import written
from tests.sae_core.formats.written import Written

SAELENS: dict[str, dict[str, Any]] = {
    "standard": {},
    "jumprelu": {"architecture": "jumprelu"},
    "gated": {"architecture": "gated"},
    "transcoder": {"architecture": "transcoder"},
    "skip transcoder": {"architecture": "skip_transcoder"},
    "jumprelu transcoder": {"architecture": "jumprelu_transcoder"},
    "jumprelu skip transcoder": {"architecture": "jumprelu_skip_transcoder"},
    "topk": {"architecture": "topk", "cfg": {"k": 4}},
    "topk rescaled": {"architecture": "topk", "cfg": {"k": 4, "rescale_acts_by_decoder_norm": True}},
    "abstopk": {"architecture": "abstopk", "cfg": {"k": 4}},
    "batchtopk checkpoint": {"architecture": "batchtopk", "cfg": {"k": 4.0, "rescale_acts_by_decoder_norm": True}},
    "matryoshka checkpoint": {
        "architecture": "matryoshka_batchtopk",
        "cfg": {"k": 4, "matryoshka_widths": [5, 15]},
    },
    "checkpoint with its scale beside": {
        "cfg": {"normalize_activations": "expected_average_only_in"},
        "files": {"activation_scaler.json": {"scaling_factor": 2.5}},
    },
    "no pre-bias": {"cfg": {"apply_b_dec_to_input": False}},
    "layer norm": {"cfg": {"normalize_activations": "layer_norm"}},
    "constant norm": {"cfg": {"normalize_activations": "constant_norm_rescale"}},
    "layer norm transcoder": {"architecture": "transcoder", "cfg": {"normalize_activations": "layer_norm"}},
    "log threshold": {"architecture": "jumprelu", "log_threshold": True},
    "before 6": {"old": True},
    "before 6, topk": {"old": True, "cfg": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}},
    "before 6, scaled in fine-tuning": {"old": True, "cfg": {"finetuning_scaling_factor": True}},
}
SPARSIFY: dict[str, dict[str, Any]] = {
    "residual": {},
    "of all": {"name": "layers.5.mlp"},
    "attention": {"name": "h.5.attn"},
    "embedding": {"name": "embed_tokens"},
    "signed": {"signed": True},
    "groupmax": {"activation": "groupmax"},
    "transcoder": {"name": "layers.5.mlp", "transcode": True},
    "skip transcoder": {"name": "layers.5.mlp", "transcode": True, "skip_connection": True},
    "skip": {"skip_connection": True},
}
DICTIONARY_LEARNING = (
    "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "JumpReluAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
)  # fmt: skip
LLAMA_SCOPE: dict[str, dict[str, Any]] = {
    "one threshold": {"decoder_norm": False},
    "decoder norm": {"decoder_norm": True},
    "pre-bias": {"decoder_norm": True, "pre_bias": True},
    "threshold for each": {"decoder_norm": True, "vector": True},
}

CASES: dict[str, Callable[[Path], Written]] = {
    **{f"SAELens, {name}": partial(written.saelens, **kwargs) for name, kwargs in SAELENS.items()},
    **{
        f"Gemma Scope, {kind}": partial(written.gemma_scope, kind=kind)
        for kind in ("res", "mlp", "att", "transcoders", "embedding")
    },
    **{
        f"Gemma Scope 2, {kind}": partial(written.gemma_scope_2, kind=kind)
        for kind in ("resid_post", "attn_out", "transcoder_affine", "elsewhere")
    },
    **{f"OpenAI, {kind}": partial(written.openai, activation=kind) for kind in ("ReLU", "TopK")},
    **{f"sparsify, {name}": partial(written.sparsify, **kwargs) for name, kwargs in SPARSIFY.items()},
    **{
        f"dictionary_learning, {each}": partial(written.dictionary_learning, dict_class=each)
        for each in DICTIONARY_LEARNING
    },
    **{f"Llama Scope, {name}": partial(written.llama_scope, **kwargs) for name, kwargs in LLAMA_SCOPE.items()},
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Written]:
    return request.param.split(",")[0], CASES[request.param](tmp_path)


def inputs() -> torch.Tensor:
    return written.draw(99, 200, written.D) * 2 + 0.3


def test_forward_is_the_librarys_own(case: tuple[str, Written]) -> None:
    name, file = case
    assert name == recognise(file.path)[0].NAME
    sae, x = load_sae(file.path), inputs()
    assert {key: getattr(sae.config, key) for key in file.expected} == file.expected
    assert sae.config.source == name
    acts, theirs = sae.encode(x), file.encode(x)
    assert 0.02 < float((theirs != 0).float().mean()) < 0.98
    _same_firing(sae, acts, theirs)
    torch.testing.assert_close(sae(x), file.decode(theirs, x), rtol=1e-5, atol=1e-5)


def _same_firing(sae: Sae, acts: torch.Tensor, theirs: torch.Tensor) -> None:
    """The same latents fire, as strongly up to one factor for each, which folding may choose."""
    assert torch.equal(acts != 0, theirs != 0)
    ratios = torch.where(theirs != 0, acts / theirs, torch.nan)
    fires = (theirs != 0).any(0)
    spread = ratios.nan_to_num(0).max(0).values - ratios.nan_to_num(torch.inf).min(0).values
    assert float(spread[fires].abs().max()) < 1e-3


def test_latents_are_the_librarys_own_where_nothing_is_folded(tmp_path: Path) -> None:
    """Above, a factor for each latent is allowed; these have none."""
    for each in (
        written.saelens(tmp_path / "a", "topk", cfg={"k": 4, "rescale_acts_by_decoder_norm": True}),
        written.saelens(tmp_path / "b", "gated"),
        written.gemma_scope(tmp_path / "c", "res"),
        written.dictionary_learning(tmp_path / "d", "AutoEncoder"),
        written.llama_scope(tmp_path / "e", decoder_norm=True),
    ):
        torch.testing.assert_close(load_sae(each.path).encode(inputs()), each.encode(inputs()), rtol=1e-5, atol=1e-5)


def test_a_canonical_gemma_scope_is_of_the_same_hookpoint(tmp_path: Path) -> None:
    made = written.gemma_scope(tmp_path, "mlp").path
    renamed = tmp_path / "gemma-scope-2b-pt-mlp-canonical" / "layer_7" / "width_16k"
    renamed.mkdir(parents=True)
    made.rename(renamed / "canonical")
    assert load_sae(renamed / "canonical").hookpoint == "blocks.7.hook_mlp_out"


def test_nothing_says_where_it_reads(tmp_path: Path) -> None:
    made = written.gemma_scope(tmp_path / "made", "mlp").path
    (made / "params.npz").rename(tmp_path / "params.npz")
    with pytest.warns(DoubtfulInput, match="nothing in its path says which hookpoint"):
        assert load_sae(tmp_path / "params.npz").hookpoint == ""


def test_written_in_ours_and_read_again(case: tuple[str, Written], tmp_path: Path) -> None:
    """Losslessly: every tensor and the whole configuration."""
    sae = load_sae(case[1].path)
    again = load_sae(save_sae(sae, tmp_path / "ours"))
    assert again.config == sae.config
    ours, theirs = again.tensors(), sae.tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(again(inputs()), sae(inputs()))


def test_written_for_saelens_and_read_again(case: tuple[str, Written], tmp_path: Path) -> None:
    """The same forward, or said why not."""
    sae = load_sae(case[1].path)
    if sae.config.family == Family.GROUPMAX or (sae.config.family == Family.TOPK and sae.config.transcoder):
        with pytest.raises(BadInput, match="write this one in our own format"):
            save_sae(sae, tmp_path / "theirs", format="saelens")
        return
    if sae.config.family == Family.TOPK and sae.W_skip is not None:
        with pytest.raises(BadInput, match="SAELens has no topk transcoders"):
            save_sae(sae, tmp_path / "theirs", format="saelens")
        return
    again = load_sae(save_sae(sae, tmp_path / "theirs", format="saelens"))
    torch.testing.assert_close(again(inputs()), sae(inputs()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again.encode(inputs()), sae.encode(inputs()), rtol=1e-5, atol=1e-5)
    kept = ("hookpoint", "hookpoint_out", "lm", "context_length", "prepend_bos", "centred")
    assert [getattr(again.config, each) for each in kept] == [getattr(sae.config, each) for each in kept]


def test_a_weight_file_stands_for_its_folder(case: tuple[str, Written]) -> None:
    name, file = case
    folder = file.path if file.path.is_dir() else file.path.parent
    weights = [each for each in folder.rglob("*") if each.suffix in (".safetensors", ".npz", ".pt")]
    assert len(weights) == 1
    assert name == recognise(weights[0])[0].NAME
    assert torch.equal(load_sae(weights[0])(inputs()), load_sae(file.path)(inputs()))
