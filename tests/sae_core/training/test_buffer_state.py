"""The buffer again from any step, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.training.buffer import Batch, ShuffledBuffer
from sae_core.training.sources import FileSource, LmSource, Source
from tests.sae_core.training.activations import (
    ROWS,
    WIDTH,
    X,
    Y,
    numbered,
    some_contexts,
    taken,
)

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
