"""The buffer: every token once a reading, in no order, in the same memory throughout, and again from any step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile

from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.training.buffer import Batch, ShuffledBuffer
from sae_core.training.sources import FileSource, LmSource, Source
from tests.sae_core import small_lms

BOS, PAD = 1, 0
X, Y = "blocks.1.hook_mlp_in_normed", "blocks.1.hook_mlp_out"
ROWS, WIDTH = 1003, 5


@pytest.fixture(scope="module")
def lm() -> Lm:
    return Lm(small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=PAD))


def some_contexts(contexts: int = 40, length: int = 9) -> np.ndarray[Any, Any]:
    """Each begins with another id, so that no two tokens have the same activation."""
    rows = np.random.default_rng(3).integers(3, small_lms.VOCAB, size=(contexts, length))
    rows[:, 0] = 3 + np.arange(contexts)
    rows[::4, 3] = BOS
    rows[5, 6:] = PAD
    return rows


def numbered(rows: int = ROWS, width: int = WIDTH) -> np.ndarray[Any, Any]:
    """Row i begins with i."""
    return (np.arange(rows)[:, None] + np.arange(width) / 8).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("activations") / "acts.npy"
    np.save(path, numbered())
    return path


@pytest.fixture(scope="module")
def path_out(path: Path) -> Path:
    """What belongs to row i begins with i + 0.5; as wide as the other, which is no reason to take one for the other."""
    out = path.with_name("out.npy")
    np.save(out, numbered() + 0.5)
    return out


def numbers(batch: Batch) -> list[int]:
    return [int(each) for each in batch.x[:, 0].tolist()]


def taken(buffer: ShuffledBuffer, batches: int) -> list[Batch]:
    return [Batch(*(each.clone() for each in buffer.take())) for _ in range(batches)]


# --- every token, once


def test_an_lm_s_tokens_are_given_out_once_a_reading(lm: Lm) -> None:
    contexts = some_contexts()
    lengths = np.full(len(contexts), 9)
    lengths[[2, 11, 30]] = 5, 0, 8
    source = LmSource(lm, contexts, X, lengths=lengths, batch_contexts=3)
    counts = ~np.isin(contexts, (BOS, PAD)) & (np.arange(9) < lengths[:, None])
    all_x = lm.activations(contexts, X)[torch.from_numpy(counts)]  # (tokens that count, d)
    buffer = ShuffledBuffer(source, 64, 16)
    times = torch.zeros(len(all_x), dtype=torch.int64)
    served = 0
    for _ in range(4 * len(all_x) // 16):
        x = buffer.take().x
        distance, token = torch.cdist(x, all_x, compute_mode="donot_use_mm_for_euclid_dist").topk(2, largest=False)
        assert distance[:, 0].max() < 1e-4 < 1e-2 < distance[:, 1].min()
        times += torch.bincount(token[:, 0], minlength=len(all_x))
        served += len(x)
    waiting = buffer.sample(64).x
    times += torch.bincount(torch.cdist(waiting, all_x).argmin(1), minlength=len(all_x))
    # What was given out and what still waits: the first readings whole, and a part of the one begun.
    readings, more = divmod(served + len(waiting), len(all_x))
    assert readings >= 4
    assert torch.bincount(times).tolist() == [0] * readings + [len(all_x) - more] + ([more] if more else [])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_token_is_lost_or_doubled_whatever_the_sizes(path: Path, data: st.DataObject) -> None:
    per_chunk = data.draw(st.integers(1, 300), "rows_per_chunk")
    source = FileSource(path, rows_per_chunk=per_chunk, seed=data.draw(st.integers(0, 9), "order"))
    batch_size = data.draw(st.integers(1, 300), "batch_size")
    capacity = data.draw(st.integers(batch_size + per_chunk, ROWS), "capacity")
    buffer = ShuffledBuffer(source, capacity, batch_size)
    served: list[int] = []
    for _ in range(min(3 * ROWS // batch_size, 120)):
        served += numbers(buffer.take())
    there = numbers(buffer.sample(capacity))
    chunks = int(buffer.state()["chunks"])
    went_in = torch.cat([source.chunk(each).x[:, 0] for each in range(chunks)]).long()
    assert torch.bincount(torch.tensor(served + there), minlength=ROWS).equal(torch.bincount(went_in, minlength=ROWS))
    # More than half of it waits, but for a batch and what was left free because no chunk could be sure to fit.
    assert len(there) >= min(capacity / 2, capacity - (per_chunk - 1) - batch_size)


def test_what_belongs_together_stays_together(path: Path, path_out: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path, path_out=path_out, rows_per_chunk=64), 300, 50)
    batches = [*taken(buffer, 60), buffer.sample(100)]
    for x, y in batches:
        assert torch.equal(y, x + 0.5)
        assert torch.equal(x[:, 1:], x[:, :1] + torch.arange(1, WIDTH) / 8)


def test_an_lm_s_two_hookpoints_stay_together(lm: Lm) -> None:
    contexts = some_contexts()
    passed = lm.read(contexts, ["hook_embed", X])
    embedded, normed = passed["hook_embed"].flatten(0, 1), passed[X].flatten(0, 1)
    source = LmSource(lm, contexts, "hook_embed", hookpoint_out=X, mask_ids=())
    ids = torch.from_numpy(contexts).flatten()
    for x, y in taken(ShuffledBuffer(source, None, 32), 20):
        token = torch.cdist(y, normed, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        assert torch.equal(x, embedded[token])  # hook_embed's are of the id alone
        assert len(set(ids[token].tolist())) > 10


def test_without_another_hookpoint_y_is_x(path: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path), None, 32)
    for batch in (buffer.take(), buffer.sample(10)):
        assert batch.y is batch.x


# --- shuffled


def test_neighbours_are_as_far_apart_as_chance_has_them(path: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=50), ROWS, 10)
    gaps = torch.tensor([numbers(buffer.take()) for _ in range(40)]).diff(dim=1).abs().double()
    # Of two drawn from 0 … n−1 the expected distance is n/3, its standard deviation n/√18.
    assert abs(gaps.mean() - ROWS / 3) < 4 * ROWS / 18**0.5 / gaps.numel() ** 0.5


def test_each_refill_shuffles_all_that_waits(path: Path) -> None:
    buffer = ShuffledBuffer(
        FileSource(path, rows_per_chunk=59), 944, 118
    )  # 16 chunks, 8 batches: refilled every fourth
    orders = []
    for refill in range(1, 6):
        waiting = buffer.state()["queue"].tolist()
        buffer.take()
        order = buffer.state()["queue"].tolist()
        assert int(buffer.state()["refills"]) == refill
        if waiting:
            assert len(waiting) == 472
            place = torch.tensor([order.index(each) for each in waiting if each in order]).double()
            assert 0.4 < (place.diff() > 0).double().mean() < 0.6  # their own order is lost …
            assert 0.4 < place.mean() / len(order) < 0.6  # … and those that came do not stand behind them
        orders.append(tuple(order))
        taken(buffer, 3)
    assert len(set(orders)) == 5


def test_a_batch_mixes_many_chunks(path: Path) -> None:
    """Also after the first refill, of tokens that lay there and tokens that came."""
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=50), 600, 60)
    for batch in taken(buffer, 60):
        assert len({each // 50 for each in numbers(batch)}) >= 6


def test_the_seed_decides_the_order(path: Path) -> None:
    def first(seed: int) -> list[int]:
        return numbers(ShuffledBuffer(FileSource(path, rows_per_chunk=50), 500, 50, seed=seed).take())

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert first(-1) != first(1)


def test_it_is_refilled_when_less_than_half_would_be_left(path: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=17), 400, 50)
    waiting = []
    for _ in range(30):
        buffer.take()
        waiting.append(len(buffer.state()["queue"]))
    assert min(waiting) >= 200
    assert min(waiting) < 250
    assert max(waiting) > 400 - 50 - 17


def test_chunks_of_masked_tokens_alone_are_passed_over(lm: Lm) -> None:
    contexts = some_contexts()
    contexts[1:38] = BOS
    source = LmSource(lm, contexts, X, batch_contexts=1)
    buffer = ShuffledBuffer(source, None, 8)
    assert len(taken(buffer, 20)) == 20
    assert int(buffer.state()["chunks"]) > 60


# --- the same memory throughout


@pytest.mark.parametrize("transcoder", [False, True])
def test_memory_is_taken_once(tmp_path: Path, transcoder: bool) -> None:
    path, capacity, batch_size, width = tmp_path / "wide.npy", 800, 100, 64
    np.save(path, numbered(width=width))
    source = FileSource(path, path_out=path if transcoder else None, rows_per_chunk=20)
    buffer = ShuffledBuffer(source, capacity, batch_size)

    def at() -> list[int]:
        batch, state = buffer.take(), buffer.state()
        return [each.data_ptr() for each in (*batch, state["x"], state.get("y", state["x"]))]

    before = at()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        taken_at = {tuple(at()) for _ in range(50)}
    assert taken_at == {tuple(before)}
    assert len(set(before)) == (4 if transcoder else 2)
    assert int(buffer.state()["refills"]) > 5
    events = profiled.events()
    assert events is not None
    assert "aten::index_copy_" in {each.name for each in events}
    # Slots are numbered and looked for, and no activation is copied but by writing over others.
    index, batch = 8 * capacity, 4 * batch_size * width
    assert 0 < max(each.cpu_memory_usage for each in events) <= 2 * index < batch


def test_a_batch_is_written_over_by_the_next(path: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path), None, 10)
    first = buffer.take()
    before = numbers(first)
    second = buffer.take()
    assert numbers(first) == numbers(second) != before


# --- samples


@pytest.mark.parametrize("before", [0, 1, 9])
def test_a_sample_changes_no_batch(path: Path, path_out: Path, before: int) -> None:
    def buffer() -> ShuffledBuffer:
        return ShuffledBuffer(FileSource(path, path_out=path_out, rows_per_chunk=50), 400, 30)

    sampled, other = buffer(), buffer()
    taken(sampled, before), taken(other, before)
    held = sampled.sample(0) if before == 0 else None
    assert held is None or len(held.x) == 0
    state = {name: each.clone() for name, each in sampled.state().items()}
    first, second, more = sampled.sample(100), sampled.sample(100), sampled.sample(1000)
    assert all(torch.equal(each, state[name]) for name, each in sampled.state().items())
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.y, second.y)
    assert len(first.x) == 100
    assert len(more.x) == len(state["queue"])
    assert len(set(numbers(more))) == len(more.x)
    assert len({each // 50 for each in numbers(first)}) > 5  # of many chunks
    for a, b in zip(taken(sampled, 30), taken(other, 30), strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)


def test_a_look_for_a_chunk_that_does_not_fit_is_no_refill(path: Path) -> None:
    """One chunk of 300 lies in 590, the next does not fit, and 270 would be left: what waits is not shuffled again."""
    sampled, other = (ShuffledBuffer(FileSource(path, rows_per_chunk=300), 590, 30) for _ in range(2))
    sample = numbers(sampled.sample(300))
    for buffer in (sampled, other):
        assert numbers(buffer.take()) == sample[:30]
        assert int(buffer.state()["refills"]) == 1
        taken(buffer, 1)
        assert int(buffer.state()["refills"]) == 2  # 320 were free
    assert numbers(sampled.take()) == numbers(other.take())


def test_a_sample_is_a_copy(path: Path) -> None:
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=50), 400, 30)
    sample = buffer.sample(400)
    before = sample.x.clone()
    taken(buffer, 40)
    assert torch.equal(sample.x, before)
    sample.x.zero_()
    assert min(numbers(buffer.sample(400))[:5]) > 0


# --- again from any step

Make = Callable[[], Source]


@pytest.fixture(scope="module")
def makes(lm: Lm, path: Path, path_out: Path) -> dict[str, Make]:
    contexts = some_contexts()
    return {
        "lm": lambda: LmSource(lm, contexts, X, batch_contexts=5),
        "lm's transcoder": lambda: LmSource(lm, contexts, X, hookpoint_out=Y, batch_contexts=5),
        "file": lambda: FileSource(path, rows_per_chunk=40),
        "files of a transcoder": lambda: FileSource(path, path_out=path_out, rows_per_chunk=40),
    }


@pytest.mark.parametrize("kind", ["lm", "lm's transcoder", "file", "files of a transcoder"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_bit_for_bit_from_any_step(
    makes: dict[str, Make], tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    steps, more = 14, 12

    def new() -> ShuffledBuffer:
        return ShuffledBuffer(makes[kind](), 130, 16, seed=3, dtype=dtype)

    straight = new()
    every = []
    for step in range(steps):
        save_file(straight.state(), tmp_path / f"{step}.safetensors")
        every += taken(straight, 1)
    every += taken(straight, more)
    assert int(straight.state()["refills"]) > 5
    for step in range(steps):
        resumed = new()
        taken(resumed, step % 3)  # whether it was used before is no matter
        resumed.restore(load_file(tmp_path / f"{step}.safetensors"))
        for expected, found in zip(every[step : step + more], taken(resumed, more), strict=True):
            assert found.x.dtype == dtype
            assert torch.equal(found.x, expected.x)
            assert torch.equal(found.y, expected.y)
    end = straight.state()
    taken(resumed, steps + more - (steps - 1) - more)
    assert all(torch.equal(each, end[name]) for name, each in resumed.state().items())
    assert resumed.place == straight.place


def test_a_restored_buffer_keeps_its_memory_and_leaves_the_state(path: Path) -> None:
    buffer, other = (ShuffledBuffer(FileSource(path, rows_per_chunk=40), 130, 16) for _ in range(2))
    taken(other, 7)
    state = {name: each.clone() for name, each in other.state().items()}
    at, batch_at = buffer.state()["x"].data_ptr(), buffer.take().x.data_ptr()
    buffer.restore(state)
    before = {name: each.clone() for name, each in state.items()}
    taken(buffer, 20)
    assert buffer.state()["x"].data_ptr() == at
    assert buffer.take().x.data_ptr() == batch_at
    assert all(torch.equal(each, before[name]) for name, each in state.items())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"capacity": 131},
            r"x is torch.float32 of \(130, 5\), expected torch.float32 of \(131, 5\); go on with the cap",
        ),
        ({"dtype": torch.bfloat16}, r"x is torch.float32 of \(130, 5\), expected torch.bfloat16 of \(130, 5\)"),
        ({"batch_size": 17}, "batch_size was 16 and is 17 here"),
        ({"seed": 1}, "seed was 0 and is 1 here"),
        ({"rows_per_chunk": 41}, "largest_chunk was 40 and is 41 here"),
        ({"rows": 1002}, "n_tokens was 1003 and is 1002 here"),
        ({"width": 4}, r"x is .* \(130, 5\), expected .* \(130, 4\)"),
        ({"transcoder": True}, "holds batch_size, .*, x, expected .*, x, y; a transcoder's has a y"),
    ],
)
def test_the_state_of_another_buffer_is_refused(path: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    def buffer(
        capacity: int = 130,
        batch_size: int = 16,
        rows_per_chunk: int = 40,
        rows: int = ROWS,
        width: int = WIDTH,
        transcoder: bool = False,
        **others: Any,
    ) -> ShuffledBuffer:
        np.save(tmp_path / "acts.npy", numbered(rows, width))
        out = tmp_path / "acts.npy" if transcoder else None
        source = FileSource(tmp_path / "acts.npy", path_out=out, rows_per_chunk=rows_per_chunk)
        return ShuffledBuffer(source, capacity, batch_size, **others)

    one = buffer()
    taken(one, 3)
    other = buffer(**changes)
    taken(other, 2)
    before = {name: each.clone() for name, each in other.state().items()}
    with pytest.raises(BadInput, match=says):
        other.restore(one.state())
    assert all(torch.equal(each, before[name]) for name, each in other.state().items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("queue"), "holds .*, expected .*queue"),
        (lambda state: state.clear(), "holds nothing, expected"),
        (lambda state: state["queue"].__setitem__(3, 130), "does not name slots of 130, each once"),
        (lambda state: state["queue"].__setitem__(3, -1), "does not name slots"),
        (lambda state: state["queue"].__setitem__(3, state["queue"][4].item()), "does not name slots"),
    ],
)
def test_a_state_that_was_tampered_with_is_refused(path: Path, change: Any, says: str) -> None:
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=40), 130, 16)
    taken(buffer, 3)
    state = {name: each.clone() for name, each in buffer.state().items()}
    change(state)
    with pytest.raises(BadInput, match=says):
        buffer.restore(state)


# --- what goes wrong on the way


def test_a_chunk_that_cannot_be_used_leaves_the_buffer_as_it_was(tmp_path: Path) -> None:
    array = numbered()
    array[700] = np.nan
    np.save(tmp_path / "acts.npy", array)
    source = FileSource(tmp_path / "acts.npy", rows_per_chunk=50)
    buffer = ShuffledBuffer(source, 300, 30)
    batches: list[Batch] = []
    before: dict[str, torch.Tensor] = {}

    def take_all() -> None:
        for _ in range(100):
            before.update({name: buffer.state()[name] for name in ("queue", "chunks", "refills")})
            batches.extend(taken(buffer, 1))

    with pytest.raises(BadInput, match=r"acts\.npy: rows 700 to 749 hold NaN in 1 of 50 rows, row 700 the first"):
        take_all()
    assert 0 < len(batches) < ROWS / 30
    assert all(each.x.isfinite().all() for each in batches)
    assert all(torch.equal(buffer.state()[name], each) for name, each in before.items())


def test_numbers_that_the_buffer_s_dtype_cannot_hold_are_refused(tmp_path: Path) -> None:
    array = numbered() * 80
    np.save(tmp_path / "acts.npy", array)
    source = FileSource(tmp_path / "acts.npy", rows_per_chunk=2000)
    with pytest.raises(BadInput, match=r"^rows 0 to 1002 of reading 1: .* up to 80,200, and .*float16 .* than 65,504;"):
        ShuffledBuffer(source, None, 10, dtype=torch.float16).take()
    batch = ShuffledBuffer(source, None, 10, dtype=torch.bfloat16).take()
    assert batch.x.dtype == torch.bfloat16
    assert batch.x.isfinite().all()


def test_place_says_how_far_the_source_was_read(path: Path) -> None:
    source = FileSource(path, rows_per_chunk=50)
    buffer = ShuffledBuffer(source, 300, 30)
    assert buffer.place == "before the first chunk"
    buffer.take()
    assert buffer.place == f"up to chunk 5 ({source.where(5)})"  # six of fifty fill it
    taken(buffer, 100)
    last = int(buffer.state()["chunks"]) - 1
    assert last > 50
    assert buffer.place == f"up to chunk {last} ({source.where(last)})"
    assert f"of reading {1 + last // 21}" in buffer.place


# --- sizes


@pytest.mark.parametrize(
    ("rows", "per_chunk", "batch_size", "expected"),
    [
        (200_000, 4096, 2048, 131_072),
        (3000, 100, 64, 3000),
        (3000, 4096, 64, 3064),  # all is one chunk: a batch may still lie there when it comes again
        (3000, 100, 2000, 4000),  # two batches
        (200_000, 4096, 100_000, 200_000),
        (200_000, 130_000, 2048, 132_048),
    ],
)
def test_the_capacity_that_nobody_gave(
    tmp_path: Path, rows: int, per_chunk: int, batch_size: int, expected: int
) -> None:
    np.lib.format.open_memmap(tmp_path / "acts.npy", mode="w+", dtype=np.float16, shape=(rows, 1)).flush()
    buffer = ShuffledBuffer(FileSource(tmp_path / "acts.npy", rows_per_chunk=per_chunk), None, batch_size)
    assert buffer.capacity == expected
    assert buffer.state()["x"].shape == (expected, 1)
    for _ in range(5):
        assert buffer.take().x.shape == (batch_size, 1)


@pytest.mark.parametrize(
    ("per_chunk", "capacity", "batch_size", "says"),
    [
        (50, 1004, 64, "the text has 1,003 tokens that count and the buffer is to hold 1,004: give more text, or a sm"),
        (5000, 100_000, 64, "the text has 1,003 tokens that count and the buffer is to hold 100,000"),
        (50, None, 1004, "the text has 1,003 tokens that count and a batch is to hold 1,004: give more text, or small"),
        (50, 113, 64, "is to hold 113 tokens, and .* batch of 64 beside a chunk of up to 50: let it hold at least 114"),
        (5000, 1003, 64, "a batch of 64 beside a chunk of up to 1,003: let it hold at least 1,067"),
        (50, 0, 64, "is to hold 0 tokens"),
        (50, None, 0, "the batch size is 0, expected at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    path: Path, per_chunk: int, capacity: int | None, batch_size: int, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        ShuffledBuffer(FileSource(path, rows_per_chunk=per_chunk), capacity, batch_size)


@pytest.mark.parametrize(("per_chunk", "capacity"), [(50, 114), (5000, 1067), (50, 1003)])
def test_the_sizes_that_are_asked_for_do(path: Path, per_chunk: int, capacity: int) -> None:
    buffer = ShuffledBuffer(FileSource(path, rows_per_chunk=per_chunk), capacity, 64)
    assert len(taken(buffer, 40)) == 40


def test_whole_numbers_are_no_dtype_of_activations(path: Path) -> None:
    with pytest.raises(BadInput, match=r"the buffer's dtype is torch.int64, expected floating point"):
        ShuffledBuffer(FileSource(path), None, 10, dtype=torch.int64)
