"""Every metric against a brute force in float64: one context at a time, positions in plain Python, hooks of its own."""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_core import attached
from sae_core import metrics as metrics_module
from sae_core.config import Family, Normalise
from sae_core.errors import BadInput
from sae_core.families import neurons
from sae_core.lm import Lm
from sae_core.metrics import measure
from sae_core.sae import Sae
from tests.sae_core import random_saes, small_lms

BOS, PAD = 1, 0


def small_lm() -> Lm:
    """In float64, so that what differs is wrong and not rounding; its bos and padding differ."""
    return Lm(small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=PAD).double())


def contexts(*, bos: bool, padding: bool, seed: int = 0) -> np.ndarray[Any, Any]:
    rows = np.random.default_rng(seed).integers(3, small_lms.VOCAB, size=(7, 12))
    if bos:
        rows[:, 0] = BOS
        rows[2, 6] = BOS  # a document that ends within a context
    if padding:
        rows[3, 8:] = PAD
        rows[5, 2:] = PAD
    return rows


def sae_for(lm: Lm, **changes: Any) -> Sae:
    made = random_saes.make(
        changes.pop("family", Family.TOPK),
        **{"d_in": lm.d_model, "hookpoint": "blocks.1.hook_resid_post", "subtract_b_dec": True} | changes,
    )
    return made.double()


SAES: dict[str, dict[str, Any]] = {
    "topk": {},
    "relu": {"family": Family.RELU},
    "centred": {"centred": True},
    "layer norm": {"normalise": Normalise.LAYER_NORM},
    "transcoder": {
        "hookpoint": "blocks.1.hook_mlp_in_normed",
        "hookpoint_out": "blocks.1.hook_mlp_out",
        "subtract_b_dec": False,
        "skip": True,
    },
}


def brute_force(lm: Lm, sae: Sae, rows: np.ndarray[Any, Any], mask_ids: list[int], no_sinks: bool) -> dict[str, Any]:
    hf, config = lm.hf, sae.config
    block = hf.transformer.h[1]
    module = block.mlp if config.transcoder else block

    def run(context: list[int], change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What is read, what is written, and the log-probabilities, with every output put through `change`."""
        seen: dict[str, Tensor] = {}

        def read(_: Any, inputs: Any, output: Any) -> Any:
            output = output[0] if isinstance(output, tuple) else output
            seen["x"] = inputs[0][0] if config.transcoder else output[0]
            seen["y"] = output[0]
            return change(output[0])[None]

        handle = module.register_forward_hook(read)
        logits = hf(torch.tensor([context])).logits[0]
        handle.remove()
        x, y = seen["x"], seen["y"]
        if config.centred:
            x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        return x, y, logits.log_softmax(-1)

    def same(y: Tensor) -> Tensor:
        return y

    kept, vectors = [], []
    for context in rows.tolist():
        x, y, _ = run(context, same)
        kept.append([token not in mask_ids for token in context])
        vectors.append((x, y))
    norms = sorted(
        float(x[t].norm()) for (x, _), keep in zip(vectors, kept, strict=True) for t in range(len(x)) if keep[t]
    )
    limit = 10 * norms[(len(norms) - 1) // 2]

    def scale(x: Tensor) -> float:
        """What the SAE's rows are multiplied by, at a token."""
        if not config.undo_normalise or config.normalise == Normalise.NONE:
            return 1.0
        return float(x.std() if config.normalise == Normalise.LAYER_NORM else x.norm() / len(x) ** 0.5)

    norms_out = sorted(
        float(y[t].norm()) / scale(x[t])
        for (x, y), keep in zip(vectors, kept, strict=True)
        for t in range(len(y))
        if keep[t]
    )
    if no_sinks:
        kept = [
            [k and float(x[t].norm()) <= limit for t, k in enumerate(keep)]
            for (x, _), keep in zip(vectors, kept, strict=True)
        ]
    all_y = torch.stack([y[t] for (_, y), keep in zip(vectors, kept, strict=True) for t in range(len(y)) if keep[t]])
    mean = all_y.mean(0)
    found: dict[str, Any] = {
        "tokens": len(all_y), "sinks": sum(each > limit for each in norms), "ce": [0.0] * 4, "kl": 0.0,
        "typical_norm": norms_out[(len(norms_out) - 1) // 2],
        "fired": torch.zeros(sae.n_latents, dtype=torch.int64), "error": 0.0, "product": 0.0, "length": 0.0,
    }  # fmt: skip
    predicted = 0
    for context, keep, (x, y) in zip(rows.tolist(), kept, vectors, strict=True):
        positions = [t for t in range(len(context)) if keep[t]]
        y_hat = sae(x)
        found["fired"] += (sae.encode(x)[positions] != 0).sum(0)
        found["error"] += float((y - y_hat)[positions].square().sum())
        found["product"] += float((y * y_hat)[positions].sum())
        found["length"] += float(y_hat[positions].square().sum())

        def put(new: Tensor, raw: Tensor, at: list[int] = positions) -> Tensor:
            changed = raw.clone()
            for t in at:
                changed[t] = new[t] + (raw[t].mean() if config.centred else 0)
            return changed

        others = (y_hat, torch.zeros_like(y), mean.expand_as(y))
        changes: list[Callable[[Tensor], Tensor]] = [same, *(partial(put, each) for each in others)]
        runs = [run(context, change)[2] for change in changes]
        clean, with_sae = runs[:2]
        found["kl"] += sum(float((clean[t].exp() * (clean[t] - with_sae[t])).sum()) for t in positions)
        for t in positions:
            if t + 1 < len(context):
                predicted += 1
                for which, log_p in enumerate(runs):
                    found["ce"][which] -= float(log_p[t, context[t + 1]])
    found["ce"] = [each / predicted for each in found["ce"]]
    found["variance"] = float((all_y - mean).square().sum())
    found["scatter"] = (all_y - mean).T @ (all_y - mean)
    return found


@pytest.mark.parametrize("name", SAES)
@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("padding", [True, False])
def test_against_brute_force(name: str, bos: bool, padding: bool) -> None:
    lm = small_lm()
    sae, rows = sae_for(lm, **SAES[name]), contexts(bos=bos, padding=padding)
    expected = brute_force(lm, sae, rows, [PAD, BOS], no_sinks=False)
    assert lm.mask_ids == (PAD, BOS)
    found = measure(lm, sae, rows, batch_size=3)
    tokens = expected["tokens"]
    assert found.tokens == tokens == rows.size - found.masked
    assert torch.equal(found.n_fired, expected["fired"])
    assert found.dead == int((expected["fired"] == 0).sum())
    assert found.dense == int((expected["fired"] > tokens / 10).sum())
    assert found.ultra_low is None  # too few tokens to tell
    ce_clean, ce_sae, ce_zero, ce_mean = expected["ce"]
    near = {
        "l0": float(expected["fired"].sum()) / tokens,
        "fvu": expected["error"] / expected["variance"],
        "explained_variance": 1 - expected["error"] / expected["variance"],
        "shrinkage": expected["length"] / expected["product"],
        "ce_clean": ce_clean,
        "ce_sae": ce_sae,
        "ce_zero": ce_zero,
        "ce_mean": ce_mean,
        "ce_degradation": ce_sae - ce_clean,
        "kl": expected["kl"] / tokens,
        "typical_norm": expected["typical_norm"],
        "never_fired_below": 3 / tokens,
    }
    for key, value in near.items():
        assert getattr(found, key) == pytest.approx(value, rel=1e-9), key
    for ablated, key in ((ce_zero, "loss_recovered"), (ce_mean, "loss_recovered_mean")):
        recovered = (ablated - ce_sae) / (ablated - ce_clean) if ablated > ce_clean else None
        assert getattr(found, key) == (recovered if recovered is None else pytest.approx(recovered, rel=1e-8))
    rank = max(1, round(found.l0))
    _, vectors = torch.linalg.eigh(expected["scatter"])
    best = vectors[:, -rank:]
    explained = float((best.T @ expected["scatter"] @ best).trace())
    assert found.baselines["pca_fvu"] == pytest.approx(1 - explained / expected["variance"], rel=1e-8)
    assert found.baselines["rank"] == rank
    assert found.baselines["sampled_tokens"] == tokens  # all of so few
    assert found.baselines["encoder_fvu"] == pytest.approx(found.fvu, rel=1e-9)
    assert 0 <= found.baselines["sparse_coding_fvu"] < found.baselines["encoder_fvu"]


def test_grouping_changes_nothing() -> None:
    lm = small_lm()
    sae, rows = sae_for(lm), contexts(bos=True, padding=True)
    one, all_ = (measure(lm, sae, rows, batch_size=size) for size in (1, 7))
    assert torch.equal(one.n_fired, all_.n_fired)
    for key, value in one.to_json().items():
        other = getattr(all_, key)
        assert other == (
            pytest.approx(value, rel=1e-9) if isinstance(value, float | dict) and key != "density_histogram" else value
        )


@pytest.mark.parametrize("settings", [{}, {"family": Family.RELU, "normalise": Normalise.LAYER_NORM}])
def test_blocks_of_latents_change_nothing(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    lm = small_lm()
    sae, rows = sae_for(lm, **settings), contexts(bos=True, padding=True)
    whole = measure(lm, sae, rows)
    monkeypatch.setattr(attached, "BLOCK_BYTES", sae.n_latents * 8 * 5)  # five tokens at a time
    blocked = measure(lm, sae, rows)
    assert blocked.fvu == pytest.approx(whole.fvu, rel=1e-9)
    assert torch.equal(blocked.n_fired, whole.n_fired)
    assert blocked.baselines == pytest.approx(whole.baselines, rel=1e-6)


def test_sinks_are_counted_and_left_out_only_where_asked() -> None:
    lm = small_lm()
    lm.hf.transformer.wte.weight[7] *= 3000  # a token that swamps all others
    sae, rows = sae_for(lm, hookpoint="blocks.0.hook_resid_pre"), contexts(bos=True, padding=True)
    rows[1, 4] = rows[6, 9] = 7
    sae = sae_for(lm)
    with_sinks, without = (measure(lm, sae, rows, leave_out_sinks=leave) for leave in (False, True))
    assert with_sinks.sinks == without.sinks >= 2
    assert (with_sinks.sinks_left_out, without.sinks_left_out) == (False, True)
    assert without.tokens == with_sinks.tokens - with_sinks.sinks
    assert without.masked == with_sinks.masked
    seen: list[tuple[int, int]] = []
    measure(lm, sae, torch.from_numpy(rows), leave_out_sinks=True, on_progress=lambda *each: seen.append(each))
    assert seen == [(7, 14), (14, 21), (21, 21)]
    expected = brute_force(lm, sae, rows, [PAD, BOS], no_sinks=True)
    assert without.fvu == pytest.approx(expected["error"] / expected["variance"], rel=1e-9)
    assert without.ce_mean == pytest.approx(expected["ce"][3], rel=1e-9)
    assert without.fvu != pytest.approx(with_sinks.fvu, rel=1e-2)


def test_other_mask_ids() -> None:
    lm = small_lm()
    sae, rows = sae_for(lm), contexts(bos=True, padding=True)
    expected = brute_force(lm, sae, rows, [PAD], no_sinks=False)
    found = measure(lm, sae, rows, mask_ids=[PAD])
    assert found.tokens == expected["tokens"]
    assert found.ce_sae == pytest.approx(expected["ce"][1], rel=1e-9)


def test_no_loss_predicts_padding_where_lengths_are_known() -> None:
    """An array alone does not say where padding begins: GPT-2's padding is its end of text."""
    lm = small_lm()
    sae, rows = sae_for(lm), contexts(bos=True, padding=True)
    lengths = np.array([12, 12, 12, 8, 12, 2, 12])
    found = measure(lm, sae, rows, lengths=lengths)
    losses = []
    for context, length in zip(rows.tolist(), lengths.tolist(), strict=True):
        log_p = lm.hf(torch.tensor([context])).logits[0].log_softmax(-1)
        losses += [-float(log_p[t, context[t + 1]]) for t in range(length - 1) if context[t] not in (PAD, BOS)]
    assert found.ce_clean == pytest.approx(sum(losses) / len(losses), rel=1e-9)
    assert found.ce_clean != pytest.approx(measure(lm, sae, rows).ce_clean, rel=1e-6)


def test_neurons_reconstruct_what_a_relu_leaves() -> None:
    """An lm whose MLP is a ReLU loses nothing through its neurons; nothing is left to recover then."""
    lm = small_lm()
    lm.hf.transformer.h[1].mlp.act = torch.nn.ReLU()
    found = measure(lm, neurons("blocks.1.mlp.hook_post", small_lms.D_MLP).double(), contexts(bos=True, padding=False))
    assert found.fvu == 0
    assert found.kl == pytest.approx(0, abs=1e-12)
    assert found.ce_degradation == pytest.approx(0, abs=1e-12)
    if found.loss_recovered is not None:
        assert found.loss_recovered == pytest.approx(1)


def test_loss_recovered_is_not_defined_where_the_ablation_does_not_hurt() -> None:
    recovered = metrics_module._recovered
    assert recovered(5.0, 3.0, 2.0) == pytest.approx(2 / 3)
    assert recovered(2.0, 3.0, 2.0) is None
    assert recovered(1.0, 3.0, 2.0) is None
    assert recovered(None, 3.0, 2.0) is None


def test_as_json() -> None:
    lm = small_lm()
    found = json.loads(json.dumps(measure(lm, sae_for(lm), contexts(bos=True, padding=False)).to_json()))
    assert {"l0", "fvu", "dead", "ce_clean", "ce_sae", "ce_zero", "ce_mean", "loss_recovered"} <= found.keys()
    assert not any(isinstance(each, float) and math.isnan(each) for each in found.values())


def test_progress() -> None:
    lm, seen = small_lm(), []
    measure(
        lm, sae_for(lm), contexts(bos=True, padding=False), batch_size=3, on_progress=lambda *each: seen.append(each)
    )
    assert seen == [(3, 14), (6, 14), (7, 14), (10, 14), (13, 14), (14, 14)]


def test_what_cannot_be_measured() -> None:
    lm = small_lm()
    with pytest.raises(BadInput, match=r"none of the tokens counts: all of them are masked ids \(0, 1\)"):
        measure(lm, sae_for(lm), np.full((2, 5), BOS))
    with pytest.raises(BadInput, match=r"expected \(contexts, length\)"):
        measure(lm, sae_for(lm), np.zeros(5, dtype=np.int64))
    with pytest.raises(
        BadInput, match=r"the SAE reads 20 numbers a token, and blocks\.1\.hook_resid_post of gpt2 has 16"
    ):
        measure(lm, sae_for(lm, d_in=20), contexts(bos=True, padding=False))
    with pytest.raises(BadInput, match="do not say where it reads"):
        measure(lm, sae_for(lm, hookpoint=""), contexts(bos=True, padding=False))
    one = measure(lm, sae_for(lm), np.array([[5], [6]]))  # nothing is predicted
    assert one.ce_clean is None
    assert one.loss_recovered is None
