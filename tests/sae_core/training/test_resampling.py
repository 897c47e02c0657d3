"""Silent latents drawn anew: weights, biases and moments."""

import pytest
import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.training.config import Sparsity, TrainConfig
from sae_core.training.resampling import resample
from sae_core.training.trainer import MOMENTS, Trainer
from tests.sae_core.training import planted

F, D, N = 12, 5, 40
SILENT = torch.tensor([False, True, False, False, True, True, False, False, False, False, False, False])


def some_weights() -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"enc_rows": (F, D), "W_dec": (F, D), "b_enc": (F,), "b_dec": (D,)}
    weights = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    moments = {name: [torch.randn(*shape, generator=generator) for _ in MOMENTS] for name, shape in shapes.items()}
    return weights, moments


def some_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 5 * torch.randn(N, D, generator=generator), torch.rand(N, generator=generator)


def test_silent_latents_become_inputs_and_the_others_stay() -> None:
    weights, moments = some_weights()
    before = {name: each.clone() for name, each in weights.items()}
    moments_before = {name: [each.clone() for each in both] for name, both in moments.items()}
    z, errors = some_inputs()
    drawn = resample(weights, moments, SILENT, z, errors, seed=3)
    assert drawn.tolist() == [1, 4, 5]
    units = z / z.norm(dim=1, keepdim=True)
    living = before["enc_rows"][~SILENT].norm(dim=1).mean()
    for latent in drawn.tolist():
        which = int((units @ weights["W_dec"][latent]).argmax())
        torch.testing.assert_close(weights["W_dec"][latent], units[which])
        torch.testing.assert_close(weights["enc_rows"][latent], units[which] * 0.2 * living)
        assert weights["b_enc"][latent] == 0
    for name in ("enc_rows", "W_dec", "b_enc"):
        assert torch.equal(weights[name][~SILENT], before[name][~SILENT])
        for each, was in zip(moments[name], moments_before[name], strict=True):
            assert not each[SILENT].any()
            assert torch.equal(each[~SILENT], was[~SILENT])
    assert torch.equal(weights["b_dec"], before["b_dec"])
    assert all(torch.equal(*pair) for pair in zip(moments["b_dec"], moments_before["b_dec"], strict=True))


def test_the_chance_of_an_input_grows_with_its_squared_loss() -> None:
    """Two inputs, one of three times the loss of the other: drawn nine times as often."""
    z = torch.eye(2)
    errors = torch.tensor([1.0, 3.0])
    times = torch.zeros(2)
    for seed in range(2000):
        weights = {"enc_rows": torch.ones(3, 2), "W_dec": torch.ones(3, 2), "b_enc": torch.ones(3)}
        moments = {name: [torch.ones_like(each)] for name, each in weights.items()}
        resample(weights, moments, torch.tensor([True, False, False]), z, errors, seed)
        times += weights["W_dec"][0]
    assert times[1] / times.sum() == pytest.approx(0.9, abs=0.02)


def test_no_input_is_drawn_twice_while_there_are_enough() -> None:
    weights, moments = some_weights()
    z, errors = some_inputs()
    drawn = resample(weights, moments, torch.ones(F, dtype=torch.bool), z, errors, seed=0)
    rows = weights["W_dec"]
    assert len(drawn) == F
    assert (rows @ rows.T - torch.eye(F)).amax() < 1 - 1e-6
    few = resample(weights, moments, torch.ones(F, dtype=torch.bool), z[:4], errors[:4], seed=0)
    assert len(few) == F


def test_nothing_silent_or_no_error_changes_nothing() -> None:
    weights, moments = some_weights()
    before = weights["W_dec"].clone()
    z, errors = some_inputs()
    assert not len(resample(weights, moments, torch.zeros(F, dtype=torch.bool), z, errors, seed=0))
    assert not len(resample(weights, moments, SILENT, z, torch.zeros(N), seed=0))
    assert torch.equal(weights["W_dec"], before)


def test_in_a_training_silent_latents_fire_again() -> None:
    """Of the window before a resampling, at the steps that the shares say, and the optimiser has forgotten them."""
    config = TrainConfig(Family.RELU, 64, sparsity=Sparsity.PLAIN, l1=0.5, resample_at=(0.5,), resample_window=0.1)
    trainer = Trainer(config, planted.D, planted.D, steps=100, batch_size=256)
    generator = torch.Generator().manual_seed(0)
    sample = planted.tokens(4096, generator)
    trainer.start(sample, sample)
    with torch.no_grad():
        trainer.weights["b_enc"][:10] = -1000
    due = []
    for step in range(100):
        if trainer.resamples:
            due.append(step)
            assert trainer.resample(sample, sample) >= 10
            moment = trainer.optimiser.state[trainer.weights["W_dec"]]["exp_avg"]
            assert not moment[:10].any()
            torch.testing.assert_close(trainer.weights["W_dec"][:10].norm(dim=1), torch.ones(10))
        x = planted.tokens(256, generator)
        trainer.step(x, x)
    assert due == [50]
    assert (trainer.sae().encode(sample)[:, :10] > 0).any(0).sum() >= 8
