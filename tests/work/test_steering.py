"""A job that writes with features changed: what sae_core writes, told as it comes, kept whole."""

import ast
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from django.contrib.auth.models import AnonymousUser

from explorer import steered, steering
from explorer.actions import steerings
from explorer.models import Job, Sae, Steering
from explorer.models.jobs import JobState
from explorer.queries import library
from explorer.queries import steerings as queries
from explorer.steering import Asked, Change, Method, Sampling, Text, Unit, Where
from explorer.vocabulary import of as words_of
from explorer.work.opening import lm_of, sae_of
from sae_core import interventions
from sae_core.interventions import Intervention, Run
from sae_core.sampling import Sampling as CoreSampling
from sae_core.steer import Plan
from sae_core.steer import steered as core_steered
from tests.work.added import Added, add, give
from tests.work.running import run, work_off

PROMPT = "Good text"
SWEEP = (Text(0, 1), Text(1, 1), Text(2, 1), Text(-1, 2), Text(1, 1, control=7))


@pytest.fixture
def sae(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Sae:
    added: Added = add(give(tmp_path_factory.mktemp("given"), contexts=12, n_latents=37), "late")
    assert run("collect", added.arguments()).state == JobState.DONE
    found = library.sae(added.saes[0].slug)
    assert found
    return found


def changed(sae: Sae, index: int, method: Method = Method.ADD, **options: Any) -> Change:
    settings: dict[str, Any] = {"strength": 2.0, "unit": Unit.P99, "where": Where.EVERYWHERE} | options
    return steering.change(0, sae, index, method, activity=queries.activity(sae, index), **settings)


def asked(sae: Sae, *changes: Change, **options: Any) -> Asked:
    settings: dict[str, Any] = {"prompt": PROMPT, "chat": False, "texts": SWEEP, "new_tokens": 10}
    settings["sampling"] = Sampling(temperature=0)
    return Asked(lm=sae.lm.fingerprint, changes=changes, **settings | options)


def done(what: Asked) -> Steering:
    row = steerings.start(what, by=AnonymousUser(), who="a test", watched=False)
    assert row.job
    work_off(row.job)
    row.refresh_from_db()
    assert row.job.state == JobState.DONE, row.job.error
    return row


def test_the_words_are_those_of_sae_core() -> None:
    for ours, theirs in ((Method, interventions.Method), (Where, interventions.Where)):
        assert [each.value for each in ours] == [each.value for each in theirs]


def test_it_writes_what_sae_core_writes(sae: Sae) -> None:
    """Every method at once, in units of its feature, as often as the texts say."""
    changes = (
        changed(sae, 5),
        changed(sae, 8, Method.CLAMP, unit=Unit.MAXIMUM, strength=0.5, where=Where.GENERATED),
        changed(sae, 9, Method.SCALE, strength=3.0, where=Where.PROMPT),
        changed(sae, 11, Method.ABLATE, strength=0.0),
        changed(sae, 12, Method.PROJECT, strength=0.0),
    )
    row = done(asked(sae, *changes))
    assert row.result
    lm = lm_of(sae.lm)
    core = sae_of(sae, lm)
    fifth, eighth = queries.activity(sae, 5), queries.activity(sae, 8)
    assert fifth
    assert eighth
    runs, greedy = [], CoreSampling(temperature=0)
    for text in SWEEP:
        of_times = (
            Intervention(core, interventions.Method.ADD, (5,), 2 * fifth.p99 * text.times),
            Intervention(
                core, interventions.Method.CLAMP, (8,), eighth.maximum / 2 * text.times, interventions.Where.GENERATED
            ),
            Intervention(core, interventions.Method.SCALE, (9,), 1 + 2 * text.times, interventions.Where.PROMPT),
            Intervention(core, interventions.Method.ABLATE, (11,)),
            Intervention(core, interventions.Method.PROJECT, (12,)),
        )
        runs.append(Run(of_times if text.times else (), text.seed, text.control))
    expected = list(core_steered(lm, Plan(row.result["prompt"], runs, 10, greedy)))
    for number, text in enumerate(row.result["texts"]):
        column = [step[number] for step in expected]
        assert text["ids"] == [each.id for each in column if each]
        assert text["p"] == pytest.approx([each.p for each in column if each], rel=1e-3)
        assert text["ended"] == (None in column)
    assert len({tuple(text["ids"]) for text in row.result["texts"]}) > 2


def firing_on_the_prompt(sae: Sae) -> int:
    lm = lm_of(sae.lm)
    assert lm.tokenizer
    acts = sae_of(sae, lm).encode(lm.activations([lm.tokenizer.encode(PROMPT)], sae.hookpoint)[0])
    return int(acts.sum(0).argmax())


def scaled(sae: Sae, factor: float, **options: Any) -> Change:
    return changed(sae, firing_on_the_prompt(sae), Method.SCALE, strength=factor, **options)


def test_a_factor_is_taken_so_far_as_the_text_says(sae: Sae) -> None:
    """From 1, which changes nothing, to itself and beyond."""
    what, times = scaled(sae, 3.0), (0.5, 1.0, 2.0)
    result = done(asked(sae, what, texts=tuple(Text(each, 0) for each in times))).result
    assert result
    lm = lm_of(sae.lm)
    core, greedy = sae_of(sae, lm), CoreSampling(temperature=0)

    def texts(factors: list[float]) -> list[list[float]]:
        runs = [Run((Intervention(core, interventions.Method.SCALE, (what.index,), each),)) for each in factors]
        steps = list(core_steered(lm, Plan(result["prompt"], runs, 10, greedy)))
        return [[each.p for each in column if each] for column in zip(*steps, strict=True)]

    expected, otherwise = texts([2.0, 3.0, 5.0]), texts([1.5, 3.0, 6.0])
    for written, p in zip(result["texts"], expected, strict=True):
        assert written["p"] == pytest.approx(p, rel=1e-4)
    assert otherwise[0] != pytest.approx(expected[0], rel=1e-3)


def test_all_but_some(sae: Sae) -> None:
    row = done(asked(sae, *(changed(sae, index, Method.KEEP, strength=0.0) for index in (5, 6)), texts=(Text(1, 0),)))
    assert row.result
    lm = lm_of(sae.lm)
    kept = Intervention(sae_of(sae, lm), interventions.Method.KEEP, (5, 6))
    expected = core_steered(lm, Plan(row.result["prompt"], [Run((kept,))], 10, CoreSampling(temperature=0)))
    assert row.result["texts"][0]["ids"] == [each.id for (each,) in expected if each]


def test_it_is_told_as_it_comes(sae: Sae) -> None:
    row = done(asked(sae, changed(sae, 5), new_tokens=16, sampling=Sampling(temperature=1.5)))
    assert row.job
    assert row.result
    tokenizer = lm_of(sae.lm).tokenizer
    assert tokenizer
    for text, told in zip(row.result["texts"], heard(row.job), strict=True):
        whole = tokenizer.text_and_spans(text["ids"]).text.decode(errors="replace")
        assert whole.startswith(told)
        assert len(whole) - len(told) <= 1, "a character whose other half never came"
    assert (row.job.done, row.job.unit) == (16, "tokens")


def test_texts_that_memory_does_not_do_for_at_once_are_told_and_kept_as_if_it_had(
    sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the 7th token on, three texts are more than this lm has memory for."""
    monkeypatch.setattr("explorer.work.steering.EVERY", 0)
    monkeypatch.setattr("explorer.work.attempt.FLUSH_EVERY", 0)
    sampled = Sampling(temperature=1.5)
    what = asked(sae, changed(sae, 5), new_tokens=16, sampling=sampled, texts=(*SWEEP, Text(0, 3)))
    whole = done(what)
    assert whole.job
    assert whole.result
    enough = len(whole.result["prompt"]) + 6
    reported: list[int] = []
    refused: list[int] = []

    def ask(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        reported.extend(Job.objects.filter(kind="steer", state=JobState.RUNNING).values_list("done", flat=True))
        cache, runs = kwargs.get("past_key_values"), len(kwargs["input_ids"])
        if runs > 2 and cache is not None and cache.get_seq_length() >= enough:
            refused.append(runs)
            torch.empty(1 << 50)

    hook = lm_of(sae.lm).hf.register_forward_pre_hook(ask, with_kwargs=True)
    try:
        parts = done(what)
    finally:
        hook.remove()
    assert parts.job
    assert parts.result
    assert [text["ids"] for text in parts.result["texts"]] == [text["ids"] for text in whole.result["texts"]]
    assert heard(parts.job) == heard(whole.job)
    assert (parts.job.done, parts.job.total) == (16, 16)
    assert reported == sorted(reported), "it never goes back"
    assert {*reported} == {*range(17)}
    assert refused == [6, 3, 3]


def heard(job: Job) -> list[str]:
    lines = [json.loads(line) for line in job.text.splitlines()]
    return ["".join(piece or "" for piece in column) for column in zip(*lines, strict=True)]


def test_what_the_lm_as_it_is_makes_of_it(sae: Sae) -> None:
    row = done(asked(sae, changed(sae, 5), changed(sae, 8, strength=0.0)))
    assert row.result
    lm = lm_of(sae.lm)
    for text in row.result["texts"]:
        ids = row.result["prompt"] + text["ids"]
        log_p = lm.logits([ids])[0].log_softmax(-1)[len(row.result["prompt"]) - 1 : -1]
        expected = [-float(log_p[place, each]) for place, each in enumerate(text["ids"])]
        assert text["losses"] == pytest.approx(expected, abs=1e-3)
        acts = sae_of(sae, lm).encode(lm.activations([ids], sae.hookpoint)[0])
        for index in (5, 8):
            found = torch.tensor(text["activations"][f"{sae.slug}:{index}"])
            masked = torch.tensor([token in lm.mask_ids for token in ids])
            torch.testing.assert_close(found, torch.where(masked, 0, acts[:, index]), rtol=1e-3, atol=1e-4)


def test_one_text_may_be_just_prompted(sae: Sae) -> None:
    """Nothing is changed in it; what was prompted stands before the prompt."""
    texts = (Text(0, 1), Text(1, 1), Text(0, 1, prompted=True))
    row = done(asked(sae, changed(sae, 5), texts=texts, instruction="Write text"))
    assert row.job
    assert row.result
    lm = lm_of(sae.lm)
    assert lm.tokenizer
    lead = row.result["prompt"][: row.result["first"]]
    prompt = [*lead, *lm.tokenizer.encode(f"Write text\n\n{PROMPT}")]
    plan = Plan(prompt, [Run((), 1)], 10, CoreSampling(temperature=0))
    last = row.result["texts"][-1]
    assert last["prompt"] == prompt
    assert last["ids"] == [step[0].id for step in core_steered(lm, plan) if step[0]]
    assert len(last["activations"][f"{sae.slug}:5"]) == len(prompt) + len(last["ids"])
    assert "prompt" not in row.result["texts"][0]
    alone = done(asked(sae, changed(sae, 5), texts=texts[:2])).result
    assert alone
    assert [text["ids"] for text in row.result["texts"][:2]] == [text["ids"] for text in alone["texts"]]
    assert heard(row.job)[2] == "".join(lm.tokenizer.text_and_spans(last["ids"]).text.decode(errors="replace"))
    columns = steered.columns(asked(sae, changed(sae, 5), texts=texts), row.result, words_of(sae.lm), f"{sae.slug}:5")
    assert [each.plain for each in columns] == [True, False, False]


def test_it_says_all_that_it_takes_to_write_it_again(sae: Sae) -> None:
    row = done(asked(sae, changed(sae, 5), sampling=Sampling(temperature=1.2, top_p=0.9)))
    again = done(Asked.from_json(row.asked))
    assert again.key != row.key
    assert again.asked == row.asked
    assert again.result == row.result
    assert row.asked["changes"][0]["fingerprint"] == sae.fingerprint


def test_the_program_writes_the_same(sae: Sae, capsys: pytest.CaptureFixture[str]) -> None:
    changes = (
        changed(sae, 5), changed(sae, 8, Method.CLAMP, unit=Unit.RAW, where=Where.GENERATED),
        scaled(sae, 3.0, where=Where.PROMPT), changed(sae, 11, Method.PROJECT, strength=0.0),
    )  # fmt: skip
    told = (*SWEEP, Text(0, 4, prompted=True))
    all_ = asked(sae, *changes, sampling=Sampling(temperature=0.9, top_k=40), texts=told, instruction="Write text")
    factors = tuple(Text(times, 1) for times in (0, 0.5, 1, 2, -1))
    some = asked(sae, *(changed(sae, index, Method.KEEP, strength=0.0) for index in (5, 6)))
    for what in (all_, asked(sae, scaled(sae, 3.0), texts=factors), some):
        row = done(what)
        assert row.result
        text = steered.program(what, row.result)
        text = text.replace('"…"', repr(sae.lm.source)).replace(f"load_sae({sae.slug!r})", f"load_sae({sae.source!r})")
        capsys.readouterr()
        names: dict[str, Any] = {}
        exec(compile(text, "program", "exec"), names)
        if what.texts is factors:
            assert [names["changed"](times)[0].value for times in (0.5, 2)] == [2.0, 5.0]
        tokenizer = lm_of(sae.lm).tokenizer
        assert tokenizer
        steps = [ast.literal_eval(line) for line in capsys.readouterr().out.splitlines()]
        by_text = [[step[number] for step in steps if len(step) == len(SWEEP)] for number in range(len(SWEEP))]
        by_text += [[step[0] for step in steps if len(step) == 1]] * (len(what.texts) - len(SWEEP))
        for printed, written in zip(by_text, row.result["texts"], strict=True):
            assert [each for each in printed if each is not None] == [tokenizer.decode([id_]) for id_ in written["ids"]]


def test_a_turn_of_a_chat(sae: Sae) -> None:
    tokenizer = lm_of(sae.lm).tokenizer
    assert tokenizer
    turns = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}{% endfor %}"
    tokenizer.hf.chat_template = turns + "{% if add_generation_prompt %} so{% endif %}"
    try:
        row = done(asked(sae, changed(sae, 5), chat=True))
    finally:
        tokenizer.hf.chat_template = None
    assert row.result
    assert tokenizer.decode(row.result["prompt"]) == f"user: {PROMPT} so"
    assert row.result["first"] == 0


Breaking = Callable[[Sae, Asked], Asked]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda sae, it: Asked.from_json(it.to_json() | {"lm": "0" * 64}), "The language model has been removed."),
        (lambda sae, it: Asked.from_json(it.to_json() | {"prompt": "word " * 40}), "takes at most 32"),
        (lambda sae, it: Asked.from_json(it.to_json() | {"chat": True}), "has no template for chats"),
        (
            lambda sae, it: Asked.from_json(
                it.to_json() | {"changes": [it.to_json()["changes"][0] | {"fingerprint": "another"}]}
            ),
            "has been removed, or is another by now",
        ),
    ],
)
def test_what_a_worker_refuses(sae: Sae, spoil: Breaking, says: str) -> None:
    row = steerings.start(spoil(sae, asked(sae, changed(sae, 5))), by=AnonymousUser(), who="a test", watched=False)
    assert row.job
    work_off(row.job)
    row.refresh_from_db()
    assert (row.job.state, row.job.failures) == (JobState.FAILED, 1)
    assert says in row.job.error
    assert row.result is None
