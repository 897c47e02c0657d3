"""Arrays of safetensors files, mapped where they lie, in a web process."""

import json
import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from explorer import artifacts
from explorer.vectors import HEAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1",
    "BF16": "<u2",  # the upper half of a float32
}  # fmt: skip
CODES = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "U8": "B"}  # of struct
KEPT = 64  # files whose headers are at hand


@dataclass(frozen=True, slots=True)
class File:
    """A safetensors file."""

    sha256: str
    header: dict[str, Any]
    data_at: int

    @property
    def about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(self.header.get("__metadata__", {}).get("about", "{}"))
        return about

    def __contains__(self, name: str) -> bool:
        return name in self.header

    def __getitem__(self, name: str) -> "Array":
        """Mapped, in the file's own kind; of bfloat16 the bits."""
        described = self.header[name]
        start, shape = self.data_at + described["data_offsets"][0], tuple(described["shape"])
        path = artifacts.path(self.sha256)
        mapped: Array = numpy().memmap(path, KINDS[described["dtype"]], "r", offset=start, shape=shape)
        return mapped

    def reader(self) -> "Reader":
        return Reader(self)


class Reader:
    """A few of an array's numbers at a time, for pages that need no numpy."""

    def __init__(self, file: File) -> None:
        self._file = file

    def __enter__(self) -> "Reader":
        self._opened = artifacts.path(self._file.sha256).open("rb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __call__(self, name: str, row: int) -> tuple[Any, ...]:
        """A row, or of a flat array a number."""
        described = self._file.header[name]
        width = math.prod(described["shape"][1:])
        form = struct.Struct(f"<{width}{CODES[described['dtype']]}")
        at = self._file.data_at + described["data_offsets"][0] + row * form.size
        return form.unpack(os.pread(self._opened.fileno(), form.size, at))


@lru_cache(KEPT)
def opened(sha256: str) -> File:
    with artifacts.path(sha256).open("rb") as file:
        (length,) = HEAD.unpack(file.read(HEAD.size))
        return File(sha256, json.loads(file.read(length)), HEAD.size + length)


def numpy() -> ModuleType:
    """A web process loads it when somebody first needs it: most of them would hold its 30 MB for nothing."""
    import numpy

    return numpy
