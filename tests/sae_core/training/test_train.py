"""A training: the same to the last bit whether it was broken off or not, alone or among others, looked at or not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.sae import Sae
from sae_core.train import Progress, Training, train_saes
from sae_core.training import checkpoints
from sae_core.training.buffer import ShuffledBuffer
from sae_core.training.config import CHECKPOINT, TrainConfig
from sae_core.training.sources import FileSource, LmSource, Source
from tests.sae_core import small_lms

X, Y = "blocks.1.hook_mlp_in_normed", "blocks.1.hook_mlp_out"
ROWS, WIDTH, BATCH, STEPS = 600, 8, 32, 120
# Dead latents are looked for at steps 0, 50 and 100; 0.7 of the steps come after the last checkpoint before a break.
RECIPES: dict[str, dict[str, Any]] = {
    "relu": {"family": "relu", "target_l0": 4.0},
    "relu, resampled": {"family": "relu", "sparsity": "plain", "l1": 30.0, "resample_at": (0.1, 0.7)},
    "topk": {"family": "topk", "k": 2, "dead_after": 801, "aux_k": 4},
    "batchtopk": {"family": "batchtopk", "k": 2, "dead_after": 801},
    "matryoshka": {"family": "matryoshka", "k": 2, "prefixes": (5, 12, 24), "normalise": "layer_norm"},
    "jumprelu": {"family": "jumprelu", "target_l0": 3.0},
    "gated": {"family": "gated", "target_l0": 3.0},
    "transcoder": {"family": "topk", "k": 3, "transcoder": True, "skip": True},
}


class Broken(Exception):
    """What ends a training here."""


def written(path: Path, seed: int = 0, rows: int = ROWS) -> Path:
    """Activations of a few directions each, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    strengths = rng.exponential(2.0, (rows, 14)) * (rng.random((rows, 14)) < 0.2)
    array = strengths @ rng.standard_normal((14, WIDTH)) + rng.standard_normal((rows, WIDTH)) / 10 + 0.5
    np.save(path, array.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("activations")
    return written(folder / "acts.npy"), written(folder / "out.npy", seed=1)


@pytest.fixture(scope="module")
def lm() -> Lm:
    return Lm(small_lms.new_lm("gpt2"))


def config(recipe: str = "topk", **changes: Any) -> TrainConfig:
    said: dict[str, Any] = {"n_latents": 24, "learning_rate": 1e-2} | RECIPES[recipe] | changes
    return TrainConfig(**said)


def training(steps: int = STEPS, **changes: Any) -> Training:
    said: dict[str, Any] = {"tokens": steps * BATCH, "batch_size": BATCH, "buffer_tokens": 250, "checkpoint_every": 25}
    return Training(**said | changes)


def weights(sae: Sae) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in sae.tensors().items()}


def same(saes: Sequence[Sae], others: Sequence[Sae]) -> bool:
    return len(saes) == len(others) and all(
        a.config == b.config
        and a.tensors().keys() == b.tensors().keys()
        and all(torch.equal(each, b.tensors()[name]) for name, each in a.tensors().items())
        for a, b in zip(saes, others, strict=True)
    )


def broken_at(step: int) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.step == step:
            raise Broken

    return on_progress


# --- broken off and gone on with


@pytest.mark.parametrize("kind", ["lm", "file"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_that_was_broken_off_twice_ends_at_the_same_bits(
    lm: Lm, files: tuple[Path, Path], tmp_path: Path, recipe: str, kind: str
) -> None:
    contexts = np.random.default_rng(3).integers(3, small_lms.VOCAB, size=(60, 10))
    transcoder, dies = recipe == "transcoder", recipe in ("topk", "batchtopk")
    one = config(recipe, n_latents=60 if dies else 24)

    def source() -> Source:
        if kind == "file":
            return FileSource(files[0], path_out=files[1] if transcoder else None, rows_per_chunk=40)
        return LmSource(lm, contexts, X, hookpoint_out=Y if transcoder else None, batch_contexts=5)

    def train(resume: bool = False, end: int | None = None, **changes: Any) -> list[Sae]:
        on_progress = None if end is None else broken_at(end)
        folder = None if changes else tmp_path
        sizes = training(log_every=1, **changes)
        return train_saes(source(), [one], sizes, folder=folder, resume=resume, on_progress=on_progress)

    straight = train(checkpoint_every=0)
    for resume, end, kept in ((False, 33, 25), (True, 80, 75)):
        with pytest.raises(Broken):
            train(resume, end)
        assert checkpoints.at_step(tmp_path) == kept
    if dies:
        assert len(load_file(tmp_path / CHECKPOINT)["saes.0.dead"]) > 0
    assert same(train(resume=True), straight)
    if recipe == "relu, resampled":  # the second of its resamplings, after the last break, was one
        once = config(recipe, resample_at=(0.1,))
        assert not same(train_saes(source(), [once], training(checkpoint_every=0)), straight)


def test_a_training_may_be_broken_off_at_any_step(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Also within what is said of the SAEs: several go on together."""
    configs = [config("relu, resampled"), config(seed=1), config("gated", n_latents=16)]

    def train(resume: bool, end: int) -> list[Sae]:
        sizes = training(30, log_every=1, checkpoint_every=1)
        source = FileSource(files[0], rows_per_chunk=40)
        return train_saes(source, configs, sizes, folder=tmp_path, resume=resume, on_progress=broken_at(end))

    for end in range(2, 31):
        with pytest.raises(Broken):
            train(end > 2, end)
        assert checkpoints.at_step(tmp_path) == end - 1
    straight = train_saes(FileSource(files[0], rows_per_chunk=40), configs, training(30))
    assert same(train(True, 31), straight)


def test_what_is_said_on_the_way_and_how_often_it_is_kept_may_be_others(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Broken):
        train_saes(
            FileSource(files[0]),
            [config()],
            training(buffer_tokens=None, log_every=1),
            folder=tmp_path,
            on_progress=broken_at(30),
        )
    seen = list[int]()
    sizes = training(buffer_tokens=None, log_every=40, checkpoint_every=10)
    resumed = train_saes(
        FileSource(files[0]), [config()], sizes, folder=tmp_path, resume=True, on_progress=lambda p: seen.append(p.step)
    )
    assert seen == [40, 80, 120]
    assert checkpoints.at_step(tmp_path) == 110
    assert same(resumed, train_saes(FileSource(files[0]), [config()], training(buffer_tokens=None)))


def test_so_short_a_training_that_it_would_resample_before_its_first_step(files: tuple[Path, Path]) -> None:
    def train(resample_at: tuple[float, ...]) -> list[Sae]:
        one = config("relu, resampled", resample_at=resample_at)
        return train_saes(FileSource(files[0]), [one], training(10, buffer_tokens=None))

    assert same(train((0.0, 0.04)), train(()))


# --- several from one stream


def test_each_of_several_is_what_it_is_alone(files: tuple[Path, Path]) -> None:
    configs = [
        config(),
        config(seed=1),
        config(n_latents=40),
        config("relu"),
        config("relu, resampled", n_latents=33, seed=2),
        config("batchtopk", learning_rate=3e-3),
        config("gated", n_latents=9),
    ]

    def train(configs: list[TrainConfig]) -> list[Sae]:
        return train_saes(FileSource(files[0], rows_per_chunk=40), configs, training(60))

    together = train(configs)
    assert [each.n_latents for each in together] == [24, 24, 40, 24, 33, 24, 9]
    assert same(together, [train([each])[0] for each in configs])
    assert not torch.equal(together[0].W_dec, together[1].W_dec)


def test_the_order_of_the_tokens_is_the_training_s_seed(files: tuple[Path, Path]) -> None:
    def train(seed: int) -> list[Sae]:
        return train_saes(FileSource(files[0]), [config()], training(10, buffer_tokens=None, seed=seed))

    assert same(train(1), train(1))
    assert not same(train(1), train(2))


# --- looked at


def test_looking_changes_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    configs = [config(), config("relu, resampled"), config("jumprelu")]

    def train(steps: list[int] | None, **changes: Any) -> list[Sae]:
        def on_progress(progress: Progress) -> None:
            if steps is not None:
                steps.append(progress.step)

        sizes = training(60, **changes)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        given = None if steps is None else on_progress
        return train_saes(FileSource(files[0], rows_per_chunk=40), configs, sizes, folder=folder, on_progress=given)

    straight = train(None, checkpoint_every=0)
    for log_every in (1, 7, 1000):
        steps = list[int]()
        assert same(train(steps, log_every=log_every, checkpoint_every=log_every), straight)
        assert same(train(None, log_every=log_every), straight)
        assert steps == sorted({*range(log_every, 61, log_every), 60})


def encoded(kept: dict[str, Tensor], x: Tensor, k: int | None) -> Tensor:
    """Latents of a batch in a training's units, densely.  # (n, d) -> (n, n_latents)"""
    pre = (x - kept["b_dec"] if k else x) @ kept["enc_rows"].T + kept["b_enc"]
    if k is None:
        return pre.relu()
    least = pre.topk(k, dim=1).values[:, -1:]
    return torch.where(pre >= least, pre, 0).relu()


@pytest.mark.parametrize("k", [2, 14, None], ids=["topk", "topk beyond 0", "relu"])
def test_what_is_told_is_so(files: tuple[Path, Path], tmp_path: Path, k: int | None) -> None:
    """By dense formulas from the weights before each step, which the checkpoint before it has."""
    steps, l1, dead_after = 40, 5.0, 65
    common: dict[str, Any] = {"precision": "float32", "dead_after": dead_after}
    one = config(k=k, aux_k=0, **common) if k else TrainConfig(Family.RELU, 24, l1=l1, sparsity_warmup=0.5, **common)
    buffer = ShuffledBuffer(FileSource(files[0], rows_per_chunk=40), 250, BATCH)
    last_fired = torch.zeros(24, dtype=torch.int64)  # how many tokens had been seen by then
    seen = list[int]()

    def on_progress(progress: Progress) -> None:
        seen.append(progress.step)
        assert (progress.steps, progress.tokens) == (steps, progress.step * BATCH)
        assert progress.tokens_per_second > 0
        (report,) = progress.saes
        x = buffer.take().x
        if progress.step == 1:
            return
        tensors = load_file(tmp_path / CHECKPOINT)
        assert checkpoints.at_step(tmp_path) == progress.step - 1
        kept = {name.rpartition(".")[2]: each for name, each in tensors.items() if ".weights." in name}
        x = x * tensors["saes.0.scales"][0].float()
        acts = encoded(kept, x, k)
        error = (x - acts @ kept["W_dec"] - kept["b_dec"]).square().sum(1)
        fvu = (error.sum() / (x - x.mean(0)).square().sum()).item()
        weighed = (acts * kept["W_dec"].norm(dim=1)).sum(1).mean()
        used, stands = (l1 * min(each / (steps / 2), 1) for each in (progress.step, progress.step + 1))
        loss = fvu if k else (error.mean() + used * weighed).item()
        assert report.l0 == (acts > 0).sum().item() / BATCH
        assert report.fvu == pytest.approx(fvu, rel=1e-4)
        assert report.loss == pytest.approx(loss, rel=1e-4)
        assert report.penalty == pytest.approx(0.0 if k else stands)
        last_fired[(acts > 0).any(0)] = progress.tokens
        if progress.step > 4:  # the first step was not looked at
            assert report.silent == int((progress.tokens - last_fired >= dead_after).sum())

    sizes = training(steps, log_every=1, checkpoint_every=1)
    train_saes(FileSource(files[0], rows_per_chunk=40), [one], sizes, folder=tmp_path, on_progress=on_progress)
    assert seen == list(range(1, steps + 1))


def test_it_learns_and_knows_its_place(files: tuple[Path, Path]) -> None:
    x: NDArray[Any] = np.load(files[0])
    first, last = list[float](), list[float]()
    (sae,) = train_saes(
        FileSource(files[0]),
        [config(k=4)],
        training(300, buffer_tokens=None, log_every=10),
        on_progress=lambda p: (last if p.step > 200 else first).append(p.saes[0].fvu),
    )
    given = torch.from_numpy(x)
    fvu = (given - sae(given)).square().sum() / (given - given.mean(0)).square().sum()
    assert float(fvu) < 0.2 < first[0]
    assert np.mean(last) == pytest.approx(float(fvu), abs=0.05)
    assert int((sae.encode(given) > 0).sum(1).max()) == 4


# --- what cannot be trained


def test_sources_and_saes_of_two_kinds_are_refused(files: tuple[Path, Path]) -> None:
    one, two = FileSource(files[0]), FileSource(files[0], path_out=files[1])
    with pytest.raises(BadInput, match=r"^the source has one hookpoint: an SAE needs one, a transcoder two$"):
        train_saes(one, [config(), config("transcoder")], training(buffer_tokens=None))
    with pytest.raises(BadInput, match=r"^the source has two hookpoints: an SAE needs one, a transcoder two$"):
        train_saes(two, [config()], training(buffer_tokens=None))
    with pytest.raises(BadInput, match="there is no SAE to train; give at least one config"):
        train_saes(one, [], training(buffer_tokens=None))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"batch_size": 601},
            "there are 600 tokens that count, which is less than one batch of 601; give more text, o",
        ),
        ({"batch_size": 32, "buffer_tokens": 601}, "600 tokens that count and the buffer is to hold 601: give more"),
        ({"batch_size": 32, "buffer_tokens": 71}, "batch of 32 beside a chunk of up to 40: let it hold at least 72"),
        ({"batch_size": 32, "tokens": 31}, "31 tokens are less than one batch of 32"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"log_every": 0}, "log_every is 0, expected at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1, expected at least 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(files: tuple[Path, Path], given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        train_saes(FileSource(files[0], rows_per_chunk=40), [config()], Training(**given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n_latents": 0}, "n_latents is 0, expected a whole number above 0"),
        ({"n_latents": 8, "k": 9}, "k is 9, expected a whole number from 1 to 8, the latents"),
        ({"k": 0}, "k is 0, expected a whole number from 1 to 24"),
        ({"k": None}, "a topk SAE needs k, the latents kept for each token"),
        ({"family": "relu"}, "k is 2, and a relu SAE keeps what its penalty leaves; give target_l0"),
        ({"family": "matryoshka", "prefixes": (4, 12)}, "the nested prefixes end at 12, expected all 24 latents"),
        ({"family": "matryoshka", "prefixes": (12, 4, 24)}, "expected rising numbers above 0"),
        ({"prefixes": (4, 24)}, "nested prefixes exist with matryoshka alone, not with topk"),
        ({"family": "neurons"}, "neurons SAEs are not trained here, only relu, topk"),
        ({"family": "dense"}, "family is 'dense', expected one of relu"),
        ({"target_l0": 2.0}, "a topk SAE keeps k latents, which is its L0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number above 0"),
        ({"skip": True}, "skip connections are for transcoders"),
    ],
)
def test_saes_that_cannot_be_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        config(**given)
