"""What an lm gives: every token that counts, once a reading, in another order each time, and numbers alone."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.training.sources import LmSource, Source
from tests.sae_core import small_lms

BOS, PAD = 1, 0
CONTEXTS, LENGTH, TOGETHER = 11, 9, 4
X, Y = "blocks.1.hook_mlp_in_normed", "blocks.1.hook_mlp_out"


def new_lm(**changes: Any) -> Lm:
    return Lm(small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=PAD, **changes))


@pytest.fixture(scope="module")
def lm() -> Lm:
    """In float64, so that what differs is another token and not rounding."""
    return Lm(small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=PAD).double())


def some_contexts() -> NDArray[np.int64]:
    """Each begins with another id, so that no two tokens have the same activation."""
    rows = np.random.default_rng(3).integers(3, small_lms.VOCAB, size=(CONTEXTS, LENGTH))
    rows[:, 0] = 3 + np.arange(CONTEXTS)
    rows[4, 0] = rows[2, 5] = rows[7, 1] = BOS
    rows[5, 6:] = PAD
    return rows


def some_lengths() -> NDArray[np.int32]:
    lengths = np.full(CONTEXTS, LENGTH, np.int32)
    lengths[[1, 3, 8]] = 4, 0, 7
    return lengths


def which(x: Tensor, all_x: Tensor) -> list[int]:
    """The tokens, counted through all contexts, that these are of.  # (m, d), (contexts, length, d)"""
    distance = torch.cdist(x, all_x.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.topk(2, largest=False)
    assert nearest.values[:, 0].max() < 1e-9 < 1e-3 < nearest.values[:, 1].min()
    return nearest.indices[:, 0].tolist()


def read(source: Source, chunks: range) -> Tensor:
    return torch.cat([source.chunk(each).x for each in chunks])


# --- of an lm


@pytest.mark.parametrize("lengths", [None, some_lengths()], ids=["whole contexts", "with padding"])
@pytest.mark.parametrize("mask_ids", [None, (), (7, 9)], ids=["the lm's masks", "no masks", "given masks"])
def test_an_lm_s_tokens_come_once_a_reading(
    lm: Lm, mask_ids: tuple[int, ...] | None, lengths: NDArray[np.int32] | None
) -> None:
    contexts = some_contexts()
    source = LmSource(lm, contexts, X, batch_contexts=TOGETHER, mask_ids=mask_ids, lengths=lengths)
    counts = ~np.isin(contexts, (BOS, PAD) if mask_ids is None else mask_ids)
    if lengths is not None:
        counts &= np.arange(LENGTH) < lengths[:, None]
    expected = np.flatnonzero(counts).tolist()
    all_x = lm.activations(contexts, X)

    readings = [which(read(source, range(first, first + 3)), all_x) for first in (0, 3, 6)]

    assert [sorted(each) for each in readings] == [expected] * 3
    assert readings[0] != readings[1] != readings[2] != readings[0]
    assert source.n_tokens == len(expected)
    assert source.largest_chunk == np.sort(counts.sum(1))[-TOGETHER:].sum()
    assert source.d_in == source.d_out == lm.d_model
    assert not source.transcoder


def test_largest_chunk_is_never_exceeded_and_no_more_than_all(lm: Lm) -> None:
    contexts = some_contexts()
    source = LmSource(lm, contexts, X, batch_contexts=2, lengths=some_lengths())
    assert max(len(source.chunk(each).x) for each in range(60)) <= source.largest_chunk
    assert (
        LmSource(lm, contexts, X, batch_contexts=100).largest_chunk == np.isin(contexts, (BOS, PAD), invert=True).sum()
    )


def test_a_transcoder_s_two_hookpoints_come_from_one_forward(lm: Lm) -> None:
    contexts = some_contexts()
    source = LmSource(lm, contexts, X, hookpoint_out=Y, batch_contexts=TOGETHER)
    passed = lm.read(contexts, [X, Y])
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    handle = lm.hf.get_submodule("transformer.h.0").register_forward_hook(count)
    chunks = [source.chunk(each) for each in range(3)]
    handle.remove()

    assert forwards == 3
    assert source.transcoder
    for x, y in chunks:
        assert y is not None
        assert which(x, passed[X]) == which(y, passed[Y])


def test_widths_are_of_the_two_hookpoints(lm: Lm) -> None:
    source = LmSource(lm, some_contexts(), "hook_embed", hookpoint_out="blocks.2.mlp.hook_post")
    chunk = source.chunk(0)
    assert chunk.y is not None
    assert (source.d_in, source.d_out) == (chunk.x.shape[1], chunk.y.shape[1]) == (small_lms.D_MODEL, small_lms.D_MLP)


def test_the_same_hookpoint_twice_is_no_transcoder(lm: Lm) -> None:
    source = LmSource(lm, some_contexts(), X, hookpoint_out=X)
    assert not source.transcoder
    assert source.chunk(0).y is None


def test_chunks_depend_on_their_number_and_the_seed_alone(lm: Lm) -> None:
    def source(seed: int) -> LmSource:
        return LmSource(lm, some_contexts(), X, batch_contexts=TOGETHER, seed=seed)

    here, there, other = source(5), source(5), source(6)
    later = here.chunk(7).x
    first = here.chunk(0).x
    assert torch.equal(here.chunk(7).x, later)
    assert torch.equal(there.chunk(0).x, first)
    assert torch.equal(there.chunk(7).x, later)
    assert other.where(0) != here.where(0)


def test_where_names_the_contexts(lm: Lm) -> None:
    contexts = some_contexts()
    alone = LmSource(lm, contexts, X, batch_contexts=1, mask_ids=())
    all_x = lm.activations(contexts, X)
    for number in (0, 4, CONTEXTS, 3 * CONTEXTS - 1):
        context, *others = {each // LENGTH for each in which(alone.chunk(number).x, all_x)}
        assert not others
        assert alone.where(number) == f"context {context} of reading {number // CONTEXTS + 1}"
    order = [alone.where(each).split()[1] for each in range(CONTEXTS, 2 * CONTEXTS)]
    four = LmSource(lm, contexts, X, batch_contexts=4)
    assert four.where(3) == f"contexts {order[0]}, {order[1]}, {order[2]} … of reading 2"
    assert four.where(5) == f"contexts {order[8]}, {order[9]}, {order[10]} of reading 2"


def test_contexts_on_the_disk_are_read_in_blocks(lm: Lm, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, small_lms.VOCAB, size=(600_001, 8)).astype(np.uint16)  # more than one block of 1 << 20 ids
    lengths = rng.integers(0, 9, size=len(rows)).astype(np.int32)
    np.save(tmp_path / "contexts.npy", rows)
    mapped = np.load(tmp_path / "contexts.npy", mmap_mode="r")
    tracemalloc.start()
    source = LmSource(lm, mapped, X, lengths=lengths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    counts = ((rows > 1) & (np.arange(8) < lengths[:, None])).sum(1)
    assert source.n_tokens == counts.sum()
    assert source.largest_chunk == np.sort(counts)[-32:].sum()
    assert peak < 30e6 < rows.size * 8  # bytes: a block's ids, and an order and a count of each context; all ids
    in_memory = LmSource(lm, rows.astype(np.int64), X, lengths=lengths)
    assert torch.equal(source.chunk(9).x, in_memory.chunk(9).x)


def test_centred_takes_the_mean_over_the_width(lm: Lm) -> None:
    contexts = some_contexts()
    plain = LmSource(lm, contexts, "hook_embed", hookpoint_out=Y)
    centred = LmSource(lm, contexts, "hook_embed", hookpoint_out=Y, centred=True)
    for before, after in zip(plain.chunk(0), centred.chunk(0), strict=True):
        assert before is not None
        assert after is not None
        assert before.mean(1).abs().max() > 0.01
        assert torch.allclose(after, before - before.sum(1, keepdim=True) / before.shape[1], atol=1e-12)


def test_half_precision_is_widened_before_a_mean_is_taken() -> None:
    half = Lm(new_lm().hf.bfloat16())
    contexts = some_contexts()
    x = LmSource(half, contexts, X, centred=True, batch_contexts=CONTEXTS).chunk(0).x
    assert x.dtype == torch.float32
    assert x.mean(1).abs().max() < 1e-6  # in bfloat16: 1e-3


# --- of an lm that is broken


@pytest.mark.parametrize(
    ("value", "dtype", "what", "advice"),
    [
        (float("nan"), torch.float32, "NaN", "are its weights whole? If so, load the lm in float32"),
        (float("-inf"), torch.float32, "infinity", "are its weights whole? If so, load the lm in float32"),
        (float("inf"), torch.float16, "infinity", "float16 holds no more than 65,504: load the lm in float32"),
    ],
)
def test_what_is_no_number_is_told_with_its_place(value: float, dtype: torch.dtype, what: str, advice: str) -> None:
    contexts = some_contexts()
    contexts[contexts == 20] = 21
    contexts[6, 3] = contexts[6, 5] = contexts[9, 1] = 20
    hf = new_lm().hf.to(dtype)
    with torch.no_grad():
        hf.transformer.wte.weight[20, 2] = value
    source = LmSource(Lm(hf), contexts, "hook_embed", batch_contexts=1, mask_ids=())
    found = {}
    for number in range(CONTEXTS):
        try:
            source.chunk(number)
        except BadInput as error:
            found[source.where(number)] = str(error)
    assert found == {
        f"context {context} of reading 1": f"hook_embed of gpt2: {what} in {n} of 9 tokens of context {context} of "
        f"reading 1, the first in context {context} at {first}; {advice}"
        for context, n, first in ((6, 2, 3), (9, 1, 1))
    }


def test_a_token_that_does_not_count_may_be_anything() -> None:
    contexts = some_contexts()
    hf = new_lm().hf
    with torch.no_grad():
        hf.transformer.wte.weight[20] = float("nan")
    contexts[contexts == 20] = 21
    contexts[6, 3] = 20
    source = LmSource(Lm(hf), contexts, "hook_embed", batch_contexts=CONTEXTS, mask_ids=(20,))
    assert source.chunk(0).x.isfinite().all()
    assert len(source.chunk(0).x) == contexts.size - 1
    with pytest.raises(BadInput, match=rf"NaN in 1 of {contexts.size} tokens .* context 6 at 3;"):
        LmSource(Lm(hf), contexts, "hook_embed", batch_contexts=CONTEXTS, mask_ids=()).chunk(0)


def test_what_a_transcoder_reconstructs_is_looked_at_too() -> None:
    hf = new_lm().hf
    with torch.no_grad():
        hf.get_submodule("transformer.h.1.mlp.c_proj").bias[0] = float("nan")
    source = LmSource(Lm(hf), some_contexts(), X, hookpoint_out=Y, batch_contexts=TOGETHER)
    with pytest.raises(BadInput, match=rf"^{Y} of gpt2: NaN in (\d+) of \1 tokens of contexts \d+, \d+, \d+ … of"):
        source.chunk(0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contexts": np.zeros((3, 4))}, r"float64 of shape \(3, 4\), expected whole numbers of \(contexts, length\)"),
        ({"contexts": np.zeros(12, np.int64)}, r"int64 of shape \(12,\), expected whole numbers"),
        ({"contexts": np.zeros((0, 4), np.int64)}, r"shape \(0, 4\), expected .* both above 0"),
        ({"batch_contexts": 0}, "batch_contexts is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"hookpoint": "blocks.9.hook_mlp_out"}, "has 3 layers"),
        ({"hookpoint_out": "blocks.9.hook_mlp_out"}, "has 3 layers"),
        ({"lengths": np.zeros(CONTEXTS, np.int32)}, r"none of 99 tokens counts: .* masked ids \(0, 1\)"),
        ({"mask_ids": range(small_lms.VOCAB)}, "none of 99 tokens counts"),
        ({"lengths": np.full(CONTEXTS, LENGTH + 1)}, "a length is 10, expected 0 to 9"),
        ({"lengths": np.full(CONTEXTS, -1)}, "a length is -1, expected 0 to 9"),
        ({"lengths": np.full(CONTEXTS - 1, 3)}, r"int64 of shape \(10,\), expected a whole number for each of 11"),
        ({"lengths": np.full(CONTEXTS, 3.0)}, "the lengths are float64"),
    ],
)
def test_what_no_lm_can_read_is_refused(lm: Lm, changes: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"contexts": some_contexts(), "hookpoint": X} | changes
    with pytest.raises(BadInput, match=says):
        LmSource(lm, given.pop("contexts"), given.pop("hookpoint"), **given)


def test_ids_of_another_tokenizer_are_refused_as_they_are_read(lm: Lm) -> None:
    contexts = some_contexts()
    contexts[10, 3] = small_lms.VOCAB
    source = LmSource(lm, contexts, X, batch_contexts=CONTEXTS)
    with pytest.raises(BadInput, match="token id 48 does not exist"):
        source.chunk(0)
