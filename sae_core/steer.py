"""Text that an lm writes while latents are changed: several runs in one pass, token by token."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.changes import Changes
from sae_core.devices import free, out_of_memory
from sae_core.errors import BadInput
from sae_core.hookpoints import check_passed
from sae_core.interventions import Run
from sae_core.lm import Lm
from sae_core.sampling import Sampler, Sampling

ALTERNATIVES = 5
ASKED_FOR_NOTHING = Sampling()


class Alternative(NamedTuple):
    id: int
    p: float


class Written(NamedTuple):
    """One token of one run, and what else might have come: by the lm's own probabilities, changes included, before
    temperature and the rest have a say."""

    id: int
    p: float
    alternatives: tuple[Alternative, ...]  # the likeliest first


@dataclass(frozen=True)
class Plan:
    """All that a steering depends on, but for the lm."""

    prompt: Sequence[int]
    runs: Sequence[Run]
    max_new_tokens: int
    sampling: Sampling = ASKED_FOR_NOTHING


@torch.inference_mode()  # of each step, as it is a generator's; without versions of tensors a twentieth faster
def steered(lm: Lm, plan: Plan) -> Generator[list[Written | None], None, None]:
    """Of each run the next token, None once it has come to its end. Whoever goes away in between ends it.

    All runs go through the lm together: their prompt at once, then, with a key-value cache, a token of each at a step.
    """
    prompt = _checked(lm, plan)
    changes, sampler = Changes(lm, plan.runs), Sampler(plan.sampling, [run.seed for run in plan.runs], lm.device)
    ids = prompt.expand(len(plan.runs), -1)  # (runs, length)
    ends, ended, cache = _end_ids(lm), [False] * len(plan.runs), None
    replace = changes.replace
    new = ids
    with lm.hooked(replace) as passed:
        for step in range(plan.max_new_tokens):
            changes.at(new, n_prompt=prompt.shape[1], start=ids.shape[1] - new.shape[1])
            found = lm.hf(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1)
            if not step:
                check_passed(replace, passed)
            cache, logits = found.past_key_values, found.logits[:, -1]  # (runs, n_vocab)
            p = logits.float().softmax(-1)
            if not torch.isfinite(p).all():
                raise BadInput("what the lm computes at this strength are no numbers any more; take a weaker one")
            new = sampler.next(ids, logits, p)[:, None]
            ids = torch.cat([ids, new], 1)
            tokens = _written(p, new)
            yield [None if over or each.id in ends else each for each, over in zip(tokens, ended, strict=True)]
            ended = [over or each.id in ends for each, over in zip(tokens, ended, strict=True)]
            if all(ended):
                return


class Step(NamedTuple):
    """What some of the runs have come to, side by side."""

    first: int  # of these runs, by its place in the plan
    number: int  # of the token, from 0
    tokens: list[Written | None]


def steered_as_fits(lm: Lm, plan: Plan, first: int = 0) -> Generator[Step, None, None]:
    """As `steered`, of which memory may not do for all runs at once: then one half of them is written after the other,
    each once more from its first token. `first` is the place of the plan's first run among all."""
    try:
        for number, tokens in enumerate(steered(lm, plan)):
            yield Step(first, number, tokens)
        return
    except (RuntimeError, MemoryError, OSError) as error:
        if len(plan.runs) < 2 or not out_of_memory(error):
            raise
    free()  # out here, as the error holds all that was there when it came
    half = len(plan.runs) // 2
    yield from steered_as_fits(lm, replace(plan, runs=plan.runs[:half]), first)
    yield from steered_as_fits(lm, replace(plan, runs=plan.runs[half:]), first + half)


@torch.no_grad()
def steered_logits(lm: Lm, tokens: Tensor, runs: Sequence[Run], n_prompt: int) -> Tensor:
    """The same in one forward over a whole text, without a cache.  # (length) -> (runs, length, n_vocab)"""
    changes = Changes(lm, runs)
    rows = tokens[None].expand(len(runs), -1)
    changes.at(rows.to(lm.device), n_prompt)
    return lm.logits(rows, changes.replace)


def _checked(lm: Lm, plan: Plan) -> Tensor:
    if not plan.prompt:
        raise BadInput("the prompt is empty; write something that the lm can go on from")
    if plan.max_new_tokens < 1:
        raise BadInput(f"max_new_tokens is {plan.max_new_tokens}, expected at least 1")
    prompt = lm.checked([list(plan.prompt)])
    if lm.max_length is not None and prompt.shape[1] + plan.max_new_tokens > lm.max_length:
        raise BadInput(
            f"the prompt is {prompt.shape[1]} tokens long, and {plan.max_new_tokens} are to follow; together {lm.name} "
            f"takes at most {lm.max_length}"
        )
    return prompt  # (1, length)


def _end_ids(lm: Lm) -> frozenset[int]:
    given = lm.hf.generation_config.eos_token_id if lm.hf.generation_config else None
    given = lm.hf.config.get_text_config().eos_token_id if given is None else given
    return frozenset(given if isinstance(given, list) else [] if given is None else [given])


def _written(p: Tensor, chosen: Tensor) -> list[Written]:
    """(runs, n_vocab), (runs, 1)"""
    top = p.topk(min(ALTERNATIVES, p.shape[-1]))
    columns = (chosen[:, 0].tolist(), p.gather(1, chosen)[:, 0].tolist(), top.indices.tolist(), top.values.tolist())
    return [
        Written(each, share, tuple(map(Alternative, others, shares)))
        for each, share, others, shares in zip(*columns, strict=True)
    ]
