"""Which token comes next, as `generate` of transformers chooses it: its own processors, in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from sae_core.errors import BadInput


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for all tokens."""
    repetition_penalty: float = 1.0
    """What the logits of tokens that were there already are divided by, or multiplied where below 0."""

    def __post_init__(self) -> None:
        for name, least, most in (("temperature", 0, 10), ("top_p", 0, 1), ("repetition_penalty", 0, 10)):
            value = getattr(self, name)
            if not least <= value <= most or (not value and name != "temperature"):
                above = "from" if name == "temperature" else "above"
                raise BadInput(f"{name} is {value}, expected a number {above} {least} to {most}")
        if self.top_k < 0:
            raise BadInput(f"top_k is {self.top_k}, expected a number of tokens, or 0 for all")


class Sampler:
    """Each run draws from a generator of its own, so that it gets the tokens that it would get alone."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int], device: torch.device) -> None:
        self._processors = _processors(sampling)
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._greedy = sampling.temperature == 0

    def next(self, ids: Tensor, logits: Tensor, p: Tensor) -> Tensor:
        """`p` are the probabilities that the logits give.
        # (runs, length) of what is there, (runs, n_vocab), (runs, n_vocab) -> (runs)"""
        if len(self._processors):
            logits = self._processors(ids, logits.float())
            p = logits if self._greedy else logits.softmax(-1)
        if self._greedy:
            return logits.argmax(-1)
        drawn = [
            torch.multinomial(each, 1, generator=generator) for each, generator in zip(p, self._generators, strict=True)
        ]
        return torch.cat(drawn)


def _processors(sampling: Sampling) -> LogitsProcessorList:
    found = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        found.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.temperature in (0, 1):
        pass
    else:
        found.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.temperature and sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.temperature and sampling.top_p < 1:
        found.append(TopPLogitsWarper(float(sampling.top_p)))
    return found
