"""The buffer: every token once a reading, in no order, in the same memory throughout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from sae_core.lm import Lm
from sae_core.training.buffer import ShuffledBuffer
from sae_core.training.sources import FileSource, LmSource
from tests.sae_core.training.activations import (
    BOS,
    PAD,
    ROWS,
    WIDTH,
    X,
    numbered,
    numbers,
    some_contexts,
    taken,
)

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
