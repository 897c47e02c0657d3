"""What nobody can collect is refused in words, before anything is written or without leaving anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_core.array_files import ArrayFile
from sae_core.attached import Attached
from sae_core.collect import CollectConfig, collect_part, finish
from sae_core.collecting.passing import Reader, Text, read_text
from sae_core.collecting.spill import Spill
from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.lm import Lm
from tests.sae_core import small_lms
from tests.sae_core.collecting.agreement import same_evidence
from tests.sae_core.collecting.made import (
    CONFIG,
    CONTEXTS,
    HOOKPOINT,
    LENGTH,
    NEURONS,
    collected,
    made_sae,
    small_lm,
    texts,
)

STRANGE = 46  # an id that no other text here has


class Ended(Exception):
    """What ends the work here."""


def spoiled(value: float) -> Lm:
    """After the second block's MLP a token is no number, nor in the MLP itself."""
    lm = small_lm()
    ids: list[Tensor] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        ids[:] = [kwargs["input_ids"]]

    def spoil(module: Any, args: Any, output: Tensor) -> Tensor:
        return torch.where((ids[0] == STRANGE)[..., None], value, output)

    lm.hf.register_forward_pre_hook(look, with_kwargs=True)
    lm.hf.transformer.h[1].mlp.act.register_forward_hook(spoil)
    return lm


@pytest.mark.parametrize("hookpoint", [HOOKPOINT, NEURONS])
def test_activations_that_are_no_numbers(hookpoint: str, tmp_path: Path) -> None:
    """Where, and of which lm: the first of all that count."""
    ids = texts()
    ids[13, 4], ids[14, 2], ids[14, 19] = STRANGE, STRANGE, STRANGE
    says = rf"^{hookpoint} of gpt2: NaN in context 13 at 4, and at 2 tokens of that batch; are its weights whole\?"
    with pytest.raises(BadInput, match=says):
        collected(
            spoiled(float("nan")), made_sae(hookpoint=hookpoint), ids, tmp_path, lengths=np.full(CONTEXTS, LENGTH - 1)
        )
    assert list(tmp_path.iterdir()) == []


def test_what_a_nan_spreads_to(tmp_path: Path) -> None:
    """Attention gives it to its whole context: 0 times NaN is NaN."""
    lm, ids = small_lm(), texts()
    lm.hf.get_input_embeddings().weight[STRANGE] = float("nan")
    ids[13, 4] = STRANGE
    with pytest.raises(BadInput, match=r"^blocks.1.hook_resid_post of gpt2: NaN in context 13 at 0, and at 19 tokens"):
        collected(lm, made_sae(), ids, tmp_path)


def test_infinity_is_named(tmp_path: Path) -> None:
    ids = texts()
    ids[5, 3] = STRANGE
    with pytest.raises(BadInput, match=r"^blocks.1.mlp.hook_post of gpt2: infinity in context 5 at 3, and at 1 tokens"):
        collected(spoiled(float("-inf")), made_sae(hookpoint=NEURONS), ids, tmp_path)


@pytest.mark.parametrize(("family", "hookpoint"), [("topk", HOOKPOINT), ("gated", HOOKPOINT), ("relu", NEURONS)])
def test_what_does_not_count_may_be_anything(family: str, hookpoint: str, tmp_path: Path) -> None:
    """A masked id and padding: what is there changes nothing."""
    ids, lengths = texts(), np.full(CONTEXTS, LENGTH - 2)
    ids[::3, 7], ids[:, LENGTH - 2 :] = STRANGE, STRANGE
    config = CollectConfig(top_k=6, mask_ids=(STRANGE,), batch_contexts=4)
    sae = made_sae(Family(family), hookpoint=hookpoint)
    plain = collected(small_lm(), sae, ids, tmp_path / "plain", config, lengths=lengths)
    for value in (float("nan"), float("inf")):
        same_evidence(collected(spoiled(value), sae, ids, tmp_path / "spoiled", config, lengths=lengths), plain)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (np.zeros((0, 20), np.int64), r"^the tokens are int64 of shape \(0, 20\), expected .*is the corpus empty\?"),
        (np.zeros((3, 0), np.int64), r"^the tokens are int64 of shape \(3, 0\)"),
        (np.zeros(20, np.int64), r"^the tokens are int64 of shape \(20,\)"),
        (np.zeros((3, 20)), r"^the tokens are float64 of shape \(3, 20\)"),
        (np.full((3, small_lms.LONGEST + 1), 7), "^the contexts are 33 tokens long; gpt2 takes at most 32"),
        (np.full((3, 20), small_lms.VOCAB), r"^token id 48 does not exist in gpt2, whose ids are 0 to 47"),
        (np.full((3, 20), -1), "^token id -1 does not exist in gpt2"),
    ],
)
def test_texts_that_this_lm_cannot_read(ids: np.ndarray[Any, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says):
        collected(small_lm(), made_sae(), ids, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"d_in": 12},
            r"^the SAE reads 12 numbers a token, and blocks.1.hook_resid_post of gpt2 has 16; it belongs",
        ),
        ({"hookpoint": ""}, "^the SAE's files do not say where it reads; name the hookpoint, one of hook_embed"),
        ({"hookpoint": "blocks.3.hook_resid_post"}, "^blocks.3.hook_resid_post: this gpt2 has 3 layers"),
        ({"hookpoint_out": NEURONS}, r"^the SAE writes 16 numbers a token, and blocks.1.mlp.hook_post of gpt2 has 40"),
    ],
)
def test_saes_of_another_lm(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says):
        collected(small_lm(), made_sae(**changes), texts(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_sae_and_ranges_that_are_none(tmp_path: Path) -> None:
    lm, sae, ids, part = small_lm(), made_sae(), texts(), tmp_path / "part"
    with pytest.raises(BadInput, match="there is no SAE to collect"):
        collect_part(lm, [], ids, [], CONFIG)
    for first, stop in ((0, 31), (8, 8), (-4, 4), (30, None)):
        with pytest.raises(BadInput, match=f"^contexts {first} to {stop or 30} are asked for; there are 30"):
            collect_part(lm, [sae], ids, [part], CONFIG, first=first, stop=stop)
    with pytest.raises(BadInput, match=r"^the lengths are of shape \(29,\), expected one for each of 30 contexts"):
        collect_part(lm, [sae], ids, [part], CONFIG, lengths=np.full(29, 20))
    with pytest.raises(BadInput, match=r"^batches of 200,000,000 contexts and 23 latents: take smaller ones \(batch_c"):
        collect_part(lm, [sae], ids, [part], CollectConfig(batch_contexts=200_000_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"top_k": 0}, "^top_k is 0, expected at least 1"),
        ({"batch_contexts": 0}, "^batch_contexts is 0, expected at least 1"),
        ({"audit_tokens": -1}, "^audit_tokens is -1, expected 0 or more"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        CollectConfig(**settings)


def test_where_none_of_the_tokens_counts(tmp_path: Path) -> None:
    ids = np.full((5, 9), 11)
    ids[2] = 5
    with pytest.raises(BadInput, match=r"^none of the tokens counts: all are padding or masked ids \(5, 11\)"):
        collected(small_lm(), made_sae(), ids, tmp_path)
    config = CollectConfig(mask_ids=())
    with pytest.raises(BadInput, match=r"^none of the tokens counts: all are padding or masked ids \(none\)"):
        collected(small_lm(), made_sae(), ids, tmp_path, config, lengths=np.zeros(5, np.int32))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadInput, match=r"file: nothing can be written there \((File exists|Not a directory)\)"):
        collected(small_lm(), made_sae(), texts(), tmp_path / "file")
    (tmp_path / "there" / "evidence.safetensors").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"evidence\.safetensors: cannot be written \(Is a directory\)"):
        collected(small_lm(), made_sae(), texts(), tmp_path / "there")
    assert [each.name for each in (tmp_path / "there").iterdir()] == ["evidence.safetensors"]


# --- ended by who is told of progress


def test_progress_is_told_and_may_end_the_pass(tmp_path: Path) -> None:
    lm, sae, ids = small_lm(), made_sae(), texts()
    told: list[tuple[int, int]] = []
    pass_of = partial(collect_part, lm, [sae, sae], ids, config=CONFIG, first=4, stop=30)
    pass_of([tmp_path / "a", tmp_path / "b"], on_batch=lambda *at: told.append(at))
    assert told == [*((done, 26) for done in range(4, 26, 4)), (26, 26)]
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert set(before) == {"a", "b"}
    for at in (4, 16, 26):

        def end(done: int, total: int, at: int = at) -> None:
            if done == at:
                raise Ended

        with pytest.raises(Ended):
            pass_of([tmp_path / "a", tmp_path / "c"], on_batch=end)
        assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_steps_are_told_and_any_may_end_the_rest(tmp_path: Path, in_small_pieces: None) -> None:
    lm, sae, ids = small_lm(), made_sae(), texts()
    part, out = tmp_path / "part", tmp_path / "evidence"
    collect_part(lm, [sae], ids, [part], CONFIG)
    told: list[tuple[int, int, str]] = []
    finish(lm, sae, [part], out, contexts=ids, on_step=lambda *at: told.append(at))
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert list(dict.fromkeys(what for _, _, what in told)) == [
        "Examples", "Which latents fire together", "Nearest latents", "Logits", "Writing",
    ]  # fmt: skip
    before = out.read_bytes()
    firsts = [next(done for done, _, what in told if what == each) for each in {what for _, _, what in told}]
    for last in (*firsts, 3, len(told)):

        def end(done: int, total: int, what: str, last: int = last) -> None:
            if done == last:
                raise Ended

        with pytest.raises(Ended):
            finish(lm, sae, [part], out, contexts=ids, on_step=end)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["evidence", "part"]
        assert out.read_bytes() == before


def test_what_fails_beside_the_last_forward_is_not_lost(tmp_path: Path) -> None:
    lm, sae, ids = small_lm(), made_sae(), texts()
    spill = Spill(tmp_path, tmp_path / "part")
    reader = Reader(Attached(lm, sae), LENGTH, 6, spill, neurons=False)
    spill.close()
    with pytest.raises(ValueError, match="closed file"):
        read_text(lm, [reader], Text(ids, None, (), CONTEXTS, lm.device), 0, CONTEXTS)


# --- too little memory


@contextmanager
def room_for(lm: Lm, contexts: int) -> Iterator[list[int]]:
    """A forward of more together asks for more than any machine has; yields how many each forward had."""
    asked: list[int] = []

    def allocate(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        asked.append(len(kwargs["input_ids"]))
        if asked[-1] > contexts:
            torch.empty(1 << 60, dtype=torch.uint8)

    handle = lm.hf.register_forward_pre_hook(allocate, with_kwargs=True)
    try:
        yield asked
    finally:
        handle.remove()


@pytest.mark.parametrize("contexts", [3, 2, 1])
def test_what_memory_does_not_do_for_is_read_in_halves(contexts: int, tmp_path: Path) -> None:
    lm, sae, ids = small_lm(), made_sae(), texts()
    config = CollectConfig(top_k=6, batch_contexts=8)
    whole = collected(lm, sae, ids, tmp_path / "whole", config)
    with room_for(lm, contexts) as asked:
        halves = collected(lm, sae, ids, tmp_path / "halves", config)
    same_evidence(halves, whole)
    fitting = 1 << contexts.bit_length() - 1
    tried = [8 >> each for each in range(4) if 8 >> each >= fitting]
    assert asked == [*tried[:-1], *[fitting] * (32 // fitting)]  # as few as fit from then on


def test_one_context_that_memory_does_not_do_for(tmp_path: Path) -> None:
    lm = small_lm()
    says = "^cpu: its memory does not do for one context of 20 tokens of gpt2; take shorter contexts, or another device"
    with room_for(lm, 0) as asked, pytest.raises(BadInput, match=says):
        collected(lm, made_sae(), texts(), tmp_path)
    assert asked == [4, 2, 1]
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_a_forward_are_not_taken_for_want_of_memory(tmp_path: Path) -> None:
    lm = small_lm()

    def fail(module: Any, args: tuple[Any, ...]) -> None:
        raise RuntimeError("something else")

    lm.hf.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="something else"):
        collected(lm, made_sae(), texts(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_sae_that_never_fires(tmp_path: Path) -> None:
    """Is no error: there is nothing but near misses, and weights."""
    made = made_sae(Family.RELU)
    sae = type(made)(made.config, made.tensors() | {"b_enc": torch.full((23,), -1e4, dtype=torch.float64)})
    file = collected(small_lm(), sae, texts(), tmp_path)
    assert not file["n_fired"].any()
    assert (file["top_context"] == -1).all()
    assert (file["near_context"] >= 0).all()
    assert len(file["firing_act"]) == 0
    assert (file["cofire"] == -1).all()
    assert isinstance(file, ArrayFile)
    assert file.about["tokens"] == len(file["audit_token"])
