"""Controls fire as often as wanted and over the range wanted; and who is like whom among another SAE's latents."""

from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core import collect, controls
from sae_core.array_files import ArrayFile
from sae_core.collect import CollectConfig, collect_evidence
from sae_core.config import Family
from sae_core.controls import TRIES, Control, ControlKind, control_sae, matched
from sae_core.errors import BadInput
from sae_core.formats import load_sae, save_sae
from sae_core.lm import Lm
from sae_core.sae import Sae
from tests.sae_core import small_lms

STREAM, MLP = "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"
CONTEXTS, LENGTH = 40, 20
TOKENS = CONTEXTS * LENGTH
NEURON, DIRECTION = ControlKind.NEURON, ControlKind.DIRECTION
WANTED = [
    Control(NEURON, 1),
    Control(NEURON, 23),
    Control(DIRECTION, 40, floor=0.25),
    Control(NEURON, 311, floor=0.6),
    Control(DIRECTION, 2),
    Control(NEURON, 40, floor=0.02),
    Control(DIRECTION, TOKENS, floor=0.1),
]


def texts() -> NDArray[np.int64]:
    """No two contexts begin with the same token, so that no two tokens have the same past."""
    ids: NDArray[np.int64] = small_lms.some_tokens(CONTEXTS, LENGTH).numpy()
    ids[:, 0] = np.arange(CONTEXTS) + 3
    return ids


def lm_of_relu(*, dead: int = 0) -> Lm:
    """The first neurons of its second MLP are always 0."""
    hf = small_lms.new_lm("gpt2", activation_function="relu")
    lm = Lm(hf)
    hf.transformer.h[1].mlp.c_fc.bias[:dead] = -1000
    return lm


class Found(NamedTuple):
    fires: NDArray[np.bool_]  # (controls, tokens) those that count
    acts: NDArray[np.float64]


def found(lm: Lm, sae: Sae, ids: NDArray[Any], counted: NDArray[np.bool_] | None = None) -> Found:
    """What every latent does, by the formula, on tokens one after the other."""
    x = lm.activations(ids, sae.hookpoint).double()
    if counted is not None:
        x = x[torch.from_numpy(counted)]
    assert sae.b_enc is not None
    assert sae.threshold is not None
    shifted = (x.reshape(-1, sae.d_in) @ sae.W_dec.T + sae.b_enc).T.numpy()
    fires = shifted > sae.threshold.numpy()[:, None]
    return Found(fires, np.where(fires, shifted, 0))


def collected(lm: Lm, sae: Sae, ids: NDArray[Any], folder: Path, **others: Any) -> ArrayFile:
    out = folder / "evidence.safetensors"
    collect_evidence(lm, [sae], ids, [out], **others)
    return ArrayFile(out)


def axes(sae: Sae) -> list[int]:
    """Of neurons, each of which is one axis and one sign."""
    rows: Tensor = sae.W_dec
    assert torch.equal(rows.abs().sum(1), torch.ones(len(rows)).double())
    assert torch.equal(rows.abs().amax(1), torch.ones(len(rows)).double())
    return rows.abs().argmax(1).tolist()


@pytest.mark.parametrize("hookpoint", [STREAM, MLP])
@pytest.mark.parametrize("batch_tokens", [collect.BATCH_TOKENS, 7 * LENGTH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_fires_as_often_as_wanted_when_collected(
    hookpoint: str, batch_tokens: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "BATCH_TOKENS", batch_tokens)
    lm, ids = Lm(small_lms.new_lm("gpt2").to(dtype)), texts()
    sae = control_sae(lm, hookpoint, WANTED, ids, seed=3)
    save_sae(sae, tmp_path / "sae")
    evidence = collected(lm, load_sae(tmp_path / "sae"), ids, tmp_path, config=CollectConfig(mask_ids=()))
    assert evidence["n_fired"].tolist() == [each.n_fired for each in WANTED]
    acts = found(lm, sae, ids).acts
    np.testing.assert_allclose(evidence["max_act"], acts.max(1), rtol=1e-4)
    np.testing.assert_allclose(evidence["sum_act"], acts.sum(1), rtol=1e-4)


def test_the_largest_fire_and_the_smallest_of_them_at_the_floor() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    sae = control_sae(lm, STREAM, WANTED, ids, seed=3)
    assert (sae.config.family, sae.hookpoint, sae.d_in, sae.d_out) == (Family.RANDOM, STREAM, 16, 16)
    products = (lm.activations(ids, STREAM).double().flatten(0, 1) @ sae.W_dec.T).T  # (controls, tokens)
    fires, acts = found(lm, sae, ids)
    for control, product, firing, act in zip(WANTED, products.numpy(), fires, acts, strict=True):
        falling = np.argsort(-product)
        assert set(np.flatnonzero(firing)) == set(falling[: control.n_fired])
        above = np.sort(act[firing])
        np.testing.assert_allclose(np.diff(above), np.diff(np.sort(product[firing])), rtol=1e-9, atol=1e-12)
        if control.floor > 0.05:
            assert above[0] / above[-1] == pytest.approx(control.floor, rel=1e-9)
        if control.floor == 0:  # of a ReLU: half of the way to the next that does not fire
            gap = product[falling[control.n_fired - 1]] - product[falling[control.n_fired]]
            assert above[0] == pytest.approx(gap / 2, rel=1e-6)


def test_a_floor_below_the_smallest_step_is_that_step() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    bare, low = (control_sae(lm, STREAM, [Control(NEURON, 3, floor)], ids, seed=0) for floor in (0.0, 1e-9))
    assert low.threshold == bare.threshold == 0
    assert low.b_enc == bare.b_enc


def test_latents_are_one_signed_unit_directions_that_read_what_they_write() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    sae = control_sae(lm, STREAM, WANTED, ids, seed=3)
    assert torch.equal(sae.W_enc, sae.W_dec.T)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(len(WANTED)).double())
    neurons = [number for number, each in enumerate(WANTED) if each.kind == NEURON]
    n_used = sae.W_dec.count_nonzero(1)
    assert [number for number in range(len(WANTED)) if n_used[number] == 1] == neurons
    many = control_sae(lm, MLP, [Control(NEURON, 9)] * 30, ids, seed=1).W_dec.sum(1)
    assert 5 < int((many > 0).sum()) < 25  # both signs are drawn


def test_what_is_masked_leaves_them_alone(tmp_path: Path) -> None:
    lm, ids, masked = Lm(small_lms.small_lm("gpt2")), texts(), (5, 11)
    lengths = np.full(CONTEXTS, LENGTH)
    lengths[[1, 6, 7, 12]] = 13, 0, 1, LENGTH - 1
    there = np.arange(LENGTH) < lengths[:, None]
    counted = there & ~np.isin(ids, masked)
    wanted = [Control(NEURON, 30), Control(DIRECTION, 5, 0.3), Control(DIRECTION, int(counted.sum()))]
    sae = control_sae(lm, STREAM, wanted, ids, lengths=lengths, mask_ids=masked, seed=0)
    config = CollectConfig(mask_ids=masked)
    evidence = collected(lm, sae, ids, tmp_path, config=config, lengths=lengths)
    assert evidence["n_fired"].tolist() == [each.n_fired for each in wanted]
    assert found(lm, sae, ids, counted).fires.sum(1).tolist() == [each.n_fired for each in wanted]
    padded_otherwise = np.where(there, ids, 44)
    again = control_sae(lm, STREAM, wanted, padded_otherwise, lengths=lengths, mask_ids=masked, seed=0)
    assert all(torch.equal(each, again.tensors()[name]) for name, each in sae.tensors().items())
    too_many = [Control(NEURON, int(counted.sum()) + 1)]
    with pytest.raises(BadInput, match=rf"at {counted.sum() + 1} tokens, and {counted.sum()} of this text count"):
        control_sae(lm, STREAM, too_many, ids, lengths=lengths, mask_ids=masked, seed=0)


def test_the_lms_own_ids_are_masked_by_default() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    ids[:, 7] = lm.mask_ids[0]
    sae = control_sae(lm, STREAM, [Control(DIRECTION, 50)], ids, seed=0)
    assert found(lm, sae, ids, ids != lm.mask_ids[0]).fires.sum() == 50


def test_a_seed_is_all_the_chance_there_is() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    first, same, other = (control_sae(lm, MLP, WANTED, ids, seed=seed).tensors() for seed in (0, 0, 1))
    for name, each in first.items():
        assert torch.equal(each, same[name])
    assert not (first["W_dec"] == other["W_dec"]).all(1).any()


def test_no_axis_comes_twice_before_all_have_been_drawn() -> None:
    lm, ids = Lm(small_lms.small_lm("gpt2")), texts()
    all_of_them = control_sae(lm, STREAM, [Control(NEURON, 9)] * small_lms.D_MODEL, ids, seed=0)
    assert sorted(axes(all_of_them)) == list(range(small_lms.D_MODEL))
    more = control_sae(lm, STREAM, [Control(NEURON, 9)] * (small_lms.D_MODEL + 5), ids, seed=0)
    counts = np.bincount(axes(more), minlength=small_lms.D_MODEL)
    assert sorted(counts.tolist()) == [1] * (small_lms.D_MODEL - 5) + [2] * 5
    assert len(set(map(tuple, more.W_dec.tolist()))) == len(more.W_dec)  # the second time with the other sign


def test_neurons_that_cannot_fire_are_replaced() -> None:
    """A ReLU's are never below 0, and dead ones are nothing else: the text is read again for those that fail, with
    several axes for each, and what one of them does not need is there for the next."""
    lm, ids = lm_of_relu(dead=25), texts()
    seen: list[tuple[int, int]] = []
    wanted = [Control(NEURON, 20)] * 13
    sae = control_sae(lm, MLP, wanted, ids, seed=0, on_batch=lambda done, of: seen.append((done, of)))
    assert set(axes(sae)) <= set(range(25, small_lms.D_MLP))
    assert len(set(axes(sae))) == 13
    assert bool((sae.W_dec >= 0).all())
    assert found(lm, sae, ids).fires.sum(1).tolist() == [20] * 13
    assert set(seen) == {(CONTEXTS, CONTEXTS)}
    assert 1 < len(seen) <= len(TRIES)


def test_where_none_can_fire_it_is_said() -> None:
    lm, ids = lm_of_relu(dead=small_lms.D_MLP), texts()
    with pytest.raises(BadInput, match=rf"{MLP} of gpt2: none of 15 neurons that were drawn can fire at 20 tokens"):
        control_sae(lm, MLP, [Control(NEURON, 20)], ids, seed=0)


@pytest.mark.parametrize("rounding", [0, 2e-15])
def test_of_tokens_that_tie_at_the_threshold_none_fires(rounding: float, tmp_path: Path) -> None:
    """Every context is there twice, in tokens that have the same embedding or the same but for rounding."""
    lm = Lm(small_lms.new_lm("gpt2").double())
    embeddings = lm.hf.get_input_embeddings().weight
    embeddings[23:43] = embeddings[3:23] * (1 + rounding)
    once = texts()[:20] % 20 + 3
    ids = np.concatenate([once, once + 20])
    wanted = [Control(kind, n_fired) for kind in ControlKind for n_fired in (12, 13, 101)]
    sae = control_sae(lm, STREAM, wanted, ids, seed=0)
    evidence = collected(lm, sae, ids, tmp_path, config=CollectConfig(mask_ids=()))
    assert evidence["n_fired"].tolist() == [12, 12, 100] * 2
    with pytest.raises(BadInput, match="none of 15 directions that were drawn can fire at 5 tokens"):
        control_sae(lm, STREAM, [Control(DIRECTION, 5)], ids, seed=0)


@pytest.mark.parametrize(
    ("n_fired", "floor", "message"),
    [
        (0, 0.0, "n_fired of a control is 0, expected at least 1"),
        (-3, 0.0, "n_fired of a control is -3"),
        (5, 1.0, "floor of a control is 1.0, expected a fraction of the maximum"),
        (5, -0.1, "floor of a control is -0.1"),
        (5, float("nan"), "floor of a control is nan"),
    ],
)
def test_controls_that_cannot_be(n_fired: int, floor: float, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Control(NEURON, n_fired, floor)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wanted": []}, "no control is wanted"),
        ({"wanted": [Control(NEURON, TOKENS + 1)]}, "is to fire at 801 tokens, and 800 of this text count"),
        ({"hookpoint": "blocks.7.hook_resid_post"}, "blocks.7.hook_resid_post: this gpt2 has 3 layers"),
        ({"hookpoint": "nowhere"}, "nowhere cannot be resolved"),
        ({"contexts": texts()[0]}, r"the tokens are of shape \(1,\), expected \(contexts, length\)"),
        ({"contexts": texts()[:0]}, r"the tokens are of shape \(0, 20\)"),
        ({"lengths": np.full(3, LENGTH)}, r"the lengths are of shape \(3,\), expected one for each of 40 contexts"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"hookpoint": STREAM, "wanted": WANTED, "contexts": texts(), "seed": 0}
    with pytest.raises(BadInput, match=message):
        control_sae(Lm(small_lms.small_lm("gpt2")), **usual | changes)


def test_matched_is_the_best_of_all_ways() -> None:
    generator = np.random.default_rng(0)
    for n_figures in (1, 3):
        for _ in range(30):
            wanted, others = generator.uniform(0, 6, (4, n_figures)), generator.uniform(0, 6, (7, n_figures))
            latents = matched(wanted, others)
            assert len(set(latents)) == len(wanted)
            mismatches = [np.square(wanted - others[list(some)]).sum() for some in permutations(range(7), 4)]
            assert np.square(wanted - others[latents]).sum() == pytest.approx(min(mismatches), abs=1e-12)


def counts(*n_fired: int) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.array(n_fired, float))[:, None]
    return logs


def test_matched_by_hand() -> None:
    assert matched(counts(10, 1000), counts(999, 11, 12)) == [1, 0]
    assert matched(counts(1000, 10), counts(999, 11, 12)) == [0, 1]
    assert matched(counts(5, 5, 5), counts(5, 80, 5, 4, 7)) == [0, 2, 3]
    assert matched(counts(), counts(1, 2)) == []
    # 10 is there, and yet 10 and 20 take what is a little more than each, rather than one of them four times as much.
    assert matched(counts(20, 10), counts(20, 40, 5000)) == [1, 0]


def test_of_many_only_those_that_are_near_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    wanted, others = generator.uniform(0, 6, (3, 1)), generator.uniform(0, 6, (200, 1))
    best = matched(wanted, others)
    monkeypatch.setattr(controls, "NEAR", 1)
    assert np.square(wanted - others[matched(wanted, others)]).sum() == np.square(wanted - others[best]).sum()


def test_there_must_be_enough_to_match() -> None:
    with pytest.raises(BadInput, match="3 latents are to be matched, and 2 of the other SAE ever fired"):
        matched(counts(4, 5, 6), counts(7, 3))
