import math

import pytest
import torch

from sae_core.config import Family
from sae_core.judged import judged, repetition
from sae_core.lm import Lm
from tests.sae_core import random_saes
from tests.sae_core.small_lms import D_MODEL, FAMILIES, small_lm, some_tokens

TEXT = some_tokens(1, 11, seed=3)[0].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_lm_as_it_is_makes_of_a_text(family: str) -> None:
    lm = Lm(small_lm(family))
    first = random_saes.make(Family.RELU, d_in=D_MODEL, hookpoint="blocks.0.hook_resid_post").float()
    second = random_saes.make(Family.TOPK, d_in=D_MODEL, hookpoint="blocks.1.hook_resid_post").float()
    found = judged(lm, TEXT, 4, {first: [3], second: [0, 9]})
    with torch.no_grad():
        p = lm.hf(input_ids=torch.tensor([TEXT]), use_cache=False).logits[0].softmax(-1)
    expected = [-math.log(float(p[place - 1, TEXT[place]])) for place in range(4, len(TEXT))]
    assert found.losses == pytest.approx(expected, abs=1e-4)
    assert found.perplexity == pytest.approx(math.exp(sum(expected) / len(expected)), rel=1e-4)
    for sae, latents, acts in ((first, [3], found.activations[0]), (second, [0, 9], found.activations[1])):
        whole = sae.encode(lm.activations([TEXT], sae.hookpoint)[0])
        torch.testing.assert_close(torch.tensor(acts), whole[:, latents].T, rtol=1e-4, atol=1e-5)


def test_nothing_written_has_no_perplexity() -> None:
    assert judged(Lm(small_lm("gpt2")), TEXT, len(TEXT), {}).perplexity is None


@pytest.mark.parametrize(
    ("ids", "share"),
    [([], 0.0), ([1, 2, 3], 0.0), ([1, 2, 3, 4, 5, 6], 0.0), ([1] * 10, 6 / 7), ([1, 2, 3, 4, 1, 2, 3, 4], 1 / 5)],
)
def test_how_much_of_a_text_was_there_before(ids: list[int], share: float) -> None:
    assert repetition(ids) == pytest.approx(share)
