"""One contender of `benchmarks.train`, in a process of its own, run by the Python that has what it needs.

usage: train_peers.py NAME FOLDER. FOLDER holds setting.json, the rows of x.npy and the weights of start.safetensors; in
the end the weights lie beside them in NAME.safetensors. It says that it is ready; from then on each line on standard
input asks for one more round of steps and is answered by the seconds it took, a line of JSON on standard output.

- `ours`: `sae_core.training`, its one dense product in bfloat16 where the processor multiplies that natively; in
  `ours_float32` in float32. AuxK is on; a latent that is silent for 1,000 batches is dead.
- `saelens`: `SAETrainer.fit` of SAELens on its `TopKTrainingSAE` with its own defaults: dense activations in float32,
  AuxK for latents that are silent for 1,000 batches, activations weighed by decoder norms, gradients clipped at 1. In
  `saelens_autocast` with its autocast to bfloat16; in `saelens_sparse` with its sparse activations, and so unweighed:
  on a CPU torch has no gradient for both together.
- `plain`: dense encode, `topk`, `embedding_bag`, autograd, normalised error, fused Adam, decoder rows back to norm 1,
  no AuxK; in `plain_autocast` with torch's autocast to bfloat16.
- `floor`: no training, but what torch itself takes for the parts that no step is without: the dense product in the
  precision of `ours`, the weights' conversion included; `topk` of it; the decode of what it chose; fused Adam over all
  weights. Gradients, which need k of the latents a token and not all, are not in it. `floor_float32`: all in float32.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

DEAD_AFTER = 1000  # batches, SAELens's default
SAMPLE = 8192  # rows
SQUARE = 4096  # rows and columns of the product that measures the processor's rate

Weights = dict[str, Tensor]  # W_enc (d, n_latents), b_enc, W_dec (n_latents, d), b_dec; the encoder reads x − b_dec


@dataclass(frozen=True)
class Setting:
    d: int
    n_latents: int
    rows: int
    """To train on, in the order of the file, again and again; those that SAEs are judged by follow them."""
    steps: int
    """Of a round."""
    rounds: int
    threads: int
    device: str = "cpu"
    k: int = 32
    batch: int = 2048
    learning_rate: float = 1e-3

    @property
    def all_steps(self) -> int:
        return self.steps * self.rounds


class Batches(Iterator[Tensor]):
    """Batches for one round after another. Who comes for another batch has taken the step before, so that a loop which
    is not ours can be timed too; one that does not come back after its last step is told so by `end_round`."""

    def __init__(self, rows: Any, setting: Setting, replies: TextIO) -> None:
        self._rows, self._setting, self._replies = rows, setting, replies
        self.told: dict[str, Any] = {}  # beside being ready
        self._given = 0
        self._since: float | None = None  # when the round began; None between rounds

    def __next__(self) -> Tensor:
        if self._given % self._setting.steps == 0:
            self.end_round()
            if self._given == self._setting.all_steps:
                raise StopIteration
            self._begin_round()
        start = self._given * self._setting.batch % self._setting.rows
        self._given += 1
        return torch.from_numpy(self._rows[start : start + self._setting.batch].copy()).to(self._setting.device)

    @property
    def sample(self) -> Tensor:
        """What a training may look at before its first step."""
        return torch.from_numpy(self._rows[:SAMPLE].copy())

    def end_round(self) -> None:
        if self._since is not None:
            self._reply({"seconds": now(self._setting.device) - self._since})
            self._since = None

    def _begin_round(self) -> None:
        if not self._given:
            self._reply({"ready": True, **self.told})
        if not sys.stdin.readline():
            sys.exit("nobody asks for rounds any more")
        self._since = now(self._setting.device)

    def _reply(self, said: dict[str, Any]) -> None:
        print(json.dumps(said), file=self._replies, flush=True)


Train = Callable[[Setting, Weights, Batches], Weights]


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# sae_core and sae_lens are imported where they are used: no environment has both.


def our_trainer(setting: Setting, sample: Tensor, precision: str) -> Any:
    from sae_core.config import Family
    from sae_core.training.config import Precision, TrainConfig
    from sae_core.training.trainer import Trainer

    config = TrainConfig(
        family=Family.TOPK,
        n_latents=setting.n_latents,
        k=setting.k,
        learning_rate=setting.learning_rate,
        warmup=0.0,
        decay=0.0,
        precision=Precision(precision),
        dead_after=DEAD_AFTER * setting.batch,
    )
    trainer = Trainer(
        config, setting.d, setting.d, steps=setting.all_steps, batch_size=setting.batch, device=setting.device
    )
    sample = sample.to(setting.device)
    trainer.start(sample, sample)
    return trainer


def our_weights(trainer: Any) -> Weights:
    sae = trainer.sae()
    assert sae.config.subtract_b_dec
    return dict(sae.tensors())


def ours(setting: Setting, start: Weights, batches: Batches, *, precision: str = "auto") -> Weights:
    trainer = our_trainer(setting, batches.sample, precision)
    for name, tensor in our_weights(trainer).items():
        torch.testing.assert_close(tensor, start[name].cpu())
    for x in batches:
        trainer.step(x, x)
    return our_weights(trainer)


def saelens(
    setting: Setting, start: Weights, batches: Batches, *, sparse: bool = False, autocast: bool = False
) -> Weights:
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = TopKTrainingSAEConfig(
        d_in=setting.d,
        d_sae=setting.n_latents,
        device=setting.device,
        k=setting.k,
        use_sparse_activations=sparse,
        rescale_acts_by_decoder_norm=not sparse,
    )
    sae = TopKTrainingSAE(config)
    sae.load_state_dict(start)
    trainer_config = SAETrainerConfig(
        total_training_samples=setting.all_steps * setting.batch,
        train_batch_size_samples=setting.batch,
        lr=setting.learning_rate,
        lr_end=setting.learning_rate,
        device=setting.device,
        autocast=autocast,
        dead_feature_window=DEAD_AFTER,
    )
    SAETrainer(trainer_config, sae, batches).fit()
    batches.end_round()
    weights = sae.state_dict()
    sae.process_state_dict_for_saving_inference(weights)  # decoder norms into the encoder
    return dict(weights)


def plain(setting: Setting, start: Weights, batches: Batches, *, autocast: bool = False) -> Weights:
    weights = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    W_enc, b_enc, W_dec, b_dec = (weights[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    adam = torch.optim.Adam(weights.values(), lr=setting.learning_rate, fused=True)
    for x in batches:  # (batch, d)
        with torch.autocast(setting.device, torch.bfloat16, enabled=autocast):
            pre = (x - b_dec) @ W_enc + b_enc  # (batch, n_latents)
        top = pre.topk(setting.k, dim=1, sorted=False)
        acts = top.values.relu().float()  # (batch, k)
        x_hat = embedding_bag(top.indices, W_dec, per_sample_weights=acts, mode="sum") + b_dec
        loss = (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        with torch.no_grad():
            W_dec /= W_dec.norm(dim=1, keepdim=True)
    return {name: tensor.detach() for name, tensor in weights.items()}


@torch.no_grad()
def floor(setting: Setting, start: Weights, batches: Batches, *, precision: str = "auto") -> Weights:
    from sae_core.training.choosing import product_dtype
    from sae_core.training.config import Precision

    dtype = product_dtype(Precision(precision), setting.device)
    batches.told["matrix_flops"] = _matrix_flops(dtype, setting.device)
    rows, weights = start["W_enc"].T.contiguous(), [tensor.clone() for tensor in start.values()]
    for each in weights:
        each.grad = torch.full_like(each, 1e-3)
    adam = torch.optim.Adam(weights, lr=setting.learning_rate, fused=True)
    for x in batches:  # (batch, d)
        pre = linear(x.to(dtype), rows.to(dtype))  # (batch, n_latents)
        top = pre.topk(setting.k, dim=1, sorted=False)
        embedding_bag(top.indices, start["W_dec"], per_sample_weights=top.values.float(), mode="sum")
        adam.step()
    return start


def _matrix_flops(dtype: torch.dtype, device: str) -> float:
    """A second, of a large square product."""
    square = torch.randn(SQUARE, SQUARE, device=device).to(dtype)
    seconds = []
    for _ in range(4):
        since = now(device)
        square @ square
        seconds.append(now(device) - since)
    return 2 * SQUARE**3 / min(seconds)


CONTENDERS: dict[str, Train] = {
    "ours": ours,
    "ours_float32": partial(ours, precision="float32"),
    "saelens": saelens,
    "saelens_sparse": partial(saelens, sparse=True),
    "saelens_autocast": partial(saelens, autocast=True),
    "plain": plain,
    "plain_autocast": partial(plain, autocast=True),
    "floor": floor,
    "floor_float32": partial(floor, precision="float32"),
}


def read_weights(path: Path, device: str) -> Weights:
    return dict(load_file(path, device=device))


def write_weights(path: Path, weights: Weights) -> None:
    save_file({name: tensor.float().contiguous() for name, tensor in weights.items()}, path)


def main(name: str, folder: Path) -> None:
    setting = Setting(**json.loads((folder / "setting.json").read_text()))
    torch.set_num_threads(setting.threads)
    rows = np.load(folder / "x.npy", mmap_mode="r")
    replies = sys.stdout
    with redirect_stdout(sys.stderr):  # what libraries print is no reply
        start = read_weights(folder / "start.safetensors", setting.device)
        weights = CONTENDERS[name](setting, start, Batches(rows, setting, replies))
    write_weights(folder / f"{name}.safetensors", weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
