"""Files of named tensors from anywhere: looked at before they are read, and nothing in them is executed.

Every refusal names the file and the tensor, what was expected and what was found.
"""

import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import torch
from torch import Tensor

from sae_core.errors import BadInput

HEADER_CAP = 1 << 20  # bytes; an SAE has a dozen tensors, and a header of 100 MB is an attack
EXPANSION_CAP = 20  # times its size; weights hardly compress
EXPANDED_CAP = 64 << 30  # bytes
WEIGHTS_ONLY_SINCE = "2.10"  # before, torch's reader of plain tensors had holes

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
OTHERS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
OTHERS |= {"F8_E4M3": 1, "F8_E5M2": 1}
KINDS = FLOATS | OTHERS


class TensorFile:
    """Shapes and kinds of all tensors, known without reading any; `take` reads one."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, ...]],
        kinds: Mapping[str, str],
        read: Callable[[str], Tensor],
        other: Mapping[str, object] | None = None,
    ) -> None:
        self.path = path
        self.shapes = dict(shapes)
        self.kinds = dict(kinds)
        self.other = dict(other or {})  # what is not a tensor: .pt files alone
        self._read = read

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that has to be there."""
        self._require(name)
        if len(self.shapes[name]) != dimensions:
            raise BadInput(f"{self.path}: {name} is {self.shapes[name]}, expected {dimensions} dimensions")
        return self.shapes[name]

    def expect(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses the file unless all of these are there, of these shapes, in floating point."""
        for name, shape in shapes.items():
            self._require(name)
            found = self.shapes[name]
            # A scalar may be written as one number in a list.
            if found != shape and not (shape == () and found == (1,)):
                hint = "; is it transposed?" if found == shape[::-1] else ""
                raise BadInput(f"{self.path}: {name} is {found}, expected {shape}{hint}")
            if self.kinds[name] not in FLOATS:
                raise BadInput(f"{self.path}: {name} holds {self.kinds[name]}, expected one of {', '.join(FLOATS)}")

    def take(self, name: str) -> Tensor:
        """The tensor, finite, in float32, or float64 where the file holds that."""
        tensor = self._read(name)
        tensor = tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)
        finite = tensor.isfinite()
        if not finite.all():
            index = tuple((~finite).nonzero()[0].tolist())
            value = tensor[index].item()
            count = int((~finite).sum())
            raise BadInput(
                f"{self.path}: {name}{list(index)} is {value} ({count} such values), expected finite numbers"
            )
        return tensor.contiguous()

    def take_all(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """All of these, every shape looked at before the first is read."""
        self.expect(shapes)
        return {name: self.take(name).reshape(shape) for name, shape in shapes.items()}

    def whole_numbers(self, name: str) -> list[int]:
        """Counts that a file keeps in a tensor."""
        self._require(name)
        tensor = self._read(name)
        if tensor.is_floating_point() or tensor.is_complex() or tensor.numel() > 10_000:
            raise BadInput(f"{self.path}: {name} holds {self.kinds[name]}, expected whole numbers")
        return [int(each) for each in tensor.reshape(-1).tolist()]

    def _require(self, name: str) -> None:
        if name not in self.shapes:
            raise BadInput(
                f"{self.path}: {name} is missing; the file holds {', '.join(sorted(self.shapes)) or 'nothing'}"
            )


def open_tensors(path: Path) -> TensorFile:
    readers = {".safetensors": open_safetensors, ".npz": open_npz, ".pt": open_pt, ".pth": open_pt}
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    if path.suffix not in readers:
        raise BadInput(f"{path}: expected a file ending in {', '.join(readers)}")
    return readers[path.suffix](path)


def open_safetensors(path: Path) -> TensorFile:
    header = _safetensors_header(path)
    with safetensors.safe_open(path, framework="pt") as opened:  # the library checks once more
        if set(opened.keys()) != set(header):
            raise BadInput(f"{path}: its header cannot be read the same way twice")

    def read(name: str) -> Tensor:
        with safetensors.safe_open(path, framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
            return tensor

    shapes = {name: entry.shape for name, entry in header.items()}
    return TensorFile(path, shapes, {name: entry.kind for name, entry in header.items()}, read)


class Entry(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


def _safetensors_header(path: Path) -> dict[str, Entry]:
    """The header, held against the file's size; the library would take a name that comes twice."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise BadInput(f"{path}: {size} bytes, too short for a safetensors file")
        length = struct.unpack("<Q", first)[0]
        if length > HEADER_CAP or 8 + length > size:
            raise BadInput(
                f"{path}: its header claims {length:,} bytes of a file of {size:,}; "
                f"expected at most {HEADER_CAP:,} and whole. Was the download cut short?"
            )
        raw = file.read(length)

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        if len(names) != len(set(names)):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadInput(f"{path}: {twice!r} comes twice in its header")
        return dict(pairs)

    try:
        header = json.loads(raw.decode(), object_pairs_hook=unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise BadInput(f"{path}: its header is {type(header).__name__}, expected an object of tensors")
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, each) for name, each in header.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
        needed = math.prod(entry.shape) * KINDS[entry.kind]
        if entry.start != end or entry.stop - entry.start != needed:
            raise BadInput(
                f"{path}: {name} takes bytes {entry.start:,} to {entry.stop:,}, expected {needed:,} from {end:,} on"
            )
        end = entry.stop
    if 8 + length + end != size:
        raise BadInput(f"{path}: {size:,} bytes, expected {8 + length + end:,}. Was the download cut short?")
    return entries


def _entry(path: Path, name: str, entry: object) -> Entry:
    found = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = found.get("dtype"), _counts(found.get("shape")), _counts(found.get("data_offsets"))
    if kind in KINDS and shape is not None and offsets is not None and len(offsets) == 2:
        return Entry(kind, shape, offsets[0], offsets[1])
    raise BadInput(f"{path}: the header's entry of {name!r} is {entry!r}, expected dtype, shape and data_offsets")


def _counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(each) is int and each >= 0 for each in value):
        return tuple(value)
    return None


def open_npz(path: Path) -> TensorFile:
    shapes, kinds = {}, {}
    with _opened_zip(path) as archive:
        _check_expansion(path, archive)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                try:
                    version = np.lib.format.read_magic(stream)
                    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                    shape, _, dtype = readers[version](stream)
                except (ValueError, KeyError) as error:
                    raise BadInput(f"{path}: {name} is not an array of numpy's: {error}") from error
            needed = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or needed > member.file_size:
                raise BadInput(
                    f"{path}: {name} claims {needed:,} bytes of {dtype}, expected {member.file_size:,} of numbers"
                )
            shapes[name] = shape
            kinds[name] = f"{'F' if dtype.kind == 'f' else dtype.kind.upper()}{dtype.itemsize * 8}"

    def read(name: str) -> Tensor:
        with np.load(path, allow_pickle=False) as arrays:
            return torch.from_numpy(np.ascontiguousarray(arrays[name].astype(arrays[name].dtype.newbyteorder("="))))

    return TensorFile(path, shapes, kinds, read)


def open_pt(path: Path) -> TensorFile:
    if torch.torch_version.TorchVersion(torch.__version__) < WEIGHTS_ONLY_SINCE:
        raise BadInput(
            f"{path}: .pt files are read by torch {WEIGHTS_ONLY_SINCE} or later, "
            f"this is {torch.__version__}; older ones could be made to run what the file says"
        )
    with _opened_zip(path) as archive:
        _check_expansion(path, archive, times=1)  # torch stores, it does not compress
    try:
        # mmap: what is refused for its shapes was never read.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"{path}: cannot be read as plain tensors, and nothing else is loaded from it: {reason}"
        ) from error
    if not isinstance(loaded, Mapping):
        raise BadInput(f"{path}: holds a {type(loaded).__name__}, expected named tensors (a state dict)")
    tensors = {str(name): each for name, each in loaded.items() if isinstance(each, Tensor)}
    for name, each in tensors.items():
        # A view can claim any shape over few bytes, and making it contiguous would fill the memory.
        if each.layout != torch.strided or each.numel() * each.element_size() > each.untyped_storage().nbytes():
            raise BadInput(f"{path}: {name} claims {tuple(each.shape)} of {each.untyped_storage().nbytes():,} bytes")
    names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    return TensorFile(
        path,
        {name: tuple(each.shape) for name, each in tensors.items()},
        {name: names.get(each.dtype, str(each.dtype).removeprefix("torch.")) for name, each in tensors.items()},
        lambda name: tensors[name].clone(),
        {str(name): each for name, each in loaded.items() if not isinstance(each, Tensor)},
    )


def _opened_zip(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:  # zip versions it cannot read
        raise BadInput(f"{path}: cannot be opened as a {path.suffix} file: {error}") from error
    names = archive.namelist()
    if len(names) != len(set(names)):
        raise BadInput(f"{path}: {next(name for name in names if names.count(name) > 1)!r} comes twice in it")
    return archive


def _check_expansion(path: Path, archive: zipfile.ZipFile, *, times: int = EXPANSION_CAP) -> None:
    size = path.stat().st_size
    expanded = sum(member.file_size for member in archive.infolist())
    cap = min(times * size, EXPANDED_CAP)
    if expanded > cap:
        raise BadInput(f"{path}: its {size:,} bytes expand to {expanded:,}, expected at most {cap:,}")
