"""Trains SAEs: one stream of activations, any number of SAEs that read it."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_core.config import SaeConfig
from sae_core.errors import BadInput
from sae_core.sae import Sae
from sae_core.training import checkpoints
from sae_core.training.buffer import ShuffledBuffer
from sae_core.training.config import CHECKPOINT, TrainConfig
from sae_core.training.sources import Source
from sae_core.training.trainer import Report, Trainer

STARTED_FROM = 16_384  # tokens, for the mean norm and the geometric median
RESAMPLED_FROM = 65_536  # tokens, among which the inputs of new latents are drawn
LARGEST_WEIGHT = 1e8  # in a training's own units; what two of them make of an input has no square in float32
FREE = ("log_every", "checkpoint_every")  # may be others when a training is gone on with
PLACE = ("hookpoint", "hookpoint_out", "centred", "lm", "context_length", "prepend_bos", "dtype")


@dataclass(frozen=True)
class Training:
    """What all SAEs of one stream share."""

    tokens: int | None = None
    """None: every token that counts, once."""
    batch_size: int = 2048
    buffer_tokens: int | None = None
    """Tokens that are shuffled together; None as the buffer says."""
    seed: int = 0
    """Of the order of the tokens."""
    log_every: int = 100
    checkpoint_every: int = 1000
    """Steps; 0 for never."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("log_every", 1), ("checkpoint_every", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.tokens is not None and self.tokens < self.batch_size:
            raise BadInput(f"{self.tokens:,} tokens are less than one batch of {self.batch_size:,}")


class Progress(NamedTuple):
    step: int  # so many were taken
    steps: int
    tokens: int  # seen by each SAE
    tokens_per_second: float  # since the start, or since it went on
    saes: tuple[Report, ...]


def train_saes(
    source: Source,
    configs: Sequence[TrainConfig],
    training: Training | None = None,
    *,
    where: SaeConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Sae]:
    """The SAEs that come of it, in the order of `configs`, each the one that would have come of it alone.

    `on_progress` is called every `log_every` steps and after the last; whether, and how often, changes nothing. What it
    raises ends the training. Checkpoints are kept in `folder`, the last of them until you remove it once the SAEs are
    saved; with `resume`, a training that ended
    before its end goes on, on a CPU to the same bits. `where` says what SAEs are to know of their place, hookpoint and
    lm; None: what the source knows of it.
    """
    training = training or Training()
    folder = None if folder is None else Path(folder)
    where = source.place if where is None else where
    loop = _Loop(source, configs, training, _steps(source, training), where, folder)
    if resume:
        loop.resume()
    else:
        loop.start()
    loop.run(on_progress)
    return [each.sae(where) for each in loop.trainers]


def _steps(source: Source, training: Training) -> int:
    tokens = source.n_tokens if training.tokens is None else training.tokens
    if tokens < training.batch_size:
        raise BadInput(
            f"there are {tokens:,} tokens that count, which is less than one batch of {training.batch_size:,}; give "
            "more text, or a smaller batch_size"
        )
    return tokens // training.batch_size


class _Loop:
    def __init__(
        self,
        source: Source,
        configs: Sequence[TrainConfig],
        training: Training,
        steps: int,
        where: SaeConfig | None,
        folder: Path | None,
    ) -> None:
        if not configs:
            raise BadInput("there is no SAE to train; give at least one config")
        self.configs, self.training, self.steps, self.folder = configs, training, steps, folder
        self.buffer = ShuffledBuffer(source, training.buffer_tokens, training.batch_size, seed=training.seed)
        sizes: dict[str, Any] = {"steps": steps, "batch_size": training.batch_size, "device": source.device}
        self.trainers = [Trainer(each, source.d_in, source.d_out, **sizes) for each in configs]
        for config in configs:
            if config.transcoder != source.transcoder:
                has = "two hookpoints" if source.transcoder else "one hookpoint"
                raise BadInput(f"the source has {has}: an SAE needs one, a transcoder two")
        self.made_with = _made_with(source, configs, training, where)
        self.step = 0
        self.kept_at: int | None = None

    def start(self) -> None:
        if self.folder and (there := checkpoints.at_step(self.folder)) is not None:
            raise BadInput(
                f"{self.folder}: holds a training that came to step {there}; go on with it (resume), or name another "
                "folder"
            )
        if self.folder:
            checkpoints.sweep(self.folder)
        sample = self.buffer.sample(STARTED_FROM)
        for each in self.trainers:
            each.start(*sample)

    def resume(self) -> None:
        if self.folder is None:
            raise BadInput("to go on with a training, name the folder that its checkpoint lies in")
        kept = checkpoints.read(self.folder)
        theirs, mine = kept.made_with, self.made_with
        if differs := [name for name in mine | theirs if theirs.get(name) != mine.get(name)]:
            name = differs[0]
            raise BadInput(
                f"{self.folder}: {name} was {theirs.get(name)!r} and is {mine.get(name)!r} here; go on with what it "
                "was begun with, or begin anew in another folder"
            )
        try:
            self.buffer.restore(_below("buffer.", kept.tensors))
            for index, each in enumerate(self.trainers):
                each.restore(_below(f"saes.{index}.", kept.tensors))
        except (BadInput, KeyError, RuntimeError) as error:
            raise BadInput(f"{self.folder / CHECKPOINT}: not whole, or of another source: {error}") from error
        checkpoints.sweep(self.folder)
        self.kept_at = self.step = kept.step

    def run(self, on_progress: Callable[[Progress], None] | None) -> None:
        training, started, before = self.training, time.perf_counter(), self.step
        while self.step < self.steps:
            self._resample()
            x, y = self.buffer.take()
            for trainer in self.trainers:
                trainer.step(x, y)
            self.step += 1
            last = self.step == self.steps
            if last:
                self._check_weights()
            if self.step % training.log_every == 0 or last:
                self._check_losses()
                if on_progress:
                    rate = (self.step - before) * training.batch_size / (time.perf_counter() - started)
                    reports = tuple(each.report() for each in self.trainers)
                    tokens = self.step * training.batch_size
                    on_progress(Progress(self.step, self.steps, tokens, rate, reports))
            if training.checkpoint_every and self.step % training.checkpoint_every == 0 and not last:
                self._keep()

    def _resample(self) -> None:
        due = [each for each in self.trainers if each.resamples]
        if due:
            self._check_weights()
            sample = self.buffer.sample(RESAMPLED_FROM)
            for each in due:
                each.resample(*sample)

    def _check_losses(self) -> None:
        """That none was NaN or infinite since the last look."""
        for index, trainer in enumerate(self.trainers):
            if (before := trainer.spoiled_at) is not None:
                raise self._refusal(index, before + 1, "the loss is not a finite number")

    def _check_weights(self) -> None:
        """That the last update left them sound: its own loss was of the weights before it."""
        self._check_losses()
        for index, trainer in enumerate(self.trainers):
            for name, each in trainer.state().items():
                if not _bounded(each, LARGEST_WEIGHT if name.startswith("weights.") else math.inf):
                    raise self._refusal(index, self.step, f"{name} has grown beyond bounds")

    def _refusal(self, index: int, step: int, what: str) -> BadInput:
        config = self.configs[index]
        which = f"SAE {index + 1} of {len(self.trainers)} ({config.family}, {config.n_latents} latents)"
        kept = f"the last checkpoint, of step {self.kept_at}, is kept" if self.kept_at else "no checkpoint was written"
        return BadInput(
            f"step {step}, {which}: {what}, the source having been read {self.buffer.place}; {kept}. Is the learning "
            f"rate, {config.learning_rate:g}, too high?"
        )

    def _keep(self) -> None:
        if self.folder is None:
            return
        self._check_weights()
        tensors = {f"buffer.{name}": each for name, each in self.buffer.state().items()}
        for index, trainer in enumerate(self.trainers):
            tensors |= {f"saes.{index}.{name}": each for name, each in trainer.state().items()}
        checkpoints.write(self.folder, checkpoints.Checkpoint(self.step, self.made_with, tensors))
        self.kept_at = self.step


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)}


def _made_with(
    source: Source, configs: Sequence[TrainConfig], training: Training, where: SaeConfig | None
) -> dict[str, Any]:
    """What has to be the same for a training to go on, each thing by a name of its own."""
    made: dict[str, Any] = {"the number of SAEs": len(configs)}
    for index, config in enumerate(configs):
        made |= {f"SAE {index + 1}'s {name}": value for name, value in asdict(config).items()}
    made |= {f"the training's {name}": value for name, value in asdict(training).items() if name not in FREE}
    if where is not None:
        made |= {f"the {name}": getattr(where, name) for name in PLACE}
    made |= {f"the source's {name}": getattr(source, name) for name in ("d_in", "d_out", "n_tokens")}
    return dict(json.loads(json.dumps(made)))  # as a checkpoint gives it back


def _bounded(tensor: Tensor, bound: float) -> bool:
    """Of every number; none is NaN."""
    return not tensor.is_floating_point() or bool((torch.stack(tensor.aminmax()).abs() < bound).all())
