"""The devices that torch can compute on here, and how fast each is."""

import errno
import gc
import os
import time
from dataclasses import dataclass

import torch
from torch import nn

from sae_core.errors import BadInput

OUT_OF_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "not enough memory",
    "can't start new thread",
)
PRECISIONS = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Device:
    name: str  # as torch.device takes it
    title: str
    memory: int  # bytes; 0 where torch does not say


def devices() -> list[Device]:
    """The CPU, then every accelerator."""
    found = [Device("cpu", f"CPU, {torch.get_num_threads()} threads", 0)]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device(f"cuda:{index}", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", 0))
    return found


def pick(name: str | None = None) -> torch.device:
    """The device of that name; for None or "auto" what SAE_DEVICE in the environment says, or else CUDA or the CPU.

    Never Apple's unless it is asked for: it has no float64.
    """
    asked, source = name, ""
    if asked in (None, "auto"):
        asked, source = os.environ.get("SAE_DEVICE") or "auto", "SAE_DEVICE: "
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = [each.name for each in devices()]
    if asked not in there and not (asked == "cuda" and "cuda:0" in there):
        raise BadInput(f"{source}there is no device {asked!r} here; there is {', '.join(there)}")
    return torch.device(asked)


def precision(dtype: torch.dtype | str | None) -> torch.dtype:
    """float32 for None."""
    if dtype is None:
        return torch.float32
    found = PRECISIONS.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise BadInput(f"{dtype} is not a precision to compute in; expected one of {', '.join(PRECISIONS)}")
    return found


def matmul_flops(device: str, size: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations per second of float32 (size, size) @ (size, size)."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(device) for _ in range(2))
    (a @ b).sum().item()  # the first call plans, and .item() waits for the device
    count = 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        (a @ b).sum().item()
        count += 1
    return count * 2 * size**3 / taken


def out_of_memory(error: BaseException) -> bool:
    """Whether it is for want of memory, the device's or this machine's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def free() -> None:
    """What nothing refers to any more: cycles, and what torch keeps of CUDA's memory for later."""
    gc.collect()
    torch.cuda.empty_cache()  # which without CUDA does nothing


def n_bytes(module: nn.Module) -> int:
    """Of its parameters and buffers; what several share counts once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum({each.data_ptr(): each.nbytes for each in tensors}.values())
