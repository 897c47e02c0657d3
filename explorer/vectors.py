"""An SAE's directions, read from where they lie in its weights: of a file of gigabytes, one row.

Web processes load neither torch nor numpy, and a row needs neither: safetensors is a header of JSON, then numbers.
"""

import json
import math
import struct
import sys
from array import array
from collections.abc import Sequence
from enum import StrEnum
from mmap import ACCESS_READ, mmap
from operator import mul
from typing import Any, NamedTuple

from explorer import artifacts
from explorer.models import Sae

HEAD = struct.Struct("<Q")
KINDS = {"F64": "d", "F32": "f", "F16": "e", "BF16": "H"}  # a bfloat16 is the upper half of a float32


class Side(StrEnum):
    DECODER = "decoder"  # what it writes
    ENCODER = "encoder"  # what it reads


class Tensor(NamedTuple):
    kind: str
    columns: int
    start: int  # in the file


def vector(sae: Sae, index: int, side: Side) -> "array[float]":
    """A row of W_dec or a column of W_enc, as float32."""
    if sae.weights_id is None:  # neurons: both are the identity
        return array("f", [float(place == index) for place in range(sae.d_out)])
    with artifacts.path(sae.weights_id).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        (length,) = HEAD.unpack_from(data)
        described = json.loads(data[HEAD.size : HEAD.size + length])
        if side is Side.DECODER:
            tensor = _tensor(described["W_dec"], HEAD.size + length)  # (n_latents, d_out)
            return _numbers(data, tensor, index * tensor.columns, tensor.columns, 1)
        tensor = _tensor(described["W_enc"], HEAD.size + length)  # (d_in, n_latents)
        return _numbers(data, tensor, index, sae.d_in, tensor.columns)


def cosine(one: Sequence[float], other: Sequence[float]) -> float | None:
    """None where one of them has no direction."""
    norms = math.hypot(*one) * math.hypot(*other)
    return sum(map(mul, one, other)) / norms if norms else None


def npy(numbers: "array[float]") -> bytes:
    """As numpy.load reads it."""
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(numbers)},), }}"
    padded = said.ljust(-(-(len(said) + 11) // 64) * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + _little(numbers)


def _tensor(described: dict[str, Any], data_at: int) -> Tensor:
    kind = KINDS.get(described["dtype"])
    if kind is None:
        raise ValueError(f"weights of dtype {described['dtype']}; expected one of {', '.join(KINDS)}")
    return Tensor(kind, described["shape"][1], data_at + described["data_offsets"][0])


def _numbers(data: mmap, tensor: Tensor, first: int, count: int, step: int) -> "array[float]":
    form = struct.Struct(f"<{tensor.kind}")
    places = (tensor.start + (first + number * step) * form.size for number in range(count))
    found = [form.unpack_from(data, place)[0] for place in places]
    if tensor.kind == "H":
        return array("f", struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(each << 16 for each in found))))
    return array("f", found)


def _little(numbers: "array[float]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
