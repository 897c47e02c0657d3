"""Named arrays in one safetensors file, written piece by piece and mapped where they lie, so that neither end ever
holds more than a piece of them. The file is whole or it is not there."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sae_core.errors import BadInput

KINDS = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U32": np.uint32,
    "I16": np.int16, "U16": np.uint16, "I8": np.int8, "U8": np.uint8,
}  # fmt: skip
NAMES = {np.dtype(kind): name for name, kind in KINDS.items()}
ALIGNMENT = 8  # bytes
HEADER_CAP = 1 << 24  # bytes; ours have some dozen arrays
COPIED = 1 << 22  # bytes at a time


@dataclass(frozen=True)
class Streamed:
    """An array whose bytes come from a file that holds nothing else."""

    dtype: Any
    shape: tuple[int, ...]
    path: Path

    def pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(COPIED):
                yield piece


Writable = NDArray[Any] | Streamed


def write_arrays(path: Path, arrays: Mapping[str, Writable], about: Mapping[str, Any]) -> None:
    """`about` is kept as JSON beside the arrays. A full disk leaves what was there before, and says so."""
    ordered = sorted(arrays.items(), key=lambda each: -np.dtype(each[1].dtype).itemsize)  # so that each lies aligned
    with whole_or_not_at_all(path) as file:
        file.writelines(_header(dict(ordered), about))
        for name, array in ordered:
            written = 0
            for piece in array.pieces() if isinstance(array, Streamed) else _pieces(array):
                file.write(piece)
                written += len(piece)
            expected = prod(array.shape) * np.dtype(array.dtype).itemsize
            if written != expected:
                raise BadInput(f"{path}: {name} came as {written:,} bytes, expected {expected:,}")


def _header(arrays: Mapping[str, Writable], about: Mapping[str, Any]) -> Iterable[bytes]:
    described: dict[str, Any] = {"__metadata__": {"about": json.dumps(about)}}
    at = 0
    for name, array in arrays.items():
        dtype = np.dtype(array.dtype)
        end = at + prod(array.shape) * dtype.itemsize
        described[name] = {"dtype": NAMES[dtype], "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little"), text


def _pieces(array: NDArray[Any]) -> Iterator[memoryview]:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, len(flat), COPIED):
        yield flat[start : start + COPIED].data


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> BadInput:
    before = "the file that was there is whole" if path.exists() else "nothing is left of it"
    return BadInput(f"{path}: cannot be written ({error.strerror or error}); {before}. Is the disk full?")


class ArrayFile:
    """The arrays of such a file, mapped: what is not looked at is not read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        header = self._read_header()
        self._data_at = 8 + self._header_size
        self.about: dict[str, Any] = self._about(header.pop("__metadata__", {}))
        self._described: dict[str, Any] = header
        self._check()

    @property
    def names(self) -> set[str]:
        return set(self._described)

    def __contains__(self, name: str) -> bool:
        return name in self._described

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._described:
            raise BadInput(f"{self.path}: {name} is missing; the file holds {', '.join(sorted(self._described))}")
        kind, shape, start, _ = self._entry(name)
        if not prod(shape):
            return np.zeros(shape, kind)
        return np.memmap(self.path, kind, "r", offset=self._data_at + start, shape=shape)

    def piece(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Some of a flat array, read: what is mapped counts as this process's memory once it was looked at."""
        kind, (length,), begins, _ = self._entry(name)
        count = max(min(stop, length) - start, 0)
        with self.path.open("rb") as file:
            read = np.fromfile(file, kind, count, offset=self._data_at + begins + start * np.dtype(kind).itemsize)
        if len(read) < count:
            raise BadInput(f"{self.path}: {name} ends early; was the file cut short?")
        return read

    def _read_header(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                self._header_size = int.from_bytes(file.read(8), "little")
                if not 2 <= self._header_size <= HEADER_CAP:
                    raise ValueError(f"a header of {self._header_size:,} bytes")
                header = json.loads(file.read(self._header_size))
                if not isinstance(header, dict):
                    raise ValueError("its header is no JSON object")
                return header
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"{self.path}: cannot be read: {error}") from error

    def _about(self, metadata: Any) -> dict[str, Any]:
        try:
            about = json.loads(metadata["about"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"{self.path}: does not say what it is; was it written by sae_core?") from error
        if not isinstance(about, dict):
            raise BadInput(f"{self.path}: says what it is in {type(about).__name__}, expected a JSON object")
        return about

    def _check(self) -> None:
        """Every array lies within the file and is as long as its shape says."""
        room = self.path.stat().st_size - self._data_at
        for name in self._described:
            try:
                kind, shape, start, end = self._entry(name)
                fits = 0 <= start <= end <= room and end - start == prod(shape) * np.dtype(kind).itemsize
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                fits = False
            if not fits:
                raise BadInput(f"{self.path}: {name} does not lie in it as its header says; was the file cut short?")

    def _entry(self, name: str) -> tuple[Any, tuple[int, ...], int, int]:
        entry = self._described[name]
        start, end = entry["data_offsets"]
        shape = tuple(int(each) for each in entry["shape"])
        if min(shape, default=0) < 0:
            raise ValueError(shape)
        return KINDS[entry["dtype"]], shape, int(start), int(end)
