"""Text that is written while latents are changed, beside `generate` of transformers and forwards without a cache."""

import threading
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.interventions import Intervention, Method, Run, Where
from sae_core.lm import Lm
from sae_core.sae import Sae
from sae_core.sampling import Sampling
from sae_core.steer import Plan, Written, steered, steered_as_fits, steered_logits
from tests.sae_core import random_saes
from tests.sae_core.small_lms import D_MODEL, FAMILIES, LONGEST, VOCAB, new_lm, small_lm, some_tokens

PROMPT = some_tokens(1, 7, seed=5)[0].tolist()
GREEDY = Sampling(temperature=0)
SETTINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.4, top_p=0.8),
    Sampling(top_k=5),
    Sampling(temperature=0.9, top_p=0.9, top_k=12, repetition_penalty=1.3),
    Sampling(temperature=0, repetition_penalty=1.8),
]


@pytest.fixture(scope="module")
def sae() -> Sae:
    return random_saes.make(Family.JUMPRELU, d_in=D_MODEL, hookpoint="blocks.1.hook_resid_post").float()


def n_hooks(hf: Any) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in hf.modules())


def without_end(family: str) -> Lm:
    """Whose texts have no end, so that all of them are as long as was asked."""
    lm = Lm(new_lm(family))
    lm.hf.generation_config.eos_token_id = None
    lm.hf.config.get_text_config().eos_token_id = None
    return lm


def several(sae: Sae) -> list[Run]:
    return [
        Run(seed=1),
        Run((Intervention(sae, Method.CLAMP, (3, 4), 2.5),), seed=2),
        Run((Intervention(sae, Method.ADD, (5,), 8.0, Where.GENERATED),), seed=3),
        Run((Intervention(sae, Method.SCALE, (1, 2, 3, 4, 5), 3.0, Where.PROMPT),), seed=3),
        Run((Intervention(sae, Method.KEEP, (6, 7)), Intervention(sae, Method.PROJECT, (6,)))[:1], seed=2),
        Run((Intervention(sae, Method.CLAMP, (3, 4), 2.5),), seed=2, control=9),
    ]


def texts(lm: Lm, runs: list[Run], sampling: Sampling = GREEDY, n: int = 12) -> list[list[Written]]:
    steps = list(steered(lm, Plan(PROMPT, runs, n, sampling)))
    return [[each for each in column if each] for column in zip(*steps, strict=True)]


def ids(text: list[Written]) -> list[int]:
    return [each.id for each in text]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_and_without_a_cache_agree(family: str, sae: Sae) -> None:
    lm = without_end(family)
    runs = several(sae)
    for run, text in zip(runs, texts(lm, runs, Sampling(temperature=1.5)), strict=True):
        whole = torch.tensor(PROMPT + ids(text))
        p = steered_logits(lm, whole, [run], len(PROMPT))[0, len(PROMPT) - 1 : -1].softmax(-1)
        said = torch.tensor([each.p for each in text])
        torch.testing.assert_close(said, p.gather(1, whole[len(PROMPT) :, None])[:, 0], rtol=2e-3, atol=1e-5)
        assert len(text) == 12


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "attention_only"])
def test_it_chooses_as_generate_does(family: str, sampling: Sampling, sae: Sae) -> None:
    """With a generator of its own in the state of the one that torch has; changes that change nothing."""
    lm = without_end(family)
    as_it_is = Run((Intervention(sae, Method.SCALE, (1, 2), 1.0),), seed=11)
    (text,) = texts(lm, [as_it_is], sampling, n=20)
    torch.manual_seed(11)
    options: dict[str, Any] = {"do_sample": False, "repetition_penalty": sampling.repetition_penalty}
    if sampling.temperature:
        options |= {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
        options["top_k"] = sampling.top_k
    prompt = torch.tensor([PROMPT])
    expected = lm.hf.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, **options)
    assert ids(text) == expected[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(temperature=0.8, top_p=0.9)], ids=str)
def test_a_run_among_others_is_what_it_is_alone(family: str, sampling: Sampling, sae: Sae) -> None:
    lm, runs = without_end(family), several(sae)
    together = texts(lm, runs, sampling, n=20)
    for run, text in zip(runs, together, strict=True):
        (alone,) = texts(lm, [run], sampling, n=20)
        assert ids(text) == ids(alone)
    assert len({tuple(ids(text)) for text in together}) > 3


def test_the_same_seed_writes_the_same_and_another_something_else(sae: Sae) -> None:
    lm, changed = without_end("llama"), (Intervention(sae, Method.CLAMP, (3,), 2.0),)
    runs = [Run(changed, seed=seed) for seed in (5, 5, 6, 7)]
    first, again, second, third = (ids(text) for text in texts(lm, runs, Sampling(), n=16))
    assert first == again
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_what_might_have_come_instead(sae: Sae) -> None:
    lm, run = without_end("qwen3"), several(sae)[1]
    (text,) = texts(lm, [run], Sampling(), n=6)
    for place, each in enumerate(text):
        read = torch.tensor(PROMPT + ids(text)[:place])
        p = steered_logits(lm, read, [run], len(PROMPT))[0, -1].softmax(-1)
        assert [other.id for other in each.alternatives] == p.topk(5).indices.tolist()
        assert [other.p for other in each.alternatives] == pytest.approx(p.topk(5).values.tolist(), rel=2e-3)


def test_a_run_ends_where_the_lm_ends_it(sae: Sae) -> None:
    lm = Lm(new_lm("llama"))
    free = texts(without_end("llama"), several(sae), GREEDY, n=10)
    ending = ids(free[2])[3]
    lm.hf.generation_config.eos_token_id = [ending, VOCAB - 1]
    steps = list(steered(lm, Plan(PROMPT, several(sae), 10, GREEDY)))
    for number, text in enumerate(free):
        column = [step[number] for step in steps]
        length = ids(text).index(ending) if ending in ids(text) else len(column)
        assert [each.id for each in column[:length] if each] == ids(text)[:length]
        assert column[length:] == [None] * (len(column) - length)
    alone = list(steered(lm, Plan(PROMPT, several(sae)[2:3], 10, GREEDY)))
    assert [step[0] is None for step in alone] == [False] * ids(free[2]).index(ending) + [True]


def test_whoever_leaves_leaves_no_hook(sae: Sae) -> None:
    lm = without_end("gpt2")
    clean = lm.logits([PROMPT])
    writing = steered(lm, Plan(PROMPT, several(sae), 20))
    next(writing)
    assert n_hooks(lm.hf) > 0
    writing.close()
    assert n_hooks(lm.hf) == 0
    assert torch.equal(lm.logits([PROMPT]), clean)


def short_of_memory(lm: Lm, most: int, step: int) -> list[tuple[int, int]]:
    """From that step on it asks for more than any machine has, wherever more runs than that are in one forward. Returns
    the (runs, length) that came to the lm."""
    came: list[tuple[int, int]] = []

    def ask(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        runs, length = kwargs["input_ids"].shape
        came.append((runs, length))
        cache = kwargs["past_key_values"]
        written = 0 if cache is None else cache.get_seq_length() + 1 - len(PROMPT)
        if runs > most and written >= step:
            torch.empty(1 << 50)

    lm.hf.register_forward_pre_hook(ask, with_kwargs=True)
    return came


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=0.8, top_p=0.9)], ids=str)
@pytest.mark.parametrize(("most", "step"), [(5, 0), (3, 4), (1, 2), (1, 0), (6, 0)])
def test_where_memory_does_not_do_for_all_runs_they_are_written_in_parts(
    most: int, step: int, sampling: Sampling, sae: Sae
) -> None:
    lm, runs = without_end("llama"), several(sae)
    whole = texts(lm, runs, sampling)
    came = short_of_memory(lm, most, step)
    found: list[list[Written]] = [[] for _ in runs]
    heard: list[list[int]] = [[] for _ in runs]
    for each in steered_as_fits(lm, Plan(PROMPT, runs, 12, sampling)):
        for number, token in enumerate(each.tokens, start=each.first):
            assert token
            found[number][each.number :] = [token]
            heard[number].append(each.number)
    assert [ids(text) for text in found] == [ids(text) for text in whole]
    begun = [n_runs for n_runs, length in came if length == len(PROMPT)]
    parts = {6: [6], 5: [6, 3, 3], 3: [6, 3, 3], 1: [6, 3, 1, 2, 1, 1, 3, 1, 2, 1, 1]}[most]
    assert begun == parts
    # Each time it was tried, and then to the end.
    times = {6: 0, 5: 1, 3: 1, 1: 2}[most]
    assert heard[0] == [*range(step)] * times + [*range(12)]
    assert n_hooks(lm.hf) == 1, "but for that of this test"


def test_one_run_that_memory_does_not_do_for_is_an_error(sae: Sae) -> None:
    lm = without_end("llama")
    came = short_of_memory(lm, 0, 3)
    writing = steered_as_fits(lm, Plan(PROMPT, several(sae)[:2], 12))
    tokens = [next(writing) for _ in range(6)]
    assert [(each.first, each.number, len(each.tokens)) for each in tokens] == [
        *((0, number, 2) for number in range(3)), *((0, number, 1) for number in range(3)),
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="memory"):
        next(writing)
    assert [length for _, length in came] == [len(PROMPT), 1, 1, 1] * 2, "the other would not do either"


def test_what_was_there_when_memory_did_not_do_is_given_back(sae: Sae) -> None:
    lm, there = without_end("llama"), list[weakref.ref[Any]]()
    held: list[bool] = []

    def ask(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["past_key_values"] is not None and len(kwargs["input_ids"]) == 2:
            there.append(weakref.ref(kwargs["past_key_values"]))
            torch.empty(1 << 50)
        held.extend(each() is not None for each in there)

    lm.hf.register_forward_pre_hook(ask, with_kwargs=True)
    list(steered_as_fits(lm, Plan(PROMPT, several(sae)[:2], 4)))
    assert len(there) == 1
    assert held == [False] * 8


def test_any_other_error_stays_what_it_is(sae: Sae) -> None:
    lm = without_end("llama")
    begun: list[int] = []

    def fail(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        begun.append(len(kwargs["input_ids"]))
        torch.empty(2) @ torch.empty(3)

    lm.hf.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(RuntimeError, match="size"):
        list(steered_as_fits(lm, Plan(PROMPT, several(sae), 4)))
    assert begun == [6]


def test_two_threads_write_at_once_on_one_lm(sae: Sae) -> None:
    lm, runs = without_end("llama"), several(sae)
    expected = [[ids(text) for text in texts(lm, [run], n=20)] for run in runs]
    found: list[Any] = [None] * len(runs)

    def write(number: int) -> None:
        found[number] = [ids(text) for text in texts(lm, [runs[number]], n=20)]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(runs))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == expected


def test_more_of_a_feature_makes_its_tokens_likelier(sae: Sae) -> None:
    """Along a direction that the unembedding reads as one token."""
    lm = without_end("attention_only")
    W_U: Tensor = lm.hf.lm_head.weight
    rows = W_U[:15] / W_U[:15].norm(dim=1, keepdim=True)
    towards = Sae(replace(sae.config, hookpoint="blocks.2.hook_resid_post"), sae.tensors() | {"W_dec": rows})
    shares = []
    for strength in (-20.0, 0.0, 20.0, 60.0):
        run = Run((Intervention(towards, Method.ADD, (9,), strength),))
        shares.append(float(steered_logits(lm, torch.tensor(PROMPT), [run], len(PROMPT))[0, -1].softmax(-1)[9]))
    assert shares == sorted(shares)
    assert shares[-1] > 0.9 > 10 * shares[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": []}, "the prompt is empty"),
        ({"prompt": [3, VOCAB]}, f"token id {VOCAB} does not exist in gpt2"),
        ({"prompt": [3] * LONGEST}, f"the prompt is {LONGEST} tokens long, and 5 are to follow; together gpt2 takes"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, expected at least 1"),
        ({"runs": []}, "no run is given"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str) -> None:
    plan: dict[str, Any] = {"prompt": PROMPT, "runs": [Run()], "max_new_tokens": 5}
    with pytest.raises(BadInput, match=says):
        next(steered(Lm(small_lm("gpt2")), Plan(**plan | changes)))


def test_what_is_no_number_any_more_is_refused(sae: Sae) -> None:
    up = Intervention(sae, Method.ADD, (3,), 1e38)
    sampled, greedy = (Plan(PROMPT, [Run(), Run((up,))], 5, each) for each in (Sampling(), GREEDY))
    for plan in (sampled, greedy):
        with pytest.raises(BadInput, match="no numbers any more; take a weaker one"):
            list(steered(without_end("gpt2"), plan))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperature": -0.1}, "temperature is -0.1, expected a number from 0 to 10"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0, expected a number above 0 to 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0, expected a number above 0 to 10"),
        ({"top_k": -1}, "top_k is -1"),
    ],
)
def test_sampling_that_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Sampling(**changes)
