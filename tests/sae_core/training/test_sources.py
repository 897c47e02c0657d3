"""What a source gives: every token that counts, once a reading, in another order each time, and nothing that is no
number."""

import pickle
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.training.sources import FileSource, LmSource, Source
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


# --- of a file

ROWS, WIDTH = 1003, 5


def numbered(width: int = WIDTH, rows: int = ROWS) -> NDArray[np.float32]:
    """Row i begins with i."""
    return (np.arange(rows)[:, None] + np.arange(width) / 8).astype(np.float32)


def saved(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path / "acts.npy", numbered())


@pytest.mark.parametrize("per_chunk", [1, 100, 1003, 5000])
def test_a_file_s_rows_come_once_a_reading_in_blocks(path: Path, per_chunk: int) -> None:
    source = FileSource(path, rows_per_chunk=per_chunk)
    n_chunks = -(-ROWS // per_chunk)
    expected = torch.from_numpy(numbered())
    readings = []
    for first in (0, n_chunks):
        starts = []
        for number in range(first, first + n_chunks):
            x, y = source.chunk(number)
            assert y is None
            start = int(x[0, 0])
            assert torch.equal(x, expected[start : start + per_chunk])
            assert source.where(number) == f"rows {start} to {start + len(x) - 1} of reading {1 + number // n_chunks}"
            starts.append(start)
        assert sorted(starts) == list(range(0, ROWS, per_chunk))
        readings.append(starts)
    assert (readings[0] != readings[1]) == (n_chunks > 1)
    assert (source.n_tokens, source.d_in, source.d_out, source.transcoder) == (ROWS, WIDTH, WIDTH, False)
    assert source.largest_chunk == min(per_chunk, ROWS)


def test_a_file_s_chunks_depend_on_their_number_and_the_seed_alone(path: Path) -> None:
    here, there, other = (FileSource(path, rows_per_chunk=50, seed=seed) for seed in (5, 5, 6))
    later, first = here.chunk(70).x, here.chunk(0).x
    assert torch.equal(there.chunk(0).x, first)
    assert torch.equal(here.chunk(70).x, later)
    assert torch.equal(there.chunk(70).x, later)
    assert Counter(other.where(each) for each in range(21)) == Counter(here.where(each) for each in range(21))
    assert [other.where(each) for each in range(21)] != [here.where(each) for each in range(21)]


@pytest.mark.parametrize(
    "array",
    [
        numbered().astype(np.float16),
        numbered().astype(np.float64),
        numbered().astype(">f4"),
        np.asfortranarray(numbered()),
    ],
    ids=["float16", "float64", "big-endian", "Fortran"],
)
def test_other_floats_become_float32(tmp_path: Path, array: NDArray[Any]) -> None:
    source = FileSource(saved(tmp_path / "acts.npy", array), rows_per_chunk=5000)
    x = source.chunk(0).x
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    assert torch.equal(x, torch.from_numpy(array.astype(np.float32)))


def test_rows_of_two_files_stay_together(path: Path, tmp_path: Path) -> None:
    out = saved(tmp_path / "out.npy", numbered(width=3) + 0.5)
    source = FileSource(path, path_out=out, rows_per_chunk=64)
    assert (source.d_in, source.d_out, source.transcoder) == (5, 3, True)
    for number in range(40):
        x, y = source.chunk(number)
        assert y is not None
        assert torch.equal(y, x[:, :3] + 0.5)


def test_a_block_alone_is_in_memory(tmp_path: Path) -> None:
    path, width, per_chunk = tmp_path / "acts.npy", 256, 1000
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(100_000, width)).flush()  # takes no disk
    tracemalloc.start()
    source = FileSource(path, rows_per_chunk=per_chunk)
    for number in range(20):
        source.chunk(number)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * per_chunk * width * 4  # bytes: the chunk before lives until the next is there


@pytest.mark.parametrize(
    ("dtype", "values", "says"),
    [
        (np.float32, {130: np.nan}, "NaN in 1 of 100 rows, row 130 the first"),
        (np.float16, {150: np.nan, 199: np.nan, 131: np.nan}, "NaN in 3 of 100 rows, row 131 the first"),
        (np.float32, {100: np.inf}, "infinity in 1 of 100 rows, row 100 the first"),
        (np.float32, {199: -np.inf, 198: np.nan}, "NaN and infinity in 2 of 100 rows, row 198 the first"),
        (np.float64, {110: 1e300}, "infinity in 1 of 100 rows, row 110 the first"),
    ],
)
@pytest.mark.parametrize("side", ["x", "y"])
def test_what_is_no_number_in_a_file_is_told(
    tmp_path: Path, path: Path, dtype: Any, values: dict[int, float], says: str, side: str
) -> None:
    array = numbered().astype(dtype)
    for row, value in values.items():
        array[row, 3] = value
    bad = saved(tmp_path / "bad.npy", array)
    source = (
        FileSource(bad, path_out=path, rows_per_chunk=100)
        if side == "x"
        else FileSource(path, path_out=bad, rows_per_chunk=100)
    )
    errors = []
    for number in range(11):
        try:
            source.chunk(number)
        except BadInput as error:
            errors.append(str(error))
    advice = "leave them out, or write the file anew from what it was made of"
    assert errors == [f"{bad}: rows 100 to 199 hold {says}; {advice}"]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 5), np.int64), "int64, expected floating point; are these the ids of tokens"),
        (np.zeros((4, 5), np.complex64), "complex64, expected floating point"),
        (np.zeros((4, 5), bool), "bool, expected floating point"),
        (np.zeros((4, 5), "V2"), "bfloat16 cannot be kept in .npy, save float32"),
        (np.zeros(20, np.float32), r"shape \(20,\), expected \(tokens, width\)"),
        (np.zeros((2, 2, 5), np.float32), r"shape \(2, 2, 5\), expected \(tokens, width\)"),
        (np.zeros((0, 5), np.float32), r"shape \(0, 5\), there is not one number in it"),
        (np.zeros((5, 0), np.float32), r"shape \(5, 0\), there is not one number in it"),
    ],
)
@pytest.mark.parametrize("side", ["x", "y"])
def test_files_of_other_things_are_refused(
    tmp_path: Path, path: Path, array: NDArray[Any], says: str, side: str
) -> None:
    bad = saved(tmp_path / "bad.npy", array)
    with pytest.raises(BadInput, match=rf"bad\.npy: .*{says}"):
        FileSource(bad, path_out=path) if side == "x" else FileSource(path, path_out=bad)


def test_files_that_do_not_go_together_are_refused(tmp_path: Path, path: Path) -> None:
    out = saved(tmp_path / "out.npy", numbered(rows=1002))
    with pytest.raises(BadInput, match=r"out\.npy: 1,002 rows, and .*acts\.npy has 1,003; give files of the same"):
        FileSource(path, path_out=out)


def test_files_that_are_missing_or_cut_short_are_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.npy: missing"):
        FileSource(tmp_path / "none.npy")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BadInput, match=r"acts\.npy: not an \.npy file that can be read"):
        FileSource(path)


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "acts.npy"
    np.save(path, np.array([[_Touches(trap)]], object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"acts\.npy: not an \.npy file that can be read"):
        FileSource(path)
    assert not trap.exists()
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert trap.exists()  # it was one that springs


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows_per_chunk": 0}, "rows_per_chunk is 0, expected at least 1"),
        ({"seed": -3}, "seed is -3, expected 0 or more"),
        ({"device": "cuda:99"}, "there is no device 'cuda:99' here"),
    ],
)
def test_what_no_file_can_be_read_by_is_refused(path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        FileSource(path, **changes)
