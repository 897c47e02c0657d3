"""SAEs made for one way of reading an lm, given another: the check finds the way back."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_core.config import Family, Normalise, SaeConfig
from sae_core.errors import BadInput
from sae_core.fit import check_fit
from sae_core.folding import scaled_inputs
from sae_core.lm import Lm
from sae_core.normalise import normalise
from sae_core.sae import Sae
from tests.sae_core import small_lms

BOS = 1
HOOKPOINT = "blocks.1.hook_resid_post"


WIDTH = 48


def made(*, own_means: float, read_bos: float) -> Lm:
    """Each block writes a subspace of its own; tokens differ in norm and mean, and all may read beginning of text."""
    hf = small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=0, n_embd=WIDTH)
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        wte, wpe = hf.transformer.wte.weight, hf.transformer.wpe.weight
        wte.copy_(
            draw(small_lms.VOCAB, 8) @ draw(8, WIDTH) * draw(small_lms.VOCAB, 1).exp()
            + own_means * draw(small_lms.VOCAB, 1)
        )
        wte[BOS] = 0
        wte[:, -1] = 0
        wte[BOS, -1] = 40  # an axis that only it has, and that attention copies to what follows
        wpe.copy_((25 * draw(WIDTH)).expand_as(wpe))  # a mean that is large, so that a scale moves it
        for layer, block in enumerate(hf.transformer.h):
            block.mlp.c_proj.weight.copy_(draw(small_lms.D_MLP, 5) @ draw(5, WIDTH) * 0.5 * 2**layer)
            block.mlp.c_proj.bias.zero_()
            block.attn.c_proj.weight.mul_(1.0 if layer == 0 else 0.1)
        first = hf.transformer.h[0].attn
        first.c_attn.bias[:WIDTH] = 3  # every query …
        first.c_attn.weight[-1, WIDTH : 2 * WIDTH] = 3  # … finds its key
        first.c_attn.weight[-1, 2 * WIDTH :] = read_bos * draw(WIDTH)
    return Lm(hf)


@pytest.fixture(scope="module")
def lm() -> Lm:
    return made(own_means=30, read_bos=0)


@pytest.fixture(scope="module")
def contexts() -> np.ndarray[Any, Any]:
    rows = np.random.default_rng(0).integers(3, small_lms.VOCAB, size=(220, 20))
    rows[:, 0] = BOS
    return rows


def what_passes(lm: Lm, rows: np.ndarray[Any, Any], hookpoint: str = HOOKPOINT, *, centred: bool = False) -> Tensor:
    x = lm.activations(rows, hookpoint, centred=centred)
    return x[torch.from_numpy(rows != BOS)]


def subspace_sae(x: Tensor, rank: int = 3, **settings: Any) -> Sae:
    """Its latents are the two sides of the leading axes of some activations: it fits these and not others."""
    mean = x.mean(0)
    _, _, axes = torch.linalg.svd(x - mean, full_matrices=False)
    rows = torch.cat([axes[:rank], -axes[:rank]])
    described: dict[str, Any] = {"family": Family.RELU, "n_latents": 2 * rank, "hookpoint": HOOKPOINT} | settings
    config = SaeConfig(d_in=x.shape[1], subtract_b_dec=True, **described)
    return Sae(config, {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": torch.zeros(2 * rank), "b_dec": mean})


def test_one_that_fits_is_left_alone(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    x = what_passes(lm, contexts)
    sae = subspace_sae(x)
    fit = check_fit(lm, sae, contexts)
    chosen = x  # 4,000 tokens of 4,180: the same to a percent
    expected = float((chosen - sae(chosen)).square().sum() / (chosen - chosen.mean(0)).square().sum())
    assert fit.as_it_is.fvu == pytest.approx(expected, rel=0.05)
    assert fit.as_it_is.l0 == 3
    assert (fit.tried, fit.better, fit.sae) == ((), None, sae)


def found(lm: Lm, sae: Sae, rows: np.ndarray[Any, Any], what: str) -> Sae:
    fit = check_fit(lm, sae, rows)
    assert fit.better is not None, [(each.what, each.fvu) for each in fit.tried]
    assert fit.better.what == what
    assert fit.better.fvu < 0.3 < fit.as_it_is.fvu
    assert fit.message.startswith(f"{what} gives FVU {fit.better.fvu:.2f} instead of {fit.as_it_is.fvu:.2f}; use it?")
    return fit.sae


def test_centred(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    x = what_passes(lm, contexts, centred=True)
    adopted = found(lm, subspace_sae(x), contexts, "centred")
    assert adopted.config.centred
    assert check_fit(lm, adopted, contexts).better is None
    plain = subspace_sae(what_passes(lm, contexts), centred=True)
    assert not found(lm, plain, contexts, "not centred").config.centred


def test_beginning_of_text(contexts: np.ndarray[Any, Any]) -> None:
    lm = made(own_means=0, read_bos=15)
    without = contexts[:, 1:]
    found(lm, subspace_sae(what_passes(lm, contexts)), without, "with beginning of text")
    found(lm, subspace_sae(what_passes(lm, without)), contexts, "without beginning of text")


@pytest.mark.parametrize("layer", [0, 2])
def test_the_layer_beside(lm: Lm, contexts: np.ndarray[Any, Any], layer: int) -> None:
    """Whoever counts layers otherwise."""
    sae = subspace_sae(what_passes(lm, contexts), hookpoint=f"blocks.{layer}.hook_resid_post")
    adopted = found(lm, sae, contexts, f"read at {HOOKPOINT}")
    assert adopted.hookpoint == adopted.hookpoint_out == HOOKPOINT


@pytest.mark.parametrize("kind", [Normalise.LAYER_NORM, Normalise.CONSTANT_NORM])
def test_normalised(lm: Lm, contexts: np.ndarray[Any, Any], kind: Normalise) -> None:
    z = normalise(what_passes(lm, contexts), kind).x
    adopted = found(lm, subspace_sae(z), contexts, f"with {kind}")
    assert adopted.config.normalise == kind


def test_scaled(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    x = what_passes(lm, contexts)
    scale = x.shape[1] ** 0.5 / float(x.norm(dim=1).mean())
    sae = subspace_sae(x * scale)
    adopted = found(lm, sae, contexts, "scaled to the average norm √d")
    torch.testing.assert_close(adopted(x), scaled_inputs(sae, scale)(x), rtol=0.02, atol=0.02)


def test_two_changes_at_once(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    there = "blocks.2.hook_resid_post"
    sae = subspace_sae(what_passes(lm, contexts, there, centred=True))
    adopted = found(lm, sae, contexts, f"centred and read at {there}")
    assert adopted.config.centred
    assert adopted.hookpoint == there


def test_a_second_change_that_gains_little_is_not_said(contexts: np.ndarray[Any, Any]) -> None:
    """Trained centred and without beginning of text, which here matters next to nothing: one change to explain."""
    lm = made(own_means=30, read_bos=1)
    sae = subspace_sae(what_passes(lm, contexts[:, 1:], centred=True))
    found(lm, sae, contexts, "centred")
    tried = {each.what: each.fvu for each in check_fit(lm, sae, contexts).tried}
    assert 0.75 * tried["centred"] < tried["centred and without beginning of text"] < tried["centred"]


def test_a_transcoder_moves_with_both_its_hookpoints(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    """A linear map fitted from one layer's MLP input to its output says nothing of another's."""
    x, y = (what_passes(lm, contexts, f"blocks.1.{each}") for each in ("hook_mlp_in_normed", "hook_mlp_out"))
    augmented = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    solution = torch.linalg.lstsq(augmented, y).solution
    config = SaeConfig(
        Family.RELU,
        d_in=WIDTH,
        n_latents=1,
        hookpoint="blocks.0.hook_mlp_in_normed",
        hookpoint_out="blocks.0.hook_mlp_out",
    )
    zero = {"W_enc": torch.zeros(WIDTH, 1), "W_dec": torch.zeros(1, WIDTH), "b_enc": torch.zeros(1)}
    sae = Sae(config, zero | {"b_dec": solution[-1], "W_skip": solution[:-1]})
    fit = check_fit(lm, sae, contexts)
    assert fit.better is not None
    assert fit.better.what == "read at blocks.1.hook_mlp_in_normed"
    assert fit.sae.hookpoint_out == "blocks.1.hook_mlp_out"


def test_nothing_fits(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    generator = torch.Generator().manual_seed(9)
    sae = subspace_sae(50 * torch.randn(500, WIDTH, generator=generator) + 400, rank=2)
    fit = check_fit(lm, sae, contexts)
    assert len(fit.tried) >= 7
    assert fit.better is None or fit.better.fvu > 0.3
    if fit.better is None:
        assert "none of" in fit.message
        assert fit.sae is sae


def test_another_tokenizers_ids_are_noticed(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    """An untrained lm predicts nothing, as one does that reads ids of another tokenizer."""
    fit = check_fit(lm, subspace_sae(what_passes(lm, contexts)), contexts)
    assert "no better than chance" in fit.message
    certain = small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=0, n_embd=WIDTH)
    same = np.full((30, 10), 7)
    with torch.no_grad():
        certain.transformer.ln_f.weight.zero_()
        certain.transformer.ln_f.bias.copy_(certain.lm_head.weight[7] * 50)
    sure = Lm(certain)
    assert check_fit(sure, subspace_sae(what_passes(lm, contexts)), same).notes == ()


def test_widths_are_looked_at_first(lm: Lm, contexts: np.ndarray[Any, Any]) -> None:
    sae = subspace_sae(torch.randn(50, 40, generator=torch.Generator().manual_seed(1)))
    with pytest.raises(
        BadInput, match=r"the SAE reads 40 numbers a token, and blocks\.1\.hook_resid_post of gpt2 has 48"
    ):
        check_fit(lm, sae, contexts)
    with pytest.raises(BadInput, match=r"all of them are masked ids"):
        check_fit(lm, subspace_sae(what_passes(lm, contexts)), np.full((2, 4), BOS))
