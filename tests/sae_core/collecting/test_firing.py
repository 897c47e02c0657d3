"""What the encoder of a pass finds, block by block, is what the SAE's own encode gives."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_core.collecting import firing
from sae_core.collecting.firing import Encoder
from sae_core.collecting.kept import Strongest
from sae_core.collecting.silent import Silent
from sae_core.collecting.tables import Rows
from sae_core.config import Family, Normalise
from sae_core.sae import Sae
from tests.sae_core import random_saes

CONTEXTS, LENGTH = 5, 7
ITEM = 8  # bytes of a float64
SIZES = [1, 2 * LENGTH, 1 << 20]  # tokens that a block may have


def sae_of(family: Family, **changes: Any) -> Sae:
    return random_saes.make(family, **changes)


def some(sae: Sae) -> tuple[Tensor, Tensor]:
    """Activations, and which of them count: a whole context does not."""
    x = random_saes.inputs(CONTEXTS * LENGTH, sae.d_in).view(CONTEXTS, LENGTH, -1)
    keep = random_saes.draw(3, CONTEXTS, LENGTH) > -1
    keep[2] = False
    keep[3] = True
    return x.to(sae.dtype), keep


def dense(sae: Sae, x: Tensor, keep: Tensor, tokens: int | None = None, most: int | None = None) -> Tensor:
    """Put together again from all blocks, each pair given once and tokens in order."""
    of_token = sae.n_latents * sae.dtype.itemsize
    sizes = {} if tokens is None else {"block_bytes": tokens * of_token}
    sizes |= {} if most is None else {"most_bytes": most * of_token}
    found = torch.zeros(CONTEXTS, LENGTH, sae.n_latents, dtype=sae.dtype)
    seen = torch.zeros(CONTEXTS, LENGTH, dtype=torch.int64)
    for block in Encoder(sae, LENGTH, **sizes).blocks(x, keep):
        contexts, length, n_latents = block.pre.shape
        assert n_latents == sae.n_latents
        assert block.whole == (length == LENGTH)
        fired, here = (
            block.fired,
            (slice(block.first, block.first + contexts), slice(block.position, block.position + length)),
        )
        seen[here] += 1
        assert torch.equal(fired.tokens, fired.tokens.sort().values)
        assert len(torch.unique(fired.tokens * n_latents + fired.latents)) == len(fired.tokens)
        assert (fired.acts != 0).all()
        part = torch.zeros(contexts * length, n_latents, dtype=sae.dtype)
        part[fired.tokens, fired.latents] = fired.acts
        found[here] = part.view(block.pre.shape)
        assert ((block.pre == -torch.inf).all(-1) == ~keep[here]).all()
    assert (seen == 1).all()
    return found


def expected(sae: Sae, x: Tensor, keep: Tensor) -> Tensor:
    return torch.where(keep[..., None], sae.encode(x.flatten(0, 1)).view(CONTEXTS, LENGTH, -1), 0)


CASES: list[tuple[Family, dict[str, Any]]] = [
    *((family, {}) for family in Family),
    (Family.TOPK, {"signed": True}),
    (Family.TOPK, {"signed": True, "n_latents": 1500, "k": 40}),
    (Family.RELU, {"normalise": Normalise.LAYER_NORM, "subtract_b_dec": True}),
    (Family.GATED, {"n_latents": 1031}),
    (Family.JUMPRELU, {"n_latents": 1031}),
    (Family.GROUPMAX, {"n_latents": 1200, "k": 40}),
    # TopK in groups, of which some latents are left over, of more groups for a large k, and of k too large for any
    (Family.TOPK, {"n_latents": 1031, "k": 3}), (Family.TOPK, {"n_latents": 1531, "k": 32}),
    (Family.TOPK, {"n_latents": 2600, "k": 65}), (Family.TOPK, {"n_latents": 1100, "k": 300}),
]  # fmt: skip


@pytest.mark.parametrize("tokens", SIZES)
@pytest.mark.parametrize(("family", "changes"), CASES)
def test_blocks_are_what_encode_gives(family: Family, changes: dict[str, Any], tokens: int) -> None:
    sae = sae_of(family, **changes)
    x, keep = some(sae)
    torch.testing.assert_close(dense(sae, x, keep, tokens), expected(sae, x, keep), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("most", [1, 3, LENGTH - 1])
@pytest.mark.parametrize("family", [Family.TOPK, Family.GATED, Family.JUMPRELU])
def test_a_stretch_of_a_context_at_a_time(family: Family, most: int) -> None:
    sae = sae_of(family)
    x, keep = some(sae)
    torch.testing.assert_close(dense(sae, x, keep, 1, most), expected(sae, x, keep), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("family", "n_latents"), [(Family.TOPK, 1531), (Family.GATED, 1031), (Family.JUMPRELU, 1031)])
def test_every_precision(family: Family, n_latents: int, dtype: torch.dtype) -> None:
    """Of products that have no rounding, so that ties and thresholds are the same wherever they are computed."""
    sae = whole_numbers(family, n_latents).to(dtype)
    x, keep = some(sae)
    x = x.round()
    found, wanted = dense(sae, x, keep), expected(sae, x, keep)
    assert torch.equal(found.sort(-1).values, wanted.sort(-1).values)


def whole_numbers(family: Family, n_latents: int) -> Sae:
    made = sae_of(family, n_latents=n_latents)
    return Sae(made.config, {name: (each * 2).round() for name, each in made.tensors().items()})


@pytest.mark.parametrize("n_latents", [15, 1531])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_ties_at_the_k_th(n_latents: int, k: int) -> None:
    """Of equals it does not matter which; how many there are and how strong does."""
    made = sae_of(Family.TOPK, n_latents=n_latents, k=k)
    sae = Sae(made.config, {name: each.round() for name, each in made.tensors().items()})
    x, keep = some(sae)
    x = x.round()
    found, wanted = dense(sae, x, keep), expected(sae, x, keep)
    assert torch.equal(found.sort(-1).values, wanted.sort(-1).values)
    pre = sae.pre_acts(x)
    assert torch.equal(found[found != 0], pre[found != 0])
    least = pre.topk(k).values[..., -1:]
    assert ((pre == least).sum(-1) > (found == least).sum(-1))[keep & (least > 0)[..., 0]].any()  # there are ties


@pytest.mark.parametrize("n_latents", [15, 1531])
def test_k_above_how_many_are_positive(n_latents: int) -> None:
    sae = sae_of(Family.TOPK, n_latents=n_latents, k=n_latents - 1)
    x, keep = some(sae)
    tensors = sae.tensors() | {"b_enc": sae.tensors()["b_enc"] - 3}
    sae = Sae(sae.config, tensors)
    found = dense(sae, x, keep)
    torch.testing.assert_close(found, expected(sae, x, keep), rtol=1e-12, atol=1e-12)
    assert 0 < (found > 0).sum() < keep.sum() * n_latents / 2


def test_nothing_fires_and_nothing_counts() -> None:
    for family, n_latents in ((Family.TOPK, 15), (Family.TOPK, 1531), (Family.GATED, 15), (Family.RELU, 15)):
        sae = sae_of(family, n_latents=n_latents)
        x, keep = some(sae)
        assert not dense(sae, x, torch.zeros_like(keep)).any()
        bias = "b_gate" if family == Family.GATED else "b_enc"
        silent = Sae(sae.config, sae.tensors() | {bias: torch.full((n_latents,), -1e3, dtype=torch.float64)})
        assert not dense(silent, x, keep).any()


@pytest.mark.parametrize(("most", "tokens"), [(1, 1), (3, 1), (LENGTH, 1), (LENGTH, 2 * LENGTH), (1000, 1000)])
@pytest.mark.parametrize("family", [Family.TOPK, Family.RELU])
@pytest.mark.parametrize("bias", [-6.0, -2.5, 0.0])
@pytest.mark.parametrize("ties", [False, True])
def test_near_misses_of_stretches(family: Family, most: int, tokens: int, bias: float, ties: bool) -> None:
    """Contexts in which a latent does not fire: hardly any, some, or most. Of ties the earlier context and position."""
    made = sae_of(family)
    tensors = {name: each.round() if ties else each for name, each in made.tensors().items()}
    sae = Sae(made.config, tensors | {"b_enc": tensors["b_enc"] + bias})
    x, keep = some(sae)
    x = (x / 2).round() if ties else x
    of_token = sae.n_latents * ITEM
    kept: Strongest[Rows] = Strongest(sae.n_latents, 2, Rows.none())
    silent = Silent(kept)
    for block in Encoder(sae, LENGTH, block_bytes=tokens * of_token, most_bytes=most * of_token).blocks(x, keep):
        silent.see(block, 10, LENGTH)
    acts, pre = expected(sae, x, keep), sae.pre_acts(x).masked_fill(~keep[..., None], -torch.inf).float()
    rows = kept.rows
    for latent in range(sae.n_latents):
        peaks = [
            (-float(pre[c, :, latent].max()), c + 10, int(pre[c, :, latent].argmax()))
            for c in range(CONTEXTS)
            if keep[c].any() and not acts[c, :, latent].any()
        ]
        here = rows[np.flatnonzero(rows.latent == latent)]
        found = list(zip((-here.act).tolist(), here.context.tolist(), here.position.tolist(), strict=True))
        assert found == sorted(peaks)[:2]


def test_a_mask_is_gone_through_by_words_of_eight() -> None:
    for shape in ((3, 8), (5, 7), (1, 1), (4, 0)):
        mask = random_saes.draw(1, *shape) > 0.8
        assert torch.equal(firing._places(mask), mask.flatten().nonzero().flatten())
