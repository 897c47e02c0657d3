"""Families against their equations written out row by row, sparse against dense, and what an Sae refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core import activations
from sae_core.config import Family, Normalise, SaeConfig
from sae_core.errors import BadInput
from sae_core.families import neurons, random_directions
from sae_core.folding import prefix, scaled_inputs, unit_decoder
from sae_core.sae import Sae
from sae_core.sparse import pack
from tests.sae_core.random_saes import ALL, D_IN, N_LATENTS, inputs, make


def one_latent(sae: Sae, pre: list[float]) -> list[float]:
    """A token's latents, from its pre-activations, by the definition of the family in plain Python."""
    family, k = sae.config.family, sae.config.k or 0
    positive = [max(each, 0.0) for each in pre]
    if family in (Family.RELU, Family.NEURONS):
        return positive
    if family == Family.TOPK:
        size = [abs(each) for each in pre] if sae.config.signed else positive
        kept = sorted(range(len(pre)), key=lambda i: -size[i])[:k]
        return [(pre[i] if sae.config.signed else positive[i]) if i in kept else 0.0 for i in range(len(pre))]
    if family == Family.GROUPMAX:
        width = len(pre) // k
        groups = [range(g * width, (g + 1) * width) for g in range(k)]
        kept = [max(group, key=lambda i: positive[i]) for group in groups]
        return [positive[i] if i in kept else 0.0 for i in range(len(pre))]
    assert sae.threshold is not None
    thresholds = sae.threshold.expand(len(pre)).tolist()
    return [max(each, 0.0) if each > θ else 0.0 for each, θ in zip(pre, thresholds, strict=True)]


def by_definition(sae: Sae, x: Tensor) -> Tensor:
    rows = []
    for token in x:
        z = token - (sae.b_dec if sae.config.subtract_b_dec else 0)
        h = [float((z * sae.W_enc[:, i]).sum()) for i in range(sae.n_latents)]
        if sae.config.family == Family.GATED:
            assert sae.b_gate is not None
            assert sae.r_mag is not None
            assert sae.b_mag is not None
            gates = zip(h, sae.b_gate.tolist(), sae.r_mag.tolist(), sae.b_mag.tolist(), strict=True)
            rows.append([max(each * math.exp(r) + b, 0.0) if each + g > 0 else 0.0 for each, g, r, b in gates])
        else:
            assert sae.b_enc is not None
            rows.append(one_latent(sae, [each + b for each, b in zip(h, sae.b_enc.tolist(), strict=True)]))
    return torch.tensor(rows, dtype=torch.float64)


SAES = {
    **{str(family): make(family) for family in ALL},
    **{f"{family}, tied": make(family, subtract_b_dec=True) for family in ALL if family != Family.NEURONS},
    "topk, signed": make(Family.TOPK, signed=True),
    "relu transcoder": make(Family.RELU, d_out=4, hookpoint_out="blocks.0.hook_mlp_out"),
    "topk skip transcoder": make(Family.TOPK, d_out=4, hookpoint_out="blocks.0.hook_mlp_out", skip=True),
}


@pytest.mark.parametrize("name", SAES)
def test_encode_by_definition(name: str) -> None:
    sae, x = SAES[name].double(), inputs()
    expected = by_definition(sae, x)
    assert 0 < int((expected != 0).sum()) < expected.numel()
    torch.testing.assert_close(sae.encode(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAES)
def test_sparse_is_dense(name: str) -> None:
    sae, x = SAES[name].double(), inputs()
    dense, sparse = sae.encode(x), sae.encode_sparse(x)
    assert torch.equal(sparse.dense(sae.n_latents), dense)
    assert sparse.values.shape == sparse.indices.shape == (len(x), int((dense != 0).sum(1).max()))
    assert sparse.indices.dtype == torch.int64
    padding = sparse.indices == -1
    assert torch.equal(padding, sparse.values == 0)
    assert torch.equal(padding.sort(dim=1).values, padding)  # what pads comes last
    assert torch.equal(pack(dense).dense(sae.n_latents), dense)
    torch.testing.assert_close(sae.decode(sparse, x), sae.decode(dense, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAES)
def test_reconstruction_by_definition(name: str) -> None:
    sae, x = SAES[name].double(), inputs()
    expected = by_definition(sae, x) @ sae.W_dec + sae.b_dec
    if sae.W_skip is not None:
        expected = expected + x @ sae.W_skip
    torch.testing.assert_close(sae(x), expected, rtol=1e-12, atol=1e-12)
    assert sae(x).shape == (len(x), sae.d_out)


def test_jumprelu_is_strict() -> None:
    """A pre-activation that equals its threshold does not fire."""
    pre = torch.tensor([[0.5, 0.5, -0.1]])
    assert activations.jumprelu(pre, torch.tensor([0.5, 0.4, -0.2])).tolist() == [[0, 0.5, 0]]


def test_batchtopk_keeps_k_times_the_batch() -> None:
    pre = torch.tensor([[5.0, 4.0, 3.0], [2.0, 1.0, -1.0]])
    assert activations.batchtopk(pre, 1).tolist() == [[5, 4, 0], [0, 0, 0]]
    assert activations.batchtopk(pre, 3).tolist() == [[5, 4, 3], [2, 1, 0]]


def test_nothing_fires() -> None:
    sae = make(Family.TOPK)
    silent = Sae(sae.config, sae.tensors() | {"b_enc": torch.full((N_LATENTS,), -1e6, dtype=torch.float64)})
    sparse = silent.encode_sparse(inputs())
    assert sparse.values.shape == (40, 0)
    assert torch.equal(silent.decode(sparse), sae.b_dec.expand(40, -1))
    assert silent.encode_sparse(inputs(0)).values.shape == (0, 0)


def test_layer_norm_is_undone() -> None:
    sae, x = make(Family.TOPK, normalise=Normalise.LAYER_NORM, subtract_b_dec=True), inputs()
    mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True, unbiased=True)
    z = (x - mean) / (deviation + 1e-5)
    plain = sae.with_config(normalise=Normalise.NONE)
    assert torch.equal(sae.encode(x), plain.encode(z))
    torch.testing.assert_close(sae(x), plain(z) * deviation + mean)
    torch.testing.assert_close(sae.decode(sae.encode(x), x), sae(x))


def test_constant_norm_is_undone() -> None:
    sae, x = make(Family.RELU, normalise=Normalise.CONSTANT_NORM), inputs()
    factor = D_IN**0.5 / x.norm(dim=1, keepdim=True)
    plain = sae.with_config(normalise=Normalise.NONE)
    torch.testing.assert_close(sae.encode(x), plain.encode(x * factor))
    torch.testing.assert_close(sae(x), plain(x * factor) / factor)
    assert sae(torch.zeros(1, D_IN, dtype=torch.float64)).isfinite().all()


def test_decoding_alone_is_refused_where_the_input_is_needed() -> None:
    """Rather than a reconstruction that is silently in other units, or lacks its skip."""
    for sae in (make(Family.TOPK, normalise=Normalise.LAYER_NORM), make(Family.RELU, skip=True)):
        with pytest.raises(BadInput, match=r"decode\(acts, x\)"):
            sae.decode(sae.encode(inputs()))
    left = make(Family.RELU, normalise=Normalise.LAYER_NORM, undo_normalise=False)
    x = inputs()
    assert torch.equal(left.decode(left.encode(x)), left(x))


@pytest.mark.parametrize("family", [Family.RELU, Family.JUMPRELU, Family.GATED, Family.BATCHTOPK, Family.MATRYOSHKA])
@pytest.mark.parametrize("tied", [True, False])
def test_folding_decoder_norms_leaves_the_reconstruction(family: Family, tied: bool) -> None:
    sae, x = make(family, subtract_b_dec=tied), inputs()
    folded = unit_decoder(sae)
    torch.testing.assert_close(folded.W_dec.norm(dim=1), torch.ones(N_LATENTS, dtype=torch.float64))
    torch.testing.assert_close(folded(x), sae(x))
    torch.testing.assert_close(folded.encode(x), sae.encode(x) * sae.W_dec.norm(dim=1))


@pytest.mark.parametrize("family", [Family.TOPK, Family.GROUPMAX])
def test_folding_what_it_would_change_is_refused(family: Family) -> None:
    with pytest.raises(BadInput, match="would change which latents are kept"):
        unit_decoder(make(family))


@pytest.mark.parametrize("family", [each for each in ALL if each != Family.NEURONS])
@pytest.mark.parametrize("skip", [True, False])
def test_folding_a_scale(family: Family, skip: bool) -> None:
    """Trained on x·s: its latents at x are those it had at x·s, its reconstruction that one divided by s."""
    sae, x, scale = make(family, subtract_b_dec=True, skip=skip), inputs(), 3.7
    folded = scaled_inputs(sae, scale)
    torch.testing.assert_close(folded.encode(x), sae.encode(x * scale))
    torch.testing.assert_close(folded(x), sae(x * scale) / scale)


@pytest.mark.parametrize("family", [Family.MATRYOSHKA, Family.RELU, Family.GATED, Family.JUMPRELU, Family.BATCHTOPK])
def test_a_prefix_is_the_first_latents(family: Family) -> None:
    sae, x = make(family), inputs()
    first = prefix(sae, 9)
    torch.testing.assert_close(first.encode(x), sae.encode(x)[:, :9])
    assert first.config.prefixes == ((4, 9) if family == Family.MATRYOSHKA else ())
    assert prefix(make(Family.MATRYOSHKA), 5).config.prefixes == (4, 5)


def test_neurons_and_random_directions() -> None:
    x = inputs().float()
    baseline = neurons("blocks.1.mlp.hook_post", D_IN)
    assert torch.equal(baseline.encode(x), x.relu())
    assert torch.equal(baseline(x), x.relu())
    assert torch.equal(baseline.W_dec, torch.eye(D_IN))
    assert baseline.double().with_config(hookpoint="elsewhere").dtype == torch.float64
    baseline.float()
    control = random_directions("blocks.1.mlp.hook_post", D_IN, 20, seed=3, threshold=0.5)
    torch.testing.assert_close(control.W_dec.norm(dim=1), torch.ones(20))
    products = x @ control.W_dec.T
    torch.testing.assert_close(control.encode(x), torch.where(products > 0.5, products, 0))
    assert torch.equal(control.W_dec, random_directions("h", D_IN, 20, seed=3).W_dec)
    assert not torch.equal(control.W_dec, random_directions("h", D_IN, 20, seed=4).W_dec)


def test_nothing_changes_with_use() -> None:
    sae = make(Family.TOPK, normalise=Normalise.LAYER_NORM)
    before = {name: each.clone() for name, each in sae.state_dict().items()}
    first = sae(inputs())
    sae(inputs(seed=5))
    assert torch.equal(sae(inputs()), first)
    assert all(torch.equal(before[name], each) for name, each in sae.state_dict().items())
    assert not any(each.requires_grad for each in sae.parameters())


@pytest.mark.parametrize(
    ("family", "tensors", "message"),
    [
        (Family.RELU, {"W_enc": (15, 6)}, r"W_enc is \(15, 6\), expected \(6, 15\)"),
        (Family.RELU, {"threshold": (15,)}, "a relu SAE has no threshold"),
        (Family.JUMPRELU, {"threshold": ()}, r"threshold is \(\), expected \(15,\)"),
        (Family.GATED, {"b_gate": None}, "b_gate is missing"),
    ],
)
def test_tensors_that_do_not_fit(family: Family, tensors: dict[str, tuple[int, ...] | None], message: str) -> None:
    sae = make(family)
    changed = sae.tensors() | {name: torch.ones(shape) for name, shape in tensors.items() if shape is not None}
    for name in (name for name, shape in tensors.items() if shape is None):
        del changed[name]
    with pytest.raises(BadInput, match=message):
        Sae(sae.config, changed)


@pytest.mark.parametrize("family", [Family.BATCHTOPK, Family.MATRYOSHKA])
def test_a_threshold_never_set_is_refused(family: Family) -> None:
    sae = make(family)
    with pytest.raises(BadInput, match="was never given one"):
        Sae(sae.config, sae.tensors() | {"threshold": torch.tensor(-1.0)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_in": 0}, "d_in is 0"),
        ({"family": Family.TOPK}, "needs k"),
        ({"family": Family.TOPK, "k": 16}, "k is 16, expected a whole number from 1 to 15"),
        ({"family": Family.GROUPMAX, "k": 4}, "leaves a rest"),
        ({"signed": True}, "topk alone"),
        ({"prefixes": (9, 4, 15)}, "rising"),
        ({"prefixes": (4, 9)}, "end at 9, expected all 15"),
    ],
)
def test_configurations_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SaeConfig(**{"family": Family.RELU, "d_in": 6, "n_latents": 15, **changes})


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(BadInput, match="the input is 7 wide, this SAE reads 6"):
        make(Family.RELU).encode(torch.zeros(2, 7))
