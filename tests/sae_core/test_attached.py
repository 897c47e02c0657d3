"""What an SAE reads and puts back at its hookpoints."""

import pytest
import torch

from sae_core.attached import Attached
from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.metrics import measure
from tests.sae_core import random_saes, small_lms

HOOKPOINT = "blocks.1.hook_resid_post"


def test_read_and_run_see_the_same() -> None:
    lm = Lm(small_lms.small_lm("gpt2"))
    tokens = small_lms.some_tokens()
    transcoder = random_saes.make(
        Family.RELU, d_in=16, hookpoint="blocks.1.hook_mlp_in_normed", hookpoint_out="blocks.1.hook_mlp_out"
    ).float()
    for sae in (random_saes.make(Family.RELU, d_in=16, hookpoint=HOOKPOINT, centred=True).float(), transcoder):
        attached = Attached(lm, sae)
        read, (run, logits) = attached.read(tokens), attached.run(tokens)
        assert torch.equal(read.x, run.x)
        assert torch.equal(read.y, run.y)
        assert torch.equal(logits, lm.logits(tokens))
        assert torch.equal(read.x, lm.activations(tokens, sae.hookpoint, centred=sae.config.centred))
        assert torch.equal(read.y, lm.activations(tokens, sae.hookpoint_out, centred=sae.config.centred))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_is_put_back_unchanged_changes_nothing(family: str) -> None:
    """Llama's norms, unlike GPT-2's, see the mean that a centred SAE leaves alone."""
    lm = Lm(small_lms.small_lm(family))
    tokens = small_lms.some_tokens()
    where = tokens % 2 == 0
    for centred in (False, True):
        attached = Attached(lm, random_saes.make(Family.RELU, d_in=16, hookpoint=HOOKPOINT, centred=centred).float())
        y = attached.read(tokens).y
        torch.testing.assert_close(attached.logits_with(tokens, y[where], where), lm.logits(tokens))
        changed = attached.logits_with(tokens, y[where] * 2, where)
        assert float((changed - lm.logits(tokens)).abs().max()) > 0.1


def test_another_device_is_refused() -> None:
    lm = Lm(small_lms.small_lm("gpt2"))
    sae = random_saes.make(Family.RELU, d_in=16, hookpoint=HOOKPOINT)
    with pytest.raises(BadInput, match=r"the SAE is on meta and gpt2 on cpu; move it there: sae.to\(lm.device\)"):
        Attached(lm, sae.to("meta"))


def test_an_lm_in_bfloat16_is_measured_in_the_saes_precision() -> None:
    sae = random_saes.make(Family.TOPK, d_in=16, hookpoint=HOOKPOINT, subtract_b_dec=True).float()
    tokens = small_lms.some_tokens(12, 20)
    single = measure(Lm(small_lms.new_lm("gpt2")), sae, tokens)
    half = measure(Lm(small_lms.new_lm("gpt2").bfloat16()), sae, tokens)
    assert half.fvu == pytest.approx(single.fvu, rel=0.02)
    assert half.ce_sae == pytest.approx(single.ce_sae, rel=0.02)
    assert half.fvu != single.fvu
