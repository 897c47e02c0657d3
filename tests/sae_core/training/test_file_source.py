"""What a file of activations gives, and which files are refused."""

import pickle
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_core.errors import BadInput
from sae_core.training.sources import FileSource

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
