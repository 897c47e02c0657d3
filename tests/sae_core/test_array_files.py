"""Arrays in a file: read as they were written, whole or not there, and refused where the file is not what it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sae_core.array_files import KINDS, ArrayFile, Streamed, write_arrays
from sae_core.errors import BadInput

ABOUT = {"format": 1, "name": "ä", "nested": {"list": [1, None]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "arrays.safetensors"


def some() -> dict[str, Any]:
    """One of every kind, in no order, some empty and one without axes."""
    arrays: dict[str, Any] = {f"of {name}": np.arange(7).astype(kind) for name, kind in KINDS.items()}
    return arrays | {
        "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "every other": np.arange(20)[::2],
        "empty": np.zeros((0, 5), np.uint16),
        "empty within": np.zeros((4, 0, 2)),
        "one": np.array(3.5),
        "hashes": np.array([2**32 - 1], np.uint32),
    }


def test_what_is_written_is_read(path: Path) -> None:
    write_arrays(path, some(), ABOUT)
    file = ArrayFile(path)
    assert file.about == ABOUT
    assert file.names == set(some())
    assert "one" in file
    assert "two" not in file
    for name, array in some().items():
        assert (file[name].dtype, file[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(file[name], array)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_arrays_are_mapped_where_they_lie_and_cannot_be_written_to(path: Path) -> None:
    write_arrays(path, some(), ABOUT)
    array = ArrayFile(path)["of F64"]
    assert isinstance(array, np.memmap)
    assert array.flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_a_piece_is_read_and_not_mapped(path: Path) -> None:
    write_arrays(path, some(), ABOUT)
    file = ArrayFile(path)
    for name in ("of F32", "of I64", "every other"):
        for start, stop in ((0, 3), (2, 5), (4, 100), (7, 7), (0, 0)):
            piece = file.piece(name, start, stop)
            assert not isinstance(piece, np.memmap)
            np.testing.assert_array_equal(piece, some()[name][start:stop])
    with path.open("r+b") as cut:
        cut.truncate(path.stat().st_size - 1)
    with pytest.raises(BadInput, match="of U8 ends early"):  # the last, as the narrowest are
        file.piece("of U8", 0, 7)


def test_safetensors_reads_what_is_written(path: Path) -> None:
    write_arrays(path, some(), ABOUT)
    found = load_file(path)
    assert found.keys() == some().keys()
    for name, array in some().items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_safetensors_writes_is_read(path: Path) -> None:
    path.parent.mkdir()
    save_file({"a": np.arange(5.0)}, path, metadata={"about": json.dumps(ABOUT)})
    assert ArrayFile(path)["a"].tolist() == [0, 1, 2, 3, 4]
    assert ArrayFile(path).about == ABOUT


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.lists(st.integers(0, 4), max_size=3)), max_size=6))
def test_any_shapes(tmp_path_factory: pytest.TempPathFactory, given: list[tuple[str, list[int]]]) -> None:
    path = tmp_path_factory.mktemp("any") / "arrays"
    rng = np.random.default_rng(0)
    arrays = {str(n): (rng.random(shape) * 100).astype(KINDS[kind]) for n, (kind, shape) in enumerate(given)}
    write_arrays(path, arrays, {})
    file = ArrayFile(path)
    assert file.names == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(file[name], array, strict=True)
        assert file[name].flags.aligned


def test_an_array_may_come_from_a_file(path: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((1 << 18, 3))  # more than is copied at a time
    array.tofile(tmp_path / "raw")
    write_arrays(path, {"streamed": Streamed(np.float64, array.shape, tmp_path / "raw"), "other": np.arange(3)}, {})
    np.testing.assert_array_equal(ArrayFile(path)["streamed"], array)
    before = path.read_bytes()
    for shape, says in (((1 << 18, 4), "expected 8,388,608"), ((1 << 18, 2), "expected 4,194,304")):
        with pytest.raises(BadInput, match=rf"arrays\.safetensors: streamed came as 6,291,456 bytes, {says}"):
            write_arrays(path, {"streamed": Streamed(np.float64, shape, tmp_path / "raw")}, {})
    with pytest.raises(BadInput, match=r"cannot be written \(No such file"):
        write_arrays(path, {"streamed": Streamed(np.float64, (3,), tmp_path / "missing")}, {})
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_is_put_in_the_place_of_another_only_when_it_is_whole(path: Path) -> None:
    write_arrays(path, {"a": np.arange(3)}, {"n": 1})
    write_arrays(path, {"a": np.arange(4)}, {"n": 2})
    assert ArrayFile(path).about == {"n": 2}
    with pytest.raises(TypeError):
        write_arrays(path, {"a": np.arange(5)}, {"n": object()})
    assert ArrayFile(path).about == {"n": 2}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        described, data = header(path)
        text = json.dumps(change(described) or described).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)

    return damage


def entry(**changes: Any) -> Callable[[Path], None]:
    return with_header(lambda described: described["a"].update(changes))


NOT_WITHIN = "a does not lie in it as its header says; was the file cut short?"
UNSAID = "does not say what it is; was it written by sae_core?"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "cannot be read: "),
        (lambda path: path.write_bytes(b""), "cannot be read: a header of 0 bytes"),
        (lambda path: path.write_bytes(b"no arrays" * 9), "cannot be read: a header of "),
        (lambda path: path.write_bytes(b"\x10" + bytes(7) + b"{" * 16), "cannot be read: "),
        (
            lambda path: path.write_bytes(b"\x10" + bytes(7) + b"[1]             "),
            "cannot be read: its header is no JSON",
        ),
        (lambda path: path.write_bytes(b"\x02" + bytes(7) + b"\xff\xfe"), "cannot be read: "),
        (lambda path: path.write_bytes((1 << 20).to_bytes(8, "little") + b"[" * (1 << 20)), "cannot be read: "),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "does not lie in it as its header says"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "cannot be read: "),
        (with_header(lambda described: described.pop("__metadata__") and None), UNSAID),
        (with_header(lambda described: described.update(__metadata__={"format": "pt"})), UNSAID),
        (with_header(lambda described: described.update(__metadata__=None)), UNSAID),
        (with_header(lambda described: described.update(__metadata__={"about": "{"})), UNSAID),
        (with_header(lambda described: described.update(__metadata__={"about": "[1]"})), "says what it is in list"),
        (entry(data_offsets=[0, 40]), NOT_WITHIN),
        (entry(data_offsets=[-8, 16]), NOT_WITHIN),
        (entry(data_offsets=[1 << 40, (1 << 40) + 24]), NOT_WITHIN),
        (entry(data_offsets=[24]), NOT_WITHIN),
        (entry(data_offsets=None), NOT_WITHIN),
        (entry(shape=[4]), NOT_WITHIN),
        (entry(shape=[-1, -3]), NOT_WITHIN),
        (entry(shape=3), NOT_WITHIN),
        (entry(shape=[None]), NOT_WITHIN),
        (entry(shape=[float("inf")]), NOT_WITHIN),
        (entry(dtype="BF16"), NOT_WITHIN),
        (entry(dtype=["I64"]), NOT_WITHIN),
        (with_header(lambda described: described.update(a=3)), NOT_WITHIN),
    ],
)
def test_a_file_that_is_not_what_it_says(path: Path, damage: Callable[[Path], object], says: str) -> None:
    write_arrays(path, {"a": np.arange(3)}, ABOUT)
    damage(path)
    with pytest.raises(BadInput) as refused:
        ArrayFile(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)


def test_an_array_that_is_not_there(path: Path) -> None:
    write_arrays(path, {"b": np.arange(3), "a": np.arange(3)}, {})
    with pytest.raises(BadInput, match=r"arrays\.safetensors: c is missing; the file holds a, b$"):
        ArrayFile(path)["c"]


def test_a_place_that_cannot_be_written_to(path: Path, tmp_path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(BadInput, match=r"arrays\.safetensors: cannot be written \(Is a directory\)"):
        write_arrays(path, {}, {})
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/arrays: cannot be written \((File exists|Not a directory)\); nothing is"):
        write_arrays(tmp_path / "file" / "arrays", {}, {})
