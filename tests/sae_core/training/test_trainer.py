"""One SAE as it is trained: what it finds, what it holds to, what it counts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.config import Normalise
from sae_core.training.config import TrainConfig
from sae_core.training.starting import geometric_median
from sae_core.training.trainer import Trainer
from tests.sae_core.training import planted

BATCH = 512
KEEPS: dict[str, Any] = {"k": planted.FIRING}
AIMS: dict[str, Any] = {"target_l0": planted.FIRING}
RECIPES: dict[str, dict[str, Any]] = {
    "relu": {"family": "relu", **AIMS},
    "plain": {"family": "relu", "sparsity": "plain", **AIMS},
    "topk": {"family": "topk", **KEEPS},
    "batchtopk": {"family": "batchtopk", **KEEPS},
    "matryoshka": {"family": "matryoshka", **KEEPS},
    "jumprelu": {"family": "jumprelu", **AIMS, "l0": 5.0},
    "gated": {"family": "gated", **AIMS},
}


def config_of(name: str, **changes: Any) -> TrainConfig:
    return TrainConfig(**{"n_latents": 2 * planted.FEATURES, "learning_rate": 0.01} | RECIPES[name] | changes)


def trained(config: TrainConfig, steps: int, *, total: int | None = None, scale: float = 1.0) -> Trainer:
    generator = torch.Generator().manual_seed(5)
    trainer = Trainer(config, planted.D, planted.D, steps=total or steps, batch_size=BATCH)
    sample = planted.tokens(4096, generator) * scale
    trainer.start(sample, sample)
    for _ in range(steps):
        if trainer.resamples:
            trainer.resample(sample, sample)
        x = planted.tokens(BATCH, generator) * scale
        trainer.step(x, x)
    return trainer


def held_out() -> Tensor:
    return planted.tokens(4096, torch.Generator().manual_seed(99))


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_planted_features_are_found(name: str) -> None:
    trainer = trained(config_of(name), 1000)
    assert planted.recovered(trainer.weights["W_dec"]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_sae_is_what_was_trained(name: str) -> None:
    """Its latents and its reconstruction, of inputs in their own units, are those that the report told of."""
    said = {"threshold_decay": 0.9} if "k" in RECIPES[name] else {}
    trainer = trained(config_of(name, **said), 600, scale=7.0)
    x = held_out() * 7.0
    sae = trainer.sae()
    acts, x_hat = sae.encode(x), sae(x)
    fvu = ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    report = trainer.report()
    assert sae.config.family == trainer.config.family
    assert (acts != 0).sum(1).float().mean().item() == pytest.approx(report.l0, rel=0.25)
    assert fvu.item() == pytest.approx(report.fvu, rel=0.15)
    assert fvu < 0.9
    if trainer.config.unit_rows:
        norms = sae.W_dec.norm(dim=1)
        torch.testing.assert_close(norms / norms[0], torch.ones_like(norms), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "plain", "gated", "jumprelu"])
def test_l0_comes_to_its_target(name: str) -> None:
    report = trained(config_of(name), 1000).report()
    assert report.l0 == pytest.approx(planted.FIRING, rel=0.25)


@pytest.mark.parametrize("normalise", [Normalise.CONSTANT_NORM, Normalise.LAYER_NORM])
def test_inputs_that_are_each_normalised(normalise: Normalise) -> None:
    trainer = trained(config_of("topk", normalise=normalise), 300)
    sae = trainer.sae()
    x = held_out()
    assert sae.config.normalise == normalise
    # Two latents that are nearly alike may change places at the k-th, which rounding decides.
    same = torch.isclose(sae.encode(x * 5), sae.encode(x), rtol=1e-3, atol=1e-3).all(1)
    assert same.sum() >= len(x) - 3
    torch.testing.assert_close(sae(x * 5)[same], sae(x)[same] * 5, rtol=1e-3, atol=1e-3)
    assert ((x - sae(x)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum() < 0.4


@pytest.mark.parametrize("name", ["topk", "relu"])
def test_the_scale_of_inputs_changes_only_the_scale_of_weights(name: str) -> None:
    one, hundred = (trained(config_of(name), 50, scale=scale).sae() for scale in (1.0, 128.0))
    torch.testing.assert_close(hundred.W_dec, one.W_dec * 128, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hundred.W_enc * 128, one.W_enc, rtol=1e-4, atol=1e-4)
    assert hundred.b_enc is not None
    assert one.b_enc is not None
    torch.testing.assert_close(hundred.b_enc, one.b_enc, rtol=1e-4, atol=1e-4)


def test_a_transcoder_learns_another_place_with_a_scale_of_its_own() -> None:
    generator = torch.Generator().manual_seed(2)
    mix = torch.randn(planted.D, 12, generator=generator)
    config = config_of("topk", transcoder=True, skip=True)
    trainer = Trainer(config, planted.D, 12, steps=800, batch_size=BATCH)

    def pair(n: int) -> tuple[Tensor, Tensor]:
        x = planted.tokens(n, generator)
        return x * 3, (x.relu() @ mix) * 50 + 7

    trainer.start(*pair(4096))
    for _ in range(800):
        trainer.step(*pair(BATCH))
    sae = trainer.sae()
    x, y = pair(4096)
    fvu = ((y - sae(x)) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert sae.W_skip is not None
    assert fvu.item() == pytest.approx(trainer.report().fvu, rel=0.15)
    assert fvu < 0.25


def test_rows_of_norm_1_move_along_the_sphere_alone() -> None:
    """What only lengthens a row is taken from its gradient before Adam sees it."""
    trainer = trained(config_of("topk"), 20)
    before = trainer.weights["W_dec"].detach().clone()
    x = held_out()[:BATCH]
    trainer.step(x, x)
    grad = trainer.weights["W_dec"].grad
    assert grad is not None
    assert (grad * before).sum(1).abs().max() < 1e-6 * grad.abs().max()
    torch.testing.assert_close(trainer.weights["W_dec"].norm(dim=1), torch.ones(2 * planted.FEATURES))


def test_without_a_constraint_gradients_are_clipped_at_1() -> None:
    trainer = trained(config_of("relu"), 1)
    grads = [each.grad for each in trainer.weights.values() if each.grad is not None]
    assert torch.stack([each.norm() for each in grads]).norm().item() == pytest.approx(1.0, rel=1e-4)


def test_topk_starts_with_the_gain_of_the_least_error() -> None:
    trainer = trained(config_of("topk", precision="float32"), 0, total=10)
    sae = trainer.sae()
    x = planted.tokens(4096, torch.Generator().manual_seed(5))  # those that it was started from

    def error(gain: float) -> float:
        x_hat = sae.decode(sae.encode(x) * gain)
        return float(((x - x_hat) ** 2).sum())

    assert error(1.0) < min(error(0.98), error(1.02))


def test_schedules() -> None:
    config = config_of("relu", target_l0=None, l1=3.0, warmup=0.1, decay=0.2, sparsity_warmup=0.5)
    trainer = Trainer(config, planted.D, planted.D, steps=100, batch_size=BATCH)
    x = held_out()[:BATCH]
    rates, penalties = [], []
    for _ in range(100):
        trainer.step(x, x)
        rates.append(trainer.optimiser.param_groups[0]["lr"] / config.learning_rate)
        penalties.append(trainer.report().penalty)
    assert rates[:10] == pytest.approx([each / 10 for each in range(1, 11)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([each / 21 for each in range(20, 0, -1)])
    assert penalties[:49] == pytest.approx([3 * each / 50 for each in range(2, 51)])
    assert penalties[49:] == pytest.approx([3.0] * 51)


@pytest.mark.slow
def test_silence_is_counted_in_tokens_and_dead_latents_come_back() -> None:
    """Half of the latents are pushed so far down that they are never among the largest: they are dead after so many
    tokens, and AuxK revives them; without it they stay."""
    for aux_k, revived in ((None, True), (0, False)):
        config = config_of("topk", dead_after=10 * BATCH, aux_k=aux_k, learning_rate=1e-3)
        trainer = trained(config, 1, total=1000)
        with torch.no_grad():
            norm = trainer.weights["enc_rows"].norm(dim=1).mean()
            trainer.weights["b_enc"][: planted.FEATURES] = -4 * norm  # above 0 before, at times
        generator, silent = torch.Generator().manual_seed(8), []
        for _ in range(999):
            x = planted.tokens(BATCH, generator)
            trainer.step(x, x)
            silent.append(trainer.report().silent)
        half = planted.FEATURES
        assert silent[:9] == [0] * 9
        assert silent[9] > 0.9 * half
        assert (silent[-1] < half // 2) == revived


def test_the_threshold_is_the_moving_average_of_the_least_activation_kept() -> None:
    config = config_of("batchtopk", threshold_decay=0.9, precision="float32")
    trainer = Trainer(config, planted.D, planted.D, steps=20, batch_size=BATCH)
    generator = torch.Generator().manual_seed(5)
    trainer.start(held_out(), held_out())
    average = None
    for _ in range(20):
        x = planted.tokens(BATCH, generator)
        w = {name: each.detach().clone() for name, each in trainer.weights.items()}
        pre = (x * trainer.scale_in - w["b_dec"]) @ w["enc_rows"].T + w["b_enc"]
        least = pre.flatten().sort(descending=True).values[planted.FIRING * BATCH - 1].item()
        average = least if average is None else 0.9 * average + 0.1 * least
        trainer.step(x, x)
    found = trainer.sae().threshold
    assert found is not None
    assert found.item() == pytest.approx(average, rel=2e-3)


def test_theta_stays_at_0_or_above() -> None:
    trainer = trained(config_of("jumprelu", target_l0=None, threshold=0.001, learning_rate=0.05, l0=1e-6), 30)
    threshold = trainer.weights["threshold"]
    assert threshold.min() == 0


def test_reports_change_nothing() -> None:
    quiet, asked = (Trainer(config_of("topk"), planted.D, planted.D, steps=30, batch_size=BATCH) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        x = planted.tokens(BATCH, generator)
        quiet.step(x, x)
        asked.step(x, x)
        asked.report()
        asked.sae()
    for name, each in quiet.weights.items():
        assert torch.equal(each, asked.weights[name])


def test_seeds_differ_and_the_same_seed_does_not() -> None:
    first, again, other = (trained(config_of("topk", seed=seed), 5).weights["W_dec"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_loss_that_is_no_number_is_noticed_at_its_step() -> None:
    trainer = trained(config_of("topk"), 3)
    assert trainer.spoiled_at is None
    x = held_out()[:BATCH].clone()
    x[7, 3] = torch.nan
    trainer.step(x, x)
    trainer.step(held_out()[:BATCH], held_out()[:BATCH])
    assert trainer.spoiled_at == 3


def test_the_geometric_median_is_not_drawn_by_what_lies_far_off() -> None:
    points = torch.cat([torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), torch.full((20, 3), 1e3)])
    median = geometric_median(points)
    assert median.norm() < 0.5
    total = (points - median).norm(dim=1).sum()
    for axis in torch.eye(3):
        for moved in (median + 0.05 * axis, median - 0.05 * axis):
            assert (points - moved).norm(dim=1).sum() > total


@pytest.mark.slow
def test_precisions_agree_on_what_is_learned() -> None:
    losses = [trained(config_of("topk", precision=each), 400).report().loss for each in ("float32", "bfloat16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
